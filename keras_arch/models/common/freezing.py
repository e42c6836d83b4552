"""Parts of segmentation networks, backbone, decoder and head, and freezing the backbone."""

import re

import keras

from keras_arch.errors import ArgumentError
from keras_arch.models.common.features import strides_of

# Layers of the decoders of U-Net, FCN and DeepLabV3+ by their names, all others are the backbone's;
# and those whose weights have an axis of classes.
_HEAD = re.compile(r"logits|score_\w+|upscore\w*")
_DECODER = re.compile(r"(up\d+|aspp\d*|low_level_feature|segmentation_head)(_\w+)?")


def head_layers(model: keras.Model) -> list[str]:
    """Names of the layers with weights that score the classes of a segmentation network.

    Args:
        model: A `UNet`, `FCN32s`, `FCN16s`, `FCN8s` or `DeepLabV3Plus`.

    Returns:
        Names in the order of the layers.

    Raises:
        ArgumentError: If it is another network.

    Example:
        >>> from keras_arch import models
        >>> head_layers(models.FCN16s(input_shape=(64, 64, 3), backbone="ResNet18"))
        ['score_fr', 'upscore2', 'score_pool4', 'upscore16']
    """
    names = [x.name for x in model.layers if x.weights and _HEAD.fullmatch(x.name)]
    if not names or len(model.output_shape) != 4:
        raise ArgumentError(
            f"model {model.name!r} is no UNet, FCN or DeepLabV3Plus of keras_arch, whose backbone "
            "and head are known by their names"
        )
    return names


def backbone_layers(model: keras.Model) -> list[str]:
    """Names of the layers with weights of the backbone of a segmentation network.

    Of a U-Net without a backbone they are its contracting path, of an FCN on a VGG `fc6` and `fc7`
    are among them.

    Args:
        model: As for `head_layers`.

    Returns:
        Names in the order of the layers.

    Raises:
        ArgumentError: As for `head_layers`.

    Example:
        >>> from keras_arch import models
        >>> backbone_layers(models.UNet(depth=1, filters=2, input_shape=(28, 28, 1)))
        ['stage1_conv1', 'stage1_conv2', 'stage2_conv1', 'stage2_conv2']
    """
    head = head_layers(model)
    return [
        layer.name
        for layer in model.layers
        if layer.weights and layer.name not in head and not _DECODER.fullmatch(layer.name)
    ]


def freeze_backbone(model: keras.Model) -> keras.Model:
    """Freeze the backbone of a segmentation network: only decoder and head learn.

    Its weights stay as they are, and its batch norms work with the statistics that they have and
    keep them (Keras runs a frozen `BatchNormalization` in inference mode). Compile the model
    afterwards. `layer.trainable = True` of all layers undoes it.

    Args:
        model: As for `head_layers`, usually on a `backbone` with `backbone_weights`.

    Returns:
        The same model.

    Raises:
        ArgumentError: As for `head_layers`.

    Example:
        >>> from keras_arch import models
        >>> net = models.UNet(backbone="ResNet18", input_shape=(64, 64, 3), filters=2)
        >>> frozen = models.freeze_backbone(net)
        >>> frozen.get_layer("stem_conv").trainable, frozen.get_layer("up1_conv1").trainable
        (False, True)
    """
    for name in backbone_layers(model):
        model.get_layer(name).trainable = False
    return model


def layer_factors(model: keras.Model, decay: float) -> dict[str, float]:
    """Factors of the learning rate of each layer, which fall from the head to the image.

    The head has 1, the decoder `decay`. The layers of the backbone at its coarsest stride have
    `decay ** 2`, those at the next finer one `decay ** 3`, and so on.

    Args:
        model: As for `head_layers`.
        decay: From one part to the one before it.

    Returns:
        Factors by name of the layer, for layers with weights.

    Raises:
        ArgumentError: As for `head_layers`.

    Example:
        >>> from keras_arch import models
        >>> net = models.UNet(depth=1, filters=2, input_shape=(28, 28, 1))
        >>> factors = layer_factors(net, 0.5)
        >>> [factors[name] for name in ("stage1_conv1", "stage2_conv1", "up1_conv1")]
        [0.125, 0.25, 0.5]
    """
    head, backbone, stride = head_layers(model), backbone_layers(model), strides_of(model)
    coarse_first = sorted({stride[name] for name in backbone}, reverse=True)
    return {
        layer.name: decay ** (2 + coarse_first.index(stride[layer.name]))
        if layer.name in backbone
        else decay
        for layer in model.layers
        if layer.weights and layer.name not in head
    }
