"""Mappings of generators and discriminators: pytorch-CycleGAN-and-pix2pix, PyTorch examples."""

import functools

import keras

from keras_arch.convert.weight_mapping import (
    FROM_LATENT,
    TO_LOGIT,
    Arguments,
    Shapes,
    WeightMapping,
    count_layers,
    known,
    length,
    numbers_in,
    sequential_stages,
    square_image,
)
from keras_arch.errors import ConvertError
from keras_arch.models.patch_discriminator import STRIDED_LAYERS
from keras_arch.models.pix2pix import VARIANTS

# U-Net of pix2pix: each level is a block inside the one before.


def _unet_levels(halvings: int) -> list[str]:
    levels = ["model.model."]
    for level in range(1, halvings):
        levels.append(f"{levels[-1]}{1 if level == 1 else 3}.model.")
    return levels


def _unet_arguments(shapes: Shapes, given: Arguments) -> Arguments:
    halvings = sum(
        any(name.startswith(level) for name in shapes) for level in _unet_levels(len(shapes) + 1)
    )
    by_halvings = {count: name for name, (count, skips) in VARIANTS.items() if skips}
    variant = given.get("variant") or by_halvings.get(halvings)
    if variant is None and halvings:
        raise ConvertError(
            f"the state dict is a U-Net that halves its image {halvings} times; Pix2PixGenerator "
            f"has {', '.join(f'{name!r} ({count})' for count, name in by_halvings.items())}"
        )
    side = 2 ** VARIANTS[variant][0] if variant in VARIANTS else None
    return known(
        variant=variant,
        image_shape=square_image(shapes, "model.model.0.weight", side) if side else None,
        output_channels=length(shapes, "model.model.3.weight", 1),
        filters=length(shapes, "model.model.0.weight", 0),
        # As PyTorch's eval().
        inference_norm="moving",
        inference_dropout=False,
    )


def _unet_prefixes(model: keras.Model, shapes: Shapes) -> dict[str, str]:
    halvings = count_layers(model, r"down\d+_conv")
    levels = _unet_levels(halvings)
    prefixes = {"down1_conv": f"{levels[0]}0", "output_conv": f"{levels[0]}3"}
    for number, level in enumerate(levels[1:], start=2):
        up, after = halvings + 1 - number, 3 if number == halvings else 5
        prefixes[f"down{number}_conv"] = f"{level}1"
        prefixes[f"down{number}_norm"] = f"{level}2"
        prefixes[f"up{up}_conv"] = f"{level}{after}"
        prefixes[f"up{up}_norm"] = f"{level}{after + 1}"
    return prefixes


# PatchGAN and pixel discriminators.


def _patch_arguments(shapes: Shapes, given: Arguments) -> Arguments:
    pixel = any(name.startswith("net.") for name in shapes)
    first, second = ("net.0", "net.2") if pixel else ("model.0", "model.2")
    numbers = numbers_in(shapes, r"model\.(\d+)\.weight$")
    field = 1 if pixel else None
    if numbers and not pixel:
        # The logits are the last: 3n+2 modules in.
        count, rest = divmod(numbers[-1] - 2, 3)
        field = next((f for f, layers in STRIDED_LAYERS.items() if layers == count and f > 1), None)
        if (field is None or rest) and "receptive_field" not in given:
            raise ConvertError(
                f"the state dict ends at 'model.{numbers[-1]}', and PatchDiscriminator has n = 1 "
                "to 5 strided layers, of which it is 'model.' and 3n+2: 5, 8, 11, 14 or 17"
            )
    norm = given.get("norm") or ("instance" if f"{second}.bias" in shapes else "batch")
    channels = length(shapes, f"{first}.weight", 1)
    found = known(receptive_field=field, filters=length(shapes, f"{first}.weight", 0), norm=norm)
    return found | (_split_channels(channels, given) if channels else {})


def _split_channels(channels: int, given: Arguments) -> Arguments:
    """Split a discriminator's channels into those of the condition and of the target.

    The state knows only their sum. More than three are taken for a condition and a target of
    three channels, unless the user's arguments say otherwise.
    """
    shape = given.get("input_shape")
    if "target_channels" in given:
        target = given["target_channels"]
    elif isinstance(shape, tuple | list) and len(shape) == 3 and isinstance(shape[2], int):
        target = channels - shape[2] if channels > shape[2] else None
    else:
        target = 3 if channels > 3 else None
    condition = channels - target if isinstance(target, int) else channels
    return {"target_channels": target, "input_shape": (256, 256, max(condition, 1))}


