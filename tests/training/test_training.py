"""Runs at a tiny size, in this process: what they leave behind, and what they refuse."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_arch import api, config, data, hub, trainers
from keras_arch.errors import ArgumentError, ConfigError, DataError, NonFiniteError, RunError
from keras_arch.training.optimizer_from_config import make_optimizer
from tests.runs import EVERY_RUN, refused_in_one_line

GAN = [
    "generator.arguments.filters=4",
    "discriminator.arguments.filters=4",
    "data.train=train[:200]",
    "recipe.epochs=2",
    "samples.count=4",
    "samples.every=1",
]
CLASSIFIER = [
    "model.arguments.depth=8",
    "data.train=train[:256]",
    "data.test=test[:100]",
    "recipe.epochs=2",
]


@pytest.fixture(scope="module")
def gan_run(tmp_path_factory):
    out = tmp_path_factory.mktemp("gan") / "run"
    return api.train("dcgan-digits", out, overrides=GAN, verbose=0)


@pytest.fixture(scope="module")
def classifier_run(tmp_path_factory):
    out = tmp_path_factory.mktemp("classifier") / "run"
    return api.train("resnet20-digits", out, overrides=CLASSIFIER, verbose=0)


def train(name, overrides, out, **arguments):
    return api.train(name, out, overrides=overrides, verbose=0, **arguments)


class TestWhatARunLeaves:
    def test_gan(self, gan_run):
        names = {path.name for path in gan_run.directory.iterdir()}
        assert names == EVERY_RUN
        grids = sorted(path.name for path in (gan_run.directory / "samples").iterdir())
        assert grids == ["epoch-0001.png", "epoch-0002.png", "final.png"]
        assert set(gan_run.metrics) == {"d_loss", "g_loss", "d_real", "d_fake"}
        assert json.loads((gan_run.directory / "metrics.json").read_text()) == gan_run.metrics
        assert list((gan_run.directory / "logs").rglob("events*"))

    def test_the_last_grid_shows_what_the_published_generator_makes(self, gan_run, tmp_path):
        again = api.generate(gan_run.directory, count=4, seed=0, out=tmp_path / "g.png")
        with Image.open(again) as a, Image.open(gan_run.directory / "samples/final.png") as b:
            # Batches of another size may round a pixel the other way.
            assert np.abs(np.asarray(a, int) - np.asarray(b, int)).max() <= 1

    def test_environment(self, gan_run):
        environment = json.loads((gan_run.directory / "environment.json").read_text())
        assert environment["packages"]["keras"] == keras.__version__
        assert environment["packages"]["tensorflow"] == tf.__version__
        assert environment["devices"]
        assert "git_revision" in environment

    def test_config_is_resolved(self, classifier_run):
        resolved = config.load(classifier_run.directory / "config.yaml")
        images = data.load("digits", "train[:256]")
        pixels = np.stack([image.numpy() for image, _ in images])
        enlarged = tf.image.resize(pixels, (16, 16), "bicubic", antialias=True).numpy().clip(0, 255)
        mean = np.asarray(resolved.preprocessing.mean).reshape(-1)
        np.testing.assert_allclose(mean, [enlarged.mean() / 255], atol=1e-4)
        assert resolved.recipe.epochs == 2

    def test_report_of_a_classifier(self, classifier_run):
        report = json.loads((classifier_run.directory / "per_class.json").read_text())
        assert set(report) == {*map(str, range(10)), "macro avg", "weighted avg"}
        recall = report["weighted avg"]["recall"]
        assert recall == pytest.approx(classifier_run.metrics["accuracy"], abs=1e-4)
        for name in ("per_class.png", "mistakes.png"):
            assert Image.open(classifier_run.directory / name).width > 300

    def test_classifier_card(self, classifier_run):
        card = hub.read_card(classifier_run.model)
        assert card.labels == [str(digit) for digit in range(10)]
        assert card.metrics == pytest.approx(classifier_run.metrics)
        assert card.recipe["recipe"]["batch_size"] == 64
        assert (classifier_run.directory / "confusion_matrix.png").stat().st_size > 5_000
        assert (classifier_run.model / "samples.png").exists()

    def test_metrics_are_those_of_the_published_model(self, classifier_run):
        opened = api.load_model(classifier_run.directory)
        images = data.load("digits", "test[:100]")
        pixels = np.stack([image.numpy() for image, _ in images])
        labels = np.array([int(label) for _, label in images])
        probabilities = np.asarray(opened.model(opened.card.preprocessing(pixels)))
        np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-5)
        accuracy = (probabilities.argmax(1) == labels).mean()
        loss = -np.log(probabilities[np.arange(100), labels]).mean()
        assert classifier_run.metrics["accuracy"] == pytest.approx(accuracy)
        assert classifier_run.metrics["loss"] == pytest.approx(loss, rel=1e-3)
        assert classifier_run.metrics["error"] == pytest.approx(1 - accuracy)

    @pytest.mark.slow
    def test_settings_of_the_process_are_put_back(self, tmp_path):
        train(
            "dcgan-digits",
            [*GAN, "recipe.precision=mixed_bfloat16", "recipe.epochs=1"],
            tmp_path / "r",
        )
        assert keras.config.dtype_policy().name == "float32"
        opened = hub.load_with_card(tmp_path / "r/model")
        assert opened.model.get_layer("stage2_conv").dtype_policy.name == "float32"

    @pytest.mark.slow
    def test_local_paths_stay_out_of_the_card(self, tmp_path):
        images = np.random.default_rng(0).integers(0, 255, (80, 16, 16, 1)).astype("uint8")
        np.savez(tmp_path / "mine.npz", x_train=images)
        source = f"data.source=npz:{tmp_path}/mine.npz"
        run = train(
            "dcgan-digits", [*GAN, source, "data.train=train", "recipe.epochs=1"], tmp_path / "r"
        )
        for file in ("keras_arch.json", "README.md"):
            text = (run.model / file).read_text()
            assert str(tmp_path) not in text
            assert "mine.npz" in text


class TestRecipes:
    @pytest.mark.slow
    def test_mixed_and_smoothed_labels_in_a_cosine_schedule(self, tmp_path):
        more = [
            "recipe.epochs=1",
            "data.augment=[mixup:0.4, cutmix:1.0]",
            "data.validation=train[256:356]",
            "recipe.label_smoothing=0.2",
            "recipe.checkpoint=best",
            "recipe.synchronized=true",
            "recipe.optimizer={name: adamw, learning_rate: {name: cosine, peak: 0.01, "
            "warmup_epochs: 0.25}}",
        ]
        run = train("resnet20-digits", [*CLASSIFIER, *more], tmp_path / "r")
        rate = config.load(run.directory / "config.yaml").recipe.optimizer.learning_rate
        # Four steps.
        assert (rate.warmup_steps, rate.decay_steps) == (1, 3)
        assert run.metrics["best_epoch"] == 1
        header, row = (run.directory / "log.csv").read_text().split()
        logged = dict(zip(header.split(","), map(float, row.split(",")), strict=True))
        assert 0 <= logged["accuracy"] <= 1
        # Cross-entropy with a label smoothed over ten classes is at least its entropy.
        shares = np.array([0.82] + [0.02] * 9)
        assert logged["val_loss"] > -(shares * np.log(shares)).sum()

    def test_a_cosine_with_warm_up_by_hand(self):
        rate = config.Cosine(peak=0.2, warmup_steps=10, decay_steps=40, floor=0.02)
        made = make_optimizer(config.SGD(name="sgd", learning_rate=rate))._learning_rate
        found = [float(made(step)) for step in (0, 5, 10, 30, 50, 90)]
        assert found == pytest.approx([0, 0.1, 0.2, 0.11, 0.02, 0.02], abs=1e-7)
        flat = config.SGD(name="sgd", learning_rate=config.Cosine(peak=0.2, decay_steps=40))
        rate = flat.learning_rate.resolved(1, 40)
        made = make_optimizer(flat.model_copy(update={"learning_rate": rate}))._learning_rate
        assert [float(made(s)) for s in (0, 20, 40)] == pytest.approx([0.2, 0.1, 0.0], abs=1e-7)


class TestUsing:
    def test_evaluate_classifier(self, classifier_run, tmp_path):
        figures = api.evaluate(classifier_run.directory, out=tmp_path)
        assert figures == pytest.approx(classifier_run.metrics, rel=1e-4)
        assert {path.name for path in tmp_path.iterdir()} == {
            "metrics.json", "confusion_matrix.png", "per_class.png", "per_class.json",
            "mistakes.png",
        }  # fmt: skip
        other = api.evaluate(classifier_run.model, source="digits", split="test[100:150]")
        assert set(other) == set(figures)

    def test_evaluate_generator_meets_its_discriminator(self, gan_run):
        figures = api.evaluate(gan_run.directory)
        assert figures == pytest.approx(gan_run.metrics, rel=1e-3, abs=1e-4)

    def test_predict(self, classifier_run, tmp_path):
        paths = []
        for number, (image, _) in enumerate(data.load("digits", "test[:3]")):
            paths.append(tmp_path / f"{number}.png")
            Image.fromarray(image.numpy()[..., 0]).save(paths[-1])
        predictions = api.predict(classifier_run.directory, paths, top=3)
        opened = api.load_model(classifier_run.directory)
        pixels = np.stack([image.numpy() for image, _ in data.load("digits", "test[:3]")])
        expected = np.asarray(opened.model(opened.card.preprocessing(pixels)))
        for prediction, probabilities in zip(predictions, expected, strict=True):
            assert len(prediction.labels) == 3
            best = np.argsort(-probabilities)[:3]
            assert prediction.labels == tuple(map(str, best))
            np.testing.assert_allclose(prediction.probabilities, probabilities[best], rtol=1e-4)

    def test_push_and_open_from_a_folder_hub(self, gan_run, tmp_path):
        address = f"file://{tmp_path}/hub/me/digits"
        api.push(gan_run.directory, address)
        opened = api.load_model(address)
        np.testing.assert_allclose(
            trainers.sample(opened.model, 2, seed=1),
            trainers.sample(api.load_model(gan_run.directory).model, 2, seed=1),
        )

    @pytest.mark.slow
    def test_export(self, classifier_run, tmp_path):
        served = api.export_model(classifier_run.directory, tmp_path)
        assert served == tmp_path / "resnet20-digits" / "1"
        assert api.export_model(classifier_run.directory, tmp_path).name == "2"

    def test_a_model_of_stock_keras_has_no_card(self, tmp_path):
        model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten()])
        keras.saving.save_model(model, tmp_path / "plain", zipped=False)
        for use in (
            api.evaluate,
            api.generate,
            lambda ref: api.predict(ref, []),
            lambda ref: api.export_model(ref, tmp_path),
        ):
            with pytest.raises(ArgumentError, match="not saved by keras_arch"):
                use(tmp_path / "plain")

    def test_wrong_kinds(self, gan_run, classifier_run, tmp_path):
        with pytest.raises(ArgumentError, match="which has no predict"):
            api.predict(gan_run.directory, [])
        with pytest.raises(ArgumentError, match="has no generate"):
            api.generate(classifier_run.directory, out=tmp_path / "x.png")
        (tmp_path / "broken.png").write_bytes(b"no image")
        with pytest.raises(DataError, match=r"broken\.png"):
            api.predict(classifier_run.directory, [tmp_path / "broken.png"])
        with pytest.raises(DataError, match=r"absent\.png does not exist"):
            api.predict(classifier_run.directory, ["absent.png"])


class TestResume:
    def test_a_directory_with_a_run_is_not_overwritten(self, gan_run):
        with pytest.raises(RunError, match="--resume"):
            train("dcgan-digits", GAN, gan_run.directory)

    def test_a_directory_with_other_files_is_not_used(self, tmp_path):
        (tmp_path / "thesis.txt").write_text("mine")
        with pytest.raises(RunError, match="something else"):
            train("dcgan-digits", GAN, tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]

    def test_another_config_is_refused(self, gan_run):
        with pytest.raises(RunError, match="'generator'"):
            train(
                "dcgan-digits",
                [*GAN, "generator.arguments.filters=8"],
                gan_run.directory,
                resume=True,
            )

    @pytest.mark.slow
    def test_a_finished_run_can_be_finished_again_and_get_more_epochs(self, tmp_path):
        first = train("dcgan-digits", GAN, tmp_path / "r")
        again = train("dcgan-digits", GAN, tmp_path / "r", resume=True)
        assert again.metrics == pytest.approx(first.metrics, rel=1e-5)
        train("dcgan-digits", [*GAN, "recipe.epochs=3"], tmp_path / "r", resume=True)
        assert len((tmp_path / "r/log.csv").read_text().splitlines()) == 4


class TestStrategies:
    @pytest.mark.slow
    def test_two_replicas_publish_a_model_without_a_trace_of_them(
        self, tmp_path, two_replicas, monkeypatch
    ):
        monkeypatch.setattr("keras_arch.distribute.strategy", lambda name: two_replicas)
        run = train("resnet20-digits", [*CLASSIFIER, "recipe.epochs=1"], tmp_path / "r")
        norm = hub.load(run.model).get_layer("stem_norm")
        assert norm.synchronized is False
        with pytest.raises(ConfigError, match=r"batch_size 33 .* 2"):
            train("resnet20-digits", [*CLASSIFIER, "recipe.batch_size=33"], tmp_path / "s")

    @pytest.mark.slow
    def test_two_replicas_resume(self, tmp_path, two_replicas, monkeypatch):
        monkeypatch.setattr("keras_arch.distribute.strategy", lambda name: two_replicas)
        for epochs in (1, 2):
            settings = [*CLASSIFIER, f"recipe.epochs={epochs}"]
            train("resnet20-digits", settings, tmp_path / "r", resume=epochs > 1)
        assert len((tmp_path / "r/log.csv").read_text().splitlines()) == 3


class TestMistakes:
    @pytest.mark.parametrize(
        ("name", "override", "error", "word"),
        [
            ("resnet20-digits", "model.arguments.depth=21", ArgumentError, "20 and 26"),
            ("resnet20-digits", "model.arguments.classes=7", ConfigError, "10 classes"),
            ("resnet20-digits", "model.name=DCGANGenerator", ConfigError, "image-classification"),
            ("resnet20-digits", "preprocessing.size=[20,20]", ConfigError, "(20, 20, 1)"),
            ("resnet20-digits", "recipe.batch_size=5000", DataError, "5000"),
            ("resnet20-digits", "data.train=training", DataError, "train"),
            (
                "resnet20-digits",
                "data.source=folder:/no/such/folder",
                DataError,
                "/no/such/folder",
            ),
            (
                "dcgan-digits",
                "generator.arguments.image_shape=[48, 48, 1]",
                ArgumentError,
                "16, 32, 64",
            ),
            (
                "dcgan-digits",
                "discriminator.arguments.input_shape=[32, 32, 1]",
                ArgumentError,
                "(32, 32, 1)",
            ),
            ("dcgan-digits", "preprocessing.size=[32,32]", ConfigError, "(32, 32, 1)"),
        ],
    )
    def test_one_line_and_nothing_left(self, name, override, error, word, tmp_path):
        with refused_in_one_line(error, word, tmp_path / "r"):
            train(name, [override], tmp_path / "r")

    def test_divergence_leaves_the_last_good_checkpoint(self, tmp_path):
        diverges = [
            "recipe.optimizer.learning_rate={name: piecewise_constant, boundaries: [5], "
            "values: [0.001, 1.0e30]}"
        ]
        with pytest.raises(NonFiniteError, match="checkpoint"):
            train("resnet20-digits", [*CLASSIFIER, *diverges, "recipe.epochs=5"], tmp_path / "r")
        kept = sorted((tmp_path / "r/checkpoints").iterdir())
        assert kept
        for path in kept:
            with np.load(path, allow_pickle=False) as archive:
                described = json.loads(archive["state"].tobytes())["variables"]
                for number, (_, dtype, _) in enumerate(described):
                    if dtype == "float32":
                        values = np.frombuffer(archive[str(number)].tobytes(), dtype)
                        assert np.isfinite(values).all()

    def test_unfinished_run(self, tmp_path):
        (tmp_path / "config.yaml").write_text(config.dump(config.load("dcgan-digits")))
        with pytest.raises(RunError, match="has not finished"):
            api.load_model(tmp_path)
