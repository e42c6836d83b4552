"""Reports of classifiers: scores of each class, and confident mistakes."""

import collections
import dataclasses
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_arch.errors import ArgumentError
from keras_arch.visualization.figures import new_figure, save_figure, shorten_label

_SCORES = ("precision", "recall", "f1", "support")
_AVERAGES = {"macro avg": "mean over classes", "weighted avg": "mean over images"}
# Most rows of a table, and rows of one of its blocks.
_MOST_ROWS, _ROWS_OF_A_BLOCK = 120, 40
# Inches of a letter, a number and a row.
_LETTER, _NUMBER, _ROW = 0.078, 0.72, 0.22
_LONGEST_NAME = 28


@dataclasses.dataclass(frozen=True)
class Mistake:
    """Misclassified image: its number in the data, class, predicted class and its probability."""

    index: int
    truth: int
    predicted: int
    probability: float


def per_class_report(
    truth: Any, predictions: Any, labels: Sequence[str], path: str | os.PathLike[str] | None = None
) -> dict[str, dict[str, float]]:
    """Compute precision, recall, F1 and support of every class, as scikit-learn does.

    A class that was never predicted has precision 0, one that never occurs has recall 0.

    Args:
        truth: `(n,)` classes as numbers.
        predictions: `(n,)` likewise.
        labels: A name for each class.
        path: A PNG file for a table of at most 120 classes, those with the lowest F1, or `None`.

    Returns:
        `{class: {"precision": ..., "recall": ..., "f1": ..., "support": ...}}`, and likewise the
        means under `"macro avg"` (each class counts alike) and `"weighted avg"` (by support).

    Raises:
        ArgumentError: If there is no image, or a number is no class.

    Example:
        >>> per_class_report([0, 0, 0, 1], [0, 0, 1, 1], ["cat", "dog"])["dog"]
        {'precision': 0.5, 'recall': 1.0, 'f1': 0.6667, 'support': 1.0}
    """
    from sklearn.metrics import classification_report

    truth, predictions = np.asarray(truth), np.asarray(predictions)
    if truth.shape != predictions.shape or truth.ndim != 1 or not len(truth):
        raise ArgumentError(
            "a report takes one true and one predicted class for each image, got shapes "
            f"{truth.shape} and {predictions.shape}"
        )
    for values in (truth, predictions):
        beyond = values[(values < 0) | (values >= len(labels))]
        if len(beyond):
            raise ArgumentError(f"{beyond[0]} is no class: there are {len(labels)}")
    found = classification_report(
        truth, predictions, labels=range(len(labels)), output_dict=True, zero_division=0
    )
    names = {str(number): name for number, name in enumerate(_unique(labels))}
    names |= {average: average for average in _AVERAGES}
    report = {name: _row(found[key].values()) for key, name in names.items()}
    if path is not None:
        _draw_report(report, path)
    return report


def confident_mistakes(truth: Any, probabilities: Any, count: int = 24) -> list[Mistake]:
    """Find the misclassified images with the highest probabilities.

    Args:
        truth: `(n,)` classes as numbers.
        probabilities: `(n, classes)`.
        count: Largest number of mistakes.

    Returns:
        Mistakes, the most confident first.

    Example:
        >>> confident_mistakes([0, 1, 1], [[0.2, 0.8], [0.1, 0.9], [0.9, 0.1]], count=1)
        [Mistake(index=2, truth=1, predicted=0, probability=0.9)]
    """
    truth, probabilities = np.asarray(truth), np.asarray(probabilities)
    predicted = probabilities.argmax(axis=1)
    sure = probabilities[np.arange(len(truth)), predicted]
    (wrong,) = np.nonzero(predicted != truth)
    order = wrong[np.argsort(-sure[wrong], kind="stable")][:count]
    return [Mistake(int(i), int(truth[i]), int(predicted[i]), float(sure[i])) for i in order]


