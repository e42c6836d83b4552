"""PatchGAN, a discriminator of patches of an image (Isola et al. 2017).

A convolutional network whose every output sees a patch of the image says for each patch whether it
is real; the size of the patch is the receptive field.
"""

import keras
from keras import layers

from keras_arch.errors import ArgumentError, whole_number
from keras_arch.layers import normalize, output_dtype
from keras_arch.models.common import channels_last
from keras_arch.models.common.arguments import document
from keras_arch.models.common.checks import check_choice, check_image_shape
from keras_arch.registry import register
from keras_arch.weights import Weights, load_weights

# Layers of stride 2 that give a receptive field; 1 is the network of 1x1 convolutions.
STRIDED_LAYERS = {1: 0, 16: 1, 34: 2, 70: 3, 142: 4, 286: 5}
MAX_MULTIPLE = 8
NORMS = ("batch", "instance", "layer", None)


@register(
    task="discriminator",
    paper=(
        "Isola, Zhu, Zhou, Efros: Image-to-Image Translation with Conditional Adversarial "
        "Networks (2017), sections 3.2.2 and 6.1.2"
    ),
    url="https://arxiv.org/abs/1611.07004",
    default_input=(256, 256, 3),
    parameters={
        "": 2_768_705,
        "receptive_field=1": 9_024,
        "receptive_field=16": 139_585,
        "receptive_field=34": 666_433,
        "receptive_field=142": 6_964_033,
        "receptive_field=286": 11_159_361,
        "target_channels=None, norm='instance'": 2_764_737,
    },
)
@document
def PatchDiscriminator(
    receptive_field: int = 70,
    *,
    input_shape: tuple[int, int, int] = (256, 256, 3),
    target_channels: int | None = 3,
    filters: int = 64,
    norm: str | None = "batch",
    synchronized: bool = False,
    weights: Weights = None,
    name: str | None = None,
) -> keras.Model:
    """PatchGAN: a map of logits, each of which judges one patch of the image.

    Source: Isola et al. 2017, sections 3.2.2 and 6.1.2; 2,768,705 parameters for the patch of
    70x70 pixels, which at 256x256 gives a map of 30x30. With one image and instance norm it is
    the discriminator of CycleGAN (Zhu et al. 2017, 2,764,737 parameters).

    Args:
        receptive_field: Side of the patch in pixels: 1, 16, 34, 70, 142 or 286.
        input_shape: `(height, width, channels)` of the image that is judged, or, with a target,
            of the condition.
        target_channels: Channels of the target that is judged together with the condition, or
            `None` to judge one image alone.
        filters: Filters of the first layer, doubled a layer up to eight times as many.
        norm: `"batch"` (pix2pix), `"instance"` without gain and bias (CycleGAN), `"layer"` or
            `None`.

    Returns:
        A `keras.Model` from `[image, target]`, each `(batch, height, width, channels)` in
        [-1, 1], to logits `(batch, h, w, 1)`: positive says real. Without target channels the
        input is `image` alone. Hidden layers are named `stage1`, `stage2`, ...

    Raises:
        ArgumentError: If an argument is not one of the above, or no patch fits in the image; the
            message names the least size and the receptive fields that fit.

    Example:
        >>> from keras_arch import models
        >>> models.PatchDiscriminator(receptive_field=70).output_shape
        (None, 30, 30, 1)
    """
    receptive_field, input_shape = _check(receptive_field, input_shape)
    check_choice("norm", norm, NORMS)
    filters = whole_number("filters", filters)
    image = keras.Input(input_shape, name="image")
    inputs = x = image
    if target_channels is not None:
        target_channels = whole_number("target_channels", target_channels)
        target = keras.Input((*input_shape[:2], target_channels), name="target")
        inputs = [image, target]
        x = layers.Concatenate(name="pair")(inputs)

    count = STRIDED_LAYERS[receptive_field]
    pixel = receptive_field == 1
    # Two layers follow the strided ones: one more hidden layer, and the logits.
    for stage in range(1, count + 2 + pixel):
        x = _convolution(
            x,
            filters * min(2 ** (stage - 1), MAX_MULTIPLE),
            1 if pixel else 4,
            stride=2 if stage <= count else 1,
            # A bias before batch norm would be cancelled by it.
            bias=stage == 1 or norm != "batch",
            name=f"stage{stage}_conv",
        )
        if stage > 1:
            gain = keras.initializers.RandomNormal(1.0, 0.02) if norm == "batch" else "ones"
            settings = {"synchronized": synchronized, "affine": False, "gamma_initializer": gain}
            x = normalize(x, norm, f"stage{stage}_norm", **settings)
        x = layers.LeakyReLU(negative_slope=0.2, name=f"stage{stage}")(x)
    x = _convolution(
        x, 1, 1 if pixel else 4, stride=1, bias=not pixel or norm != "batch", name="logits"
    )
    model = keras.Model(inputs, x, name=name or f"patch_discriminator_{receptive_field}")
    return load_weights(model, weights, "PatchDiscriminator")


