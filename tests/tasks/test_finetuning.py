"""Fine-tuning: what is trained in which phase, what is kept, what a run leaves, what it refuses."""

import json

import keras
import numpy as np
import pytest
from PIL import Image

from keras_arch import api, callbacks, cli, config, hub, models
from keras_arch.callbacks import checkpoint_files
from keras_arch.errors import ArgumentError, ConfigError, DataError
from keras_arch.hub.training_command import without_path
from keras_arch.preprocessing import Preprocessing
from keras_arch.tasks import finetuning
from keras_arch.tasks import finetuning_config as transfer
from tests.tasks.test_resume import StopAtEnd, StopBefore, goes_on_exactly

# 60 images, 42 of which teach: two steps of 21 an epoch.
KINDS, EACH = ("dark", "light", "a red thing"), 20
TINY = [
    "recipe.batch_size=21",
    "recipe.epochs=3",
    "recipe.head_epochs=1",
    "recipe.deterministic=true",
]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Colour photos of several sizes in class folders, easily told apart."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for number in range(EACH):
        for kind, colour in zip(KINDS, ((40, 40, 40), (200, 200, 200), (220, 60, 40)), strict=True):
            size = rng.integers(20, 40, 2)
            pixels = np.clip(rng.normal(colour, 20, (*size, 3)), 0, 255).astype(np.uint8)
            (folder / kind).mkdir(exist_ok=True)
            Image.fromarray(pixels).save(folder / kind / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def tuned(classifier_of_digits, photos, tmp_path_factory):
    """A finished run of the command, from a network for grey digits of 16x16 pixels."""
    out = tmp_path_factory.mktemp("tuned") / "run"
    settings = [part for setting in TINY for part in ("--set", setting)]
    command = [
        "finetune",
        classifier_of_digits,
        "--data",
        f"folder:{photos}",
        "--out",
        out,
        *settings,
    ]
    assert cli.main(list(map(str, command))) == 0
    metrics = json.loads((out / "metrics.json").read_text())
    return api.Run(out, out / "model", metrics)


def tune(source, photos, out, *more, **arguments):
    return api.finetune(
        source, f"folder:{photos}", out, overrides=[*TINY, *more], verbose=0, **arguments
    )


def weights_of(model):
    """Values by layer name and variable."""
    return {w.path: np.array(w) for w in model.weights}


def test_what_a_run_leaves(tuned, classifier_of_digits, photos):
    assert {path.name for path in tuned.directory.iterdir()} >= {
        "config.yaml", "log.csv", "history.png", "best", "confusion_matrix.png", "per_class.png",
        "per_class.json", "metrics.json", "model",
    }  # fmt: skip
    assert set(tuned.metrics) == {"accuracy", "error", "loss", "best_epoch"}
    opened = api.load_model(tuned.directory)
    assert opened.card.labels == list(KINDS) or set(opened.card.labels) == set(KINDS)
    assert opened.model.output_shape == (None, 3)
    assert opened.card.arguments["classes"] == 3
    assert opened.card.task == "image-classification"
    assert opened.card.base == "run"
    assert "Fine-tuned from `run`." in (tuned.model / "README.md").read_text()
    source = hub.read_card(api.model_uri(classifier_of_digits))
    assert opened.card.preprocessing == source.preprocessing
    resolved = config.load(tuned.directory / "config.yaml")
    assert resolved.data.train == "train[:70%]"
    assert resolved.data.validation == "train[70%:85%]"
    # A warm-up of one epoch and the decay after it: two steps each.
    rate = resolved.recipe.optimizer.learning_rate
    assert (rate.warmup_steps, rate.decay_steps) == (2, 2)
    report = json.loads((tuned.directory / "per_class.json").read_text())
    assert report["macro avg"]["support"] == 9
    for file in ("keras_arch.json", "README.md"):
        assert str(photos) not in (tuned.model / file).read_text()
        assert str(classifier_of_digits) not in (tuned.model / file).read_text()


def test_its_model_is_used_as_any_other(tuned, photos, tmp_path):
    figures = api.evaluate(tuned.directory, out=tmp_path / "figures")
    known = {name: tuned.metrics[name] for name in figures}
    assert figures == pytest.approx(known, rel=1e-4, abs=1e-6)
    assert (tmp_path / "figures/per_class.png").exists()
    image = photos / "light/0.png"
    (found,) = api.predict(tuned.model, [image], top=3, explain=True, label="dark", out=tmp_path)
    assert found.explanation == tmp_path / "0_explained.png"
    assert Image.open(found.explanation).width > 400
    api.push(tuned.directory, f"file://{tmp_path}/hub/me/photos")
    assert api.load_model(f"file://{tmp_path}/hub/me/photos").card.labels


def task_of(source, photos, *more):
    checked = transfer.finetune_config(source, f"folder:{photos}", overrides=[*TINY, *more])
    task = finetuning.FineTuning(checked, checked.preprocessing.build())
    task.check()
    return task


def step(task, model, epoch):
    """What one step on noise changes, by name of the variable: the largest change."""
    before = weights_of(model)
    task.set_phase(model, epoch)
    noise = np.random.default_rng(0).normal(size=(8, *task.preprocessing.input_shape))
    model.train_on_batch(noise, np.arange(8) % 3)
    return {path: np.abs(value - before[path]).max() for path, value in weights_of(model).items()}


def test_the_head_learns_alone_and_then_all_layers_the_deeper_the_more(
    classifier_of_digits, photos, caplog, tmp_path
):
    """One step of Adam moves each weight by its learning rate, and none by more."""
    task = task_of(
        classifier_of_digits,
        photos,
        "recipe.layer_decay=0.1",
        "recipe.head_learning_rate=0.02",
        "recipe.optimizer={name: adam, learning_rate: 0.01}",
    )
    with caplog.at_level("INFO", "keras_arch"):
        model = task.build()
    assert "head of resnet20-digits (10 classes) is replaced by one for 3: " in caplog.text
    source = weights_of(api.load_model(classifier_of_digits).model)
    for path, value in weights_of(model).items():
        if not path.startswith("logits"):
            np.testing.assert_array_equal(value, source[path])
    moved = step(task, model, 0)
    assert moved.pop("logits/kernel") == pytest.approx(0.02, rel=0.05)
    assert moved.pop("logits/bias") == pytest.approx(0.02, rel=0.05)
    # Statistics of batch norm too: it is in inference mode.
    assert set(moved.values()) == {0.0}
    moved = step(task, model, 1)
    for layer, rate in (
        ("stem_conv", 1e-5),
        ("stage1_block1_1_conv", 1e-5),
        ("stage2_block1_2_conv", 1e-4),
        ("stage3_block1_1_conv", 1e-3),
        ("logits", 1e-2),
    ):
        assert moved[f"{layer}/kernel"] == pytest.approx(rate, rel=0.05), layer
    assert moved["stem_norm/moving_mean"] > 0
    # A run that is resumed goes through the phase in which it was saved, from any other.
    checkpoint_files.save(model, tmp_path / "state.npz", callbacks.Position(1, 1))
    step(task, model, 1)
    whole = [np.array(variable) for variable in callbacks.variables_of(model)]
    assert step(task, model, 0)["stem_conv/kernel"] == 0
    callbacks.Checkpoint(tmp_path / "state.npz").restore(model)
    step(task, model, 1)
    for one, other in zip(callbacks.variables_of(model), whole, strict=True):
        np.testing.assert_array_equal(np.array(one), other, err_msg=one.path)


def test_the_head_stays_where_the_classes_are_the_same(classifier_of_digits, caplog):
    rate = "recipe.optimizer.learning_rate=0.01"
    checked = transfer.finetune_config(classifier_of_digits, "digits", overrides=[rate])
    task = finetuning.FineTuning(checked, checked.preprocessing.build())
    task.check()
    with caplog.at_level("INFO", "keras_arch"):
        model = task.build()
    assert "its head stays" in caplog.text
    source = weights_of(api.load_model(classifier_of_digits).model)
    np.testing.assert_array_equal(weights_of(model)["logits/kernel"], source["logits/kernel"])


def test_factors_of_every_family():
    factors = finetuning.layer_factors(
        models.VGG11(input_shape=(32, 32, 3), classes=3, units=8), 0.5
    )
    assert factors["fc6"] == factors["fc7"] == 0.5
    assert factors["conv5_2"] == 0.25
    assert factors["conv1_1"] == 0.5**6
    assert "logits" not in factors
    factors = finetuning.layer_factors(models.ResNet18(input_shape=(32, 32, 3), classes=3), 0.5)
    assert min(factors.values()) == 0.5**4
    assert max(factors.values()) == 0.5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stop", "newest"),
    [
        (StopBefore(1), (0, 1)),
        (StopAtEnd(0), (0, 2)),
        (StopBefore(3), (1, 1)),
    ],
    ids=["head", "between", "all"],
)
def test_it_goes_on_exactly_in_either_phase(
    stop, newest, tuned, classifier_of_digits, photos, tmp_path, monkeypatch
):
    """Stopped inside an epoch of the head, at its end, or inside an epoch of all layers."""
    goes_on_exactly(
        finetuning.FineTuning,
        lambda out, **more: tune(
            classifier_of_digits, photos, out, "recipe.checkpoint_every=1", **more
        ),
        tuned.directory,
        tmp_path / "broken",
        stop,
        f"epoch-{newest[0]:05d}-step-{newest[1]:07d}.npz",
        monkeypatch,
    )


