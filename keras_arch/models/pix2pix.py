"""Generators of pix2pix, from an image to an image (Isola et al. 2017).

A U-Net that halves the image down to a few pixels and doubles it up again, with skip connections
between maps of one size; and the encoder-decoder without them that the paper compares it with.

At inference the authors still use dropout and the statistics of the batch (section 3.3), which at a
batch of one are those of the image. The moving averages of batch norm, which Keras would take, give
a poor picture after training with batches of one. Which of them it uses is part of a generator.
"""

import keras
from keras import layers, ops

from keras_arch.errors import ArgumentError
from keras_arch.layers import batch_norm, instance_norm, output_dtype
from keras_arch.models.common import channels_last
from keras_arch.models.common.arguments import document
from keras_arch.models.common.checks import check_choice, check_image_shape, positive_ints
from keras_arch.registry import register
from keras_arch.weights import Weights, load_weights

# Halvings of the image, and whether maps of one size are joined.
VARIANTS = {"unet_256": (8, True), "unet_128": (7, True), "encoder_decoder": (8, False)}
INFERENCE_NORMS = ("batch", "moving", "instance")
# The deepest maps have this many times the first layer's filters.
MAX_MULTIPLE = 8
DROPOUTS = 3


@register(
    task="image-to-image",
    paper=(
        "Isola, Zhu, Zhou, Efros: Image-to-Image Translation with Conditional Adversarial "
        "Networks (2017), section 6.1.1"
    ),
    url="https://arxiv.org/abs/1611.07004",
    default_input=(256, 256, 3),
    parameters={
        "": 54_413_955,
        "variant='unet_128'": 41_828_995,
        "variant='encoder_decoder'": 39_075_459,
    },
)
@document
def Pix2PixGenerator(
    variant: str = "unet_256",
    *,
    image_shape: tuple[int, int, int] | None = None,
    output_channels: int | None = None,
    filters: int = 64,
    inference_norm: str = "batch",
    inference_dropout: bool = True,
    synchronized: bool = False,
    weights: Weights = None,
    name: str | None = None,
) -> keras.Model:
    """Pix2pix's generator: a U-Net, or an encoder-decoder, from an image to an image.

    Source: Isola et al. 2017, section 6.1.1 and the authors' code: 54,413,955 parameters
    (`"unet_256"`), 41,828,995 (`"unet_128"`) and 39,075,459 (`"encoder_decoder"`). The first
    layer, the innermost one and the output have no norm: at one pixel the norm of a single image
    would leave nothing but zeros.

    `inference_norm` and `inference_dropout` are saved with the model, and the norm holds however it
    is called, in stock Keras too. Dropout is on where the model is called without the `training`
    argument: an explicit `training=False`, which `model.predict` passes too, has precedence in
    Keras. A call with dropout moves its random state; `trainers.translate` and exports do not.

    Args:
        variant: `"unet_256"` (eight halvings), `"unet_128"` (seven) or `"encoder_decoder"` (eight,
            without skip connections).
        image_shape: `(height, width, channels)` in pixels; height and width are multiples of 256,
            or of 128 for `"unet_128"`. Default 256x256x3, or 128x128x3 for `"unet_128"`.
        output_channels: Channels of the output, where they are not those of the input.
        filters: Filters of the first layer, doubled at each halving up to eight times as many.
        inference_norm: Statistics that normalise at inference: `"batch"` those of the batch at
            hand (the paper), `"moving"` the averages gathered in training by batch norm (as usual
            in Keras; at batch 1 they ruin the picture), or `"instance"` those of each image, in
            training too. At a batch of one `"batch"` and `"instance"` are equal.
        inference_dropout: Dropout at inference, as in the paper.
        synchronized: Statistics over all replicas of a distribution strategy, where they are
            gathered (`"moving"`); with `"batch"` each replica has its own batch.

    Returns:
        A `keras.Model` from `image` `(batch, height, width, channels)` in [-1, 1] to `(batch,
        height, width, output_channels)` in [-1, 1].

    Example:
        >>> from keras_arch import models
        >>> models.Pix2PixGenerator("unet_128", filters=4).output_shape
        (None, 128, 128, 3)
    """
    check_choice("variant", variant, VARIANTS)
    halvings, skips = VARIANTS[variant]
    image_shape = _check_shape(image_shape, halvings)
    output_channels = image_shape[-1] if output_channels is None else output_channels
    output_channels, filters = positive_ints(output_channels=output_channels, filters=filters)
    check_choice("inference_norm", inference_norm, INFERENCE_NORMS)
    check_choice("inference_dropout", inference_dropout, (True, False))
    widths = [filters * min(2**i, MAX_MULTIPLE) for i in range(halvings)]

    x = image = keras.Input(image_shape, name="image")
    maps = []
    for level, width in enumerate(widths, start=1):
        if level > 1:
            x = layers.LeakyReLU(negative_slope=0.2, name=f"down{level}_activation")(x)
        x = channels_last.Conv2D(width, name=f"down{level}_conv", use_bias=False, **_halving())(x)
        if 1 < level < halvings:
            x = _norm(x, f"down{level}_norm", inference_norm, synchronized)
        maps.append(x)
    for level, width in enumerate(widths[-2::-1], start=1):
        x = layers.Activation("relu", name=f"up{level}_activation")(x)
        x = channels_last.Conv2DTranspose(
            width, use_bias=False, name=f"up{level}_conv", **_halving()
        )(x)
        x = _norm(x, f"up{level}_norm", inference_norm, synchronized)
        if level <= DROPOUTS:
            dropout = layers.Dropout(0.5, seed=level, name=f"up{level}_dropout")
            x = dropout(x, training=True) if inference_dropout else dropout(x)
        if skips:
            x = layers.Concatenate(name=f"up{level}_skip")([maps[-1 - level], x])
    x = layers.Activation("relu", name=f"up{halvings}_activation")(x)
    x = channels_last.Conv2DTranspose(output_channels, name="output_conv", **_halving())(x)
    x = layers.Activation("tanh", dtype=output_dtype(), name="output")(x)
    model = keras.Model(image, x, name=name or f"pix2pix_{variant}")
    return load_weights(model, weights, "Pix2PixGenerator")


