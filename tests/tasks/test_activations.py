"""Saved networks that end in logits or in one sigmoid: true probabilities wherever used."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from PIL import Image

from keras_arch import api, export, hub
from keras_arch.errors import ArgumentError
from keras_arch.preprocessing import Preprocessing
from keras_arch.tasks.evaluation_data import EvaluationData

PREPROCESSING = Preprocessing((8, 8), 1)
LABELS = {1: ["no", "yes"], 3: ["a", "b", "c"]}
SEEDED = keras.initializers.RandomNormal(stddev=0.4, seed=4)


def network(units, activation, pixels):
    image = keras.Input((8, 8, 1))
    x = layers.Conv2D(2, 3, padding="same", kernel_initializer=SEEDED)(image)
    if pixels:
        end = layers.Conv2D(units, 1, activation=activation, kernel_initializer=SEEDED)
    else:
        x = layers.Flatten()(x)
        end = layers.Dense(units, activation=activation, kernel_initializer=SEEDED)
    return keras.Model(image, end(x), name="net")


def card_of(units, pixels):
    task = "image-segmentation" if pixels else "image-classification"
    recipe = {"data": {"crop_mode": "whole"}}
    return hub.Card("net", "Net", {}, task, PREPROCESSING, labels=LABELS[units], recipe=recipe)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    pixels = np.random.default_rng(2).integers(0, 256, (6, 8, 8), "uint8")
    paths = [folder / f"{number}.png" for number in range(len(pixels))]
    for path, one in zip(paths, pixels, strict=True):
        Image.fromarray(one).save(path)
    return paths, pixels[..., None]


def expected(model, pixels):
    """Probabilities by the book, in NumPy."""
    outputs = np.asarray(model(pixels.astype("float32") / 255)).astype("float64")
    linear = model.layers[-1].activation is keras.activations.linear
    if outputs.shape[-1] == 1:
        p = 1 / (1 + np.exp(-outputs)) if linear else outputs
        return np.concatenate([1 - p, p], axis=-1)
    return np.exp(outputs) / np.exp(outputs).sum(-1, keepdims=True) if linear else outputs


def cases(quick):
    """Units and activations, of which one is quick."""
    every = [(3, None), (3, "softmax"), (1, None), (1, "sigmoid")]
    return [pytest.param(*each, marks=() if each == quick else pytest.mark.slow) for each in every]


@pytest.mark.parametrize(("units", "activation"), cases((3, None)))
def test_a_classifier(units, activation, images, tmp_path):
    model, (paths, pixels) = network(units, activation, False), images
    saved = hub.save(model, tmp_path / "net", card_of(units, False))
    truth = expected(model, pixels)
    assert hub.read_card(saved).activation == (activation or "linear")
    # predict
    for one, wanted in zip(api.predict(saved, paths), truth, strict=True):
        assert one.labels == tuple(LABELS[units][i] for i in np.argsort(-wanted))
        np.testing.assert_allclose(one.probabilities, np.sort(wanted)[::-1], rtol=1e-4, atol=1e-6)
    # evaluate
    classes = np.arange(len(pixels)) % truth.shape[1]

    class Source:
        name, classes = "pictures", LABELS[units]

    class Chosen(EvaluationData):
        def load(self, *arguments, **more):
            numbers = np.arange(len(pixels)) % truth.shape[1]
            return Source, tf.data.Dataset.from_tensor_slices((pixels, numbers.astype("int64")))

    loaded = hub.load_with_card(saved)
    task = api._task(loaded)
    found = task.evaluate(loaded, Chosen(loaded.card, {}))
    right = np.clip(truth[np.arange(len(pixels)), classes], 1e-7, 1)
    assert found["accuracy"] == pytest.approx((truth.argmax(1) == classes).mean())
    assert found["loss"] == pytest.approx(-np.log(right).mean(), rel=1e-3)
    # export
    path = api.export_model(saved, tmp_path / "served")
    served = tf.saved_model.load(str(path)).signatures["serving_default"]
    out = served(image=tf.constant(pixels, tf.float32))
    np.testing.assert_allclose(out["probabilities"], truth, rtol=1e-4, atol=1e-6)
    assert [label.decode() for label in out["label"].numpy()] == [
        LABELS[units][i] for i in truth.argmax(1)
    ]
    # The README's lines
    code = re.search(r"```python\n(.*?)```", (saved / "README.md").read_text(), re.S)[1]
    lines = [line for line in code.splitlines() if line.startswith(("outputs =", "labels ="))]
    values = {"loaded": loaded, "images": pixels, "keras": keras}
    exec("import keras_arch\n" + "\n".join(lines), values)
    assert values["labels"] == [LABELS[units][i] for i in truth.argmax(1)]


@pytest.mark.parametrize(("units", "activation"), cases((1, "sigmoid")))
def test_a_segmenter(units, activation, images, tmp_path):
    model, (paths, pixels) = network(units, activation, True), images
    saved = hub.save(model, tmp_path / "net", card_of(units, True))
    truth = expected(model, pixels)
    classes = truth.argmax(-1)
    assert len(np.unique(classes)) > 1
    assert hub.read_card(saved).activation == (activation or "linear")
    for one, wanted in zip(api.predict(saved, paths, out=tmp_path / "out"), classes, strict=True):
        with Image.open(one.mask) as mask:
            np.testing.assert_array_equal(np.asarray(mask), wanted)
        assert set(one.shares) == set(LABELS[units])
    path = api.export_model(saved, tmp_path / "served")
    served = tf.saved_model.load(str(path)).signatures["serving_default"]
    out = served(image=tf.constant(pixels, tf.float32))
    np.testing.assert_allclose(out["probabilities"], truth, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(out["classes"], classes)


@pytest.mark.parametrize("pixels", [False, True])
def test_several_labels_an_image_are_refused_wherever_they_are_used(pixels, images, tmp_path):
    model, card = network(3, "sigmoid", pixels), card_of(3, pixels)
    loaded = hub.LoadedModel(model, card, tmp_path, None)
    task = api._task(loaded)
    served = {"preprocessing": PREPROCESSING, "labels": card.labels, "task": card.task}
    acts = [
        lambda: hub.save(model, tmp_path / "net", card),
        lambda: task.predict(loaded, images[0], out=tmp_path if pixels else None),
        lambda: export.saved_model(model, tmp_path / "served", name="net", **served),
    ]
    for act in acts:
        with pytest.raises(ArgumentError, match=r"a sigmoid of 3 classes.*end it in a softmax"):
            act()
    assert not list(tmp_path.iterdir())
