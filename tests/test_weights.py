"""Weights from files, directories and models: all that fit or none, and said clearly."""

import logging

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_arch import hub, models, presets, weights
from keras_arch.errors import ArgumentError, HubError
from keras_arch.preprocessing import Preprocessing
from tests.models.tester import forward

SHAPE = (16, 16, 1)
CIFAR = {"depth": 8, "input_shape": SHAPE}


@pytest.fixture(scope="module")
def trained():
    keras.utils.set_random_seed(1)
    model = models.CIFARResNet(**CIFAR, classes=5)
    # Moving statistics that are not those of a fresh model.
    rng = np.random.default_rng(0)
    model.set_weights([w + rng.uniform(0, 0.1, w.shape) for w in model.get_weights()])
    return model


def card(architecture="CIFARResNet", **arguments):
    return hub.Card(
        "small",
        architecture,
        arguments,
        "image-classification",
        Preprocessing(size=SHAPE[:2], channels=1),
        labels=list("abcde"),
    )


@pytest.fixture(scope="module")
def sources(trained, tmp_path_factory):
    """The same weights in each form that builders take."""
    folder = tmp_path_factory.mktemp("weights")
    trained.save_weights(folder / "trained.weights.h5")
    hub.save(trained, folder / "user" / "trained", card(**CIFAR, classes=5))
    return {
        "model": trained,
        "file": folder / "trained.weights.h5",
        "text": str(folder / "trained.weights.h5"),
        "directory": folder / "user" / "trained",
        "address": f"file://{folder}/user/trained",
    }


def images():
    return np.random.default_rng(0).normal(size=(3, *SHAPE)).astype("float32")


FORMS = ("model", "file", "directory")


@pytest.mark.parametrize("form", [*FORMS, "text", "address"])
def test_every_form_gives_the_same_network(sources, trained, form):
    model = models.CIFARResNet(**CIFAR, classes=5, weights=sources[form])
    np.testing.assert_array_equal(forward(model, images()), forward(trained, images()))


@pytest.mark.parametrize("form", FORMS)
def test_a_backbone_takes_its_part(sources, trained, form, caplog):
    model = models.CIFARResNet(**CIFAR, include_top=False, weights=sources[form])
    last = models.features(trained, "stage3")
    np.testing.assert_array_equal(forward(model, images()), last(images())["stage3"])
    assert not caplog.records