def with_inference(
    generator: keras.Model, inference_norm: str | None = None, inference_dropout: bool | None = None
) -> keras.Model:
    """The same generator with other normalisation statistics or dropout at inference.

    Source: Isola et al. 2017, section 3.3.

    Args:
        generator: A model of `Pix2PixGenerator`, also one that was saved and loaded.
        inference_norm: `"batch"`, `"moving"` or `"instance"`, as for `Pix2PixGenerator`. Default:
            as it is.
        inference_dropout: Dropout at inference. Default: as it is.

    Returns:
        A new `keras.Model` with a copy of the weights.

    Raises:
        ArgumentError: If the model is no generator of `Pix2PixGenerator`, or moving averages are
            asked for that were never gathered.

    Example:
        >>> trained = Pix2PixGenerator("unet_128", filters=1, inference_norm="moving")
        >>> with_inference(trained, "instance", False).name
        'pix2pix_unet_128'
    """
    arguments = _arguments(generator)
    before = arguments["inference_norm"]
    if inference_norm is not None:
        arguments["inference_norm"] = inference_norm
    if inference_dropout is not None:
        arguments["inference_dropout"] = inference_dropout
    other = Pix2PixGenerator(**arguments, name=generator.name)
    after = arguments["inference_norm"]
    if after == "moving" and before != "moving":
        raise ArgumentError(
            f"generator {generator.name!r} with inference_norm={before!r} has gathered no moving "
            "averages; take 'batch' or 'instance', or train it with 'moving'"
        )
    for layer in other.layers:
        values = generator.get_layer(layer.name).get_weights() if layer.weights else []
        # Of a norm gain and bias come first; those of batch norm's moving statistics follow.
        layer.set_weights(values[: len(layer.weights)])
    return other


def _check_shape(image_shape, halvings):
    """The image's shape, if it can be halved so often."""
    side = 2**halvings
    if image_shape is None:
        return (side, side, 3)
    try:
        return check_image_shape(image_shape, multiple=side)
    except ArgumentError as error:
        if halvings == 8 and "multiple" in str(error):
            raise ArgumentError(f"{error} (of 'unet_128' a multiple of 128)") from None
        raise


def _halving():
    """Arguments that all convolutions share; a transposed one doubles."""
    return {
        "kernel_size": 4,
        "strides": 2,
        "padding": "same",
        "kernel_initializer": keras.initializers.RandomNormal(0.0, 0.02),
    }


def _norm(x, name, inference_norm, synchronized):
    gain = keras.initializers.RandomNormal(1.0, 0.02)
    if inference_norm == "moving":
        return batch_norm(name, synchronized=synchronized, gamma_initializer=gain)(x)
    norm = instance_norm(name, affine=True, gamma_initializer=gain)
    if inference_norm == "instance":
        return norm(x)
    # The images of a batch below each other are one image, whose statistics are the batch's. Batch
    # norm could use them too (`training=True`), but Keras overrules that in `predict`.
    height, width, channels = x.shape[1:]
    x = norm(ops.reshape(x, (1, -1, width, channels)))
    return ops.reshape(x, (-1, height, width, channels))


def _arguments(generator):
    """The arguments that a generator was built with, read from its own config."""
    config = getattr(generator, "get_config", dict)()
    nodes = {layer["name"]: layer for layer in config.get("layers", ())}
    last = "output_conv"
    halvings = sum(name.startswith("down") and name.endswith("_conv") for name in nodes)
    skips = "up1_skip" in nodes
    variant = next((v for v, facts in VARIANTS.items() if facts == (halvings, skips)), None)
    if variant is None or last not in nodes:
        raise ArgumentError(
            f"model {getattr(generator, 'name', generator)!r} is no generator of Pix2PixGenerator"
        )
    if nodes["up1_norm"]["class_name"] == "BatchNormalization":
        inference_norm = "moving"
    else:
        one_image = generator.get_layer("up1_norm").output.shape[0] == 1
        inference_norm = "batch" if one_image else "instance"
    dropout = nodes["up1_dropout"]["inbound_nodes"][0]["kwargs"]
    return {
        "variant": variant,
        "image_shape": tuple(generator.input_shape[1:]),
        "output_channels": nodes[last]["config"]["filters"],
        "filters": nodes["down1_conv"]["config"]["filters"],
        "inference_norm": inference_norm,
        "inference_dropout": dropout.get("training") is True,
        "synchronized": nodes["up1_norm"]["config"].get("synchronized", False),
    }
