"""Mappings of residual networks: torchvision, timm, transformers, pytorch_resnet_cifar10."""

import functools
import re

import keras

from keras_arch.convert.weight_mapping import (
    Arguments,
    Shapes,
    WeightMapping,
    known,
    length,
    none_of,
    numbers_in,
    square_image,
)
from keras_arch.errors import ConvertError
from keras_arch.models.resnet import BLOCKS, BOTTLENECK_FROM

# ResNets for CIFAR.


def _cifar_resnet_arguments(shapes: Shapes, given: Arguments) -> Arguments:
    blocks = numbers_in(shapes, r"layer1\.(\d+)\.")
    return known(
        depth=6 * len(blocks) + 2 if blocks else None,
        shortcut="B" if "layer2.0.shortcut.0.weight" in shapes else None,
        input_shape=square_image(shapes, "conv1.weight", 32),
        classes=length(shapes, "linear.weight", 0, rank=2),
        include_top=False if blocks and "linear.weight" not in shapes else None,
    )


def _prefixes(head: str, shortcut: str, model: keras.Model, shapes: Shapes) -> dict[str, str]:
    prefixes = {"stem_conv": "conv1", "stem_norm": "bn1", "logits": head}
    for name, (stage, block, part, kind) in block_layers(model).items():
        if part == "shortcut":
            inner = f"{shortcut}.{0 if kind == 'conv' else 1}"
        else:
            inner = f"{'conv' if kind == 'conv' else 'bn'}{part}"
        prefixes[name] = f"layer{stage}.{block - 1}.{inner}"
    return prefixes


def block_layers(model: keras.Model) -> dict[str, tuple[int, int, str, str]]:
    """Stage, block, part and kind of every convolution and norm of one of our residual networks.

    Stages and blocks are numbered from 1; the part is `"shortcut"` or the number of the layer in
    its block; the kind is `"conv"` or `"norm"`.

    Example:
        >>> from keras_arch import models
        >>> block_layers(models.CIFARResNet(depth=8))["stage2_block1_2_conv"]
        (2, 1, '2', 'conv')
    """
    found = {}
    for layer in model.layers:
        if match := re.fullmatch(r"stage(\d)_block(\d+)_(\d|shortcut)_(conv|norm)", layer.name):
            stage, block, part, kind = match.groups()
            found[layer.name] = int(stage), int(block), part, kind
    return found


def depth_of(counts: tuple[int, ...], *, bottleneck: bool) -> int | None:
    """Depth of the ResNet with these numbers of blocks in its stages, `None` if there is none.

    Example:
        >>> depth_of((3, 4, 6, 3), bottleneck=True), depth_of((3, 4, 6, 3), bottleneck=False)
        (50, 34)
    """
    return next(
        (d for d, c in BLOCKS.items() if c == counts and (d >= BOTTLENECK_FROM) == bottleneck), None
    )


# ResNets for ImageNet, as torchvision and timm name them.


def _resnet_arguments(depth: int, shapes: Shapes, given: Arguments) -> Arguments:
    if "conv1.weight" not in shapes and "conv1.0.weight" not in shapes:
        raise none_of(f"ResNet{depth}", "torchvision and timm", "conv1.weight", shapes)
    _refuse_variants(depth, shapes)
    stages = max(numbers_in(shapes, r"layer(\d)\.\d+\."), default=0)
    counts = tuple(
        len(numbers_in(shapes, rf"layer{stage}\.(\d+)\.")) for stage in range(1, stages + 1)
    )
    _check_depth(depth, counts, "layer1.0.conv3.weight" in shapes)
    projections = [f"layer2.{block}.downsample.0.weight" for block in (0, 1)]
    return _resnet_facts(shapes, "conv1.weight", "fc.weight", projections)


def _refuse_variants(depth: int, shapes: Shapes) -> None:
    """Refuse other networks with the same names."""
    reason = None
    if "conv1.0.weight" in shapes:
        reason = "a stem of three convolutions ('conv1.0.weight'; timm's resnet...c, d, s and t)"
    elif any(".se." in name for name in shapes):
        reason = "squeeze-and-excitation in its blocks ('.se.')"
    elif "bn1.weight" in shapes and "bn1.running_mean" not in shapes:
        reason = "no moving statistics, so that its norms are no batch norms"
    elif "layer1.0.conv3.weight" in shapes:
        width, seen, *_ = shapes.get("layer1.0.conv2.weight", (64, 64))
        if width != seen:
            reason = "grouped convolutions (ResNeXt)"
        elif width != 64:
            reason = f"{width} filters in the 3x3 convolutions of its first stage (a wide ResNet)"
    if reason:
        raise ConvertError(f"the state dict has {reason}; ResNet{depth} has not")


