"""Fine-tuning of segmentation networks, and frozen backbones in recipes."""

import numpy as np
import pytest
from PIL import Image

from keras_arch import api, config, hub, models
from keras_arch.errors import ConfigError, DataError
from keras_arch.preprocessing import Preprocessing
from keras_arch.tasks import finetuning_config
from keras_arch.tasks.segmentation import Segmentation
from keras_arch.tasks.segmentation_finetuning import SegmentationFineTuning
from tests.tasks.test_resume import StopAtEnd, StopBefore, goes_on_exactly

NET = {"padding": "same", "input_shape": [8, 8, 1], "classes": 2, "depth": 1, "filters": 2,
       "norm": "batch"}  # fmt: skip
# One that does not follow from the length of a run.
RATE = "recipe.optimizer.learning_rate=0.01"
TINY = ["recipe.epochs=2", "recipe.head_epochs=1", "recipe.batch_size=4", "samples.count=1",
        "recipe.deterministic=true"]  # fmt: skip


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A network of two classes with weights of its own."""
    card = hub.Card("net", "UNet", NET, "image-segmentation", Preprocessing((8, 8), 1),
                    labels=["no", "yes"], license="mit")  # fmt: skip
    network = models.create("UNet", **NET)
    rng = np.random.default_rng(0)
    network.set_weights([rng.uniform(0.5, 1, w.shape) for w in network.weights])
    return hub.save(network, tmp_path_factory.mktemp("net") / "net", card)


@pytest.fixture(scope="module")
def pieces(tmp_path_factory):
    """Grey images with masks of three classes, which are their brightness."""
    folder = tmp_path_factory.mktemp("pieces")
    rng = np.random.default_rng(1)
    for part in ("images", "masks"):
        (folder / part).mkdir()
    for number in range(12):
        mask = np.repeat(np.repeat(rng.integers(0, 3, (4, 4)), 3, 0), 3, 1).astype(np.uint8)
        mask[0, :3] = (0, 1, 2)
        Image.fromarray(mask * 100).save(folder / f"images/{number}.png")
        Image.fromarray(mask).save(folder / f"masks/{number}.png")
    return folder


def task_of(ref, source, *more):
    checked = finetuning_config.finetune_config(ref, source, overrides=[*TINY, *more])
    task = SegmentationFineTuning(checked, checked.preprocessing.build())
    task.check()
    return task


def values(model):
    return {weight.path: np.array(weight) for weight in model.weights}


@pytest.fixture(scope="module")
def run(saved, pieces, tmp_path_factory):
    """A finished run: two steps of the head, and two of all layers."""
    out = tmp_path_factory.mktemp("tuned") / "run"
    return api.finetune(saved, f"masks:{pieces}", out, overrides=TINY, verbose=0)


@pytest.mark.slow
def test_a_run_leaves_a_network_of_the_new_classes(run, pieces, tmp_path):
    loaded = api.load_model(run.directory)
    assert loaded.card.labels == ["0", "1", "2"]
    assert loaded.card.task == "image-segmentation"
    assert loaded.card.base == "net"
    assert loaded.card.license == "mit"
    assert loaded.card.preprocessing == Preprocessing((8, 8), 1)
    assert loaded.model.output_shape == (None, 8, 8, 3)
    assert {"mean_iu", "best_epoch"} <= set(run.metrics)
    resolved = config.load(run.directory / "config.yaml")
    assert resolved.task == "segmentation-fine-tuning"
    assert resolved.data.validation == "train[70%:85%]"
    (found,) = api.predict(run.model, [pieces / "images/0.png"], out=tmp_path)
    assert set(found.shares) == {"0", "1", "2"}


@pytest.mark.slow
def test_the_head_learns_alone_and_then_all_layers(saved, pieces):
    rates = [
        "recipe.layer_decay=0.1",
        "recipe.head_learning_rate=0.02",
        "recipe.optimizer={name: adam, learning_rate: 0.01}",
    ]
    task = task_of(saved, f"masks:{pieces}", *rates)
    model = task.build()
    source = values(api.load_model(saved).model)
    start = values(model)
    assert start["logits/kernel"].shape[-1] == 3
    for path, value in start.items():
        if not path.startswith("logits"):
            np.testing.assert_array_equal(value, source[path])
    noise = np.random.default_rng(0).normal(size=(4, 8, 8, 1))
    labels = np.random.default_rng(0).integers(0, 3, (4, 8, 8))

    def step(epoch):
        before = values(model)
        task.set_phase(model, epoch)
        model.train_on_batch(noise, labels)
        return {path: np.abs(value - before[path]).max() for path, value in values(model).items()}

    moved = step(0)
    assert moved.pop("logits/kernel") == pytest.approx(0.02, rel=0.05)
    assert moved.pop("logits/bias") == pytest.approx(0.02, rel=0.05)
    assert set(moved.values()) == {0.0}
    moved = step(1)
    assert moved["logits/kernel"] == pytest.approx(1e-2, rel=0.05)
    assert moved["up1_conv2/kernel"] == pytest.approx(1e-3, rel=0.05)
    assert moved["stage2_conv1/kernel"] == pytest.approx(1e-4, rel=0.05)
    assert moved["stage1_conv1/kernel"] == pytest.approx(1e-5, rel=0.05)
    assert moved["stage1_norm1/moving_mean"] > 0


@pytest.mark.slow
def test_a_backbone_stays_frozen_in_both_phases(saved, pieces):
    task = task_of(saved, f"masks:{pieces}", "recipe.freeze_backbone=true", RATE)
    model = task.build()
    for epoch in (0, 1):
        task.set_phase(model, epoch)
        trained = {weight.path.split("/")[0] for weight in model.trainable_weights}
        assert "logits" in trained
        assert not any(name.startswith("stage") for name in trained)
        assert any(name.startswith("up1") for name in trained) == (epoch == 1)


@pytest.mark.slow
def test_the_head_stays_where_the_classes_are_the_same(saved, pieces, caplog):
    named = f"masks:{pieces}?classes=no:0,yes:1,ignore:2"
    with caplog.at_level("INFO", "keras_arch"):
        model = task_of(saved, named, RATE).build()
    assert "the classes are those of net: its head stays" in caplog.text
    source = values(api.load_model(saved).model)
    np.testing.assert_array_equal(values(model)["logits/kernel"], source["logits/kernel"])


def test_what_does_not_fit_is_refused(saved, pieces):
    with pytest.raises(DataError, match="has no masks; fine-tuning a segmentation network needs"):
        finetuning_config.finetune_config(saved, "digits")
    with pytest.raises(ConfigError, match=r"model\.arguments do not fit .* layer stage1_conv1"):
        task_of(saved, f"masks:{pieces}", "model.arguments.filters=3").build()


def test_a_frozen_backbone_needs_weights():
    overrides = ["recipe.freeze_backbone=true", "data.train=train[:8]", "data.test=test[:2]"]
    checked = config.load("unet-cells", overrides)
    task = Segmentation(checked, checked.preprocessing.build())
    with pytest.raises(
        ConfigError, match="freeze_backbone would keep a backbone of random weights"
    ):
        task.check()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stop", "newest"), [(StopBefore(1), (0, 1)), (StopAtEnd(0), (0, 2)), (StopBefore(3), (1, 1))]
)
def test_it_goes_on_exactly_in_either_phase(
    stop, newest, run, saved, pieces, tmp_path, monkeypatch
):
    every = [*TINY, "recipe.checkpoint_every=1"]
    goes_on_exactly(
        SegmentationFineTuning,
        lambda out, **more: api.finetune(
            saved, f"masks:{pieces}", out, overrides=every, verbose=0, **more
        ),
        run.directory,
        tmp_path / "broken",
        stop,
        f"epoch-{newest[0]:05d}-step-{newest[1]:07d}.npz",
        monkeypatch,
    )
