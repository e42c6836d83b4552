"""A card that does not fit its network is refused when it is saved and when it is read."""

import dataclasses
import json

import keras
import numpy as np
import pytest
from keras import layers

from keras_arch import hub
from keras_arch.errors import ArgumentError, IntegrityError, NonFiniteError
from keras_arch.files import sha256
from keras_arch.hub.layout import RECORD
from keras_arch.preprocessing import Preprocessing

WRONG = {
    "labels": ({"labels": ["zero", "one"]}, "3 classes, got 2 labels"),
    "size": ({"preprocessing": Preprocessing((9, 8), 1)}, r"\(8, 8, 1\).*\(9, 8, 1\)"),
    "channels": ({"preprocessing": Preprocessing((8, 8), 3)}, r"\(8, 8, 1\).*\(8, 8, 3\)"),
    "activation": ({"activation": "linear"}, "activation is linear, that of the network softmax"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_card_of_another_network(case, folder, model, card, tmp_path):
    change, words = WRONG[case]
    other = dataclasses.replace(card, **change)
    with pytest.raises(ArgumentError, match=words) as caught:
        hub.save(model, tmp_path / "new", other)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "new").exists()
    record = json.loads((folder / RECORD).read_text())
    (folder / RECORD).write_text(json.dumps(record | {"card": other.to_dict()}))
    with pytest.raises(IntegrityError, match=words):
        hub.load(folder)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("recorded", [True, False])
def test_weights_that_are_not_numbers(value, recorded, folder, model, card, tmp_path):
    broken = keras.models.clone_model(model)
    broken.set_weights(model.get_weights())
    weights = broken.layers[-1].get_weights()
    weights[1][1] = value
    broken.layers[-1].set_weights(weights)
    with pytest.raises(NonFiniteError, match=r"weight .*bias of small is not finite"):
        hub.save(broken, tmp_path / "new", card)
    assert not (tmp_path / "new").exists()
    broken.save_weights(folder / "model.weights.h5")
    record = json.loads((folder / RECORD).read_text())
    record["sha256"]["model.weights.h5"] = sha256(folder / "model.weights.h5")
    (folder / RECORD).write_text(json.dumps(record))
    if not recorded:
        (folder / RECORD).unlink()
    with pytest.raises(IntegrityError, match="is not finite"):
        hub.load(folder)


def generator(latent=5, channels=1):
    noise = keras.Input((latent,))
    x = layers.Dense(64 * channels, activation="tanh")(noise)
    return keras.Model(noise, layers.Reshape((8, 8, channels))(x), name="g")


def translator(channels=1):
    image = keras.Input((8, 8, 1))
    return keras.Model(image, layers.Conv2D(channels, 1)(image), name="t")


def segmenter(classes=2):
    image = keras.Input((None, None, 1))
    return keras.Model(image, layers.Conv2D(classes, 1, activation="softmax")(image), name="s")


@pytest.mark.parametrize(
    ("task", "network", "fields", "words"),
    [
        ("unconditional-image-generation", generator(4), {}, r"shape \(4,\), got latent size 5"),
        ("unconditional-image-generation", generator(5, 3), {}, r"\(8, 8, 3\).*\(8, 8, 1\)"),
        ("image-to-image", translator(3), {"latent": None}, "give target_preprocessing"),
        (
            "image-segmentation",
            segmenter(3),
            {"latent": None, "labels": ["a", "b"]},
            "3 classes, got 2 labels",
        ),
        (
            "image-segmentation",
            segmenter(1),
            {"latent": None, "labels": ["a", "b"]},
            "softmax over one class",
        ),
    ],
)
def test_every_task_checks_its_own(task, network, fields, words, tmp_path):
    common = {"latent": {"size": 5, "distribution": "normal"}}
    card = hub.Card("n", "N", {}, task, Preprocessing((8, 8), 1), **(common | fields))
    with pytest.raises(ArgumentError, match=words):
        hub.save(network, tmp_path / "new", card)
    assert not list(tmp_path.glob("*"))
