"""Mappings of FCN and U-Net: pytorch-fcn and Pytorch-UNet."""

import keras

from keras_arch.convert.weight_mapping import (
    Arguments,
    Shapes,
    WeightMapping,
    count_layers,
    known,
    length,
    numbers_in,
    square_image,
)
from keras_arch.errors import ConvertError

# FCN: the port has the authors' names, as ours does.


def _fcn_arguments(shapes: Shapes, given: Arguments) -> Arguments:
    return known(
        input_shape=square_image(shapes, "conv1_1.weight", None),
        classes=length(shapes, "score_fr.weight", 0),
        units=length(shapes, "fc6.weight", 0),
    )


def _fcn_prefixes(model: keras.Model, shapes: Shapes) -> dict[str, str]:
    return {layer.name: layer.name for layer in model.layers if layer.weights}


# U-Net with padding and batch norm.


def _unet_arguments(shapes: Shapes, given: Arguments) -> Arguments:
    first = "inc.double_conv.0.weight"
    depth = len(numbers_in(shapes, r"down(\d+)\.maxpool_conv\."))
    if depth and "up1.up.weight" not in shapes:
        raise ConvertError(
            "the state dict is of a U-Net that interpolates with its corners aligned "
            "(bilinear=True), which no layer of Keras does; there is a converter for those with "
            "deconvolutions (bilinear=False)"
        )
    classes = length(shapes, "outc.conv.weight", 0)
    return known(
        padding="same",
        input_shape=square_image(shapes, first, None),
        classes=classes,
        depth=depth or None,
        filters=length(shapes, first, 0),
        norm="batch",
        dropout=0.0,
        classifier_activation="sigmoid" if classes == 1 else "softmax",
    )


def _unet_prefixes(model: keras.Model, shapes: Shapes) -> dict[str, str]:
    depth = count_layers(model, r"stage\d+_pool")
    blocks = {"stage1": "inc"}
    prefixes = {"logits": "outc.conv"}
    for number in range(1, depth + 1):
        blocks[f"stage{number + 1}"] = f"down{number}.maxpool_conv.1"
        blocks[f"up{number}"] = f"up{depth + 1 - number}.conv"
        prefixes[f"up{number}"] = f"up{depth + 1 - number}.up"
    for block, module in blocks.items():
        for part, index in {"conv1": 0, "norm1": 1, "conv2": 3, "norm2": 4}.items():
            prefixes[f"{block}_{part}"] = f"{module}.double_conv.{index}"
    return prefixes


_WKENTARO = WeightMapping("pytorch-fcn", _fcn_arguments, _fcn_prefixes)
MAPPINGS = {
    "FCN8s": (_WKENTARO,),
    "FCN16s": (_WKENTARO,),
    "FCN32s": (_WKENTARO,),
    "UNet": (WeightMapping("Pytorch-UNet", _unet_arguments, _unet_prefixes),),
}