def _check_depth(depth: int, counts: tuple[int, ...], bottleneck: bool) -> None:
    """Refuse a state with other blocks than the network's, and name the network of its blocks."""
    other = depth_of(counts, bottleneck=bottleneck)
    if other == depth:
        return
    kind = "bottleneck" if bottleneck else "basic"
    remedy = f"convert it as ResNet{other}" if other else "no ResNet here has these"
    own = "bottleneck" if depth >= BOTTLENECK_FROM else "basic"
    raise ConvertError(
        f"the state dict has {', '.join(map(str, counts))} {kind} blocks, ResNet{depth} has "
        f"{', '.join(map(str, BLOCKS[depth]))} {own} ones; {remedy}"
    )


def _resnet_facts(shapes: Shapes, stem: str, head: str, projections: list[str]) -> Arguments:
    """Arguments that follow from a state by either naming.

    `stem`, `head` and `projections` are the names of the weights of the first convolution, of the
    classifier, and of the shortcuts in the first two blocks of the second stage. The second block
    changes no shape: only option C projects there.
    """
    changing, other = (name in shapes for name in projections)
    return known(
        # The only one of the PyTorch sources; for basic blocks it makes no difference.
        variant="v1.5",
        shortcut="C" if other else "B" if changing else "A",
        input_shape=square_image(shapes, stem, 224),
        classes=length(shapes, head, 0, rank=2),
        include_top=None if head in shapes else False,
    )


# ResNets as the transformers library names them; so are Facebook's and Microsoft's.

_EMBEDDER = "embedder.embedder.convolution.weight"


def _transformers_base(shapes: Shapes) -> str:
    """Prefix of all names; empty for a model without head."""
    return "resnet." if f"resnet.{_EMBEDDER}" in shapes else ""


def _transformers_arguments(depth: int, shapes: Shapes, given: Arguments) -> Arguments:
    base = _transformers_base(shapes)
    stages = f"{base}encoder.stages"
    counts = tuple(
        len(numbers_in(shapes, rf"{re.escape(stages)}\.{stage}\.layers\.(\d+)\."))
        for stage in numbers_in(shapes, rf"{re.escape(stages)}\.(\d+)\.")
    )
    _check_depth(depth, counts, f"{stages}.0.layers.0.layer.2.convolution.weight" in shapes)
    projections = [f"{stages}.1.layers.{block}.shortcut.convolution.weight" for block in (0, 1)]
    return _resnet_facts(shapes, f"{base}{_EMBEDDER}", "classifier.1.weight", projections)


def _transformers_prefixes(model: keras.Model, shapes: Shapes) -> dict[str, str]:
    base = _transformers_base(shapes)
    kinds = {"conv": "convolution", "norm": "normalization"}
    prefixes = {f"stem_{short}": f"{base}embedder.embedder.{long}" for short, long in kinds.items()}
    prefixes["logits"] = "classifier.1"
    for name, (stage, block, part, kind) in block_layers(model).items():
        module = f"{base}encoder.stages.{stage - 1}.layers.{block - 1}"
        inner = "shortcut" if part == "shortcut" else f"layer.{int(part) - 1}"
        prefixes[name] = f"{module}.{inner}.{kinds[kind]}"
    return prefixes


def _resnet_families(depth: int) -> tuple[WeightMapping, ...]:
    return (
        WeightMapping(
            "torchvision and timm",
            functools.partial(_resnet_arguments, depth),
            functools.partial(_prefixes, "fc", "downsample"),
            head=r"fc\.",
        ),
        WeightMapping(
            "transformers",
            functools.partial(_transformers_arguments, depth),
            _transformers_prefixes,
            head=r"classifier\.",
            recognizes=lambda shapes: any(name.endswith(_EMBEDDER) for name in shapes),
        ),
    )


MAPPINGS: dict[str, tuple[WeightMapping, ...]] = {
    "CIFARResNet": (
        WeightMapping(
            "pytorch_resnet_cifar10",
            _cifar_resnet_arguments,
            functools.partial(_prefixes, "linear", "shortcut"),
            head=r"linear\.",
        ),
    )
}
MAPPINGS |= {f"ResNet{depth}": _resnet_families(depth) for depth in BLOCKS}
