"""Losses of segmentation: Keras losses over pixels, without ignored pixels.

Masks hold a class a pixel, and 255 where the class is not known: the border of objects in PASCAL
VOC, pixels outside of a padded image. Such pixels count nowhere.
"""

import abc
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_arch.errors import ArgumentError
from keras_arch.losses.adversarial import full_precision

IGNORE = 255


class PixelLoss(keras.losses.Loss, abc.ABC):
    """Base class of the losses over pixels.

    Args:
        from_logits: Whether the network gives logits, as is exact, or probabilities.
        ignore: The value in masks that counts nowhere.
        name: Name of the loss.
        total: From a number to its sum over all replicas, such as
            `keras_arch.distribute.sum_over_replicas`. Means are then over the pixels of the global
            batch, however the ignored ones are spread; without it they are means of the means of
            replicas, as those of Keras. It is not part of the saved config.
    """

    def __init__(
        self,
        from_logits: bool = True,
        ignore: int = IGNORE,
        name: str | None = None,
        total: Callable[[Any], Any] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(name=name, **more)
        self.from_logits, self.ignore, self._total = from_logits, ignore, total

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """The loss of a batch, a number.

        Args:
            y_true: `(batch, height, width)` or `(batch, height, width, 1)` classes.
            y_pred: `(batch, height, width, classes)`.
            sample_weight: `(batch, height, width)`, a weight a pixel, or `(batch,)`; or `None`.
        """
        y_pred = full_precision(y_pred)
        y_true = _classes_of(y_true, y_pred)
        counted = ops.not_equal(y_true, self.ignore)
        truth = ops.where(counted, y_true, 0)
        counted = ops.cast(counted, y_pred.dtype)
        weight = None
        if sample_weight is not None:
            weight = ops.cast(ops.convert_to_tensor(sample_weight), y_pred.dtype)
            if len(weight.shape) == 4:
                weight = ops.squeeze(weight, -1)
            elif len(weight.shape) == 1:
                weight = ops.reshape(weight, (-1, 1, 1))
        return self.reduced(truth, y_pred, counted, weight)

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
        return config | {"from_logits": self.from_logits, "ignore": self.ignore}

    def _mean(self, total: Any, count: Any) -> Any:
        """A sum of this replica, divided by the count of all; replicas are added up later."""
        if self._total is None:
            mean = ops.reshape(total / ops.maximum(count, 1.0), (1,))
            return _SHARE(mean, mean)
        return total / ops.maximum(ops.stop_gradient(self._total(count)), 1.0)

    def _probabilities(self, predicted: Any) -> Any:
        return ops.softmax(predicted) if self.from_logits else predicted


class _Share(keras.losses.Loss):
    # Divides a number by the number of replicas, as the reduction of Keras does with its means.
    def call(self, y_true: Any, y_pred: Any) -> Any:
        return y_pred


_SHARE = _Share()


@keras.saving.register_keras_serializable("keras_arch")
class PixelCrossEntropy(PixelLoss):
    """Softmax cross-entropy of every pixel, with a weight for each where there are some.

    U-Net (Ronneberger et al. 2015, equation 1): the weights are its map of class balance and
    borders, `keras_arch.data.border_weights`. The mean is over the pixels that count, whatever
    their weights are.

    Args:
        normalize: Whether to take the mean; else the sum over all pixels of the batch, as the
            authors of FCN trained with a learning rate of 1e-10 (`normalize: false` in their
            Caffe files).
        name: Name of the loss.
        **options: `from_logits`, `ignore` and `total`, as for `PixelLoss`.

    Example:
        >>> loss = PixelCrossEntropy()([[[0, 255]]], ops.zeros((1, 1, 2, 2)))
        >>> round(float(loss), 4)  # log 2 of one pixel
        0.6931
    """

    def __init__(
        self, normalize: bool = True, name: str = "pixel_cross_entropy", **options: Any
    ) -> None:
        super().__init__(name=name, **options)
        self.normalize = normalize

    def reduced(self, truth: Any, predicted: Any, counted: Any, weight: Any) -> Any:
        """The mean or the sum over pixels."""
        each = ops.sparse_categorical_crossentropy(
            truth, predicted, from_logits=self.from_logits, axis=-1
        )
        summed = ops.sum(each * (counted if weight is None else counted * weight))
        return self._mean(summed, ops.sum(counted)) if self.normalize else summed

    def get_config(self) -> dict[str, Any]:
        """The arguments, for `keras.saving`."""
        return super().get_config() | {"normalize": self.normalize}


@keras.saving.register_keras_serializable("keras_arch")
class PixelFocal(PixelLoss):
    """Focal loss of every pixel: `keras.losses.categorical_focal_crossentropy`.

    Lin et al. 2017 (Focal Loss for Dense Object Detection), equation 5.

    Args:
        alpha: The factor on all classes, or one a class.
        gamma: Exponent that lowers the weight of easy pixels; 0 gives cross-entropy.
        name: Name of the loss.
        **options: `from_logits`, `ignore` and `total`, as for `PixelLoss`.

    Example:
        >>> loss = PixelFocal(alpha=1.0)([[[0]]], ops.zeros((1, 1, 1, 2)))
        >>> round(float(loss), 4)  # log 2 / 4
        0.1733
    """

    def __init__(
        self,
        alpha: float | list[float] = 0.25,
        gamma: float = 2.0,
        name: str = "pixel_focal",
        **options: Any,
    ) -> None:
        super().__init__(name=name, **options)
        if not gamma >= 0:
            raise ArgumentError(f"gamma of the focal loss must be at least 0, got {gamma!r}")
        self.alpha, self.gamma = alpha, gamma

    def reduced(self, truth: Any, predicted: Any, counted: Any, weight: Any) -> Any:
        """The mean over pixels."""
        each = keras.losses.categorical_focal_crossentropy(
            ops.one_hot(truth, predicted.shape[-1]),
            self._probabilities(predicted),
            alpha=self.alpha,
            gamma=self.gamma,
        )
        summed = ops.sum(each * (counted if weight is None else counted * weight))
        return self._mean(summed, ops.sum(counted))

    def get_config(self) -> dict[str, Any]:
        """The arguments, for `keras.saving`."""
        return super().get_config() | {"alpha": self.alpha, "gamma": self.gamma}


class _Overlap(PixelLoss):
    """Base class of losses of overlap: their mean over the classes in an image, then images."""

    @abc.abstractmethod
    def overlap(self, truth: Any, predicted: Any) -> Any:
        """`(batch, classes)` of one-hot truth and probabilities."""

    def reduced(self, truth: Any, predicted: Any, counted: Any, weight: Any) -> Any:
        """The mean over images; each image's mean is over the classes that it has."""
        # Pixels with neither truth nor probability are in no sum of an overlap.
        counted = counted[..., None]
        truth = ops.cast(ops.one_hot(truth, predicted.shape[-1]), predicted.dtype) * counted
        there = ops.cast(ops.any(truth > 0, axis=(1, 2)), predicted.dtype)
        each = self.overlap(truth, self._probabilities(predicted) * counted) * there
        images = ops.sum(each, axis=1) / ops.maximum(ops.sum(there, axis=1), 1.0)
        if weight is not None:
            if tuple(weight.shape[1:]) != (1, 1):
                raise ArgumentError(
                    f"{self.name} measures whole images and takes no weight a pixel; leave the "
                    "weight map out, or train with cross-entropy"
                )
            images = images * weight[:, 0, 0]
        some = ops.cast(ops.any(there > 0, axis=1), images.dtype)
        return self._mean(ops.sum(images), ops.sum(some))


@keras.saving.register_keras_serializable("keras_arch")
class PixelDice(_Overlap):
    """Soft Dice loss (Milletari et al. 2016): `keras.losses.dice` of each class and image.

    Args:
        name: Name of the loss.
        **options: `from_logits`, `ignore` and `total`, as for `PixelLoss`.

    Example:
        >>> loss = PixelDice(from_logits=False)
        >>> round(float(loss([[[0, 1]]], [[ops.eye(2)]])), 4)
        0.0
    """

    def __init__(self, name: str = "pixel_dice", **options: Any) -> None:
        super().__init__(name=name, **options)

    def overlap(self, truth: Any, predicted: Any) -> Any:
        """One minus Dice's coefficient."""
        return keras.losses.dice(truth, predicted, axis=(1, 2))


@keras.saving.register_keras_serializable("keras_arch")
class PixelTversky(_Overlap):
    """Tversky loss (Salehi et al. 2017): `keras.losses.tversky` of each class and image.

    Args:
        alpha: Weight of false positives.
        beta: Weight of false negatives; both 0.5 are Dice.
        name: Name of the loss.
        **options: `from_logits`, `ignore` and `total`, as for `PixelLoss`.

    Example:
        >>> loss = PixelTversky(alpha=0.3, beta=0.7, from_logits=False)
        >>> round(float(loss([[[0, 1]]], [[ops.eye(2)]])), 4)
        0.0
    """

    def __init__(
        self, alpha: float = 0.5, beta: float = 0.5, name: str = "pixel_tversky", **options: Any
    ) -> None:
        super().__init__(name=name, **options)
        for key, value in (("alpha", alpha), ("beta", beta)):
            if not value >= 0:
                raise ArgumentError(f"{key} of the Tversky loss must be at least 0, got {value!r}")
        self.alpha, self.beta = alpha, beta

    def overlap(self, truth: Any, predicted: Any) -> Any:
        """One minus Tversky's index."""
        # Keras 3.15 multiplies the false negatives by alpha, against paper and documentation.
        return keras.losses.tversky(truth, predicted, alpha=self.beta, beta=self.alpha, axis=(1, 2))

    def get_config(self) -> dict[str, Any]:
        """The arguments, for `keras.saving`."""
        return super().get_config() | {"alpha": self.alpha, "beta": self.beta}


PIXEL_LOSSES: dict[str, type[PixelLoss]] = {
    "cross_entropy": PixelCrossEntropy,
    "dice": PixelDice,
    "focal": PixelFocal,
    "tversky": PixelTversky,
}


def pixel_loss(name: str, **arguments: Any) -> PixelLoss:
    """A loss over pixels by name.

    Args:
        name: `"cross_entropy"`, `"dice"`, `"focal"` or `"tversky"`.
        **arguments: Those of its class.

    Raises:
        ArgumentError: If there is no such loss.

    Example:
        >>> pixel_loss("cross_entropy", normalize=False).normalize
        False
    """
    if name not in PIXEL_LOSSES:
        raise ArgumentError(f"loss must be one of {', '.join(PIXEL_LOSSES)}, got {name!r}")
    return PIXEL_LOSSES[name](**arguments)


def _classes_of(y_true: Any, y_pred: Any) -> Any:
    y_true = ops.convert_to_tensor(y_true)
    if len(y_true.shape) == 4 and y_true.shape[-1] == 1:
        y_true = ops.squeeze(y_true, -1)
    if len(y_pred.shape) != 4 or len(y_true.shape) != 3:
        raise ArgumentError(
            "a loss over pixels takes masks (batch, height, width) and outputs (batch, height, "
            f"width, classes), got {tuple(y_true.shape)} and {tuple(y_pred.shape)}"
        )
    if y_pred.shape[-1] == 1:
        raise ArgumentError(
            "a loss over pixels takes one output a class, got 1; build the network with classes=2"
        )
    mask, output = tuple(y_true.shape[1:]), tuple(y_pred.shape[1:3])
    if any(None not in pair and pair[0] != pair[1] for pair in zip(mask, output, strict=True)):
        raise ArgumentError(f"masks of {mask} pixels do not fit outputs of {output}")
    return ops.cast(y_true, "int32")
