"""Losses of segmentation: Keras losses over pixels, without ignored pixels.

Masks hold a class a pixel, as whole numbers of any type or one-hot. With `ignore=255` they hold 255
where the class is not known: the border of objects in PASCAL VOC, pixels outside of a padded image.
Such pixels count nowhere. Other values are refused, not cast: outside of compiled functions and in
graphs of TensorFlow by an error that names them; under XLA, on a GPU of PyTorch and within
`jax.jit`, which drop such errors, the loss is NaN. So are probabilities where logits are wanted.

`model.fit(class_weight=)` is for one class an example: Keras refuses it for masks with an error of
its own. Give the losses `class_weights=`.
"""

import abc
import math
from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from keras_arch.errors import ArgumentError
from keras_arch.losses.pixel_loss import PixelLoss


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
        **options: `from_logits`, `ignore`, `class_weights` and `total`, as for `PixelLoss`.

    Example:
        >>> loss = PixelCrossEntropy(ignore=255)([[[0, 255]]], ops.zeros((1, 1, 2, 2)))
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
        summed, count = self.sum_of_pixels(each, truth, predicted, counted, weight)
        return self.mean(summed, count) if self.normalize else summed

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
        **options: `from_logits`, `ignore`, `class_weights` and `total`, as for `PixelLoss`.

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
            self.probabilities(predicted),
            alpha=self.alpha,
            gamma=self.gamma,
        )
        return self.mean(*self.sum_of_pixels(each, truth, predicted, counted, weight))

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
        by_class = self.weights_of_classes(predicted)
        share = there if by_class is None else there * by_class
        each = self.overlap(truth, self.probabilities(predicted) * counted) * share
        # Of weights below 1 the sum may be less than 1; that of no class is 0, as its overlap.
        count = ops.sum(share, axis=1)
        images = ops.sum(each, axis=1) / ops.where(count > 0, count, ops.ones_like(count))
        if weight is not None:
            if tuple(weight.shape[1:]) != (1, 1):
                raise ArgumentError(
                    f"{self.name} measures whole images and takes no weight a pixel; leave the "
                    "weight map out, or train with cross-entropy"
                )
            images = images * weight[:, 0, 0]
        some = ops.cast(ops.any(there > 0, axis=1), images.dtype)
        return self.mean(ops.sum(images), ops.sum(some))


@keras.saving.register_keras_serializable("keras_arch")
class PixelDice(_Overlap):
    """Soft Dice loss (Milletari et al. 2016): `keras.losses.dice` of each class and image.

    Args:
        name: Name of the loss.
        **options: `from_logits`, `ignore`, `class_weights` and `total`, as for `PixelLoss`.

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
        **options: `from_logits`, `ignore`, `class_weights` and `total`, as for `PixelLoss`.

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


@keras.saving.register_keras_serializable("keras_arch")
class PixelJaccard(_Overlap):
    """Soft Jaccard loss, one minus intersection over union of each class and image.

    It is Tversky's with both weights 1 (Rahman and Wang 2016, Optimizing intersection-over-union in
    deep neural networks for image segmentation).

    Args:
        name: Name of the loss.
        **options: `from_logits`, `ignore`, `class_weights` and `total`, as for `PixelLoss`.

    Example:
        >>> loss = PixelJaccard(from_logits=False)
        >>> round(float(loss([[[0, 1]]], [[ops.eye(2)]])), 4)
        0.0
    """

    def __init__(self, name: str = "pixel_jaccard", **options: Any) -> None:
        super().__init__(name=name, **options)

    def overlap(self, truth: Any, predicted: Any) -> Any:
        """One minus intersection over union."""
        return keras.losses.tversky(truth, predicted, alpha=1.0, beta=1.0, axis=(1, 2))


PIXEL_LOSSES: dict[str, type[PixelLoss]] = {
    "cross_entropy": PixelCrossEntropy,
    "dice": PixelDice,
    "focal": PixelFocal,
    "jaccard": PixelJaccard,
    "tversky": PixelTversky,
}


@keras.saving.register_keras_serializable("keras_arch")
class PixelLossSum(PixelLoss):
    """A weighted sum of losses over pixels, such as cross-entropy and Dice.

    A weight map goes to the losses of pixels only, as those of overlap measure whole images.

    Args:
        terms: A positive weight for each of `PIXEL_LOSSES` that is in the sum.
        arguments: Arguments of some of them, by name.
        name: Name of the loss.
        **options: Those of all, as for `PixelLoss`.

    Raises:
        ArgumentError: If a name is unknown or a weight is not positive.

    Example:
        >>> loss = PixelLossSum({"cross_entropy": 1.0, "dice": 0.5})
        >>> round(float(loss([[[0]]], ops.zeros((1, 1, 1, 2)))), 3)  # log 2 + 0.5 / 3
        0.86
    """

    def __init__(
        self,
        terms: Mapping[str, float],
        arguments: Mapping[str, Mapping[str, Any]] | None = None,
        name: str = "pixel_loss_sum",
        **options: Any,
    ) -> None:
        super().__init__(name=name, **options)
        wrong = [f"{key}: {value!r}" for key, value in terms.items() if not 0 < value < math.inf]
        if wrong or not terms:
            raise ArgumentError(
                "a sum of losses needs a positive weight for each, such as {'cross_entropy': 1, "
                f"'dice': 0.5}}, got {', '.join(wrong) or 'none'}"
            )
        self.arguments = {key: dict(value) for key, value in (arguments or {}).items()}
        if unused := sorted(set(self.arguments) - set(terms)):
            raise ArgumentError(f"arguments are given for {unused[0]!r}, which is not in the sum")
        self.terms = {key: float(value) for key, value in terms.items()}
        self._losses = {
            key: pixel_loss(key, **options, **self.arguments.get(key, {})) for key in terms
        }

    def reduced(self, truth: Any, predicted: Any, counted: Any, weight: Any) -> Any:
        """The weighted sum."""
        of_pixels = weight is not None and tuple(weight.shape[1:]) != (1, 1)
        measures_pixels = any(not isinstance(loss, _Overlap) for loss in self._losses.values())
        value = 0.0
        for key, loss in self._losses.items():
            skips = of_pixels and measures_pixels and isinstance(loss, _Overlap)
            part = loss.reduced(truth, predicted, counted, None if skips else weight)
            value += self.terms[key] * part
        return value

    def get_config(self) -> dict[str, Any]:
        """The arguments, for `keras.saving`."""
        return super().get_config() | {"terms": self.terms, "arguments": self.arguments}


def pixel_loss(name: str | Mapping[str, float], **arguments: Any) -> PixelLoss:
    """A loss over pixels by name, or a sum of several by their names and weights.

    Args:
        name: `"cross_entropy"`, `"dice"`, `"focal"`, `"jaccard"` or `"tversky"`; or the `terms` of
            a `PixelLossSum`.
        **arguments: Those of its class.

    Raises:
        ArgumentError: If there is no such loss.

    Example:
        >>> pixel_loss("cross_entropy", normalize=False).normalize
        False
        >>> pixel_loss({"cross_entropy": 1.0, "dice": 1.0}).name
        'pixel_loss_sum'
    """
    if isinstance(name, Mapping):
        return PixelLossSum(name, **arguments)
    if name not in PIXEL_LOSSES:
        raise ArgumentError(f"loss must be one of {', '.join(PIXEL_LOSSES)}, got {name!r}")
    return PIXEL_LOSSES[name](**arguments)
