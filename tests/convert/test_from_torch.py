"""Converted weights give the numbers of the PyTorch models that they are from."""

import json

import keras
import numpy as np
import pytest

from keras_arch import convert, registry
from keras_arch.errors import ArgumentError, ConvertError
from tests.convert import reference
from tests.convert.states import assert_reads_as, batch_norm, drawn
from tests.models import golden
from tests.rounding import ROUNDING

GOLDENS = {
    "dcgan_netG": ("DCGANGenerator", {}),
    "dcgan_netD": ("DCGANDiscriminator", {}),
    "junyanz_nlayer_d_n3": ("PatchDiscriminator", {}),
}


def channels_first(outputs):
    return np.moveaxis(np.asarray(outputs), -1, 1)


@pytest.mark.parametrize("peer", GOLDENS)
def test_golden_outputs(peer):
    meta, arrays = golden.load(peer)
    name, arguments = GOLDENS[peer]
    model = convert.from_torch(name, golden.weights(meta), **arguments)
    inputs = golden.inputs(meta)
    if name == "PatchDiscriminator":
        inputs = [inputs[..., :3], inputs[..., 3:]]
    ours = np.asarray(model(inputs), np.float64)
    if peer == "dcgan_netD":
        # The peer's discriminator ends in a sigmoid.
        ours = 1 / (1 + np.exp(-ours[:, 0]))
    ours = channels_first(ours) if ours.ndim == 4 else ours
    np.testing.assert_allclose(ours, arrays["output"], rtol=0, atol=meta["tolerance"]["atol"])


def test_golden_unet():
    meta, arrays = golden.load("junyanz_unet_256")
    model = convert.from_torch("Pix2PixGenerator", golden.weights(meta))
    probes = {"model.model.0": "down1_conv", "model.model.1.model.1": "down2_conv"}
    probes["model.model.1.model.5"] = "up7_conv"
    probes["model.model.3"] = "output_conv"
    watched = keras.Model(
        model.input, [model.output, *(model.get_layer(name).output for name in probes.values())]
    )
    output, *maps = watched(golden.inputs(meta))
    for name, ours in zip(probes, maps, strict=True):
        golden.assert_probe(meta, arrays, name, ours)
    ours = channels_first(output)
    atol = meta["tolerance"]["atol"]
    np.testing.assert_allclose(ours[:, :, ::5, ::5], arrays["output"], rtol=0, atol=atol)
    np.testing.assert_allclose(ours[:, :, :8, :8], arrays["corner_tl"], rtol=0, atol=atol)
    np.testing.assert_allclose(ours[:, :, -8:, -8:], arrays["corner_br"], rtol=0, atol=atol)


def convolution(module, *shape, bias=True, transposed=False):
    shapes = {f"{module}.weight": shape}
    return shapes | ({f"{module}.bias": (shape[1 if transposed else 0],)} if bias else {})


def cyclegan_shapes(blocks, filters, channels, output_channels, second=5):
    f = filters
    shapes = convolution("model.1", f, channels, 7, 7)
    shapes |= convolution("model.4", 2 * f, f, 3, 3)
    shapes |= convolution("model.7", 4 * f, 2 * f, 3, 3)
    for block in range(10, 10 + blocks):
        for number in (1, second):
            shapes |= convolution(f"model.{block}.conv_block.{number}", 4 * f, 4 * f, 3, 3)
    shapes |= convolution(f"model.{10 + blocks}", 4 * f, 2 * f, 3, 3, transposed=True)
    shapes |= convolution(f"model.{13 + blocks}", 2 * f, f, 3, 3, transposed=True)
    return shapes | convolution(f"model.{17 + blocks}", output_channels, f, 7, 7)


def patch_shapes(layers, filters, channels, instance=False):
    shapes = convolution("model.0", filters, channels, 4, 4)
    width = filters
    for stage in range(1, layers + 1):
        before, width = width, filters * min(2**stage, 8)
        shapes |= convolution(f"model.{3 * stage - 1}", width, before, 4, 4, bias=instance)
        if not instance:
            shapes |= batch_norm(f"model.{3 * stage}", width)
    return shapes | convolution(f"model.{3 * layers + 2}", 1, width, 4, 4)


def assert_equal_to(expected, model, x, split=None):
    """The model on a batch with channels first, against another implementation's outputs."""
    inputs = np.moveaxis(x, 1, -1).astype("float32")
    ours = model(inputs if split is None else [inputs[..., :split], inputs[..., split:]])
    assert np.std(expected) > 0.05
    # Instance norm divides what rounding leaves by the deviation of small maps, layer after layer.
    np.testing.assert_allclose(channels_first(ours), expected, rtol=0, atol=5 * ROUNDING)


