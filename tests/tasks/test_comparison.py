"""Comparison of models on one data set."""

import csv

import keras
import numpy as np
import pytest
from PIL import Image

import keras_arch
from keras_arch import hub
from keras_arch.cli.app import main
from keras_arch.errors import ArgumentError
from keras_arch.preprocessing import Preprocessing
from keras_arch.tasks.comparison import gflop_of

LEVELS = {"dark": 0, "bright": 255}


def save(folder, name, layers, weights):
    """A classifier of the brightness of 8x8 images."""
    model = keras.Sequential([keras.Input((8, 8, 1)), *layers])
    model.layers[-1].set_weights(weights)
    card = hub.Card(
        name, "CIFARResNet", {}, "image-classification", Preprocessing((8, 8), 1),
        labels=list(LEVELS),
    )  # fmt: skip
    return hub.save(model, folder / name, card)


@pytest.fixture(scope="module")
def classifiers(tmp_path_factory):
    """One that is always right, and one that takes every image for a dark one."""
    folder, layers = tmp_path_factory.mktemp("models"), keras.layers
    dense = [layers.GlobalAveragePooling2D(), layers.Dense(2, activation="softmax")]
    right = save(folder, "right", dense, [np.array([[-20, 20]]), np.array([10, -10])])
    wide = [layers.Flatten(), layers.Dense(2, activation="softmax")]
    return right, save(folder, "dark", wide, [np.zeros((64, 2)), np.array([5, 0])])


@pytest.fixture
def source(tmp_path):
    for name, level in LEVELS.items():
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(2):
            Image.new("L", (8, 8), level).save(tmp_path / "data" / name / f"{number}.png")
    return f"folder:{tmp_path / 'data'}"


def test_metrics_size_and_speed_of_each(classifiers, source, tmp_path):
    out = tmp_path / "out"
    found = keras_arch.compare(classifiers, source=source, split="train", out=out)
    assert [each.metrics["accuracy"] for each in found] == [1.0, 0.5]
    assert [each.parameters for each in found] == [1 * 2 + 2, 64 * 2 + 2]
    assert [each.megabytes for each in found] == [4 * 4 / 1e6, 130 * 4 / 1e6]
    # Two operations for each weight of the second one, and its bias.
    assert found[1].gflop * 1e9 >= 2 * 128
    assert all(each.images_per_second > 0 for each in found)
    with (out / "compare.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["model"] for row in rows] == list(map(str, classifiers))
    assert [row["accuracy"] for row in rows] == ["1.0", "0.5"]
    assert Image.open(out / "compare.png").size > (300, 300)


def test_operations_of_a_convolution():
    # 3x3 windows of 3 channels at 16x16 places for 8 filters, two operations each.
    conv = keras.layers.Conv2D(8, 3, padding="same", use_bias=False)
    network = keras.Sequential([keras.Input((None, None, 3)), conv])
    assert gflop_of(network, (16, 16, 3)) * 1e9 == pytest.approx(2 * 27 * 8 * 256)


@pytest.mark.slow
def test_the_command_prints_a_row_for_each(classifiers, source, capsys):
    assert main(["compare", *map(str, classifiers), "--data", source, "--split", "train"]) == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [row[0] for row in rows] == list(map(str, classifiers))


def test_what_cannot_be_compared(classifiers, source, tmp_path):
    with pytest.raises(ArgumentError, match="at least two models, got 1"):
        keras_arch.compare(classifiers[:1], source=source)
    with pytest.raises(ArgumentError, match="no metric 'f1'; there are accuracy"):
        keras_arch.compare(classifiers, source=source, split="train", metric="f1")
    image = keras.Input((8, 8, 1))
    network = keras.Model(image, keras.layers.Conv2D(2, 1, activation="softmax")(image))
    card = hub.Card(
        "pixels", "UNet", {}, "image-segmentation", Preprocessing((8, 8), 1), labels=list(LEVELS)
    )
    other = hub.save(network, tmp_path / "pixels", card)
    with pytest.raises(ArgumentError, match="compare models of one task"):
        keras_arch.compare([classifiers[0], other], source=source)
