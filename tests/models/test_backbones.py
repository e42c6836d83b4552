"""Keras models of other packages as backbones of FCN and U-Net."""

import keras
import numpy as np
import pytest

from keras_arch import models
from keras_arch.errors import ArgumentError
from tests.models.tester import forward, unallocated

# The maps that others take: TensorFlow's segmentation tutorial and segmentation_models of
# MobileNetV2, RetinaNet's code example of ResNet50.
LEVELS = {
    "MobileNetV2": {
        "P1": "block_1_expand_relu",
        "P2": "block_3_expand_relu",
        "P3": "block_6_expand_relu",
        "P4": "block_13_expand_relu",
        "P5": "out_relu",
    },
    "ResNet50": {
        "P1": "conv1_relu",
        "P2": "conv2_block3_out",
        "P3": "conv3_block4_out",
        "P4": "conv4_block6_out",
        "P5": "conv5_block3_out",
    },
    "EfficientNetB0": {
        "P1": "block2a_expand_activation",
        "P2": "block3a_expand_activation",
        "P3": "block4a_expand_activation",
        "P4": "block6a_expand_activation",
        "P5": "top_activation",
    },
    "VGG16": {
        "P0": "block1_conv2",
        "P1": "block2_conv2",
        "P2": "block3_conv3",
        "P3": "block4_conv3",
        "P4": "block5_conv3",
        "P5": "block5_pool",
    },
}


def application(name, size=None, **arguments):
    arguments = {"include_top": False, "input_shape": (size, size, 3)} | arguments
    return getattr(keras.applications, name)(weights=None, **arguments)


@pytest.fixture(scope="module")
def mobile():
    """Of a quarter of the width, with moving statistics that are not the first ones."""
    model = application("MobileNetV2", alpha=0.35)
    rng = np.random.default_rng(0)
    model.set_weights([w + 0.1 * rng.uniform(size=w.shape) for w in model.get_weights()])
    return model


