"""The ImageNet recipes: what their papers say, and each of them run on a few pictures."""

import csv
import json

import keras
import numpy as np
import pytest
from PIL import Image

from keras_arch import api, config, data, hub, models
from keras_arch.data.augment.imagenet_crops import RandomResizedCrop, RandomScaleCrop
from keras_arch.errors import ArgumentError
from keras_arch.tasks import auxiliary_heads
from tests.rounding import ROUNDING

# Images in the training split of ILSVRC 2012.
IMAGES = 1_281_167
RECIPES = ("alexnet", "vgg16", "googlenet", "resnet50")
# What makes each small enough to be trained in seconds.
SMALL = {
    "alexnet": (67, ["model.arguments.units=16"]),
    "vgg16": (32, ["model.arguments.units=16", "data.augment=[scale_crop:40:48, lighting, flip]"]),
    "googlenet": (79, []),
    # Batch norm over the single pixels of four images has no steps of .1.
    "resnet50": (
        32,
        [
            "data.augment=[scale_crop:36:48, lighting, flip]",
            "recipe.optimizer.learning_rate=0.001",
        ],
    ),
}


@pytest.mark.parametrize(
    ("name", "batch", "epochs", "decay", "rates"),
    [
        # Krizhevsky et al. 2012, section 5: three divisions by 10 of .01.
        ("alexnet", 128, 90, 5e-4, [1e-2, 1e-3, 1e-4, 1e-5]),
        # Simonyan and Zisserman 2014, section 3.1: 370,000 iterations, 74 epochs.
        ("vgg16", 256, 74, 5e-4, [1e-2, 1e-3, 1e-4, 1e-5]),
        # Szegedy et al. 2014, section 6: less by 4 % every 8 epochs.
        ("googlenet", 32, 60, 2e-4, [1e-2 * 0.96**n for n in range(8)]),
        # He et al. 2015, section 3.4: from .1, 600,000 iterations.
        ("resnet50", 256, 120, 1e-4, [1e-1, 1e-2, 1e-3, 1e-4]),
    ],
)
def test_recipes_are_the_papers(name, batch, epochs, decay, rates):
    checked = config.load(f"{name}-imagenet")
    recipe = checked.recipe
    assert (recipe.batch_size, recipe.epochs, recipe.weight_decay) == (batch, epochs, decay)
    assert recipe.optimizer.momentum == 0.9
    schedule = recipe.optimizer.learning_rate
    np.testing.assert_allclose(schedule.values, rates, rtol=1e-6)
    steps = IMAGES // batch
    whole = np.array(schedule.boundaries) / steps
    if name == "vgg16":
        assert steps * epochs == pytest.approx(370_000, rel=1e-3)
        np.testing.assert_allclose(whole, [18.5, 37, 55.5], atol=0.01)
    else:
        np.testing.assert_array_equal(whole, whole.round())
    if name == "resnet50":
        assert steps * epochs == pytest.approx(600_000, rel=2e-3)
    preprocessing = checked.preprocessing.build(mean=0.0)
    assert preprocessing.size[0] // preprocessing.crop == 256
    assert (checked.data.source, checked.data.cache) == ("imagenet2012", False)


