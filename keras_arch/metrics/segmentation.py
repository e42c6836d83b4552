"""Metrics of segmentation: the four of FCN, Dice, a report for each class, and boundaries.

All but the last come from one confusion matrix, without pixels of the value `ignore`. A class that
is neither in the truth nor in the predictions is left out of means, as any value would bias them.
Masks hold a class a pixel, or are one-hot. Other values are refused as the losses do
(`keras_arch.losses.PixelLoss`).
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from scipy import ndimage

from keras_arch._pixel_classes import checked_classes
from keras_arch.errors import ArgumentError, whole_number
from keras_arch.losses.masks import check_same_pixels, nan_unless, pixel_classes

SCORES = ("pixel_accuracy", "mean_accuracy", "mean_iu", "frequency_weighted_iu", "dice")


def pixel_confusion(
    truth: Any, predicted: Any, classes: int, ignore: int | None = None
) -> np.ndarray:
    """Count pixels by their true and their predicted class.

    Args:
        truth: Classes of any shape, `ignore` where a pixel does not count; or one-hot `(n, height,
            width, classes)`.
        predicted: Classes of the same shape, or one-hot.
        classes: Number of classes.
        ignore: Value of `truth` that does not count, such as 255; or `None`.

    Returns:
        `int64` `(classes, classes)` with true classes as rows.

    Raises:
        ArgumentError: If the shapes differ, or a value is no class: out of range, a fraction, NaN.

    Example:
        >>> pixel_confusion([0, 0, 1, 255], [0, 1, 1, 1], 2, ignore=255).tolist()
        [[1, 1], [0, 1]]
    """
    classes = whole_number("classes", classes)
    truth = checked_classes(truth, classes, ignore, "truth")
    predicted = checked_classes(predicted, classes, name="predictions")
    if truth.shape != predicted.shape:
        raise ArgumentError(
            f"truth of shape {truth.shape} and predictions of shape {predicted.shape} must agree"
        )
    counted = np.ones(truth.shape, bool) if ignore is None else truth != ignore
    truth, predicted = truth[counted].astype(np.int64), predicted[counted].astype(np.int64)
    return np.bincount(truth * classes + predicted, minlength=classes**2).reshape(classes, classes)


def pixel_scores(confusion: Any) -> dict[str, float]:
    """Compute the scores of a confusion matrix of pixels.

    Long et al. 2015 (Fully Convolutional Networks), section 5, with n_ij pixels of class i
    predicted as j and t_i pixels of class i: pixel accuracy sum n_ii / sum t_i, mean accuracy, mean
    IU and frequency-weighted IU; and the mean of Dice's coefficient over classes.

    Args:
        confusion: `(classes, classes)` counts with true classes as rows.

    Returns:
        `pixel_accuracy`, `mean_accuracy`, `mean_iu`, `frequency_weighted_iu` and `dice`, in [0, 1].
        A class without true pixels has no accuracy; one without any pixels no IU and no Dice. NaN
        where no pixel counts: nothing was measured.

    Example:
        >>> {name: round(value, 3) for name, value in pixel_scores([[1, 1], [0, 2]]).items()}
        {'pixel_accuracy': 0.75, 'mean_accuracy': 0.75, 'mean_iu': 0.583, \
'frequency_weighted_iu': 0.583, 'dice': 0.733}
    """
    found = np.asarray(confusion, np.float64)
    right, rows, columns = np.diagonal(found), found.sum(axis=1), found.sum(axis=0)
    there, seen = rows > 0, rows + columns > 0
    if not there.any():
        return dict.fromkeys(SCORES, float("nan"))
    iu = right[seen] / (rows + columns - right)[seen]
    return {
        "pixel_accuracy": float(right.sum() / rows.sum()),
        "mean_accuracy": float((right[there] / rows[there]).mean()),
        "mean_iu": float(iu.mean()),
        "frequency_weighted_iu": float((rows[seen] * iu).sum() / rows.sum()),
        "dice": float((2 * right[seen] / (rows + columns)[seen]).mean()),
    }


def per_class(confusion: Any, labels: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Compute the scores of each class from a confusion matrix of pixels.

    Args:
        confusion: `(classes, classes)` counts with true classes as rows.
        labels: A name for each class. Default: their numbers.

    Returns:
        For each class `label`, `pixels` (of the truth), `iu`, `dice`, `precision` and `recall`
        (the class's accuracy); `None` where a score is not defined.

    Raises:
        ArgumentError: If there are not as many labels as classes.

    Example:
        >>> rows = per_class([[1, 1, 0], [0, 2, 0], [0, 0, 0]], ["cell", "membrane", "vessel"])
        >>> rows[0]["recall"], rows[1]["iu"], rows[2]["iu"]
        (0.5, 0.6666666666666666, None)
    """
    found = np.asarray(confusion, np.float64)
    names = list(labels) if labels is not None else [str(i) for i in range(len(found))]
    if len(names) != len(found):
        raise ArgumentError(f"there are {len(found)} classes and {len(names)} labels")

    def share(part: float, whole: float) -> float | None:
        return float(part / whole) if whole else None

    counts = zip(np.diagonal(found), found.sum(axis=1), found.sum(axis=0), strict=True)
    return [
        {
            "label": name,
            "pixels": int(true),
            "iu": share(correct, true + predicted - correct),
            "dice": share(2 * correct, true + predicted),
            "precision": share(correct, predicted),
            "recall": share(correct, true),
        }
        for name, (correct, true, predicted) in zip(names, counts, strict=True)
    ]


