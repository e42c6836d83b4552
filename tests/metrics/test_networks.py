"""Feature networks: real classifiers, real Inception (random weights), TensorFlow 1's resize."""

import os
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers

from keras_arch import metrics, models
from keras_arch.errors import ArgumentError, DataError
from keras_arch.metrics import networks
from keras_arch.preprocessing import Preprocessing
from tests.rounding import ROUNDING

GREY = Preprocessing(size=(8, 8), channels=1)
IMAGES = np.random.default_rng(0).integers(0, 256, (11, 8, 8, 1), dtype=np.uint8)


def small(*ending, inner=()):
    keras.utils.set_random_seed(0)
    map_layers = [layers.Conv2D(6, 3, name="convolution"), *inner]
    return keras.Sequential([keras.Input((8, 8, 1)), *map_layers, *ending], name="small")


def pool():
    return layers.GlobalAveragePooling2D(name="pool")


@pytest.mark.parametrize(
    ("ending", "layer"),
    [
        ([pool(), layers.Dense(3, activation="softmax")], "pool (6)"),
        ([pool(), layers.Dense(3)], "pool (6)"),
        ([pool(), layers.Dense(3), layers.Softmax()], "pool (6)"),
        ([pool(), layers.Dense(3), layers.Activation("softmax")], "pool (6)"),
        ([pool(), layers.Dense(3), layers.Activation("linear")], "pool (6)"),
        ([pool(), layers.Dropout(0.9), layers.Dense(3)], "pool (6)"),
        (
            [layers.Flatten(), layers.Dropout(0.9), layers.Dense(3)],
            "convolution, averaged over the map (6)",
        ),
        ([layers.Flatten(), layers.Dense(5, name="hidden"), layers.Dense(3)], "hidden (5)"),
    ],
)
def test_features_are_what_the_last_dense_layer_takes(ending, layer):
    model = small(*ending)
    network = metrics.classifier(model, GREY)
    assert (network.layer, network.classes) == (layer, 3)
    found = network(IMAGES)
    inputs = np.asarray(GREY(IMAGES))
    maps = model.get_layer("convolution")(inputs)
    features = np.mean(np.asarray(maps), axis=(1, 2))
    if "hidden" in layer:
        features = np.asarray(model.get_layer("hidden")(layers.Flatten()(maps)))
    np.testing.assert_allclose(found.features, features, rtol=1e-4, atol=ROUNDING)
    output = np.asarray(model(inputs, training=False), np.float64)
    if not np.allclose(output.sum(axis=1), 1):
        output = np.exp(output) / np.exp(output).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found.probabilities, output, rtol=1e-4, atol=ROUNDING)
    np.testing.assert_allclose(network.probabilities(IMAGES), found.probabilities, atol=ROUNDING)


def test_description_says_network_layer_weights_and_resize():
    model = models.CIFARResNet(depth=8)
    network = metrics.classifier(model, Preprocessing(size=(32, 32)), "resnet8 on CIFAR-10")
    description = network.describe()
    assert description.startswith("resnet8 on CIFAR-10: features of pool (64); weights sha256 ")
    assert description.endswith("; resize 32x32x3 px bilinear with antialias")
    again = metrics.classifier(model, Preprocessing(size=(32, 32)), "resnet8 on CIFAR-10")
    assert again.describe() == description
    model.layers[-2].bias.assign_add(np.full(10, 1e-3, "float32"))
    changed = metrics.classifier(model, Preprocessing(size=(32, 32)), "resnet8 on CIFAR-10")
    assert changed.weights != network.weights
    cut = metrics.classifier(model, Preprocessing(size=(32, 32), crop=0.875))
    assert cut.describe().endswith("bilinear with antialias, the center 0.875 of the shorter side")
    plain = metrics.classifier(small(pool(), layers.Dense(3)), lambda images: images / 255.0)
    assert plain.describe().endswith("resize by <lambda>")


def test_a_nested_backbone_and_layers_that_are_used_twice():
    backbone = small(pool())
    image = keras.Input((8, 8, 1))
    model = keras.Model(image, layers.Dense(4)(backbone(image)))
    network = metrics.classifier(model, GREY)
    assert network(IMAGES).features.shape == (11, 6)
    # The same layer again in another network, on other features.
    dense = model.layers[-1]
    second = keras.Model(image, dense(keras.ops.negative(backbone(image))))
    found = metrics.classifier(second, GREY)(IMAGES)
    np.testing.assert_allclose(found.features, -network(IMAGES).features, rtol=1e-5)


@given(cuts=st.lists(st.integers(0, 11), max_size=4), size=st.integers(1, 12))
@settings(deadline=None, max_examples=20)
def test_batches_however_images_come(cuts, size):
    def corner(images):
        assert images.dtype == np.uint8
        assert images.shape[1:] == (8, 8, 1)
        return images[:, 0, 0], images[:, 1, 1]

    network = metrics.FeatureNetwork("corner", "pixels", "none", "none", corner, size, 1)
    steps = []
    found = network(iter(np.split(IMAGES, sorted(cuts))), steps.append)
    np.testing.assert_array_equal(found.features, IMAGES[:, 0, 0])
    np.testing.assert_array_equal(found.probabilities, IMAGES[:, 1, 1])
    np.testing.assert_array_equal(network(IMAGES[..., 0]).features, IMAGES[:, 0, 0])
    assert steps == [min(done, 11) for done in range(size, 11 + size, size)]


