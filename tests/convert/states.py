"""State dicts as PyTorch's libraries name and shape them, drawn by NumPy."""

import numpy as np

from keras_arch import convert

COLUMNS = {
    11: "64 M 128 M 256 256 M 512 512 M 512 512 M",
    13: "64 64 M 128 128 M 256 256 M 512 512 M 512 512 M",
    16: "64 64 M 128 128 M 256 256 256 M 512 512 512 M 512 512 512 M",
    19: "64 64 M 128 128 M 256 256 256 256 M 512 512 512 512 M 512 512 512 512 M",
}


def drawn(shapes, seed=0):
    """Numbers of some size for every name."""
    rng = np.random.default_rng(seed)
    state = {}
    for name, shape in shapes.items():
        if name.endswith("running_var"):
            values = 0.5 + rng.random(shape)
        elif len(shape) > 1:
            values = rng.standard_normal(shape, "f") * np.sqrt(2 / np.prod(shape[1:]))
        else:
            norm = name.endswith("weight")
            values = rng.normal(1.0 if norm else 0.0, 0.2, shape)
        state[name] = np.asarray(values, "float32")
    return state


def convolution(module, out, into, kernel, bias=False):
    shapes = {f"{module}.weight": (out, into, kernel, kernel)}
    return shapes | ({f"{module}.bias": (out,)} if bias else {})


def batch_norm(module, width):
    parts = ("weight", "bias", "running_mean", "running_var")
    return {f"{module}.{part}": (width,) for part in parts} | {f"{module}.num_batches_tracked": ()}


def linear(module, out, into):
    return {f"{module}.weight": (out, into), f"{module}.bias": (out,)}


def resnet(counts, bottleneck, classes=5, channels=3):
    """torchvision's and timm's."""
    shapes = convolution("conv1", 64, channels, 7) | batch_norm("bn1", 64)
    before = 64
    for stage, (width, count) in enumerate(zip((64, 128, 256, 512), counts, strict=True), start=1):
        out = width * (4 if bottleneck else 1)
        for block in range(count):
            module = f"layer{stage}.{block}"
            kernels = (1, 3, 1) if bottleneck else (3, 3)
            into = before
            for part, kernel in enumerate(kernels, start=1):
                to = out if part == len(kernels) else width
                shapes |= convolution(f"{module}.conv{part}", to, into, kernel)
                shapes |= batch_norm(f"{module}.bn{part}", to)
                into = to
            if before != out:
                shapes |= convolution(f"{module}.downsample.0", out, before, 1)
                shapes |= batch_norm(f"{module}.downsample.1", out)
            before = out
    return shapes | (linear("fc", classes, before) if classes else {})


def as_transformers(state, base="resnet."):
    """The same tensors as the transformers library names them."""
    renamed = {}
    for name, values in state.items():
        module, _, part = name.rpartition(".")
        if module == "fc":
            renamed[f"classifier.1.{part}"] = values
            continue
        kind = "convolution" if module.endswith(("conv1", "conv2", "conv3", ".0")) else ""
        kind = kind or "normalization"
        if not module.startswith("layer"):
            renamed[f"{base}embedder.embedder.{kind}.{part}"] = values
            continue
        stage, block, inner, *_ = module.removeprefix("layer").split(".")
        place = "shortcut" if inner == "downsample" else f"layer.{int(inner[-1]) - 1}"
        prefix = f"{base}encoder.stages.{int(stage) - 1}.layers.{block}.{place}"
        renamed[f"{prefix}.{kind}.{part}"] = values
    return renamed


def vgg(depth, norm, units=8, classes=5, map=(1, 1), channels=3):
    """torchvision's; timm's differs in the dense layers."""
    shapes, number, before = {}, 0, channels
    for width in COLUMNS[depth].split():
        if width == "M":
            number += 1
            continue
        width = int(width)
        shapes |= convolution(f"features.{number}", width, before, 3, bias=True)
        if norm:
            shapes |= batch_norm(f"features.{number + 1}", width)
        before, number = width, number + (3 if norm else 2)
    shapes |= linear("classifier.0", units, 512 * map[0] * map[1])
    return shapes | linear("classifier.3", units, units) | linear("classifier.6", classes, units)


def as_timm_vgg(state, map):
    """The same tensors as timm has them: dense layers as convolutions."""
    renamed = dict(state)
    for number, module in ((0, "pre_logits.fc1"), (3, "pre_logits.fc2"), (6, "head.fc")):
        weight = renamed.pop(f"classifier.{number}.weight")
        if number < 6:
            side = map if number == 0 else (1, 1)
            weight = weight.reshape(len(weight), -1, *side)
        renamed[f"{module}.weight"] = weight
        renamed[f"{module}.bias"] = renamed.pop(f"classifier.{number}.bias")
    return renamed


def alexnet(units=8, classes=5):
    shapes, before = {}, 3
    for number, width, kernel in ((0, 64, 11), (3, 192, 5), (6, 384, 3), (8, 256, 3), (10, 256, 3)):
        shapes |= convolution(f"features.{number}", width, before, kernel, bias=True)
        before = width
    shapes |= linear("classifier.1", units, 256 * 36) | linear("classifier.4", units, units)
    return shapes | linear("classifier.6", classes, units)


def auxiliary(number, into, classes):
    """One of torchvision's auxiliary heads of GoogLeNet."""
    shapes = convolution(f"aux{number}.conv.conv", 128, into, 1)
    shapes |= batch_norm(f"aux{number}.conv.bn", 128)
    return (
        shapes | linear(f"aux{number}.fc1", 1024, 2048) | linear(f"aux{number}.fc2", classes, 1024)
    )


def assert_reads_as(path, state, **arguments):
    """A patch discriminator from the file has the weights of one from the state dict."""
    for a, b in zip(
        convert.from_torch("PatchDiscriminator", path, **arguments).get_weights(),
        convert.from_torch("PatchDiscriminator", state, **arguments).get_weights(),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)