def batch(channels, height, width):
    return np.random.default_rng(3).uniform(-1, 1, (2, channels, height, width))


@pytest.mark.parametrize(
    ("blocks", "filters", "channels", "output_channels", "second"),
    [(9, 2, 3, 3, 5), (6, 3, 1, 2, 5), (6, 2, 3, 3, 6)],
)
def test_cyclegan_generators(blocks, filters, channels, output_channels, second):
    """The last one has dropout in its blocks, which moves their second convolution."""
    shapes = cyclegan_shapes(blocks, filters, channels, output_channels, second)
    state = drawn(shapes)
    model = convert.from_torch("CycleGANGenerator", state, image_shape=(8, 12, channels))
    x = batch(channels, 8, 12)
    assert_equal_to(reference.cyclegan_generator(state, x, blocks, second), model, x)


def test_running_statistics_of_instance_norm_are_left_out():
    """Checkpoints of 2017 have them; PyTorch's loader of these networks drops them too."""
    state = drawn(cyclegan_shapes(1, 1, 3, 3))
    old = state | {f"model.2.running_{part}": np.ones(1) for part in ("mean", "var")}
    arguments = {"image_shape": (8, 8, 3)}
    new = convert.from_torch("CycleGANGenerator", state, **arguments)
    again = convert.from_torch("CycleGANGenerator", old, **arguments)
    for a, b in zip(new.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("layers", "channels", "instance", "size", "split"),
    [(1, 4, False, 13, 1), (2, 6, False, 16, 3), (3, 3, True, 26, None), (5, 2, False, 96, None)],
)
def test_patch_discriminators(layers, channels, instance, size, split):
    state = drawn(patch_shapes(layers, 2, channels, instance))
    shape = (size, size, split or channels)
    model = convert.from_torch("PatchDiscriminator", state, input_shape=shape)
    x = batch(channels, size, size)
    assert_equal_to(reference.patch_discriminator(state, x, layers), model, x, split)


@pytest.mark.parametrize("instance", [False, True])
def test_pixel_discriminators(instance):
    shapes = convolution("net.0", 2, 5, 1, 1) | convolution("net.2", 4, 2, 1, 1, bias=instance)
    shapes |= convolution("net.5", 1, 4, 1, 1, bias=instance)
    state = drawn(shapes if instance else shapes | batch_norm("net.3", 4))
    model = convert.from_torch("PatchDiscriminator", state, input_shape=(4, 6, 2))
    x = batch(5, 4, 6)
    assert_equal_to(reference.pixel_discriminator(state, x), model, x, 2)


def test_unet_128_of_another_width():
    expected = {}
    levels = ["model.model."]
    for level in range(1, 7):
        levels.append(f"{levels[-1]}{1 if level == 1 else 3}.model.")
    widths = [1, 2, 4, 8, 8, 8, 8]
    shapes = convolution("model.model.0", 1, 2, 4, 4, bias=False)
    shapes |= convolution("model.model.3", 2, 4, 4, 4, transposed=True)
    for number, level in enumerate(levels[1:], start=1):
        inner = number == 6
        below, width = widths[number - 1 : number + 1]
        shapes |= convolution(f"{level}1", width, below, 4, 4, bias=False)
        up = f"{level}{3 if inner else 5}"
        shapes |= convolution(up, width * (1 if inner else 2), below, 4, 4, bias=False)
        shapes |= batch_norm(f"{level}{4 if inner else 6}", below)
        if not inner:
            shapes |= batch_norm(f"{level}2", width)
        expected[f"down{number + 1}_conv"] = f"{level}1"
        expected[f"up{7 - number}_conv"] = up
    state = {f"module.{name}": values for name, values in drawn(shapes).items()}
    model = convert.from_torch("Pix2PixGenerator", state)
    assert model.input_shape == (None, 128, 128, 2)
    assert model.output_shape == (None, 128, 128, 4)
    for layer, module in expected.items():
        kernel = state[f"module.{module}.weight"]
        np.testing.assert_array_equal(
            model.get_layer(layer).kernel, np.transpose(kernel, (2, 3, 1, 0))
        )
    x = np.random.default_rng(0).uniform(-1, 1, (1, 128, 128, 2)).astype("float32")
    # As PyTorch's eval(): moving averages, no dropout.
    np.testing.assert_array_equal(model(x), model(x))
    np.testing.assert_array_equal(model(x), model(x, training=False))
    instance = convert.from_torch("Pix2PixGenerator", state, inference_norm="instance")
    assert len(instance.weights) < len(model.weights)