def boundary_f_score(
    truth: Any, predicted: Any, classes: int, tolerance: float = 2.0, ignore: int | None = None
) -> dict[str, Any]:
    """F-score of boundary pixels, which match within a tolerance (Csurka et al. 2013).

    The boundary of a class are its pixels beside one of another class, but not at the border of the
    image or of ignored pixels. Precision is the share of predicted boundary pixels with a true one
    within the tolerance, recall the reverse, and F = 2 P R / (P + R), counted over all images; the
    mean is over the classes that have some boundary, true or predicted.

    Args:
        truth: `(height, width)` or `(n, height, width)` classes, or a list of maps of any sizes.
        predicted: As `truth`.
        classes: Number of classes.
        tolerance: Distance in pixels up to which boundaries match.
        ignore: Value of `truth` that does not count, such as 255; or `None`.

    Returns:
        `f_score`, the mean, or `None` where no class has a boundary; and `per_class`, a list with
        `None` for each class without one.

    Raises:
        ArgumentError: If the maps are not of one size, hold other values than classes, or the
            tolerance is negative.

    Example:
        >>> truth, predicted = np.zeros((2, 8, 8), int)
        >>> truth[:, 4:], predicted[:, 5:] = 1, 1
        >>> boundary_f_score(truth, predicted, 2, tolerance=1)["f_score"]
        1.0
    """
    if not tolerance >= 0:
        raise ArgumentError(f"tolerance must be a number of pixels from 0, got {tolerance!r}")
    # Of each class: predicted pixels that match, true ones that match, all predicted, all true.
    counts = np.zeros((classes, 4), np.int64)
    truths = _maps(truth, classes, ignore, "truth")
    founds = _maps(predicted, classes, None, "predictions")
    if len(truths) != len(founds):
        raise ArgumentError(f"there are {len(truths)} true maps and {len(founds)} predictions")
    for one, other in zip(truths, founds, strict=True):
        if one.shape != other.shape:
            raise ArgumentError(
                f"truth of {one.shape} pixels and predictions of {other.shape} must be of one size"
            )
        counted = np.ones(one.shape, bool) if ignore is None else one != ignore
        for number in range(classes):
            true = boundary_of(one == number, counted)
            found = boundary_of((other == number) & counted, counted)
            matches = _near(found, true, tolerance), _near(true, found, tolerance)
            counts[number] += [*matches, found.sum(), true.sum()]
    scores = [_f_score(*row) if any(row) else None for row in counts.tolist()]
    some = [score for score in scores if score is not None]
    return {"f_score": float(np.mean(some)) if some else None, "per_class": scores}


def boundary_of(region: Any, counted: Any = None) -> np.ndarray:
    """Pixels of a region that have a neighbor outside of it, on one of four sides.

    Args:
        region: `(height, width)`, boolean.
        counted: `(height, width)`, boolean: neighbors that count. Default: all.

    Returns:
        `(height, width)`, boolean.

    Example:
        >>> boundary_of(np.array([[1, 1, 0]], bool)).tolist()
        [[False, True, False]]
    """
    region = np.asarray(region, bool)
    outside = ~region if counted is None else ~region & np.asarray(counted, bool)
    beside = np.zeros_like(region)
    beside[1:] |= outside[:-1]
    beside[:-1] |= outside[1:]
    beside[:, 1:] |= outside[:, :-1]
    beside[:, :-1] |= outside[:, 1:]
    return region & beside


