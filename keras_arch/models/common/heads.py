"""Input check and classification heads of classifiers."""

import dataclasses
from typing import Any

import keras
from keras import layers, ops

from keras_arch.errors import ArgumentError, whole_number
from keras_arch.layers import output_dtype
from keras_arch.models.common import channels_last
from keras_arch.models.common.checks import check_choice, check_image_shape

# The layer, and the key of a dictionary of outputs, of a classifier's own logits.
MAIN = "logits"


def check_input_shape(
    input_shape: Any, *, default: tuple[int, int, int], minimum: int, dynamic: bool = True
) -> tuple[int | None, int | None, int]:
    """`(height, width, channels)` of plain `int`s, or the default when it is `None`.

    Args:
        input_shape: The user's argument.
        default: Used for `None`.
        minimum: Smallest height and width in pixels.
        dynamic: Whether height and width may be `None` (any size).

    Raises:
        ArgumentError: If it is not three numbers that are an image of the minimum size.

    Example:
        >>> check_input_shape(None, default=(32, 32, 3), minimum=4)
        (32, 32, 3)
    """
    if input_shape is None:
        return default
    shape = check_image_shape(input_shape, "input_shape", minimum=minimum, open_sides=True)
    if not dynamic and None in shape:
        raise ArgumentError(
            f"input_shape {shape!r} leaves the size open, and fully connected layers need a fixed "
            "one; give height and width, or include_top=False"
        )
    return shape


def check_activation(activation: Any) -> Any:
    """The function of a `classifier_activation`.

    Raises:
        ArgumentError: If Keras has none of that name.

    Example:
        >>> check_activation("softmax") is keras.activations.softmax
        True
    """
    try:
        return keras.activations.get(activation)
    except ValueError:
        raise ArgumentError(
            "classifier_activation must be a Keras activation such as 'softmax' or 'sigmoid', or "
            f"None for logits, got {activation!r}"
        ) from None


@dataclasses.dataclass(frozen=True)
class Head:
    """The end of a classifier, as `keras.applications` has it.

    Args:
        include_top: Whether there is a classifier.
        pooling: Without top: `"avg"`, `"max"` or `None`.
        classes: Number of classes.
        activation: Activation of the classifier, or `None` for logits.

    Raises:
        ArgumentError: If an argument is not one of these, or there is pooling with a top.

    Example:
        >>> Head(False, "avg", 10, None).pool(keras.Input((7, 7, 512))).shape
        (None, 512)
    """

    include_top: bool
    pooling: str | None
    classes: int
    activation: Any

    def __post_init__(self) -> None:
        check_choice("pooling", self.pooling, ("avg", "max", None))
        if not self.include_top:
            return
        if self.pooling is not None:
            raise ArgumentError(
                f"pooling={self.pooling!r} is for include_top=False: the top has its own pooling"
            )
        if type(self.classes) is int and self.classes == 0:
            raise ArgumentError(
                "classes is 0; the network without its classifier is include_top=False, "
                'pooling="avg"'
            )
        object.__setattr__(self, "classes", whole_number("classes", self.classes))
        check_activation(self.activation)

    def pool(self, x: Any) -> Any:
        """The last map of a backbone without top, pooled as asked for in the layer `pool`."""
        if self.pooling == "avg":
            return channels_last.GlobalAveragePooling2D(name="pool")(x)
        if self.pooling == "max":
            return channels_last.GlobalMaxPooling2D(name="pool")(x)
        return x

    def classify(
        self, x: Any, *, kernel_initializer: Any, bias_initializer: Any = "zeros", prefix: str = ""
    ) -> Any:
        """The layers `logits` and `probabilities` on features, in single precision.

        Their names begin with `prefix`, where there are several classifiers.
        """
        x = layers.Dense(
            self.classes,
            kernel_initializer=kernel_initializer,
            bias_initializer=bias_initializer,
            dtype=output_dtype(),
            name=f"{prefix}logits",
        )(x)
        return probabilities(x, self.activation, prefix)

    def pool_and_classify(self, x: Any, kernel_initializer: Any) -> Any:
        """Global average pooling of the last map and the classifier; without top, `pool`."""
        if not self.include_top:
            return self.pool(x)
        x = channels_last.GlobalAveragePooling2D(name="pool")(x)
        return self.classify(x, kernel_initializer=kernel_initializer)


def probabilities(x: Any, activation: Any, prefix: str = "") -> Any:
    """The layer `probabilities` on logits, in single precision; without activation the logits."""
    if keras.activations.get(activation) is keras.activations.linear:
        return x
    return layers.Activation(activation, dtype=output_dtype(), name=f"{prefix}probabilities")(x)


def stack_heads(network: keras.Model) -> keras.Model:
    """A classifier with auxiliary heads as a model of one output, for training.

    Args:
        network: A model whose output is a dictionary of logits, such as
            `GoogLeNet(auxiliary=True, classifier_activation=None)`; it may have one output only.

    Returns:
        A `keras.Model` to `(batch, heads, classes)`, the classifier's own logits first, with the
        same layers; a network of one output as it is.

    Example:
        >>> from keras_arch import models
        >>> heads = {"classes": 5, "auxiliary": True, "classifier_activation": None}
        >>> models.stack_heads(models.GoogLeNet(input_shape=(79, 79, 3), **heads)).output_shape
        (None, 3, 5)
    """
    if not isinstance(network.output, dict):
        return network
    names = sorted(network.output, key=lambda name: (name != MAIN, name))
    stacked = ops.stack([network.output[name] for name in names], axis=1)
    return keras.Model(network.input, stacked, name=network.name)


def main_head(network: keras.Model) -> keras.Model:
    """The classifier without its auxiliary heads, from a model of `stack_heads`.

    Args:
        network: A model of `stack_heads`, or any classifier.

    Returns:
        A `keras.Model` to `(batch, classes)` with the same layers; a network of one head as it is.

    Example:
        >>> from keras_arch import models
        >>> models.main_head(models.CIFARResNet(depth=8)).output_shape
        (None, 10)
    """
    if len(network.output_shape) != 3:
        return network
    return keras.Model(network.input, network.get_layer(MAIN).output, name=network.name)
