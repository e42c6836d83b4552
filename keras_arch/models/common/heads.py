"""What every classifier shares: the check of its input and the end of its graph."""

from typing import Any

import keras
from keras import layers

from keras_arch import layers as shared
from keras_arch.errors import ArgumentError


def check_input_shape(
    input_shape: Any, *, default: tuple[int, int, int], minimum: int, dynamic: bool = True
) -> tuple[int | None, int | None, int]:
    """`(height, width, channels)`, or the default when it is `None`.

    Args:
        input_shape: What the user gave. Height and width may be `None` (any size).
        default: Used for `None`.
        minimum: Smallest height and width in pixels.
        dynamic: Whether height and width may be `None`.

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
        sides = [side for side in (height, width) if side is not None]
        fits = all(isinstance(side, int) and side >= minimum for side in sides)
        fits = fits and isinstance(channels, int) and channels >= 1
    except (TypeError, ValueError):
        fits = False
    if not fits:
        raise ArgumentError(
            f"input_shape must be (height, width, channels) of at least {minimum}x{minimum} "
            f"pixels, got {input_shape!r}{_hint(input_shape)}"
        )
    if not dynamic and len(sides) < 2:
        raise ArgumentError(
            f"input_shape {tuple(input_shape)!r} leaves the size open, and fully connected layers "
            "need a fixed one; give height and width, or include_top=False"
        )
    return height, width, channels


def _hint(shape: Any) -> str:
    """What to say to a shape that has its channels first."""
    if not isinstance(shape, tuple | list) or len(shape) != 3:
        return ""
    first, *rest = shape
    if first in (1, 3, 4) and all(isinstance(s, int) and s > first for s in rest):
        return f"; channels come last: ({rest[0]}, {rest[1]}, {first})"
    return ""


def check_top(include_top: bool, pooling: str | None, classes: int, activation: str | None) -> None:
    """Refuse what does not go together at the end of a classifier.

    Args:
        include_top: Whether there is a classifier.
        pooling: Without top: `"avg"`, `"max"` or `None`.
        classes: Number of classes.
        activation: Activation of the classifier, or `None` for logits.

    Raises:
        ArgumentError: If one of them cannot be.

    Example:
        >>> check_top(True, None, 10, "softmax")
    """
    if pooling not in (None, "avg", "max"):
        raise ArgumentError(f"pooling must be 'avg', 'max' or None, got {pooling!r}")
    if not include_top:
        return
    if pooling is not None:
        raise ArgumentError(
            f"pooling={pooling!r} is for include_top=False: the top has its own pooling"
        )
    if not isinstance(classes, int) or isinstance(classes, bool) or classes < 1:
        raise ArgumentError(f"classes must be a positive whole number, got {classes!r}")
    try:
        keras.activations.get(activation)
    except ValueError:
        raise ArgumentError(
            "classifier_activation must be a Keras activation such as 'softmax' or 'sigmoid', or "
            f"None for logits, got {activation!r}"
        ) from None


def without_top(x: Any, pooling: str | None) -> Any:
    """The last map of a backbone, or what pooling makes of it in the layer `pool`."""
    if pooling == "avg":
        return layers.GlobalAveragePooling2D(data_format="channels_last", name="pool")(x)
    if pooling == "max":
        return layers.GlobalMaxPooling2D(data_format="channels_last", name="pool")(x)
    return x


def classify(
    x: Any,
    classes: int,
    activation: str | None,
    *,
    kernel_initializer: Any,
    bias_initializer: Any = "zeros",
    prefix: str = "",
) -> Any:
    """The layers `logits` and `probabilities`, in single precision.

    Args:
        x: Features `(batch, channels)`.
        classes: Number of classes.
        activation: Activation of the classifier, or `None` for logits.
        kernel_initializer: How its kernel starts.
        bias_initializer: How its bias starts.
        prefix: Before the names of the layers, where there are several classifiers.

    Returns:
        The output tensor.
    """
    x = layers.Dense(
        classes,
        kernel_initializer=kernel_initializer,
        bias_initializer=bias_initializer,
        dtype=shared.output_dtype(),
        name=f"{prefix}logits",
    )(x)
    if keras.activations.get(activation) is keras.activations.linear:
        return x
    return layers.Activation(
        activation, dtype=shared.output_dtype(), name=f"{prefix}probabilities"
    )(x)


def add_classifier(
    x: Any,
    *,
    include_top: bool,
    pooling: str | None,
    classes: int,
    activation: str | None,
    kernel_initializer: Any,
) -> Any:
    """End a backbone as `keras.applications` does, after `check_top`.

    Args:
        x: The last feature map.
        include_top: Global average pooling, then the layers `logits` and `probabilities`.
        pooling: Without top: `"avg"`, `"max"` or `None`.
        classes: Number of classes.
        activation: Activation of the classifier, or `None` for logits.
        kernel_initializer: Initializer of the classifier's kernel.

    Returns:
        The output tensor.
    """
    if not include_top:
        return without_top(x, pooling)
    x = layers.GlobalAveragePooling2D(data_format="channels_last", name="pool")(x)
    return classify(x, classes, activation, kernel_initializer=kernel_initializer)
