"""Classes of a data set against those of a model."""

import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import keras_arch
from keras_arch import data, hub, metrics
from keras_arch.data.sources.base import Source
from keras_arch.errors import ArgumentError, DataError
from keras_arch.preprocessing import Preprocessing
from keras_arch.tasks import generator_evaluation
from keras_arch.tasks.class_names import class_numbers, read_class_map
from keras_arch.tasks.evaluation_data import EvaluationData

NAMES = ("dark", "bright", "grey")
LEVELS = {"dark": 0, "bright": 255, "grey": 128}


@pytest.fixture(scope="module")
def perfect(tmp_path_factory):
    """A classifier of brightness that is always right."""
    image = keras.Input((8, 8, 1))
    mean = keras.layers.GlobalAveragePooling2D()(image)
    # The class of the nearest level.
    dense = keras.layers.Dense(3, activation="softmax", name="probabilities")
    model = keras.Model(image, dense(mean))
    levels = np.array([LEVELS[name] for name in NAMES]) / 255
    dense.set_weights([200 * levels[None], -100 * levels**2])
    card = hub.Card(
        "brightness", "CIFARResNet", {}, "image-classification",
        Preprocessing((8, 8), 1), labels=list(NAMES),
    )  # fmt: skip
    return hub.save(model, tmp_path_factory.mktemp("models") / "brightness", card)


@pytest.fixture
def pictures(tmp_path):
    for name, level in LEVELS.items():
        (tmp_path / "data" / name).mkdir(parents=True)
        Image.new("L", (8, 8), level).save(tmp_path / "data" / name / "1.png")
    return tmp_path / "data"


def test_names_are_matched_in_any_order(perfect, pictures, tmp_path):
    source = f"folder:{pictures}"
    assert data.describe(source).classes != NAMES
    found = keras_arch.evaluate(perfect, source=source, split="train", out=tmp_path / "out")
    assert found["accuracy"] == 1.0
    # Classes without images count for nothing.
    shutil.rmtree(pictures / "bright")
    found = keras_arch.evaluate(perfect, source=source, split="train", out=tmp_path / "out")
    assert found["accuracy"] == 1.0


def test_other_names_are_refused_unless_they_are_mapped(perfect, pictures):
    (pictures / "dark").rename(pictures / "dunkel")
    (pictures / "grey").rename(pictures / "grau")
    source = f"folder:{pictures}"
    with pytest.raises(DataError, match="bright, dunkel, grau") as caught:
        keras_arch.evaluate(perfect, source=source, split="train")
    assert "brightness has dark, bright, grey; say which is which: --class-map" in str(caught.value)
    found = keras_arch.evaluate(
        perfect, source=source, split="train", class_map="dunkel=dark, grau=grey"
    )
    assert found["accuracy"] == 1.0


def numbers(classes, labels, outputs=None, **options):
    outputs = outputs or len(labels)
    return class_numbers(classes, labels, outputs, source="data", model="net", **options)


def test_numbers_are_no_names(caplog):
    digits = tuple("0123456789")
    names = tuple("abcdefghij")
    assert numbers(digits, digits) == numbers(names, None, 10) == list(range(10))
    assert not caplog.records
    assert numbers(digits, names) == numbers(names, digits) == list(range(10))
    assert "of data are taken for those of net by their numbers: 0 is a, 1 is b, " in caplog.text
    assert numbers(("background", "foreground"), ("rim", "cell")) == [0, 1]
    with pytest.raises(DataError, match="data has 3 classes, the model 10"):
        numbers(("0", "1", "2"), names)
    with pytest.raises(DataError, match="data has no classes, the model 10"):
        numbers(None, names)


def test_maps_that_are_wrong_are_refused():
    with pytest.raises(ArgumentError, match="'cow', which is no class of data: cat, dog"):
        numbers(["cat", "dog"], ["Katze", "Hund"], class_map={"cow": "Hund"})
    with pytest.raises(ArgumentError, match="'Kuh', which is no class of net: Katze, Hund"):
        numbers(["cat", "dog"], ["Katze", "Hund"], class_map={"dog": "Kuh"})
    for text in ("cat", "cat=", "=Katze", "cat=a,cat=b"):
        with pytest.raises(ArgumentError, match="is written NAME=LABEL"):
            read_class_map(text)
    assert read_class_map("a%2Cb=c%3Dd") == {"a,b": "c=d"}


def test_masks_are_matched_and_their_ignored_pixels_stay():
    class Two(Source):
        kind, name, classes = "masks", "masks:x", ("cell", "rim")

    card = hub.Card(
        "net", "UNet", {}, "image-segmentation", Preprocessing((2, 2), 1), labels=["rim", "cell"]
    )
    mask = np.array([[0, 1], [255, 0]], np.uint8)
    dataset = tf.data.Dataset.from_tensors((np.zeros((2, 2, 1), np.uint8), mask))
    chosen = EvaluationData(card, {})
    ((_, found),) = chosen.as_model_classes(Two(), dataset, 2, partly=False)
    assert found.numpy().tolist() == [[1, 0], [255, 1]]
    assert found.dtype == tf.uint8
    Two.classes = ("cell",)
    with pytest.raises(DataError, match="say which is which"):
        chosen.as_model_classes(Two(), dataset, 2, partly=False)


def test_classifiers_of_generated_images_are_compared_by_name():
    network = metrics.FeatureNetwork("net", "", "", "", None, classes=2, labels=("b", "a"))
    found = generator_evaluation.requested_classes(4, ["a", "b"], network, "generator")
    assert found.tolist() == [1, 0, 1, 0]
    with pytest.raises(DataError, match="generator has the classes a, c; net has b, a"):
        generator_evaluation.requested_classes(4, ["a", "c"], network, "generator")