def _patch_prefixes(model: keras.Model, shapes: Shapes) -> dict[str, str]:
    pixel = model.get_layer("stage1_conv").kernel_size == (1, 1)
    return _discriminator_prefixes("net" if pixel else "model", model)


def _discriminator_prefixes(module: str, model: keras.Model) -> dict[str, str]:
    stages = count_layers(model, r"stage\d+_conv")
    ends = {"stage1_conv": f"{module}.0", "logits": f"{module}.{3 * stages - 1}"}
    return ends | sequential_stages(module, stages, -4)


# Generator of CycleGAN.

_IN_BLOCK = r"model\.\d+\.conv_block\.(\d+)\.weight$"


def _cyclegan_arguments(shapes: Shapes, given: Arguments) -> Arguments:
    blocks = numbers_in(shapes, r"model\.(\d+)\.conv_block\.")
    inside = numbers_in(shapes, _IN_BLOCK)
    if inside and inside[0] == 0:
        raise ConvertError(
            "the state dict is of a generator whose blocks pad with zeros ('conv_block.0.weight'); "
            "CycleGANGenerator's mirror the map, as the paper's do"
        )
    last = max(numbers_in(shapes, r"model\.(\d+)\.weight$"), default=0)
    return known(
        blocks=len(blocks) or None,
        image_shape=square_image(shapes, "model.1.weight", 256),
        output_channels=length(shapes, f"model.{last}.weight", 0),
        filters=length(shapes, "model.1.weight", 0),
    )


def _cyclegan_prefixes(model: keras.Model, shapes: Shapes) -> dict[str, str]:
    blocks = count_layers(model, r"block\d+")
    # Dropout between the two convolutions of a block moves the second one on by one.
    second = 6 if 6 in numbers_in(shapes, _IN_BLOCK) else 5
    prefixes = {"stem_conv": "model.1", "down1_conv": "model.4", "down2_conv": "model.7"}
    for block in range(1, blocks + 1):
        prefixes[f"block{block}_1_conv"] = f"model.{9 + block}.conv_block.1"
        prefixes[f"block{block}_2_conv"] = f"model.{9 + block}.conv_block.{second}"
    after = 10 + blocks
    return prefixes | {
        "up1_conv": f"model.{after}",
        "up2_conv": f"model.{after + 3}",
        "output_conv": f"model.{after + 7}",
    }


# DCGAN of the PyTorch examples.


def _dcgan_arguments(shapes: Shapes, given: Arguments, *, generator: bool) -> Arguments:
    numbers = numbers_in(shapes, r"main\.(\d+)\.weight$")
    names = [f"main.{number}.weight" for number in numbers]
    names = [name for name in names if len(shapes[name]) == 4]
    if len(names) < 3:
        return {}
    # The convolution that gives or sees the image.
    outer = names[-1] if generator else names[0]
    shape = square_image(shapes, outer, 2 ** (len(names) + 1))
    return known(
        variant="pytorch",
        filters=length(shapes, outer, 0),
        **{"image_shape" if generator else "input_shape": shape},
        latent_size=length(shapes, names[0], 0) if generator else None,
    )


def _dcgan_generator_prefixes(model: keras.Model, shapes: Shapes) -> dict[str, str]:
    stages = count_layers(model, r"stage\d+")
    ends = {"project": "main.0", "project_norm": "main.1", "output_conv": f"main.{3 * stages}"}
    return ends | sequential_stages("main", stages, -3)


_JUNYANZ = "pytorch-CycleGAN-and-pix2pix"
_SINGLE = {
    "CycleGANGenerator": WeightMapping(
        f"{_JUNYANZ} (resnet_9blocks, resnet_6blocks)", _cyclegan_arguments, _cyclegan_prefixes
    ),
    "DCGANDiscriminator": WeightMapping(
        "the PyTorch examples (dcgan)",
        functools.partial(_dcgan_arguments, generator=False),
        lambda model, shapes: _discriminator_prefixes("main", model),
        dense=TO_LOGIT,
    ),
    "DCGANGenerator": WeightMapping(
        "the PyTorch examples (dcgan)",
        functools.partial(_dcgan_arguments, generator=True),
        _dcgan_generator_prefixes,
        dense=FROM_LATENT,
    ),
    "PatchDiscriminator": WeightMapping(
        f"{_JUNYANZ} (n_layers, pixel)", _patch_arguments, _patch_prefixes
    ),
    "Pix2PixGenerator": WeightMapping(
        f"{_JUNYANZ} (unet_256, unet_128)", _unet_arguments, _unet_prefixes
    ),
}
MAPPINGS: dict[str, tuple[WeightMapping, ...]] = {
    name: (mapping,) for name, mapping in _SINGLE.items()
}
