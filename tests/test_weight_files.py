"""Weights for images of other channels, and from `.keras` files."""

import zipfile

import keras
import numpy as np
import pytest

from keras_arch import hub, models
from keras_arch.errors import ArgumentError, IntegrityError, UnsafeContentError
from keras_arch.preprocessing import Preprocessing
from keras_arch.weights import fit_channels
from tests.models.tester import forward

CIFAR = {"depth": 8, "classes": 3}


@pytest.fixture(scope="module")
def colour():
    keras.utils.set_random_seed(1)
    return models.CIFARResNet(**CIFAR, input_shape=(16, 16, 3))


def test_one_channel_is_the_sum_and_others_repeat():
    kernel = np.arange(12, dtype=np.float32).reshape(1, 1, 3, 4)
    np.testing.assert_array_equal(fit_channels(kernel, 1)[0, 0], kernel.sum(axis=2)[0])
    five = fit_channels(kernel, 5)[0, 0]
    np.testing.assert_allclose(five, kernel[0, 0, [0, 1, 2, 0, 1]] * 0.6, rtol=1e-6)
    # An image whose channels are all alike gives the same for 1, 3 and 6 channels.
    for channels in (1, 3, 6):
        np.testing.assert_allclose(
            fit_channels(kernel, channels).sum(axis=2), kernel.sum(axis=2), rtol=1e-6
        )


@pytest.mark.parametrize("form", ["model", "file"])
@pytest.mark.parametrize("channels", [1, 2, 4])
def test_weights_for_rgb_go_into_other_channels(form, channels, colour, tmp_path, caplog):
    source = colour
    if form == "file":
        source = tmp_path / "colour.weights.h5"
        colour.save_weights(source)
    model = models.CIFARResNet(**CIFAR, input_shape=(16, 16, channels), weights=source)
    stem = colour.get_layer("stem_conv").kernel
    np.testing.assert_array_equal(
        model.get_layer("stem_conv").kernel, fit_channels(np.asarray(stem), channels)
    )
    for ours, theirs in zip(model.get_weights()[1:], colour.get_weights()[1:], strict=True):
        np.testing.assert_array_equal(ours, theirs)
    how = "summed over RGB" if channels == 1 else f"repeated and scaled by 3/{channels}"
    assert f"filters of stem_conv, of {'the model' if form == 'model' else repr(str(source))}" in (
        caplog.text
    )
    assert how in caplog.text


def test_only_the_first_convolution_of_rgb_is_fitted(colour):
    grey = models.CIFARResNet(**CIFAR, input_shape=(16, 16, 1))
    with pytest.raises(ArgumentError, match=r"misshaped: stem_conv/kernel \(3, 3, 1, 16\) for"):
        models.CIFARResNet(**CIFAR, input_shape=(16, 16, 3), weights=grey)


def test_a_grey_fcn_on_a_vgg_for_rgb(caplog):
    vgg = models.VGG11(input_shape=(224, 224, 3), units=2, classes=2)
    fcn = models.FCN32s(
        backbone="VGG11", backbone_weights=vgg, units=2, classes=2, input_shape=(32, 32, 1)
    )
    np.testing.assert_array_equal(
        fcn.get_layer("conv1_1").kernel,
        fit_channels(np.asarray(vgg.get_layer("conv1_1").kernel), 1),
    )
    assert "conv1_1, of the model 'vgg11' for RGB, are summed" in caplog.text


def test_a_keras_file_gives_the_same_network(colour, tmp_path):
    colour.save(tmp_path / "colour.keras")
    model = models.CIFARResNet(**CIFAR, input_shape=(16, 16, 3), weights=tmp_path / "colour.keras")
    x = np.random.default_rng(0).normal(size=(2, 16, 16, 3)).astype("float32")
    np.testing.assert_array_equal(forward(model, x), forward(colour, x))
    assert hub.load_keras_file(str(tmp_path / "colour.keras")).count_params() == (
        colour.count_params()
    )


def test_a_whole_h5_file_of_a_network_with_operations_warns(colour, tmp_path, caplog):
    """Keras saves it and cannot load it, which a newer Keras may; its weights load."""
    path = tmp_path / "colour.h5"
    colour.save(path)
    assert f"will not open {path}, as" in caplog.text
    assert f"(Pad); save {path.with_suffix('.keras')}. Its weights load" in caplog.text
    with pytest.raises(Exception, match="Pad"):
        keras.saving.load_model(path)
    again = models.CIFARResNet(**CIFAR, input_shape=(16, 16, 3))
    again.load_weights(path)
    for ours, theirs in zip(again.get_weights(), colour.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    caplog.clear()
    colour.save(tmp_path / "colour.keras")
    colour.save_weights(tmp_path / "colour.weights.h5")
    assert not caplog.records


@pytest.mark.parametrize(
    "build",
    [
        lambda: models.CIFARResNet(**CIFAR, input_shape=(16, 16, 3), shortcut="B"),
        lambda: models.UNet("same", input_shape=(16, 16, 3), depth=2, filters=2),
    ],
    ids=["CIFARResNet", "UNet"],
)
def test_a_whole_h5_file_of_stock_layers_loads(build, tmp_path):
    model = build()
    model.save(tmp_path / "model.h5")
    again = keras.saving.load_model(tmp_path / "model.h5", compile=False)
    x = np.random.default_rng(0).normal(size=(1, 16, 16, 3)).astype("float32")
    np.testing.assert_allclose(forward(again, x), forward(model, x), rtol=1e-5, atol=1e-6)


def test_a_loaded_model_warns_too(tmp_path, caplog):
    model = models.CIFARResNet(**CIFAR, input_shape=(16, 16, 3))
    card = hub.Card(
        "small",
        "CIFARResNet",
        CIFAR | {"input_shape": [16, 16, 3]},
        "image-classification",
        Preprocessing(size=(16, 16)),
        labels=["a", "b", "c"],
    )
    hub.load(hub.save(model, tmp_path / "saved", card)).save(tmp_path / "again.h5")
    assert "will not open" in caplog.text


def test_keras_files_that_are_refused(colour, tmp_path):
    with pytest.raises(ArgumentError, match=r"there is no file 'absent\.keras'"):
        models.CIFARResNet(**CIFAR, weights="absent.keras")
    path = tmp_path / "some.keras"
    path.write_bytes(b"PK")
    with pytest.raises(IntegrityError, match=r"no whole \.keras file"):
        models.CIFARResNet(**CIFAR, weights=path)
    colour.save(path)
    whole = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    with pytest.raises(IntegrityError, match="compressed, which Keras never does"):
        hub.load_keras_file(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", members["config.json"])
    with pytest.raises(IntegrityError, match=r"metadata\.json"):
        hub.load_keras_file(path)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(IntegrityError, match="no whole"):
        hub.load_keras_file(path)
    keras.Sequential([keras.Input((2,)), keras.layers.Lambda(lambda x: x + 1)]).save(path)
    with pytest.raises(UnsafeContentError, match="holds a Lambda"):
        hub.load_keras_file(path)