@pytest.mark.parametrize("form", FORMS)
def test_other_classes_keep_a_fresh_head_and_it_is_said(sources, trained, form, caplog):
    keras.utils.set_random_seed(3)
    fresh = models.CIFARResNet(**CIFAR, classes=9)
    keras.utils.set_random_seed(3)
    with caplog.at_level(logging.WARNING, "keras_arch"):
        model = models.CIFARResNet(**CIFAR, classes=9, weights=sources[form])
    assert "logits starts fresh for 9 classes" in caplog.text
    assert "has 5" in caplog.text
    for a, b in zip(
        model.get_layer("logits").get_weights(),
        fresh.get_layer("logits").get_weights(),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)
    for ours, theirs in zip(model.get_weights()[:-2], trained.get_weights()[:-2], strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_backbone_in_a_classifier_leaves_the_head_fresh(trained, tmp_path, caplog):
    backbone = models.CIFARResNet(**CIFAR, include_top=False, weights=trained)
    backbone.save_weights(tmp_path / "b.weights.h5")
    for source in (backbone, tmp_path / "b.weights.h5"):
        caplog.clear()
        model = models.CIFARResNet(**CIFAR, classes=4, weights=source)
        assert "logits start fresh" in caplog.text
        np.testing.assert_array_equal(model.get_weights()[0], trained.get_weights()[0])


@pytest.mark.parametrize("form", FORMS)
def test_another_depth_lists_all_that_does_not_fit(sources, form):
    with pytest.raises(ArgumentError) as caught:
        models.CIFARResNet(**(CIFAR | {"depth": 14}), classes=5, weights=sources[form])
    message = str(caught.value)
    assert "\n" not in message
    if "h5" in str(sources[form]):
        # The file knows the layers by their order.
        assert "missing: stage2_block2_1_conv, " in message
        assert "misshaped: stage1_block2_1_conv/kernel (3, 3, 16, 32) for (3, 3, 16, 16)" in message
    else:
        for stage in (1, 2, 3):
            for part in ("1_conv", "1_norm", "2_conv", "2_norm"):
                assert f"stage{stage}_block2_{part}" in message
        assert "misshaped" not in message


def test_other_channels_are_misshaped(trained, sources):
    for source in (trained, sources["file"]):
        with pytest.raises(ArgumentError) as caught:
            models.CIFARResNet(depth=8, input_shape=(16, 16, 3), classes=5, weights=source)
        assert "misshaped: stem_conv/kernel (3, 3, 1, 16) for (3, 3, 3, 16)" in str(caught.value)
        assert "missing" not in str(caught.value)


def test_weights_of_another_architecture_are_refused_naming_both(sources, trained, tmp_path):
    for builder in ("DCGANDiscriminator", "ResNet18"):
        with pytest.raises(ArgumentError) as caught:
            models.create(builder, weights=sources["directory"])
        assert "holds weights of CIFARResNet" in str(caught.value)
        assert f"this is {builder}" in str(caught.value)
    with pytest.raises(ArgumentError, match="the model 'resnet8' has no layer of dcgan"):
        models.DCGANDiscriminator(weights=trained)
    plain = models.CIFARResNet(**CIFAR, classes=5, residual=False)
    hub.save(plain, tmp_path / "plain", card(**CIFAR, classes=5, residual=False))
    with pytest.raises(ArgumentError, match="residual=False, and this is with residual=True"):
        models.CIFARResNet(**CIFAR, classes=5, weights=tmp_path / "plain")


def test_strides_and_epsilons_that_differ_are_told():
    def net(stride, epsilon):
        image = keras.Input((8, 8, 1))
        x = keras.layers.Conv2D(2, 1, strides=stride, name="first")(image)
        return keras.Model(image, keras.layers.BatchNormalization(epsilon=epsilon, name="norm")(x))

    with pytest.raises(ArgumentError) as caught:
        weights.transfer(net(2, 1e-5), net(1, 1e-3), "the other")
    assert "first strides (1, 1) for (2, 2)" in str(caught.value)
    assert "norm epsilon 0.001 for 1e-05" in str(caught.value)
    assert "variant" in str(caught.value)


@given(
    changes=st.dictionaries(
        st.integers(0, 4), st.sampled_from(["renamed", "wider"]), min_size=1, max_size=5
    )
)
@settings(max_examples=10, deadline=None)
def test_every_mismatch_is_listed_and_nothing_is_loaded(changes):
    def net(changes):
        image = keras.Input((3,), name="image")
        outputs = []
        for number in range(5):
            change = changes.get(number)
            name = f"dense{number}{'x' if change == 'renamed' else ''}"
            outputs.append(keras.layers.Dense(2 + (change == "wider"), name=name)(image))
        return keras.Model(image, outputs, name="net")

    model, source = net({}), net(changes)
    before = model.get_weights()
    if len(changes) == 5 and set(changes.values()) == {"renamed"}:
        expected = ["has no layer of net"]
    else:
        expected = []
        for number, change in changes.items():
            if change == "renamed":
                expected += [f"dense{number},", f"dense{number}x"]
            else:
                expected += [
                    f"dense{number}/kernel (3, 3) for (3, 2)",
                    f"dense{number}/bias (3,) for (2,)",
                ]
    with pytest.raises(ArgumentError) as caught:
        weights.transfer(model, source, "the source")
    message = str(caught.value).replace(";", ",") + ","
    for part in expected:
        assert part in message
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_what_is_not_there_is_told(tmp_path):
    (tmp_path / "empty.weights.h5").write_bytes(b"no HDF5")
    for wrong, word in (
        (tmp_path / "absent.weights.h5", "absent.weights.h5"),
        (tmp_path / "empty.weights.h5", "empty.weights.h5"),
        (str(tmp_path / "absent"), "no model directory"),
        ("resnet20-didgits", "resnet20-digits"),
        ("hf://user", "hf://user"),
        (7, "got 7"),
    ):
        with pytest.raises(ArgumentError) as caught:
            models.CIFARResNet(**CIFAR, weights=wrong)
        assert word in str(caught.value)
        assert "\n" not in str(caught.value)


def test_the_name_of_a_config_is_its_repository(sources, trained, tmp_path, monkeypatch):
    (tmp_path / "small.yaml").write_text(f"repository: {sources['address']}\n")
    (tmp_path / "new.yaml").write_text("description: not published\n")
    monkeypatch.setattr(presets, "_folder", lambda: tmp_path)
    model = models.CIFARResNet(**CIFAR, classes=5, weights="small")
    np.testing.assert_array_equal(forward(model, images()), forward(trained, images()))
    with pytest.raises(HubError, match="keras-arch train new"):
        models.CIFARResNet(weights="new")


@pytest.mark.slow
def test_dense_heads_of_a_vgg_from_a_file(tmp_path, caplog):
    arguments = {"input_shape": (32, 32, 3), "units": 4}
    whole = models.VGG11(**arguments, classes=3)
    whole.save_weights(tmp_path / "vgg.weights.h5")
    backbone = models.VGG11(
        include_top=False, input_shape=(32, 32, 3), weights=tmp_path / "vgg.weights.h5"
    )
    for ours, theirs in zip(backbone.get_weights(), whole.get_weights(), strict=False):
        np.testing.assert_array_equal(ours, theirs)
    assert not caplog.records
    other = models.VGG11(**arguments, classes=8, weights=tmp_path / "vgg.weights.h5")
    assert "logits starts fresh for 8 classes" in caplog.text
    np.testing.assert_array_equal(
        other.get_layer("fc7").get_weights()[0], whole.get_layer("fc7").get_weights()[0]
    )
    with pytest.raises(ArgumentError, match=r"fc6/kernel \(512, 4\) for \(512, 5\)"):
        models.VGG11(**(arguments | {"units": 5}), weights=whole)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        pytest.param("ResNet18", {"input_shape": (32, 32, 3)}, marks=pytest.mark.slow),
        pytest.param("GoogLeNet", {"input_shape": (32, 32, 3)}, marks=pytest.mark.slow),
        ("AlexNet", {"input_shape": (67, 67, 3)}),
    ],
)
def test_layers_side_by_side_keep_their_places_in_a_file(name, arguments, tmp_path, caplog):
    """A file numbers layers in the model's order, which a missing top must not change."""
    top = {"units": 4} if name == "AlexNet" else {}
    whole = models.create(name, **arguments, **top, classes=3)
    whole.save_weights(tmp_path / "whole.weights.h5")
    backbone = models.create(
        name, **arguments, include_top=False, weights=tmp_path / "whole.weights.h5"
    )
    for layer in backbone.layers:
        for ours, theirs in zip(layer.weights, whole.get_layer(layer.name).weights, strict=True):
            np.testing.assert_array_equal(ours, theirs)
    assert not caplog.records
