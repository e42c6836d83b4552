"""What every classifier shares: the check of its input and the end of its graph."""

from typing import Any

from keras import layers

from keras_arch import blocks
from keras_arch.errors import ArgumentError


def check_input_shape(
    input_shape: Any, *, default: tuple[int, int, int], minimum: int
) -> tuple[int | None, int | None, int]:
    """`(height, width, channels)`, or the default when it is `None`.

    Args:
        input_shape: What the user gave. Height and width may be `None` (any size).
        default: Used for `None`.
        minimum: Smallest height and width in pixels.

    Raises:
        ArgumentError: If it is not three numbers that make an image of the minimum size.

    Example:
        >>> check_input_shape(None, default=(32, 32, 3), minimum=4)
        (32, 32, 3)
    """
    if input_shape is None:
        return default
    try:
        height, width, channels = input_shape
        fits = all(s is None or (isinstance(s, int) and s >= minimum) for s in (height, width))
        fits = fits and isinstance(channels, int) and channels >= 1
    except (TypeError, ValueError):
        fits = False
    if not fits:
        raise ArgumentError(
            f"input_shape must be (height, width, channels) of at least {minimum}x{minimum} "
            f"pixels, got {input_shape!r}"
        )
    return height, width, channels


def add_classifier(
    x: Any,
    *,
    include_top: bool,
    pooling: str | None,
    classes: int,
    activation: str | None,
    kernel_initializer: Any,
) -> Any:
    """End a backbone as `keras.applications` does.

    Args:
        x: The last feature map.
        include_top: Global average pooling, then the layers `logits` and `probabilities`.
        pooling: Without top: `"avg"`, `"max"` or `None`.
        classes: Number of classes.
        activation: Activation of the classifier, or `None` for logits.
        kernel_initializer: Initializer of the classifier's kernel.

    Returns:
        The output tensor.

    Raises:
        ArgumentError: If `classes` or `pooling` is not one of the above.
    """
    if pooling not in (None, "avg", "max"):
        raise ArgumentError(f"pooling must be 'avg', 'max' or None, got {pooling!r}")
    if not include_top:
        if pooling == "avg":
            return layers.GlobalAveragePooling2D(data_format="channels_last", name="pool")(x)
        if pooling == "max":
            return layers.GlobalMaxPooling2D(data_format="channels_last", name="pool")(x)
        return x
    if pooling is not None:
        raise ArgumentError(
            f"pooling={pooling!r} is for include_top=False: the top has its own pooling"
        )
    if not isinstance(classes, int) or classes < 1:
        raise ArgumentError(f"classes must be a positive whole number, got {classes!r}")
    x = layers.GlobalAveragePooling2D(data_format="channels_last", name="pool")(x)
    x = layers.Dense(
        classes, kernel_initializer=kernel_initializer, dtype=blocks.output_dtype(), name="logits"
    )(x)
    if activation is None:
        return x
    return layers.Activation(activation, dtype=blocks.output_dtype(), name="probabilities")(x)
