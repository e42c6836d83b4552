"""Base class of losses over the pixels of a segmentation."""

import abc
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
from keras import ops

from keras_arch.errors import ArgumentError
from keras_arch.losses.adversarial import full_precision
from keras_arch.losses.masks import check_same_pixels, nan_unless, outputs_fit, pixel_classes


class PixelLoss(keras.losses.Loss, abc.ABC):
    """Base class of the losses over pixels.

    Args:
        from_logits: Whether the network gives logits, as is exact, or probabilities.
        ignore: The value in masks that counts nowhere, such as 255; or `None`.
        class_weights: A weight from 0 for each class, or those of some by number, others having 1.
            Losses of pixels are multiplied by that of their true class, with the mean over all
            pixels that count, as by a weight map (PyTorch divides by the sum of the weights).
            Losses of overlap weigh the mean over classes by them.
        name: Name of the loss.
        total: From a number to its sum over all replicas, such as
            `keras_arch.distribute.sum_over_replicas`. Means are then over the pixels of the global
            batch, however the ignored ones are spread; without it they are means of the means of
            replicas, as those of Keras. It is not part of the saved config.
    """

    def __init__(
        self,
        from_logits: bool = True,
        ignore: int | None = None,
        class_weights: Sequence[float] | Mapping[int, float] | None = None,
        name: str | None = None,
        total: Callable[[Any], Any] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(name=name, **more)
        self.from_logits, self.ignore, self._total = from_logits, ignore, total
        self.class_weights = _checked_weights(class_weights)

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """The loss of a batch, a number.

        Args:
            y_true: `(batch, height, width)` or `(batch, height, width, 1)` classes, or one-hot
                `(batch, height, width, classes)`.
            y_pred: `(batch, height, width, classes)`.
            sample_weight: `(batch, height, width)`, a weight a pixel, or `(batch,)`; or `None`.

        Raises:
            ArgumentError: If shapes do not fit, `y_true` holds other values than classes and
                `ignore`, or `y_pred` is probabilities instead of logits or the reverse. Where
                values cannot be told (XLA, `jax.jit`) the loss is NaN.
        """
        y_true, outputs = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
        _check_ranks(y_true, outputs)
        truth, counted, valid = pixel_classes(y_true, outputs.shape[-1], self.ignore)
        valid = ops.logical_and(valid, outputs_fit(outputs, self.from_logits))
        y_pred = full_precision(outputs)
        check_same_pixels(truth.shape[1:], y_pred.shape[1:3])
        weight = None
        if sample_weight is not None:
            weight = ops.cast(ops.convert_to_tensor(sample_weight), y_pred.dtype)
            if len(weight.shape) == 4 and weight.shape[-1] == 1:
                weight = ops.squeeze(weight, -1)
            if len(weight.shape) == 1:
                weight = ops.reshape(weight, (-1, 1, 1))
            elif len(weight.shape) == 3 and tuple(weight.shape[1:]) != (1, 1):
                check_same_pixels(weight.shape[1:], y_pred.shape[1:3])
            elif len(weight.shape) != 3:
                raise ArgumentError(
                    "weights of pixels must be of shape (batch, height, width), those of images "
                    f"(batch,), got {tuple(weight.shape)}"
                )
        value = self.reduced(truth, y_pred, ops.cast(counted, y_pred.dtype), weight)
        return nan_unless(valid, value)

    @abc.abstractmethod
    def reduced(self, truth: Any, predicted: Any, counted: Any, weight: Any) -> Any:
        """The loss of classes with 0 at ignored pixels, where `counted` is 0."""

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """As `__call__`, without weights."""
        return self(y_true, y_pred)

    def get_config(self) -> dict[str, Any]:
        """The arguments, for `keras.saving`."""
        config = super().get_config()
        config.pop("reduction", None)
        return config | {
            "from_logits": self.from_logits,
            "ignore": self.ignore,
            "class_weights": self.class_weights,
        }

    def weights_of_classes(self, predicted: Any) -> Any:
        """`(classes,)` weights, or `None` where all are 1."""
        if self.class_weights is None:
            return None
        classes, given = predicted.shape[-1], self.class_weights
        numbers = dict(given) if isinstance(given, Mapping) else dict(enumerate(given))
        fits = isinstance(given, Mapping) or len(given) == classes
        if not fits or max(numbers, default=0) >= classes:
            raise ArgumentError(
                f"class_weights must be a weight for each of {classes} classes, or those of some "
                f"by number, got {given!r}"
            )
        weights = [numbers.get(number, 1.0) for number in range(classes)]
        if not any(weights):
            raise ArgumentError(f"class_weights must be above 0 for some class, got {given!r}")
        return ops.cast(weights, predicted.dtype)

    def sum_of_pixels(
        self, each: Any, truth: Any, predicted: Any, counted: Any, weight: Any
    ) -> tuple[Any, Any]:
        """The weighted sum over the pixels that count, and their number."""
        by_class = self.weights_of_classes(predicted)
        factors = counted if by_class is None else counted * ops.take(by_class, truth)
        return ops.sum(each * (factors if weight is None else factors * weight)), ops.sum(counted)

    def mean(self, total: Any, count: Any) -> Any:
        """A sum of this replica, divided by the count of all; replicas are added up later."""
        if self._total is None:
            mean = ops.reshape(total / ops.maximum(count, 1.0), (1,))
            return _SHARE(mean, mean)
        return total / ops.maximum(ops.stop_gradient(self._total(count)), 1.0)

    def probabilities(self, predicted: Any) -> Any:
        """Probabilities of the classes, also from logits."""
        return ops.softmax(predicted) if self.from_logits else predicted


class _Share(keras.losses.Loss):
    # Divides a number by the number of replicas, as the reduction of Keras does with its means.
    def call(self, y_true: Any, y_pred: Any) -> Any:
        return y_pred


# A name of its own: that of a class with an underscore is no name of a graph.
_SHARE = _Share(name="share")


def _check_ranks(y_true: Any, y_pred: Any) -> None:
    last = y_true.shape[-1] if len(y_true.shape) == 4 else 1
    if len(y_pred.shape) != 4 or len(y_true.shape) not in (3, 4):
        raise ArgumentError(
            "a loss over pixels takes masks (batch, height, width) and outputs (batch, height, "
            f"width, classes), got {tuple(y_true.shape)} and {tuple(y_pred.shape)}"
        )
    if y_pred.shape[-1] == 1:
        raise ArgumentError(
            "a loss over pixels takes one output a class, got 1; build the network with classes=2"
        )
    if last not in (1, y_pred.shape[-1]):
        raise ArgumentError(
            f"masks of shape {tuple(y_true.shape)} have {last} values a pixel; give one class, or "
            f"one-hot classes of the {y_pred.shape[-1]} of the outputs"
        )


def _checked_weights(
    given: Sequence[float] | Mapping[int, float] | None,
) -> list[float] | dict[int, float] | None:
    """Weights of classes as plain numbers, which a config stores."""
    if given is None:
        return None
    weights: list[float] | dict[int, float]
    try:
        if isinstance(given, Mapping):
            # Keys that were JSON are text.
            weights = {int(number): float(weight) for number, weight in given.items()}
            right = min(weights, default=-1) >= 0
        else:
            weights = [float(weight) for weight in given]
            right = True
        values = weights.values() if isinstance(weights, dict) else weights
        right = right and all(math.isfinite(value) and value >= 0 for value in values)
    except (TypeError, ValueError):
        right = False
    if not right:
        raise ArgumentError(
            "class_weights must be numbers from 0, one for each class or some by the numbers of "
            f"classes, got {given!r}"
        )
    return weights
