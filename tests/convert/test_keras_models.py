"""Networks of keras.applications and KerasHub, converted, give the same outputs as before."""

import keras
import numpy as np
import pytest

from keras_arch import convert
from keras_arch.errors import ArgumentError, ConvertError


def stirred(model):
    """Numbers in every weight that matter, moving statistics and biases included."""
    rng = np.random.default_rng(0)
    norms = any("gamma" in weight.path for weight in model.weights)
    for weight in model.weights:
        shape = weight.shape
        if "variance" in weight.path:
            weight.assign(rng.uniform(0.3, 2.0, shape))
        elif len(shape) == 1:
            # So small that what a block adds does not drown all before it.
            weight.assign(rng.normal(0.6 if "gamma" in weight.path else 0.0, 0.2, shape))
        else:
            gain = 1.0 if norms else 2.0
            weight.assign(rng.standard_normal(shape, "f") * np.sqrt(gain / np.prod(shape[:-1])))
    return model


def assert_equal_outputs(theirs, ours, size, channels=3):
    rng = np.random.default_rng(1)
    images = rng.standard_normal((5, size, size, channels), "f") * rng.uniform(0.2, 2, (5, 1, 1, 1))
    images = (images + rng.normal(size=(5, 1, 1, channels))).astype("float32")
    expected = np.asarray(theirs(images, training=False))
    # Outputs of a range of about 1, in which the images differ.
    assert np.ptp(expected, axis=0).max() > 0.01
    assert np.abs(expected).max() < 30
    found = np.asarray(ours(images, training=False))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)
    assert [tuple(x.shape) for x in ours.inputs] == [tuple(x.shape) for x in theirs.inputs]


CASES = [
    (
        "ResNet50",
        {"classes": 7, "input_shape": (64, 64, 3), "classifier_activation": None},
        64,
    ),
    pytest.param(
        "ResNet101",
        {"include_top": False, "pooling": "avg", "input_shape": (None, None, 1)},
        75,
        marks=pytest.mark.slow,
    ),
    pytest.param(
        "VGG16",
        {"classes": 5, "input_shape": (33, 33, 3), "classifier_activation": None},
        33,
        marks=pytest.mark.slow,
    ),
    pytest.param(
        "VGG19",
        {"include_top": False, "pooling": "max", "input_shape": (None, None, 3)},
        50,
        marks=pytest.mark.slow,
    ),
]


@pytest.mark.parametrize(("name", "arguments", "size"), CASES)
def test_keras_applications(name, arguments, size):
    theirs = stirred(getattr(keras.applications, name)(weights=None, **arguments))
    ours = convert.from_keras_applications(theirs)
    assert_equal_outputs(theirs, ours, size, arguments["input_shape"][-1])
    if name.startswith("ResNet"):
        # What is left of their parameters are the biases that the norms took in.
        assert ours.count_params() < theirs.count_params()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ResNet50", "ResNet101", "ResNet152", "VGG16", "VGG19"])
def test_keras_applications_whole(name):
    theirs = getattr(keras.applications, name)(weights=None, classifier_activation=None)
    stirred(theirs)
    assert_equal_outputs(theirs, convert.from_keras_applications(theirs), 224)


@pytest.mark.slow
def test_a_backbone_of_a_classifier():
    theirs = stirred(keras.applications.VGG16(weights=None, classes=5, input_shape=(32, 32, 3)))
    ours = convert.from_keras_applications(theirs, include_top=False, name="backbone")
    assert (ours.name, ours.output_shape) == ("backbone", (None, 1, 1, 512))
    maps = keras.Model(theirs.input, theirs.get_layer("block5_pool").output)
    assert_equal_outputs(maps, ours, 32)


def test_refusals():
    for build in (keras.applications.ResNet50V2, keras.applications.MobileNet):
        model = build(weights=None, include_top=False, input_shape=(32, 32, 3))
        with pytest.raises(ConvertError, match="ResNet50, ResNet101, ResNet152, VGG16, VGG19"):
            convert.from_keras_applications(model)
    for function in (convert.from_keras_applications, convert.from_keras_hub):
        with pytest.raises(ArgumentError, match="got dict"):
            function({})


def test_everything_that_does_not_fit_is_listed():
    theirs = keras.applications.VGG16(weights=None, include_top=False, input_shape=(32, 32, 3))
    kept = theirs.get_layer("block1_conv1").output
    x = keras.layers.Conv2D(64, 1, padding="same", name="block1_conv2")(kept)
    for name in [f"block{s}_conv{n}" for s in range(2, 5) for n in (1, 2, 3)][:9]:
        x = keras.layers.Conv2D(8, 3, padding="same", name=name)(x)
    for name in ("block5_conv1", "block5_conv2"):
        x = keras.layers.Conv2D(8, 3, padding="same", name=name)(x)
    other = keras.Model(theirs.input, keras.layers.Dense(3, name="extra")(x), name="other")
    with pytest.raises(ConvertError) as caught:
        convert.from_keras_applications(other)
    message = str(caught.value)
    assert "\n" not in message
    assert "missing: block5_conv3;" in message
    assert "unexpected: block2_conv3, extra;" in message
    assert "misshaped: block1_conv2 (1, 1, 64, 64), (64,) for (3, 3, 64, 64), (64,)" in message


HUB = {
    18: ("basic_block", [2, 2, 2, 2]),
    34: ("basic_block", [3, 4, 6, 3]),
    50: ("bottleneck_block", [3, 4, 6, 3]),
}


def hub_backbone(keras_hub, depth, **changes):
    block, counts = HUB[depth]
    facts = {
        "input_conv_filters": [64],
        "input_conv_kernel_sizes": [7],
        "stackwise_num_filters": [64, 128, 256, 512],
        "stackwise_num_blocks": counts,
        "stackwise_num_strides": [1, 2, 2, 2],
        "block_type": block,
        "image_shape": (64, 64, 3),
    }
    return keras_hub.models.ResNetBackbone(**(facts | changes))


@pytest.mark.parametrize("depth", HUB)
def test_keras_hub_backbones(depth):
    keras_hub = pytest.importorskip("keras_hub", reason="KerasHub is not installed")
    theirs = stirred(hub_backbone(keras_hub, depth))
    ours = convert.from_keras_hub(theirs)
    assert ours.name == f"resnet{depth}"
    assert_equal_outputs(theirs, ours, 64)


def test_keras_hub_classifiers():
    keras_hub = pytest.importorskip("keras_hub", reason="KerasHub is not installed")
    backbone = hub_backbone(keras_hub, 18)
    theirs = stirred(keras_hub.models.ResNetImageClassifier(backbone=backbone, num_classes=6))
    assert_equal_outputs(theirs, convert.from_keras_hub(theirs), 64)
    bare = convert.from_keras_hub(theirs, include_top=False)
    assert_equal_outputs(backbone, bare, 64)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"use_pre_activation": True}, "resnet_v2"),
        ({"block_type": "basic_block_vd"}, "resnet_vd"),
        ({"input_conv_filters": [32, 64], "input_conv_kernel_sizes": [3, 3]}, "stem"),
        ({"stackwise_num_blocks": [1, 1, 1, 1]}, "no such ResNet"),
        ({"stackwise_num_strides": [1, 2, 2, 1]}, "strides"),
        ({"stackwise_num_filters": [64, 64, 64, 64]}, "filters"),
    ],
)
def test_other_networks_of_keras_hub(changes, word):
    keras_hub = pytest.importorskip("keras_hub", reason="KerasHub is not installed")
    with pytest.raises(ConvertError, match=word):
        convert.from_keras_hub(hub_backbone(keras_hub, 18, **changes))
