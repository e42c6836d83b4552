"""CycleGAN's generator (Zhu et al. 2017).

The network is that of Johnson et al. 2016 (Perceptual Losses) with instance norm. Its
discriminator is `PatchDiscriminator(target_channels=None, norm="instance")`.
"""

import keras
from keras import layers, ops

from keras_arch.layers import instance_norm, output_dtype, reflect_pad
from keras_arch.models.common import channels_last
from keras_arch.models.common.arguments import document
from keras_arch.models.common.checks import check_image_shape, positive_ints
from keras_arch.registry import register
from keras_arch.weights import Weights, load_weights

# The image is halved and doubled twice.
MULTIPLE = 4
# The first and the last layer mirror three pixels, the blocks one at a quarter of the size.
LEAST_SIZE = 8


@register(
    task="image-to-image",
    paper=(
        "Zhu, Park, Isola, Efros: Unpaired Image-to-Image Translation using Cycle-Consistent "
        "Adversarial Networks (2017), section 7.2"
    ),
    url="https://arxiv.org/abs/1703.10593",
    default_input=(256, 256, 3),
    parameters={"": 11_378_179, "blocks=6": 7_837_699},
)
@document
def CycleGANGenerator(
    blocks: int = 9,
    *,
    image_shape: tuple[int, int, int] = (256, 256, 3),
    output_channels: int | None = None,
    filters: int = 64,
    weights: Weights = None,
    name: str | None = None,
) -> keras.Model:
    """CycleGAN's generator: residual blocks between two halvings and two doublings.

    Source: Zhu et al. 2017, section 7.2, and the authors' code: 11,378,179 parameters with nine
    blocks (for 256x256 and more), 7,837,699 with six (for 128x128). Instance norm has neither
    gain nor bias there, and all convolutions have a bias.

    Args:
        blocks: Number of residual blocks: 9 or 6 in the paper.
        image_shape: `(height, width, channels)` in pixels of both images; height and width are
            multiples of 4, at least 8.
        output_channels: Channels of the output, where they are not those of the input.
        filters: Filters of the first layer, doubled at each of the two halvings.

    Returns:
        A `keras.Model` from `image` `(batch, height, width, channels)` in [-1, 1] to `(batch,
        height, width, output_channels)` in [-1, 1].

    Example:
        >>> from keras_arch import models
        >>> models.CycleGANGenerator(blocks=6, image_shape=(128, 128, 3), filters=4).output_shape
        (None, 128, 128, 3)
    """
    image_shape = check_image_shape(image_shape, minimum=LEAST_SIZE, multiple=MULTIPLE)
    blocks, output_channels, filters = positive_ints(
        blocks=blocks,
        output_channels=image_shape[-1] if output_channels is None else output_channels,
        filters=filters,
    )
    image = keras.Input(image_shape, name="image")
    x = _same(image, filters, 7, "stem")
    x = _norm_relu(x, "stem")
    for level in (1, 2):
        x = channels_last.ZeroPadding2D(1, name=f"down{level}_pad")(x)
        x = channels_last.Conv2D(
            filters * 2**level, 3, strides=2, kernel_initializer=_start(), name=f"down{level}_conv"
        )(x)
        x = _norm_relu(x, f"down{level}")
    for block in range(1, blocks + 1):
        x = _residual_block(x, filters * 4, f"block{block}")
    for level in (1, 2):
        width = filters * 2 ** (2 - level)
        x = channels_last.Conv2DTranspose(
            width, 3, strides=2, kernel_initializer=_start(), name=f"up{level}_conv"
        )(x)
        # The authors' layer is the transpose of a convolution that pads one pixel: of the full
        # 2n+1 pixels the last 2n remain.
        x = _without_first(x, f"up{level}_crop")
        x = _norm_relu(x, f"up{level}")
    x = _same(x, output_channels, 7, "output")
    x = layers.Activation("tanh", dtype=output_dtype(), name="output")(x)
    model = keras.Model(image, x, name=name or f"cyclegan_generator_{blocks}_blocks")
    return load_weights(model, weights, "CycleGANGenerator")


def _start():
    return keras.initializers.RandomNormal(0.0, 0.02)


def _same(x, filters, kernel, name):
    """A convolution over a map that is mirrored at its edges, so that the size stays."""
    x = reflect_pad(x, kernel // 2, f"{name}_pad")
    return channels_last.Conv2D(filters, kernel, kernel_initializer=_start(), name=f"{name}_conv")(
        x
    )


def _without_first(x, name):
    """A map without its first row and its first column.

    Not `Cropping2D`: on a CPU the gradient of TensorFlow's slices took a fortieth of the step.
    """
    for axis, part in ((1, "rows"), (2, "columns")):
        x = ops.split(x, [1], axis=axis)[1]
        x._keras_history.operation.name = f"{name}_{part}"
    return x


def _norm_relu(x, name):
    x = instance_norm(f"{name}_norm")(x)
    return layers.Activation("relu", name=name)(x)


def _residual_block(x, filters, name):
    identity = x
    x = _norm_relu(_same(x, filters, 3, f"{name}_1"), f"{name}_1")
    x = instance_norm(f"{name}_2_norm")(_same(x, filters, 3, f"{name}_2"))
    return layers.Add(name=name)([identity, x])