def test_augmentations_are_the_papers():
    first = {
        name: data.augmentations(config.load(f"{name}-imagenet").data.augment)[0]
        for name in RECIPES
    }
    size = config.load("alexnet-imagenet").preprocessing.size[0]
    assert first["alexnet"].pixels + size == 256
    assert first["vgg16"] == RandomScaleCrop(256, 512)
    assert first["resnet50"] == RandomScaleCrop(256, 480)
    assert first["googlenet"] == RandomResizedCrop(0.08, 1.0, 4 / 3)
    for name in RECIPES:
        augment = config.load(f"{name}-imagenet").data.augment
        assert {"lighting:0.1", "flip"} <= set(augment)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Two classes of a few pictures of all sizes, for training and validation."""
    root = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for split, count in (("train", 5), ("val", 3)):
        for label in ("cat", "dog"):
            folder = root / split / label
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 255, (*rng.integers(60, 120, 2), 3), np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.png")
    return root


def settings(name, pictures):
    size, more = SMALL[name]
    return [
        f"data.source=folder:{pictures}",
        "data.test=val",
        "model.arguments.classes=2",
        f"model.arguments.input_shape=[{size}, {size}, 3]",
        f"preprocessing.size=[{size}, {size}]",
        "recipe.epochs=1",
        "recipe.batch_size=4",
        "recipe.jit_compile=false",
        *more,
    ]


def train(name, pictures, out):
    overrides = settings(name, pictures)
    return api.train(f"{name}-imagenet", out, overrides=overrides, verbose=0)


def check(run):
    assert set(run.metrics) == {"accuracy", "error", "loss"}
    card = hub.read_card(run.model)
    assert card.labels == ["cat", "dog"]
    # Not the loss: after two steps logits may lie beyond what a probability can hold.
    figures = api.evaluate(run.directory)
    for name in ("accuracy", "error"):
        assert figures[name] == pytest.approx(run.metrics[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in RECIPES if name != "googlenet"])
def test_recipes_run(name, pictures, tmp_path):
    check(train(name, pictures, tmp_path / "run"))


@pytest.mark.slow
def test_googlenet_learns_with_its_heads_and_is_shared_without(pictures, tmp_path):
    run = train("googlenet", pictures, tmp_path / "run")
    check(run)
    opened = hub.load_with_card(run.model)
    assert "auxiliary" not in opened.card.arguments
    assert opened.model.output_shape == (None, 2)
    with open(run.directory / "log.csv") as log:
        (row,) = csv.DictReader(log)
    assert set(row) == {"epoch", "accuracy", "loss", "val_accuracy", "val_loss"}
    # What is shared is what was measured after the last epoch.
    assert run.metrics["accuracy"] == pytest.approx(float(row["val_accuracy"]))
    assert json.loads((run.directory / "metrics.json").read_text()) == run.metrics


@pytest.mark.slow
def test_the_heads_are_one_tensor_with_the_classifier_first():
    network = models.GoogLeNet(
        input_shape=(79, 79, 3), classes=3, auxiliary=True, classifier_activation=None
    )
    joined = models.stack_heads(network)
    images = np.random.default_rng(0).normal(size=(2, 79, 79, 3)).astype(np.float32)
    apart, together = network.predict(images, verbose=0), joined.predict(images, verbose=0)
    for number, name in enumerate(["logits", "auxiliary1_logits", "auxiliary2_logits"]):
        np.testing.assert_allclose(together[:, number], apart[name], atol=ROUNDING)
    np.testing.assert_allclose(
        models.main_head(joined).predict(images, verbose=0), apart["logits"], atol=ROUNDING
    )
    builder = config.Builder(
        name="GoogLeNet", arguments={"input_shape": [79, 79, 3], "classes": 3, "auxiliary": True}
    )
    final = auxiliary_heads.export_copy(builder, joined)
    probabilities = keras.ops.convert_to_numpy(keras.ops.softmax(apart["logits"]))
    np.testing.assert_allclose(final.predict(images, verbose=0), probabilities, atol=ROUNDING)


@pytest.mark.parametrize("shares", [False, True])
def test_the_loss_and_the_accuracy_of_several_heads(shares):
    """L + .3 L1 + .3 L2 of the paper's section 5, by the formula of the cross-entropy."""
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(5, 3, 4)).astype(np.float32)
    labels = rng.integers(0, 4, 5)
    log = logits - np.log(np.exp(logits).sum(axis=2, keepdims=True))
    each = -log[np.arange(5), :, labels].mean(axis=0)
    one = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    truth = labels
    if shares:
        one, truth = keras.losses.CategoricalCrossentropy(from_logits=True), np.eye(4)[labels]
    loss = auxiliary_heads.AuxiliaryHeadsLoss(one, 0.3)(truth, logits)
    assert float(loss) == pytest.approx(each @ [1, 0.3, 0.3], rel=1e-5)
    metric = auxiliary_heads.main_head_accuracy(shares)
    metric.update_state(truth, logits)
    assert float(metric.result()) == pytest.approx((logits[:, 0].argmax(1) == labels).mean())


def test_files_that_need_a_word_are_named(tmp_path, caplog):
    digit = np.zeros((16, 16), np.uint8)
    digit[3:13, 7:9] = 255
    clear, deep = tmp_path / "clear.png", tmp_path / "deep.tif"
    Image.fromarray(np.stack([digit] * 4, axis=-1)).save(clear)
    Image.fromarray((digit / 255).astype(np.float32)).save(deep)
    (found,) = api.predict("resnet20-digits", [clear])
    assert found.path == clear
    assert f"{clear}: its transparency is left out" in caplog.text
    with pytest.raises(ArgumentError, match=r"deep\.tif: images of float32 .* value_range"):
        api.predict("resnet20-digits", [clear, deep])