@pytest.mark.parametrize("name", LEVELS)
@pytest.mark.parametrize("size", [None, 64])
def test_levels_of_keras_applications(name, size):
    with unallocated():
        model = application(name, size)
        maps = models.features(model)
    assert {p: y is model.get_layer(LEVELS[name][p]).output for p, y in maps.output.items()} == (
        dict.fromkeys(LEVELS[name], True)
    )
    if size:
        sides = {p: y.shape[1] for p, y in maps.output.items()}
        assert sides == {p: size // 2 ** int(p[1:]) for p in LEVELS[name]}


@pytest.mark.parametrize("top", [True, False])
def test_levels_end_where_the_classifier_begins(top):
    with unallocated():
        model = application("ResNet50", 224, include_top=top)
        maps = models.features(model, ["P5", "conv1_relu"]).output
        backbone = models.keras_cv_backbone(model)
    assert {name: y.shape[1:] for name, y in maps.items()} == {
        "P5": (7, 7, 2048),
        "conv1_relu": (112, 112, 64),
    }
    assert backbone.pyramid_level_inputs == LEVELS["ResNet50"]
    with pytest.raises(
        ArgumentError, match=r"it has conv1_relu \(P1\), .*conv5_block3_out \(P5\), and every layer"
    ):
        models.features(model, "P6")


def test_attention_is_no_map():
    """One value an image, which convolutions may weigh channels by."""
    image = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(4, 3, strides=2, padding="same", name="map")(image)
    weight = keras.layers.GlobalAveragePooling2D(keepdims=True)(x)
    weight = keras.layers.Conv2D(4, 1, name="weight")(weight)
    logits = keras.layers.Flatten()(keras.layers.Multiply(name="scaled")([x, weight]))
    model = keras.Model(image, [logits, weight])
    assert models.features(model).output["P1"] is model.get_layer("scaled").output


def test_levels_inside_nested_models():
    def halved(x, filters, name):
        block = keras.Sequential([keras.layers.Conv2D(filters, 2, strides=2)], name=name)
        return block(x)

    image = keras.Input((16, 16, 3))
    x = halved(halved(image, 4, "first"), 8, "second")
    maps = models.features(keras.Model(image, x)).output
    assert {name: y.shape[1:] for name, y in maps.items()} == {"P1": (8, 8, 4), "P2": (4, 4, 8)}


@pytest.mark.slow
def test_unet_on_keras_applications(mobile, tmp_path):
    model = models.UNet(backbone=mobile, input_shape=(64, 96, 3), filters=2, norm="batch")
    assert (model.input.name, model.output_shape) == ("image", (None, 64, 96, 2))
    joined = {
        layer.name: layer.input[0]._keras_history.operation.name
        for layer in model.layers
        if layer.name.endswith("_join")
    }
    # At the deepest level nothing is joined, and there is no map of the image's own size.
    assert joined == {f"up{n + 1}_join": LEVELS["MobileNetV2"][f"P{n}"] for n in range(1, 5)}
    model.save(tmp_path / "unet.keras")
    again = keras.saving.load_model(tmp_path / "unet.keras")
    x = np.random.default_rng(0).normal(size=(1, 64, 96, 3)).astype("float32")
    np.testing.assert_allclose(forward(again, x), forward(model, x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "name", [*(pytest.param(n, marks=pytest.mark.slow) for n in ("FCN32s", "FCN16s")), "FCN8s"]
)
def test_fcn_on_keras_applications(name, mobile):
    model = models.create(name, backbone=mobile, classes=3)
    assert (model.input.name, model.name) == ("image", f"{name}_{mobile.name}".lower())
    assert forward(model, np.zeros((1, 64, 96, 3), "float32")).shape == (1, 64, 96, 3)


def padded(x, multiple=32):
    """Images with zeros below and on the right."""
    sides = [(0, -side % multiple) for side in x.shape[1:3]]
    return np.pad(x, [(0, 0), *sides, (0, 0)])


def drawn(model):
    """A model whose scores are not the zeros that they start at."""
    rng = np.random.default_rng(1)
    for layer in model.layers:
        if layer.name.startswith("score") and layer.weights:
            layer.set_weights([rng.normal(size=w.shape, scale=0.1) for w in layer.weights])
    return model


@pytest.mark.parametrize(
    "backbone",
    [pytest.param(name, marks=pytest.mark.slow) for name in ("MobileNetV2", "GoogLeNet")],
)
def test_fcn_pads_for_a_backbone_that_rounds_down(backbone, mobile):
    """Of any size, open or fixed: what it gives for the image padded to a multiple of 32."""
    arguments = {"backbone": mobile if backbone == "MobileNetV2" else backbone, "classes": 2}
    whole = drawn(models.FCN8s(**arguments, input_shape=(96, 96, 3)))
    weights = whole.get_weights()
    x = np.random.default_rng(0).normal(size=(1, 70, 77, 3)).astype("float32")
    wanted = forward(whole, padded(x))[:, :70, :77]
    fixed = models.FCN8s(**arguments, input_shape=(70, 77, 3))
    fixed.set_weights(weights)
    np.testing.assert_allclose(forward(fixed, x), wanted, rtol=1e-4, atol=1e-5)
    opened = models.FCN8s(**arguments, input_shape=(None, None, 3))
    opened.set_weights(weights)
    for image, maps in ((x, wanted), (padded(x), forward(whole, padded(x)))):
        np.testing.assert_allclose(opened.predict(image, verbose=0), maps, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_fcn_on_googlenet_takes_the_default_size():
    with unallocated():
        model = models.FCN32s(backbone="GoogLeNet")
    assert model.output_shape == (None, 500, 500, 21)


def test_fcn_on_a_backbone_that_rounds_up_pads_nothing():
    for shape in ((70, 77, 3), (None, None, 3)):
        model = models.FCN32s(backbone="ResNet18", input_shape=shape)
        assert "image_pad" not in {layer.name for layer in model.layers}


def test_a_given_model_is_copied_with_its_weights(mobile):
    mobile.get_layer("Conv1").trainable = False
    before = mobile.get_weights()
    model = models.FCN32s(backbone=mobile, input_shape=(64, 64, 3), classes=2)
    mobile.get_layer("Conv1").trainable = True
    assert not model.get_layer("Conv1").trainable
    x = np.random.default_rng(0).normal(size=(2, 64, 64, 3)).astype("float32")
    ours = keras.Model(model.input, model.get_layer("out_relu").output)
    np.testing.assert_allclose(forward(ours, x), forward(mobile, x), rtol=1e-4, atol=1e-5)
    model.compile("sgd", "sparse_categorical_crossentropy")
    # Scores start at zero: the second step is the first that reaches the backbone.
    model.fit(x, np.ones((2, 64, 64)), epochs=2, verbose=0)
    kernels = [each.get_layer("Conv_1").get_weights()[0] for each in (model, mobile)]
    assert np.abs(kernels[0] - kernels[1]).max() > 0
    for a, b in zip(before, mobile.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_a_resnet_of_keras_applications():
    with unallocated():
        backbone = application("ResNet50")
        model = models.UNet(backbone=backbone, filters=1, depth=4, input_shape=(None, 64, 3))
        fcn = models.FCN8s(backbone=backbone)
    assert model.output_shape == (None, None, 64, 2)
    assert "conv5_block3_out" not in {layer.name for layer in model.layers}
    assert fcn.get_layer("score_pool3").kernel.shape == (1, 1, 512, 21)
    assert fcn.input_shape == (None, None, None, 3)


@pytest.mark.slow
def test_our_own_models_are_taken_too():
    backbone = models.ResNet18(input_shape=(32, 32, 3), classes=4)
    model = models.FCN32s(backbone=backbone, input_shape=(64, 64, 3))
    by_name = models.FCN32s(backbone="ResNet18", input_shape=(64, 64, 3), weights=backbone)
    assert (model.name, by_name.name) == ("fcn32s_resnet18", "fcn32s_resnet18")
    for a, b in zip(model.get_weights(), by_name.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_backbones_of_keras_cv():
    import keras_cv

    backbone = keras_cv.models.ResNetBackbone(
        stackwise_filters=[64, 8],
        stackwise_blocks=[1, 1],
        stackwise_strides=[1, 2],
        include_rescaling=False,
        block_type="basic_block",
    )
    levels = backbone.pyramid_level_inputs
    maps = models.features(backbone)
    assert {p: y is backbone.get_layer(levels[p]).output for p, y in maps.output.items()} == (
        dict.fromkeys(levels, True)
    )
    model = models.UNet(backbone=backbone, filters=2, input_shape=(16, 24, 3))
    assert forward(model, np.zeros((1, 16, 24, 3), "float32")).shape == (1, 16, 24, 2)


class Subclassed(keras.Model):
    def call(self, x):
        return x


def dense():
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)], name="dense")


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"backbone": 3}, "backbone must be a Keras model or one of AlexNet"),
        ({"backbone_weights": "imagenet"}, "which has its own"),
        ({"backbone_arguments": {"alpha": 1.0}}, "which has its own"),
        ({"input_shape": (64, 64, 1)}, "takes images of 3 channels"),
        ({"padding": "valid"}, "padding='same'"),
        ({"input_shape": (40, 64, 3)}, "height 40; the next are 32 and 64"),
        ({"depth": 7}, "must be one of 1, 2, 3, 4, 5, got 7"),
        ({"backbone": Subclassed()}, "functional"),
        ({"backbone": dense()}, "functional model of images"),
    ],
)
def test_arguments_that_are_refused(mobile, arguments, word):
    with pytest.raises(ArgumentError) as caught:
        models.UNet(**({"backbone": mobile, "filters": 1} | arguments))
    assert word in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_unpadded_models_are_refused():
    with unallocated():
        model = application("InceptionV3")
        with pytest.raises(ArgumentError, match="'inception_v3' has unpadded convolutions"):
            models.FCN8s(backbone=model)
        with pytest.raises(ArgumentError, match="does not take images of"):
            models.FCN8s(backbone=model, input_shape=(64, 64, 3))