def _maps(values: Any, classes: int, ignore: int | None, name: str) -> list[np.ndarray]:
    if isinstance(values, list | tuple) and np.ndim(values[0]) == 2:
        return [checked_classes(value, classes, ignore, name) for value in values]
    array = checked_classes(values, classes, ignore, name)
    if array.ndim not in (2, 3):
        raise ArgumentError(
            f"maps of classes must be of shape (height, width) or (n, height, width), got "
            f"{array.shape}"
        )
    return list(array if array.ndim == 3 else array[None])


def _near(these: np.ndarray, those: np.ndarray, tolerance: float) -> int:
    """Number of pixels of the first mask with one of the second within the tolerance."""
    if not those.any() or not these.any():
        return 0
    return int((ndimage.distance_transform_edt(~those)[these] <= tolerance).sum())


def _f_score(matched: int, reached: int, found: int, true: int) -> float:
    precision, recall = matched / found if found else 0.0, reached / true if true else 0.0
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


class PixelMetric(keras.Metric):
    """Base class of metrics of the confusion matrix of all pixels since the last reset.

    A subclass has a `default_name` and a `score`, and the same arguments.

    Args:
        classes: Number of classes.
        ignore: Value in masks that counts nowhere, such as 255; or `None`.
        name: Name of the metric. Default: that of the class, such as `"mean_iu"`.

    Raises:
        ArgumentError: In an update with other values than classes and `ignore`. Where that cannot
            be told (XLA, `jax.jit`), and if an output is NaN, the metric is NaN until it is reset.
    """

    default_name: str | None = None

    def __init__(
        self, classes: int, ignore: int | None = None, name: str | None = None, **more: Any
    ) -> None:
        super().__init__(name=name or self.default_name, **more)
        number = self.classes = whole_number("classes", classes, 2)
        self.ignore = ignore
        # Whole numbers: as float32 the counts of a data set would stop at 16 million pixels.
        self.confusion = self.add_variable(
            (number, number), keras.initializers.Zeros(), dtype="int64", name="confusion"
        )
        self.wrong_batches = self.add_variable(
            (), keras.initializers.Zeros(), dtype="int32", name="wrong_batches"
        )

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Count a batch.

        Args:
            y_true: Classes `(batch, height, width)` or `(batch, height, width, 1)`, or one-hot
                `(batch, height, width, classes)`.
            y_pred: Logits or probabilities `(batch, height, width, classes)`, or classes.
            sample_weight: Refused: pixels are counted.
        """
        if sample_weight is not None:
            raise ArgumentError(
                f"{self.name} counts pixels and takes no weights; give it in metrics, not in "
                "weighted_metrics"
            )
        number = self.classes
        y_true, y_pred = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
        truth, counts, valid = pixel_classes(y_true, number, self.ignore)
        if len(y_pred.shape) == len(truth.shape) + 1:
            if y_pred.shape[-1] != number:
                raise ArgumentError(
                    f"{self.name} counts {number} classes, the outputs have {y_pred.shape[-1]}"
                )
            predicted = ops.cast(ops.argmax(y_pred, axis=-1), "int32")
            right = ops.logical_not(ops.any(ops.isnan(y_pred)))
        else:
            predicted, _, right = pixel_classes(y_pred, number, name="predictions")
        check_same_pixels(truth.shape, predicted.shape)
        valid = ops.logical_and(valid, right)
        wrong = ops.cast(ops.logical_not(valid), self.wrong_batches.dtype)
        self.wrong_batches.assign(self.wrong_batches + wrong)
        truth, predicted, counts = (ops.reshape(each, (-1,)) for each in (truth, predicted, counts))
        # Ignored pixels go to a cell after the last one.
        cells = ops.where(counts, truth * number + predicted, number**2)
        found = ops.segment_sum(ops.ones_like(cells), cells, num_segments=number**2 + 1)
        found = ops.reshape(found[: number**2], (number, number))
        self.confusion.assign(self.confusion + ops.cast(found, self.confusion.dtype))

    def result(self) -> Any:
        """Value of the metric, a scalar; NaN where no pixel was counted."""
        found = ops.cast(self.confusion, "float32")
        score = self.score(ops.diagonal(found), ops.sum(found, axis=1), ops.sum(found, axis=0))
        return nan_unless(ops.equal(self.wrong_batches, 0), score)

    def score(self, correct: Any, true: Any, predicted: Any) -> Any:
        """Compute the metric from the correct, true and predicted pixels of each class."""
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        """Arguments for `keras.saving`."""
        return super().get_config() | {"classes": self.classes, "ignore": self.ignore}


@keras.saving.register_keras_serializable("keras_arch")
class PixelAccuracy(PixelMetric):
    """Fraction of correct pixels (Long et al. 2015, section 5).

    Example:
        >>> float(PixelAccuracy(2, ignore=255)([[[0, 1, 255]]], [[[0, 0, 0]]]))
        0.5
    """

    default_name = "pixel_accuracy"

    def score(self, correct: Any, true: Any, predicted: Any) -> Any:
        """sum n_ii / sum t_i."""
        return ops.divide(ops.sum(correct), ops.sum(true))


@keras.saving.register_keras_serializable("keras_arch")
class MeanAccuracy(PixelMetric):
    """Mean over classes of the fraction of correct pixels (Long et al. 2015, section 5).

    Example:
        >>> float(MeanAccuracy(2)([[[0, 0, 0, 1]]], [[[0, 0, 0, 0]]]))
        0.5
    """

    default_name = "mean_accuracy"

    def score(self, correct: Any, true: Any, predicted: Any) -> Any:
        """Mean of n_ii / t_i over the classes of the truth."""
        return _mean(ops.divide_no_nan(correct, true), true > 0)


@keras.saving.register_keras_serializable("keras_arch")
class MeanIU(PixelMetric):
    """Mean over classes of intersection over union (Long et al. 2015, section 5).

    Unlike `keras.metrics.MeanIoU` it takes logits, leaves ignored pixels out whatever their value
    is, and counts exactly.

    Example:
        >>> round(float(MeanIU(3)([[[0, 0, 1, 1]]], [[[0, 1, 1, 1]]])), 4)  # without class 2
        0.5833
    """

    default_name = "mean_iu"

    def score(self, correct: Any, true: Any, predicted: Any) -> Any:
        """Mean of n_ii / (t_i + sum_j n_ji - n_ii) over the classes with pixels."""
        return _mean(ops.divide_no_nan(correct, true + predicted - correct), true + predicted > 0)


@keras.saving.register_keras_serializable("keras_arch")
class ForegroundIU(PixelMetric):
    """Mean of intersection over union over the classes of objects, without the background.

    Args:
        classes: Number of classes.
        background: The number of the class that is left out.
        ignore: As for `PixelMetric`.
        name: As for `PixelMetric`.

    Example:
        >>> round(float(ForegroundIU(2)([[[0, 0, 1, 1]]], [[[0, 1, 1, 1]]])), 4)
        0.6667
    """

    default_name = "foreground_iu"

    def __init__(
        self,
        classes: int,
        background: int = 0,
        ignore: int | None = None,
        name: str | None = None,
        **more: Any,
    ) -> None:
        super().__init__(classes, ignore, name, **more)
        self.background = whole_number("background", background, 0)
        if self.background >= self.classes:
            raise ArgumentError(f"background must be one of {classes} classes, got {background}")

    def score(self, correct: Any, true: Any, predicted: Any) -> Any:
        """Mean of IU over the other classes with pixels."""
        is_object = ops.arange(self.classes) != self.background
        included = ops.logical_and(true + predicted > 0, is_object)
        return _mean(ops.divide_no_nan(correct, true + predicted - correct), included)

    def get_config(self) -> dict[str, Any]:
        """Arguments for `keras.saving`."""
        return super().get_config() | {"background": self.background}


@keras.saving.register_keras_serializable("keras_arch")
class FrequencyWeightedIU(PixelMetric):
    """Intersection over union, weighted by the pixels of each class (Long et al. 2015).

    Example:
        >>> round(float(FrequencyWeightedIU(2)([[[0, 0, 1, 1]]], [[[0, 1, 1, 1]]])), 4)
        0.5833
    """

    default_name = "frequency_weighted_iu"

    def score(self, correct: Any, true: Any, predicted: Any) -> Any:
        """Mean of IU by frequency."""
        iu = ops.divide_no_nan(correct, true + predicted - correct)
        return ops.divide(ops.sum(true * iu), ops.sum(true))


@keras.saving.register_keras_serializable("keras_arch")
class Dice(PixelMetric):
    """Mean over classes of Dice's coefficient, `2 n_ii / (t_i + sum_j n_ji)`.

    Example:
        >>> round(float(Dice(2)([[[0, 0, 1, 1]]], [[[0, 1, 1, 1]]])), 4)  # (2/3 + 4/5) / 2
        0.7333
    """

    default_name = "dice"

    def score(self, correct: Any, true: Any, predicted: Any) -> Any:
        """Mean over the classes with pixels."""
        return _mean(ops.divide_no_nan(2 * correct, true + predicted), true + predicted > 0)


def _mean(values: Any, included: Any) -> Any:
    """Mean over the included classes; NaN where there is none."""
    included = ops.cast(included, values.dtype)
    return ops.divide(ops.sum(values * included), ops.sum(included))
