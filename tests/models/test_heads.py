"""The kind of output of a network, found in its graph."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_arch import models
from keras_arch.errors import ArgumentError
from keras_arch.models.common.heads import check_classifier_output

IMAGE = keras.Input((8, 8, 1))
FLAT = layers.Flatten()(IMAGE)
MAP = layers.Conv2D(2, 1)(IMAGE)


def dense(units, activation=None):
    return layers.Dense(units, activation=activation)(FLAT)


def nested():
    inner = keras.Model(IMAGE, dense(3, "softmax"))
    return layers.Identity()(inner(IMAGE))


FOUND = {
    "a dense layer": (lambda: dense(3), "linear"),
    "its softmax": (lambda: dense(3, "softmax"), "softmax"),
    "its sigmoid": (lambda: dense(1, "sigmoid"), "sigmoid"),
    "the layer Softmax": (lambda: layers.Softmax()(dense(3)), "softmax"),
    "the layer Activation": (lambda: layers.Activation("sigmoid")(dense(1)), "sigmoid"),
    "an activation that is none": (lambda: layers.Activation(None)(dense(3, "softmax")), "softmax"),
    "ops.softmax": (lambda: ops.softmax(dense(3)), "softmax"),
    "ops.sigmoid": (lambda: ops.sigmoid(dense(1)), "sigmoid"),
    "a log softmax": (lambda: dense(3, "log_softmax"), "linear"),
    "behind a crop": (lambda: layers.Cropping2D(1)(layers.Softmax()(MAP)), "softmax"),
    "behind a reshape": (lambda: ops.reshape(layers.Softmax()(MAP), (-1, 64, 2)), "softmax"),
    "in a nested model": (nested, "softmax"),
    "a mean of two": (lambda: layers.Average()([dense(3, "softmax") for _ in "ab"]), "softmax"),
    "a sum of logits": (lambda: layers.Add()([dense(3), dense(3)]), "linear"),
    "a norm": (lambda: layers.BatchNormalization()(dense(3)), "linear"),
}


@pytest.mark.parametrize("case", FOUND)
def test_the_activation_is_found_in_the_graph(case):
    build, expected = FOUND[case]
    assert models.output_activation(keras.Model(IMAGE, build())) == expected


REFUSED = {
    "tanh": (lambda: dense(3, "tanh"), "activation tanh"),
    "another axis": (lambda: layers.Softmax(axis=1)(MAP), "axis 1"),
    "a sum of softmaxes": (
        lambda: layers.Add()([dense(3, "softmax"), dense(3, "softmax")]),
        "on a softmax",
    ),
    "a mean of unlike": (lambda: layers.Average()([dense(3, "softmax"), dense(3)]), "linear and"),
    "two outputs": (lambda: [dense(3), dense(3)], "2 outputs"),
    "a dictionary": (lambda: {"a": dense(3)}, r"1 outputs \(a\)"),
    "several labels": (lambda: dense(3, "sigmoid"), "sigmoid of 3 classes"),
    "a softmax of one": (lambda: dense(1, "softmax"), "softmax over one class"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_classifier_is_refused_in_one_line(case):
    build, words = REFUSED[case]
    with pytest.raises(ArgumentError, match=words) as caught:
        check_classifier_output(keras.Model(IMAGE, build()))
    assert "\n" not in str(caught.value)


def test_builders_end_as_their_argument_says():
    for activation, expected in (("softmax", "softmax"), (None, "linear")):
        ends = {"input_shape": (8, 8, 1), "classifier_activation": activation}
        unet = models.UNet(depth=1, filters=2, padding="same", **ends)
        resnet = models.CIFARResNet(depth=8, **ends)
        for network in (unet, resnet):
            assert models.output_activation(network) == expected


def test_probabilities_of_one_output_are_of_two_classes():
    logits = np.array([[-1.0], [0.0], [3.0]], "float32")
    p = 1 / (1 + np.exp(-logits))
    for outputs, activation in ((logits, "linear"), (p, "sigmoid")):
        found = ops.convert_to_numpy(models.class_probabilities(outputs, activation))
        np.testing.assert_allclose(found, np.concatenate([1 - p, p], axis=1), rtol=1e-5)
    three = np.array([[1.0, 2.0, 4.0]], "float32")
    np.testing.assert_allclose(
        ops.convert_to_numpy(models.class_probabilities(three, "linear")),
        np.exp(three) / np.exp(three).sum(),
        rtol=1e-5,
    )
    assert models.class_probabilities(three, "softmax") is three