def test_projection_shortcuts_other_depths_and_classes():
    shapes = convolution("conv1", 16, 1, 3, 3, bias=False) | batch_norm("bn1", 16)
    before = 16
    for stage, width in enumerate((16, 32, 64), start=1):
        for block in range(2):
            module = f"layer{stage}.{block}"
            shapes |= convolution(f"{module}.conv1", width, before, 3, 3, bias=False)
            shapes |= convolution(f"{module}.conv2", width, width, 3, 3, bias=False)
            shapes |= batch_norm(f"{module}.bn1", width) | batch_norm(f"{module}.bn2", width)
            if before != width:
                shapes |= convolution(f"{module}.shortcut.0", width, before, 1, 1, bias=False)
                shapes |= batch_norm(f"{module}.shortcut.1", width)
            before = width
    state = drawn(shapes | {"linear.weight": (7, 64), "linear.bias": (7,)})
    model = convert.from_torch("CIFARResNet", state)
    assert (model.name, model.input_shape[1:], model.output_shape) == (
        "resnet14",
        (32, 32, 1),
        (None, 7),
    )
    kernel = model.get_layer("stage2_block1_shortcut_conv").kernel
    np.testing.assert_array_equal(kernel, state["layer2.0.shortcut.0.weight"].transpose(2, 3, 1, 0))
    np.testing.assert_array_equal(model.get_layer("logits").kernel, state["linear.weight"].T)


def test_everything_that_does_not_fit_is_listed():
    state = drawn(patch_shapes(1, 2, 3))
    del state["model.3.running_mean"], state["model.2.weight"]
    state["model.0.bias"] = np.zeros(5)
    state["fc.weight"] = np.zeros((2, 2))
    with pytest.raises(ConvertError) as caught:
        convert.from_torch("PatchDiscriminator", state, target_channels=None)
    message = str(caught.value)
    assert "missing: model.2.weight, model.3.running_mean;" in message
    assert "unexpected: fc.weight;" in message
    assert "misshaped: model.0.bias (5,) for (2,)" in message
    assert "\n" not in message


GOOD = {"model.0.weight": np.zeros((2, 3, 4, 4))}


@pytest.mark.parametrize(
    ("name", "state", "arguments", "word"),
    [
        ("GoogLeNetwork", GOOD, {}, "no architecture named 'GoogLeNetwork'"),
        (
            "GANGenerator",
            GOOD,
            {},
            "no converter; there is one for AlexNet, CIFARResNet, CycleGANGenerator",
        ),
        ("DCGANGenerator", GOOD, {}, "such as 'main.0.weight'; it begins with 'model.0.weight'"),
        ("DCGANGenerator", {}, {}, "got nothing"),
        ("DCGANGenerator", [1], {}, "got list"),
        ("DCGANGenerator", {"other": GOOD}, {}, "state_dict['other'] must be an array"),
        ("DCGANGenerator", {"main.0.weight": "text"}, {}, "got str"),
        ("DCGANGenerator", "absent.pth", {}, "No such file"),
        ("DCGANGenerator", "model.onnx", {}, "or the path of a .safetensors or .pth file, got"),
        ("DCGANGenerator", "absent.safetensors", {}, "No such file"),
        ("DCGANGenerator", GOOD, {"weights": "a.weights.h5"}, "'a.weights.h5'"),
        ("DCGANGenerator", GOOD, {"colour": 1}, "no argument 'colour'"),
        ("PatchDiscriminator", {"model.20.weight": np.zeros((1, 2, 4, 4))}, {}, "'model.20'"),
        (
            "CycleGANGenerator",
            {"model.10.conv_block.0.weight": np.zeros((4, 4, 3, 3))},
            {},
            "pad with zeros",
        ),
        (
            "Pix2PixGenerator",
            {"model.model.1.model.1.weight": np.zeros((4, 4, 4, 4))},
            {},
            "halves its image 2 times; Pix2PixGenerator has 'unet_256' (8), 'unet_128' (7)",
        ),
        ("Pix2PixGenerator", {"conv1.weight": np.zeros((4, 4))}, {"filters": 1}, "'conv1.weight'"),
    ],
)
def test_refusals(name, state, arguments, word):
    with pytest.raises(ArgumentError) as caught:
        convert.from_torch(name, state, **arguments)
    assert word in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_family_is_registered():
    assert set(convert.convertible()) <= {entry.name for entry in registry.entries()}


def test_from_a_safetensors_file(tmp_path):
    state = drawn(patch_shapes(1, 1, 3))
    state.pop("model.3.num_batches_tracked")
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for name, values in state.items():
        offsets = [len(data), len(data) + values.nbytes]
        header[name] = {"dtype": "F32", "shape": list(values.shape), "data_offsets": offsets}
        data += values.tobytes()
    text = json.dumps(header).encode()
    path = tmp_path / "latest_net_D.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    assert_reads_as(path, state, input_shape=(16, 16, 3))