def test_large_photos_are_cut_out_of_whole_ones(tmp_path, photos):
    """And an address of the Hub is told as what the model comes from."""
    arguments = {"depth": 8, "input_shape": [96, 96, 3], "classes": 3}
    card = hub.Card("net", "CIFARResNet", arguments, "image-classification",
                    Preprocessing((96, 96)), license="mit")  # fmt: skip
    hub.save(models.create("CIFARResNet", **arguments), tmp_path / "net", card)
    checked = transfer.finetune_config(tmp_path / "net", f"folder:{photos}")
    assert checked.data.augment == ("resized_crop:0.35,1", "flip")
    assert not checked.data.cache
    assert checked.license == "mit"
    # The head has 64 inputs.
    assert checked.recipe.optimizer.learning_rate.peak == pytest.approx(3e-3)
    assert checked.recipe.head_learning_rate == pytest.approx(1e-2)
    assert transfer._rates(2048) == pytest.approx((5.3e-4, 1.8e-3))
    assert without_path("hf://someone/net@v1") == "hf://someone/net@v1"
    assert without_path("/home/me/net/") == "net"


def test_patience_counts_epochs_without_better_ones(classifier_of_digits, photos):
    task = task_of(
        classifier_of_digits, photos, "recipe.patience=2", "recipe.epochs=9", "recipe.head_epochs=2"
    )

    def should_stop(*pairs):
        return task.should_stop([{"val_accuracy": a, "val_loss": b} for a, b in pairs])

    assert not should_stop()
    # The third epoch is the first that counts, whenever the best was.
    assert not should_stop((0.9, 1), (0.5, 1), (0.5, 1), (0.5, 1))
    assert should_stop((0.9, 1), (0.5, 1), (0.5, 1), (0.5, 1), (0.5, 1))
    # Accuracy decides, and of equals the loss.
    assert not should_stop((0.5, 1), (0.5, 1), (0.6, 3), (0.6, 2), (0.6, 2))
    assert should_stop((0.5, 1), (0.5, 1), (0.6, 3), (0.6, 2), (0.6, 2), (0.5, 1))


