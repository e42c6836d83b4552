"""Report on a segmentation network: metrics of pixels and boundaries, pictures of its errors."""

import dataclasses
import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_arch import files, metrics, visualization
from keras_arch.errors import ArgumentError, DataError
from keras_arch.losses import IGNORE
from keras_arch.preprocessing import Preprocessing
from keras_arch.tasks.segmentation_predictions import predict_probabilities

_log = logging.getLogger("keras_arch")

ISBI = ("pixel_error", "rand_error", "warping_error")
# Of the instances that the last of two classes has, by the property of `metrics.InstanceMatches`.
INSTANCES = {"instance_recall": "recall", "instance_f_score": "f_score"}
BINARY = (*ISBI, *INSTANCES)
METRICS = ("boundary_f_score", *BINARY)
# Distance in pixels within which boundaries match.
TOLERANCE = 2.0


@dataclasses.dataclass(frozen=True)
class SegmentationReport:
    """Predictions of a network on a data set with masks, with their metrics.

    Attributes:
        metrics: By name, as fractions.
        confusion: `(classes, classes)` pixels with true classes as rows.
        boundaries: Boundary F-score of each class.
        shown: The first images with their truths and predictions.
    """

    metrics: dict[str, float]
    confusion: np.ndarray
    boundaries: list[float | None]
    shown: list[tuple[np.ndarray, np.ndarray, np.ndarray]]

    def write(self, labels: Sequence[str], colors: visualization.Colors, folder: Path) -> None:
        """Write `confusion_matrix.png`, `per_class.json`, `overlays.png` and `close_ups.png`.

        Args:
            labels: A name for each class.
            colors: A color for each class.
            folder: Where to.
        """
        visualization.confusion_matrix(self.confusion, labels, folder / "confusion_matrix.png")
        rows = metrics.per_class(self.confusion, labels)
        for row, boundary in zip(rows, self.boundaries, strict=True):
            row["boundary_f_score"] = boundary
        files.atomic_write(folder / "per_class.json", json.dumps(rows, indent=1) + "\n")
        sheet = visualization.grid(panels(self.shown, colors), columns=4, padding=4, enlarge=True)
        visualization.save_png(annotated(sheet, labels, colors), folder / "overlays.png")
        near = _of_one_size([visualization.zoom_on_errors(*each) for each in self.shown])
        sheet = visualization.grid(near, columns=2, padding=4)
        sheet = visualization.annotate(sheet, legend=visualization.BORDER_COLORS)
        visualization.save_png(sheet, folder / "close_ups.png")


def measure(
    model: keras.Model,
    dataset: Any,
    preprocessing: Preprocessing,
    crop_mode: str,
    classes: int,
    names: Sequence[str] = ("boundary_f_score",),
    show: int = 4,
) -> SegmentationReport:
    """Predict whole images at their own resolution, and compute metrics.

    Args:
        model: From preprocessed images to probabilities or logits.
        dataset: `tf.data.Dataset` of `(image, mask)`.
        preprocessing: The preprocessing of the training.
        crop_mode: As for `predict_probabilities`.
        classes: Number of classes.
        names: Which of `METRICS` to compute besides those of pixels. Those of ISBI-2012 and of
            instances are of two classes, the second of which is the interior. Instances are its
            regions, which match at an intersection over union above one half.
        show: Number of images for pictures.

    Returns:
        The report.

    Raises:
        ArgumentError: If a metric does not fit the classes.
        DataError: If the masks ignore every pixel.
    """
    isbi = [name for name in names if name in ISBI]
    instances = [name for name in names if name in INSTANCES]
    if classes != 2 and (binary := [*isbi, *instances]):
        raise ArgumentError(f"{binary[0]} is of two classes, membrane and interior, not {classes}")
    matches = metrics.InstanceMatches(0, 0, 0)
    confusion = np.zeros((classes, classes), np.int64)
    truths, found, shown = [], [], []
    errors = {name: [] for name in isbi}
    for image, mask, *_ in dataset.as_numpy_iterator():
        probabilities = predict_probabilities(model, image, preprocessing, crop_mode)
        predicted = probabilities.argmax(axis=-1).astype(np.uint8)
        confusion += metrics.pixel_confusion(mask, predicted, classes, IGNORE)
        if len(shown) < show:
            picture = visualization.displayable(preprocessing.display(image))
            shown.append((picture, mask, predicted))
        if "boundary_f_score" in names:
            truths.append(mask)
            found.append(predicted)
        if isbi:
            interior = np.clip(probabilities[..., 1], 0.0, 1.0)
            for name in isbi:
                errors[name].append((mask, interior))
        if instances:
            counted = mask != IGNORE
            matches += metrics.match_instances((mask == 1) & counted, (predicted == 1) & counted)
    if not confusion.any():
        raise DataError("all pixels of the masks are ignored, so that there is nothing to measure")
    scores = metrics.pixel_scores(confusion)
    boundaries: list[float | None] = [None] * classes
    if truths:
        report = metrics.boundary_f_score(truths, found, classes, TOLERANCE, IGNORE)
        boundaries = report["per_class"]
        if report["f_score"] is None:
            _log.warning("boundary_f_score is left out: no class has a boundary in any mask")
        else:
            scores["boundary_f_score"] = report["f_score"]
    for name, pairs in errors.items():
        scores[name] = _isbi(name, pairs)
    for name in instances:
        if (score := getattr(matches, INSTANCES[name])) is None:
            _log.warning("%s is left out: there is no instance", name)
        else:
            scores[name] = score
    return SegmentationReport(scores, confusion, boundaries, shown)


def _isbi(name: str, pairs: list[tuple[np.ndarray, np.ndarray]]) -> float:
    """An error of ISBI-2012 over slices, which are one volume where they are of one size."""
    error = getattr(metrics, name)
    if len({truth.shape for truth, _ in pairs}) == 1:
        return error(*map(np.stack, zip(*pairs, strict=True)), ignore=IGNORE)
    return float(np.mean([error(truth, interior, ignore=IGNORE) for truth, interior in pairs]))


def panels(
    shown: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]], colors: visualization.Colors
) -> np.ndarray:
    """Four panels for each image: itself, truth and prediction over it, and the errors."""
    rows = []
    for image, truth, predicted in shown:
        rgb = image.repeat(3, axis=-1) if image.shape[-1] == 1 else image
        rows += [
            rgb,
            visualization.overlay(image, truth, colors),
            visualization.overlay(image, predicted, colors),
            visualization.error_map(truth, predicted),
        ]
    return _of_one_size(rows)


def annotated(sheet: np.ndarray, labels: Sequence[str], colors: visualization.Colors) -> np.ndarray:
    """A grid of `panels`, four in a row, with titles and the meaning of the colors."""
    return visualization.annotate(
        sheet,
        titles=("image", "truth", "prediction", "errors"),
        legend=visualization.overlay_legend(labels, colors) | visualization.ERROR_COLORS,
    )


def _of_one_size(images: Sequence[np.ndarray]) -> np.ndarray:
    height, width = (max(image.shape[axis] for image in images) for axis in (0, 1))
    sheet = np.full((len(images), height, width, 3), 255, np.uint8)
    for place, image in zip(sheet, images, strict=True):
        place[: image.shape[0], : image.shape[1]] = image
    return sheet


def examples(dataset: Any, count: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The first `count` images with their masks."""
    for image, mask, *_ in dataset.take(count).as_numpy_iterator():
        yield image, mask