def receptive_field(model: keras.Model) -> int:
    """Side in pixels of the square of the input that one output of a chain of convolutions sees.

    Source: counted back from one output, a layer of kernel k and stride s turns a field of r pixels
    into (r - 1) s + k (Araujo et al. 2019, "Computing Receptive Fields", equation 2).

    Args:
        model: A model whose convolutions follow each other, such as `PatchDiscriminator`'s.

    Raises:
        ArgumentError: If the model has no convolution.

    Example:
        >>> receptive_field(PatchDiscriminator(receptive_field=34, filters=1))
        34
    """
    convolutions = [layer for layer in model.layers if isinstance(layer, layers.Conv2D)]
    if not convolutions:
        raise ArgumentError(
            f"model {model.name!r} has no convolution, so it has no receptive field"
        )
    field = 1
    for layer in reversed(convolutions):
        field = (field - 1) * layer.strides[0] + layer.kernel_size[0]
    return field


def _check(receptive_field, input_shape):
    """The receptive field and the shape, if a patch fits in the image."""
    receptive_field = whole_number("receptive_field", receptive_field)
    check_choice("receptive_field", receptive_field, STRIDED_LAYERS)
    height, width, channels = check_image_shape(input_shape, "input_shape")
    least = _least_size(receptive_field)
    if min(height, width) < least:
        fit = [str(field) for field in STRIDED_LAYERS if min(height, width) >= _least_size(field)]
        raise ArgumentError(
            f"receptive_field {receptive_field} needs an image of at least {least} pixels a side, "
            f"got {height}x{width}; at this size there is {', '.join(fit)}"
        )
    return receptive_field, (height, width, channels)


def _least_size(receptive_field):
    """The least side that leaves a map of one logit: the last two layers take a pixel each."""
    return 1 if receptive_field == 1 else 3 * 2 ** STRIDED_LAYERS[receptive_field]


def _convolution(x, filters, kernel, *, stride, bias, name):
    """A 1x1 convolution, or a 4x4 one that pads one pixel of zeros on every side."""
    # Keras' "same" pads one pixel on every side too where it halves an even size; with stride 1
    # it would pad three in all, where the authors' layer pads two and shrinks the map.
    same = kernel == 1 or (stride == 2 and not (x.shape[1] % 2 or x.shape[2] % 2))
    if not same:
        x = channels_last.ZeroPadding2D(1, name=f"{name}_pad")(x)
    return channels_last.Conv2D(
        filters,
        kernel,
        strides=stride,
        padding="same" if same else "valid",
        use_bias=bias,
        kernel_initializer=keras.initializers.RandomNormal(0.0, 0.02),
        dtype=output_dtype() if name == "logits" else None,
        name=name,
    )(x)