def test_all_batches_have_one_shape_and_none_changes_another():
    shapes = []

    def rows(images):
        shapes.append(images.shape)
        return images.reshape(len(images), -1), None

    network = metrics.FeatureNetwork("rows", "pixels", "none", "none", rows, 4)
    found = network(IMAGES)
    assert set(shapes) == {(4, 8, 8, 1)}
    np.testing.assert_array_equal(found.features, IMAGES.reshape(11, -1))
    assert found.probabilities is None
    with pytest.raises(ArgumentError, match="rows gives no class probabilities"):
        network.probabilities(IMAGES)


def test_a_looked_at_classifier_keeps_its_state():
    model = small(pool(), layers.Dense(3), inner=[layers.BatchNormalization()])
    before = [np.array(w) for w in model.get_weights()]
    metrics.classifier(model, GREY)(IMAGES)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (IMAGES / 255, "uint8 images .*got float64 of shape .*Preprocessing.to_pixels"),
        (IMAGES[0, 0], "got uint8 of shape"),
        (IMAGES[:0], "needs at least one image"),
        ([], "needs at least one image"),
        (3, "array or arrays, got int"),
    ],
)
def test_wrong_images(images, message):
    network = metrics.classifier(small(pool(), layers.Dense(3)), GREY)
    with pytest.raises(ArgumentError, match=message):
        network(images)


class Subclassed(keras.Model):
    def call(self, inputs):
        return inputs


def two_outputs():
    image = keras.Input((8, 8, 1))
    return keras.Model(image, [layers.Dense(3)(pool()(image)), image], name="two")


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: small(pool()), "'small' ends in GlobalAveragePooling2D"),
        (lambda: small(pool(), layers.Dense(1)), "2 or more classes"),
        (lambda: small(pool(), layers.Dense(3, activation="sigmoid")), "without a softmax"),
        (lambda: small(pool(), layers.Dense(3), layers.Activation("relu")), "ends in Activation"),
        (lambda: small(layers.Dense(3)), "on a vector"),
        (two_outputs, "one input and one output"),
        (Subclassed, "no functional or sequential model"),
    ],
)
def test_models_that_are_no_classifier(build, message):
    with pytest.raises(ArgumentError, match=message):
        metrics.classifier(build(), GREY)


@settings(deadline=None, max_examples=25)
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    size=st.tuples(st.integers(1, 50), st.integers(1, 50)),
)
def test_resize_is_that_of_tensorflow_1(height, width, size):
    images = np.random.default_rng(0).integers(0, 256, (2, height, width, 3), dtype=np.uint8)
    theirs = tf.compat.v1.image.resize_bilinear(images, size).numpy()
    np.testing.assert_allclose(networks.resize_bilinear(images, size), theirs, atol=1e-3)


@pytest.fixture(scope="module")
def inception_weights(tmp_path_factory):
    """A weights file as Keras writes it; the published one cannot be part of the tests."""
    path = tmp_path_factory.mktemp("inception") / "random.weights.h5"
    keras.utils.set_random_seed(0)
    model = keras.applications.InceptionV3(weights=None)
    model.save_weights(path)
    return path, model


@pytest.fixture
def eager():
    """One forward of Inception takes a second, to trace it twenty."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.mark.slow
@pytest.mark.usefixtures("eager")
def test_inception_from_a_file(inception_weights):
    path, model = inception_weights
    network = metrics.inception(path, batch_size=2)
    assert (network.batch_size, network.classes) == (2, 1000)
    text = network.describe()
    assert text.startswith("InceptionV3 of keras.applications: features of avg_pool (2048); ")
    assert "weights random.weights.h5, sha256 " in text
    assert text.endswith("299 px bilinear as TensorFlow 1 (no antialias, no half-pixel shift)")

    images = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 1), dtype=np.uint8)
    found = network(images)
    resized = tf.compat.v1.image.resize_bilinear(images.repeat(3, axis=-1), (299, 299))
    theirs = keras.applications.inception_v3.preprocess_input(resized.numpy())
    probe = keras.Model(model.input, [model.get_layer("avg_pool").output, model.output])
    features, probabilities = probe.predict_on_batch(theirs)
    np.testing.assert_allclose(found.features, features, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(found.probabilities, probabilities, rtol=1e-3, atol=ROUNDING)


@pytest.mark.slow
def test_wrong_inception_weights_are_an_error_of_one_line(tmp_path):
    path = tmp_path / "other.weights.h5"
    small(pool(), layers.Dense(3)).save_weights(path)
    with pytest.raises(DataError, match="holds no weights of the whole InceptionV3") as caught:
        metrics.inception(path)
    assert "\n" not in str(caught.value)


def test_failed_download_is_an_error_of_one_line(monkeypatch):
    name = "inception_v3_weights_tf_dim_ordering_tf_kernels.h5"
    if (Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser() / "models" / name).exists():
        pytest.skip("the weights of InceptionV3 are on this machine")
    # A port that nobody listens on: the download fails at once, with or without a network.
    for variable in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    with pytest.raises(
        DataError, match=f"cannot be downloaded .*copy {name} to .*models, "
    ) as caught:
        metrics.inception()
    assert "\n" not in str(caught.value)