@pytest.mark.slow
def test_the_best_epoch_is_kept_and_training_stops_after_it(classifier_of_digits, photos, tmp_path):
    """The rate is so high that only the first epoch, of the head alone, leaves a network."""
    settings = [
        "recipe.epochs=9", "recipe.patience=2", "recipe.head_learning_rate=0.1",
        "recipe.optimizer={name: sgd, learning_rate: 3.0e+2}", "recipe.layer_decay=1",
    ]  # fmt: skip
    run = tune(classifier_of_digits, photos, tmp_path / "run", *settings)
    rows = [row.split(",") for row in (run.directory / "log.csv").read_text().split()]
    place = rows[0].index("val_accuracy")
    accuracies = [float(row[place]) for row in rows[1:]]
    best = accuracies.index(max(accuracies)) + 1
    # Epochs of the head alone are not counted.
    assert len(accuracies) == max(best, 2) + 2
    kept = callbacks.BestCheckpoint(best, "", 0.0, {}, run.directory / f"best/epoch-{best:05d}")
    network = models.create("CIFARResNet", **api.load_model(run.directory).card.arguments)
    network.load_weights(kept.weights())
    published = api.load_model(run.directory).model
    for one, other in zip(network.get_weights(), published.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    # A run that ended so and is resumed has nothing left to train.
    again = tune(classifier_of_digits, photos, tmp_path / "run", *settings, resume=True)
    assert again.metrics == pytest.approx(run.metrics)
    where = run.directory / "config.yaml"
    again = api.train(where, run.directory, resume=True, verbose=0)
    assert again.metrics == pytest.approx(run.metrics)


@pytest.mark.slow
def test_two_replicas(classifier_of_digits, photos, tmp_path, two_replicas, monkeypatch):
    monkeypatch.setattr("keras_arch.distribute.strategy", lambda name: two_replicas)
    more = ["recipe.batch_size=20", "recipe.epochs=2", "data.augment=[mixup:0.2]"]
    run = tune(classifier_of_digits, photos, tmp_path / "run", *more)
    assert hub.load(run.model).get_layer("stem_norm").synchronized is False


class TestParts:
    @pytest.mark.parametrize(
        ("sizes", "train", "validation", "test"),
        [
            ({"train": 100}, "train[:70%]", "train[70%:85%]", "train[85%:]"),
            ({"train": 90, "test": 10}, "train[:85%]", "train[85%:]", "test"),
            ({"train": 80, "val": 20}, "train[:85%]", "train[85%:]", "val"),
            ({"train": 80, "test": 10, "validation": 10}, "train", "validation", "test"),
            ({"everything": 9}, "everything[:70%]", "everything[70%:85%]", "everything[85%:]"),
        ],
    )
    def test_what_chooses_the_epoch_does_not_test(self, sizes, train, validation, test):
        assert transfer._splits(sizes) == {"train": train, "validation": validation, "test": test}


class TestMistakes:
    def test_classes_that_differ_from_the_data(self, classifier_of_digits, photos, tmp_path):
        with pytest.raises(ConfigError, match=r"classes is 7, folder:.* has 3 classes"):
            tune(classifier_of_digits, photos, tmp_path / "run", "model.arguments.classes=7")
        assert not (tmp_path / "run").exists()

    @pytest.mark.parametrize(
        ("setting", "error", "told"),
        [
            ("recipe.head_epoch=3", ConfigError, "did you mean head_epochs"),
            (
                "recipe.head_epochs=4",
                ConfigError,
                "first of the epochs, 3, got 4",
            ),
            ("recipe.layer_decay=0", ConfigError, "layer_decay"),
            ("data.validation=null", ConfigError, "recipe.checkpoint needs data.validation"),
            ("data.augment=[mixxup]", ArgumentError, "did you mean mixup"),
            pytest.param(
                "model.arguments.depth=14", ArgumentError, "does not fit", marks=pytest.mark.slow
            ),
            pytest.param(
                "recipe.batch_size=100",
                DataError,
                "fewer than one batch of 100",
                marks=pytest.mark.slow,
            ),
        ],
    )
    def test_settings(self, setting, error, told, classifier_of_digits, photos, tmp_path):
        with pytest.raises(error, match=told) as caught:
            tune(classifier_of_digits, photos, tmp_path / "run", setting)
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "run").exists()

    def test_sources_and_data(self, classifier_of_digits, photos, tmp_path):
        generator = models.DCGANGenerator(image_shape=(16, 16, 1), filters=2)
        card = hub.Card(
            "maker",
            "DCGANGenerator",
            {},
            "unconditional-image-generation",
            Preprocessing((16, 16), 1),
            latent={"size": 100, "distribution": "normal"},
        )
        hub.save(generator, tmp_path / "maker", card)
        with pytest.raises(ArgumentError, match="takes a classifier or a segmentation network"):
            tune(tmp_path / "maker", photos, tmp_path / "run")
        own = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten()])
        card = hub.Card("own", "MyNet", {}, "image-classification", Preprocessing((8, 8), 1))
        hub.save(own, tmp_path / "own", card)
        with pytest.raises(ArgumentError, match="'MyNet', which is no architecture of keras_arch"):
            tune(tmp_path / "own", photos, tmp_path / "run")
        keras.saving.save_model(own, tmp_path / "plain", zipped=False)
        with pytest.raises(ArgumentError, match="not saved by keras_arch"):
            tune(tmp_path / "plain", photos, tmp_path / "run")
        with pytest.raises(DataError, match="has no labels"):
            tune(classifier_of_digits, photos / "dark", tmp_path / "run")
        with pytest.raises(DataError, match="nowhere"):
            tune(classifier_of_digits, tmp_path / "nowhere", tmp_path / "run")
        assert not (tmp_path / "run").exists()

    def test_an_archive_in_order_of_its_classes(self, classifier_of_digits, tmp_path):
        images = np.zeros((30, 8, 8, 1), np.uint8)
        np.savez(tmp_path / "sorted.npz", x_train=images, y_train=np.repeat([0, 1, 2], 10))
        with pytest.raises(
            DataError, match=r"'train\[:60%\]' .* has no image of 2; shuffle"
        ) as told:
            api.finetune(
                classifier_of_digits,
                f"npz:{tmp_path}/sorted.npz",
                tmp_path / "run",
                overrides=["data.train=train[:60%]"],
            )
        assert "\n" not in str(told.value)
