"""Every naming of a classifier gives the same network; other networks are refused."""

import numpy as np
import pytest

from keras_arch import convert
from keras_arch.errors import ConvertError
from tests.convert import reference, states

SHAPE = {"input_shape": (32, 32, 3), "classifier_activation": None}


def assert_same_weights(first, second):
    assert first.name == second.name
    for a, b in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.fixture(scope="module")
def resnet18():
    return states.drawn(states.resnet((2, 2, 2, 2), False))


def test_resnets_of_transformers_are_torchvision_s_by_other_names(resnet18):
    ours = convert.from_torch("ResNet18", resnet18, **SHAPE)
    assert_same_weights(
        ours, convert.from_torch("ResNet18", states.as_transformers(resnet18), **SHAPE)
    )
    backbone = {name: v for name, v in resnet18.items() if not name.startswith("fc.")}
    bare = convert.from_torch("ResNet18", states.as_transformers(backbone, base=""))
    assert bare.output_shape == (None, 7, 7, 512)
    assert_same_weights(bare, convert.from_torch("ResNet18", resnet18, include_top=False))


@pytest.mark.slow
def test_bottlenecks_of_transformers_and_grey_images():
    state = states.drawn(states.resnet((3, 4, 6, 3), True, channels=1))
    renamed = states.as_transformers(state)
    assert "resnet.encoder.stages.3.layers.2.layer.2.normalization.running_var" in renamed
    first, second = (
        convert.from_torch("ResNet50", names, input_shape=(32, 32, 1)) for names in (state, renamed)
    )
    assert_same_weights(first, second)
    assert first.get_layer("stage2_block1_2_conv").strides == (2, 2), "v1.5"


def test_shortcuts_without_parameters_and_in_every_block(resnet18):
    bare = {name: v for name, v in resnet18.items() if "downsample" not in name}
    assert "stage2_block1_shortcut_conv" not in {
        layer.name for layer in convert.from_torch("ResNet18", bare, **SHAPE).layers
    }
    everywhere = dict(resnet18)
    for stage, width in enumerate((64, 128, 256, 512), start=1):
        for block in range(2):
            module = f"layer{stage}.{block}.downsample"
            if f"{module}.0.weight" not in everywhere:
                more = states.convolution(f"{module}.0", width, width, 1)
                everywhere |= states.drawn(more | states.batch_norm(f"{module}.1", width))
    model = convert.from_torch("ResNet18", everywhere, **SHAPE)
    assert model.get_layer("stage4_block2_shortcut_conv").kernel.shape == (1, 1, 512, 512)


@pytest.mark.parametrize(
    ("name", "change", "word"),
    [
        ("ResNet34", {}, "has 2, 2, 2, 2 basic blocks, ResNet34 has 3, 4, 6, 3 basic ones; convert "
         "it as ResNet18"),
        ("ResNet50", {}, "convert it as ResNet18"),
        ("ResNet18", {"layer2.2.conv1.weight": (1,)}, "no ResNet here has these"),
        ("ResNet18", {"conv1.0.weight": (1,)}, "stem of three convolutions"),
        ("ResNet18", {"layer1.0.se.fc1.weight": (1,)}, "squeeze-and-excitation"),
        ("ResNet50", {"layer1.0.conv3.weight": (1,), "layer1.0.conv2.weight": (128, 4, 3, 3)},
         "grouped convolutions"),
        ("ResNet50", {"layer1.0.conv3.weight": (1,), "layer1.0.conv2.weight": (128, 128, 3, 3)},
         "128 filters in the 3x3 convolutions"),
        ("ResNet18", {"bn1.running_mean": None}, "no moving statistics"),
        ("ResNet18", {"layer4.1.bn2.bias": None, "fc.weight": (5, 511), "extra": (1,)},
         "missing: layer4.1.bn2.bias; unexpected: extra; misshaped: fc.weight (5, 511) for"),
        ("VGG16", {}, "no tensor of VGG16 by the names of torchvision and timm, such as"),
        ("AlexNet", {}, "such as 'features.0.weight'; it begins with 'conv1.weight'"),
        ("GoogLeNet", {}, "no tensor of GoogLeNet by the names of torchvision"),
        ("CIFARResNet", {}, "and "),
    ],
)  # fmt: skip
def test_other_networks_are_refused(resnet18, name, change, word):
    state = resnet18 | {key: np.zeros(shape) for key, shape in change.items() if shape is not None}
    for key, shape in change.items():
        if shape is None:
            del state[key]
    with pytest.raises(ConvertError) as caught:
        convert.from_torch(name, state)
    assert word in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 4000


def logits(model, images):
    return np.asarray(model(np.moveaxis(images, 1, -1)), np.float64)


@pytest.mark.slow
@pytest.mark.parametrize(("depth", "norm"), [(11, True), (13, False)])
def test_vggs_against_numpy_and_timm_s_names(depth, norm):
    """Of maps of 2x3 pixels before the dense layers, so that their order shows."""
    state = states.drawn(states.vgg(depth, norm, map=(2, 3)))
    images = np.random.default_rng(0).normal(size=(2, 3, 64, 96)).astype("float32")
    arguments = {"input_shape": (64, 96, 3), "classifier_activation": None}
    model = convert.from_torch(f"VGG{depth}", state, **arguments)
    expected = reference.vgg(state, images, states.COLUMNS[depth].split(), norm)
    assert np.ptp(expected, axis=0).max() > 0.05
    np.testing.assert_allclose(logits(model, images), expected, atol=2e-4)
    timm = states.as_timm_vgg(state, (2, 3))
    assert_same_weights(model, convert.from_torch(f"VGG{depth}", timm, **arguments))
    bare = convert.from_torch(f"VGG{depth}", timm, include_top=False)
    assert bare.output_shape == (None, 7, 7, 512)
    other = {11: 13, 13: 16}[depth]
    with pytest.raises(ConvertError, match=f"convert it as VGG{depth}"):
        convert.from_torch(f"VGG{other}", state)


def test_alexnet_against_numpy():
    state = states.drawn(states.alexnet())
    images = np.random.default_rng(0).normal(size=(2, 3, 224, 224)).astype("float32")
    model = convert.from_torch("AlexNet", state, classifier_activation=None)
    expected = reference.alexnet(state, images)
    assert np.ptp(expected, axis=0).max() > 0.05
    np.testing.assert_allclose(logits(model, images), expected, atol=2e-4)
