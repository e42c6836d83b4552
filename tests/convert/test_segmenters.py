"""Converted networks that classify pixels give the numbers of the PyTorch models."""

import keras
import numpy as np
import pytest

from keras_arch import convert
from keras_arch.errors import ConvertError
from tests.convert import reference
from tests.convert.states import batch_norm, convolution, drawn
from tests.models import golden


@pytest.mark.slow
def test_golden_fcn8s_and_its_maps():
    meta, arrays = golden.load("wkentaro_fcn8s")
    # The golden's deconvolutions are drawn like everything else: nothing of ours is left in.
    model = convert.from_torch("FCN8s", golden.weights(meta), classifier_activation=None)
    assert model.input_shape == (None, None, None, 3)
    probed = [feature["name"] for feature in meta["features"]]
    maps = [model.get_layer(name).output for name in probed]
    output, *ours = keras.Model(model.input, [model.output, *maps])(golden.inputs(meta))
    for name, map in zip(probed, ours, strict=True):
        golden.assert_probe(meta, arrays, name, map)
        golden.assert_statistics(meta, name, map)
    output = np.moveaxis(np.asarray(output), -1, 1)
    assert list(output.shape) == meta["output"]["shape"]
    atol = meta["tolerance"]["atol"]
    for stored, part in (
        ("output", output[:, :, ::3, ::3]),
        ("corner_tl", output[:, :, :8, :8]),
        ("corner_br", output[:, :, -8:, -8:]),
    ):
        np.testing.assert_allclose(part, arrays[stored], rtol=0, atol=atol)


def unet_shapes(depth, filters, channels, classes):
    def double(module, before, width):
        found = {}
        for index, into in ((0, before), (3, width)):
            found |= convolution(f"{module}.double_conv.{index}", width, into, 3)
            found |= batch_norm(f"{module}.double_conv.{index + 1}", width)
        return found

    shapes = double("inc", channels, filters)
    for number in range(1, depth + 1):
        width = filters * 2**number
        shapes |= double(f"down{number}.maxpool_conv.1", width // 2, width)
    for number in range(1, depth + 1):
        width = filters * 2 ** (depth - number)
        shapes |= {f"up{number}.up.weight": (2 * width, width, 2, 2)}
        shapes |= {f"up{number}.up.bias": (width,)}
        shapes |= double(f"up{number}.conv", 2 * width, width)
    return shapes | convolution("outc.conv", classes, filters, 1, bias=True)


def unet(state, x, depth):
    """Pytorch-UNet with bilinear=False: logits."""

    def double(x, module):
        for index in (0, 3):
            module_of = f"{module}.double_conv.{index}"
            x = reference.convolution(x, state[f"{module_of}.weight"], padding=1)
            x = reference.relu(reference.batch_norm(x, state, f"{module}.double_conv.{index + 1}"))
        return x

    maps = [double(x, "inc")]
    for number in range(1, depth + 1):
        batch, channels, height, width = maps[-1].shape
        pooled = maps[-1].reshape(batch, channels, height // 2, 2, width // 2, 2).max((3, 5))
        maps.append(double(pooled, f"down{number}.maxpool_conv.1"))
    x = maps.pop()
    for number in range(1, depth + 1):
        parts = state[f"up{number}.up.weight"], state[f"up{number}.up.bias"]
        x = reference.transposed_convolution(x, *parts, 2, 0, 0)
        x = double(np.concatenate([maps.pop(), x], axis=1), f"up{number}.conv")
    return reference.convolution(x, state["outc.conv.weight"], state["outc.conv.bias"])


@pytest.mark.parametrize(("depth", "classes"), [(2, 1), (1, 3)])
def test_unet_with_batch_norm(depth, classes):
    state = drawn(unet_shapes(depth, 2, 3, classes))
    model = convert.from_torch("UNet", state)
    assert model.input_shape == (None, None, None, 3)
    x = np.random.default_rng(0).normal(size=(2, 3, 8, 12)).astype("float32")
    logits = np.moveaxis(unet(state, x, depth), 1, -1)
    if classes == 1:
        wanted = 1 / (1 + np.exp(-logits))
    else:
        wanted = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    found = model(np.moveaxis(x, 1, -1), training=False)
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_refusals():
    shapes = unet_shapes(1, 1, 1, 2)
    state = drawn({name: shape for name, shape in shapes.items() if ".up." not in name})
    with pytest.raises(ConvertError, match="bilinear=False"):
        convert.from_torch("UNet", state)
    with pytest.raises(ConvertError, match=r"no tensor of FCN16s .* 'conv1_1.weight'"):
        convert.from_torch("FCN16s", state, backbone="VGG11", units=2)
