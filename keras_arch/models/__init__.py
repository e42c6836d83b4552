"""Builders of networks: plain functions that return functional `keras.Model`s.

Every builder uses stock Keras layers only, so that a saved model opens without this package.
"""

import fnmatch
from typing import Any

import keras

from keras_arch import pretrained, registry
from keras_arch.errors import ArgumentError
from keras_arch.layers import trainable_parameters
from keras_arch.models.alexnet import AlexNet
from keras_arch.models.cgan import CGANDiscriminator, CGANGenerator
from keras_arch.models.cifar_resnet import CIFARResNet
from keras_arch.models.common.arguments import hint
from keras_arch.models.common.features import features, keras_cv_backbone
from keras_arch.models.common.freezing import freeze_backbone
from keras_arch.models.common.heads import (
    class_probabilities,
    main_head,
    output_activation,
    stack_heads,
)
from keras_arch.models.cyclegan import CycleGANGenerator
from keras_arch.models.dcgan import DCGANDiscriminator, DCGANGenerator
from keras_arch.models.deeplab_v3_plus import DeepLabV3Plus
from keras_arch.models.fcn import FCN8s, FCN16s, FCN32s
from keras_arch.models.gan import GANDiscriminator, GANGenerator
from keras_arch.models.googlenet import GoogLeNet
from keras_arch.models.imagenet import decode_predictions, imagenet_classes, imagenet_labels
from keras_arch.models.lapgan import LAPGANDiscriminator, LAPGANGenerator
from keras_arch.models.output_bias import start_at_mean_image
from keras_arch.models.patch_discriminator import PatchDiscriminator, receptive_field
from keras_arch.models.pix2pix import Pix2PixGenerator, with_inference
from keras_arch.models.resnet import ResNet18, ResNet34, ResNet50, ResNet101, ResNet152
from keras_arch.models.unet import UNet, unet_output_size, unet_sizes
from keras_arch.models.vgg import VGG11, VGG13, VGG16, VGG19

__all__ = [
    "VGG11",
    "VGG13",
    "VGG16",
    "VGG19",
    "AlexNet",
    "CGANDiscriminator",
    "CGANGenerator",
    "CIFARResNet",
    "CycleGANGenerator",
    "DCGANDiscriminator",
    "DCGANGenerator",
    "DeepLabV3Plus",
    "FCN8s",
    "FCN16s",
    "FCN32s",
    "GANDiscriminator",
    "GANGenerator",
    "GoogLeNet",
    "LAPGANDiscriminator",
    "LAPGANGenerator",
    "PatchDiscriminator",
    "Pix2PixGenerator",
    "ResNet18",
    "ResNet34",
    "ResNet50",
    "ResNet101",
    "ResNet152",
    "UNet",
    "class_probabilities",
    "create",
    "decode_predictions",
    "features",
    "freeze_backbone",
    "imagenet_classes",
    "imagenet_labels",
    "keras_cv_backbone",
    "list_models",
    "list_weights",
    "main_head",
    "output_activation",
    "receptive_field",
    "stack_heads",
    "start_at_mean_image",
    "trainable_parameters",
    "unet_output_size",
    "unet_sizes",
    "with_inference",
]


def list_models(filter: str = "*") -> list[str]:
    """Names of the registered architectures, sorted.

    Args:
        filter: A pattern as in a shell, compared without regard to case.

    Example:
        >>> list_models("dcgan*")
        ['DCGANDiscriminator', 'DCGANGenerator']
    """
    return [
        entry.name
        for entry in registry.entries()
        if fnmatch.fnmatchcase(entry.name.lower(), filter.lower())
    ]


def list_weights(architecture: str | None = None) -> list[pretrained.Pretrained]:
    """Published weights that builders load by tag, such as `ResNet50(weights="tv2_in1k")`.

    `"imagenet"` is the first of an architecture that was trained on ImageNet and has the other
    arguments of the builder. How images are prepared, and the labels, are in
    `keras_arch.hub.pretrained_card`.

    Args:
        architecture: One of `list_models()`. Default: all.

    Returns:
        For each set of weights its tag, source, licence, input size, size of the download in
        megabytes, reported accuracy and the page that reports it.

    Raises:
        ArgumentError: If there is no such architecture, or it is not given by name.

    Example:
        >>> [(row.tag, row.license, row.accuracy) for row in list_weights("AlexNet")]
        [('tv_in1k', 'bsd-3-clause', 56.522)]
    """
    if architecture is None:
        return list(pretrained.table())
    if not isinstance(architecture, str):
        raise ArgumentError(
            f"give an architecture by its name, such as 'ResNet50', got {architecture!r}"
        )
    return list(pretrained.tags(registry.entry(architecture).name))


def create(name: str, /, **arguments: Any) -> keras.Model:
    """Build an architecture by name, as configs do.

    Args:
        name: One of `list_models()`.
        **arguments: Arguments of its builder, `name` for the model's own name included.

    Raises:
        ArgumentError: If there is no such architecture, or it has no such argument; the message
            names the arguments that it has.

    Example:
        >>> create("CIFARResNet", depth=20, classes=100).output_shape
        (None, 100)
    """
    entry = registry.entry(name)
    for argument in arguments:
        if argument not in entry.arguments:
            known = ", ".join(sorted(entry.arguments))
            raise ArgumentError(
                f"{name} has no argument {argument!r}; it has {known}"
                f"{hint(argument, entry.arguments)}"
            )
    return entry.builder(**arguments)