def draw_mistakes(
    mistakes: Sequence[Mistake], images: Any, labels: Sequence[str], path: str | os.PathLike[str]
) -> Path:
    """Draw mistakes: each image with its predicted class, the probability and the true class.

    Args:
        mistakes: As from `confident_mistakes`.
        images: `uint8` `(mistakes, height, width, 1 or 3)`, in their order.
        labels: A name for each class.
        path: The PNG file to write; it is returned.

    Raises:
        ArgumentError: If there is no mistake, or not one image for each.

    Example:
        >>> found = confident_mistakes([0, 1], [[0.2, 0.8], [0.9, 0.1]])
        >>> images = np.zeros((2, 8, 8, 1), "uint8")
        >>> draw_mistakes(found, images, ["cat", "dog"], "mistakes.png").name
        'mistakes.png'
    """
    images = np.asarray(images)
    if not mistakes or len(images) != len(mistakes):
        raise ArgumentError(
            f"a picture of mistakes takes one image for each, got {len(images)} images for "
            f"{len(mistakes)} mistakes"
        )
    columns = min(6, len(mistakes))
    rows = -(-len(mistakes) // columns)
    figure = new_figure(1.9 * columns, 2.35 * rows)
    for place, (mistake, image) in enumerate(zip(mistakes, images, strict=True), start=1):
        axes = figure.add_subplot(rows, columns, place)
        smooth = "nearest" if image.shape[0] < 100 else "antialiased"
        axes.imshow(np.broadcast_to(image, (*image.shape[:2], 3)), interpolation=smooth)
        axes.set(xticks=[], yticks=[])
        taken = shorten_label(labels[mistake.predicted], 17)
        axes.set_title(f"{taken} {100 * mistake.probability:.1f} %", fontsize=8)
        axes.set_xlabel(f"true: {shorten_label(labels[mistake.truth], 22)}", fontsize=8)
    title = "most confident mistakes: predicted class, its probability, true class"
    figure.suptitle(title, fontsize=9)
    return save_figure(figure, path)


def _row(values: Iterable[float]) -> dict[str, float]:
    return {name: round(float(value), 4) for name, value in zip(_SCORES, values, strict=True)}


def _unique(labels: Sequence[str]) -> list[str]:
    """Unique names: those that occur twice (or are of a mean) get their number."""
    counts = collections.Counter([*labels, *_AVERAGES])
    return [
        f"{label} ({number})" if counts[label] > 1 else label for number, label in enumerate(labels)
    ]


def _draw_report(report: dict[str, dict[str, float]], path: str | os.PathLike[str]) -> Path:
    """Draw the report as a table of blocks side by side."""
    means = {_AVERAGES[name]: report[name] for name in _AVERAGES}
    rows = [(name, row) for name, row in report.items() if name not in _AVERAGES]
    title = ""
    if len(rows) > _MOST_ROWS:
        title = f"the {_MOST_ROWS} classes with the lowest F1 of {len(rows)}"
        rows = sorted(rows, key=lambda pair: pair[1]["f1"])[:_MOST_ROWS]
    blocks = -(-len(rows) // _ROWS_OF_A_BLOCK)
    height = -(-len(rows) // blocks)
    parts = [rows[i * height : (i + 1) * height] for i in range(blocks)]
    parts[-1] += means.items()
    tallest = max(map(len, parts)) + 1
    longest = max(len(shorten_label(name, _LONGEST_NAME)) for name, _ in [*rows, *means.items()])
    across = _LETTER * longest + 0.15 + _NUMBER * len(_SCORES)
    head = 0.25 if title else 0.0
    width, height = blocks * (across + 0.2), _ROW * tallest + 0.2 + head
    figure = new_figure(width, height)
    # Fixed positions, as automatic layout of so many texts takes seconds.
    figure.set_layout_engine("none")
    for place, part in enumerate(parts):
        corner = ((place * (across + 0.2) + 0.1) / width, 0.1 / height)
        axes = figure.add_axes((*corner, across / width, _ROW * tallest / height))
        _draw_block(axes, part, tallest, across)
    figure.text(0.5, 1 - 0.05 / height, title, ha="center", va="top", fontsize=9)
    return save_figure(figure, path)


def _draw_block(axes: Any, rows: Sequence[Any], tallest: int, across: float) -> None:
    """Draw one block: names at the left, numbers on a shade that rises with them."""
    begin = across - _NUMBER * len(_SCORES)
    values = np.array([[row[name] for name in _SCORES] for _, row in rows])
    shades = 0.75 * values * [name != "support" for name in _SCORES]
    edges = begin + _NUMBER * np.arange(len(_SCORES) + 1)
    lines = np.arange(1, len(rows) + 2)
    axes.pcolormesh(edges, lines, shades, cmap="Blues", vmin=0, vmax=1, edgecolors="white")
    axes.set(xlim=(0, across), ylim=(tallest, 0))
    axes.set_axis_off()
    style = {"va": "center", "fontsize": 8}
    for column, score in enumerate(_SCORES):
        middle = (edges[column] + edges[column + 1]) / 2
        axes.text(middle, 0.5, score, ha="center", weight="bold", **style)
        for line, value in enumerate(values[:, column]):
            text = f"{value:.0f}" if score == "support" else f"{value:.3f}"
            color = "white" if shades[line, column] > 0.6 else "black"
            axes.text(middle, line + 1.5, text, ha="center", color=color, **style)
    for line, (name, _) in enumerate(rows):
        slant = "italic" if name in _AVERAGES.values() else "normal"
        name = shorten_label(name, _LONGEST_NAME)
        axes.text(begin - 0.1, line + 1.5, name, ha="right", style=slant, **style)
