"""Plots of metrics as PNG files: training history, confusion matrix, bar chart."""

import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_arch.errors import ArgumentError
from keras_arch.files import atomic_write

# Resolution of PNG files in pixels per inch.
DPI = 100


def history(rows: Sequence[Mapping[str, Any]], path: str | os.PathLike[str]) -> Path:
    """Plot metrics over epochs, training and validation in one panel.

    Args:
        rows: One mapping for each epoch, as in `log.csv` and `keras.callbacks.History`:
            `"epoch"` (optional; counted from 0 without it), and numbers such as `"loss"`,
            `"val_loss"`, `"accuracy"`. Missing and non-finite values leave a gap.
        path: The PNG file to write.

    Returns:
        The path.

    Raises:
        ArgumentError: If there is no row with a number.

    Example:
        >>> rows = [{"epoch": 0, "loss": 2.3, "val_loss": 2.4}, {"epoch": 1, "loss": 1.1}]
        >>> history(rows, "history.png").name
        'history.png'
    """
    panels: dict[str, list[str]] = {}
    for name in dict.fromkeys(name for row in rows for name in row):
        if name != "epoch":
            panels.setdefault(_panel(name), []).append(name)
    if not panels:
        raise ArgumentError("a history needs at least one row with a metric, got none")
    epochs = [float(row.get("epoch", position)) for position, row in enumerate(rows)]

    figure = new_figure(width=4.8 * len(panels), height=3.6)
    for position, (title, names) in enumerate(panels.items(), start=1):
        axes = figure.add_subplot(1, len(panels), position)
        for name in names:
            values = np.array([_number(row.get(name)) for row in rows])
            style = "--" if name.startswith("val_") else "-"
            # A value between two gaps shows as a point only.
            points = len(rows) < 40 or not np.isfinite(values).all()
            axes.plot(epochs, values, style, label=name, marker="." if points else None)
            if title == "learning_rate" and (values[np.isfinite(values)] > 0).all():
                axes.set_yscale("log")
        axes.set(title=title, xlabel="epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        axes.legend()
    return save_figure(figure, path)


def confusion_matrix(matrix: Any, labels: Sequence[str], path: str | os.PathLike[str]) -> Path:
    """Draw a confusion matrix.

    Args:
        matrix: `(classes, classes)` counts; rows are the true classes, columns the predictions.
        labels: A name for each class.
        path: The PNG file to write.

    Returns:
        The path.

    Raises:
        ArgumentError: If the matrix is not square or has not one row for each label.

    Example:
        >>> confusion_matrix([[9, 1], [0, 10]], ["cat", "dog"], "pets.png").name
        'pets.png'
    """
    counts = np.asarray(matrix)
    classes = len(labels)
    if not classes or counts.shape != (classes, classes):
        raise ArgumentError(
            f"a confusion matrix of {classes} labels has shape ({classes}, {classes}), got "
            f"{counts.shape}"
        )
    totals = counts.sum(axis=1, keepdims=True)
    fractions = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)

    side = float(np.clip(0.5 * classes + 2, 4, 16))
    figure = new_figure(width=side + 1, height=side)
    axes = figure.add_subplot()
    picture = axes.imshow(fractions, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(picture, ax=axes, label="fraction of the true class")
    axes.set(xlabel="predicted", ylabel="true")
    # Names and counts of more classes would overlap.
    if classes <= 40:
        names = [shorten_label(label, 28) for label in labels]
        axes.set_xticks(range(classes), names, rotation=90)
        axes.set_yticks(range(classes), names)
    if classes <= 20:
        for (row, column), count in np.ndenumerate(counts):
            shade = "white" if fractions[row, column] > 0.5 else "black"
            axes.text(column, row, f"{count:g}", ha="center", va="center", color=shade)
    return save_figure(figure, path)


def bar_chart(
    values: Sequence[float],
    labels: Sequence[str],
    path: str | os.PathLike[str],
    *,
    title: str = "",
    level: float | None = None,
) -> Path:
    """Draw a bar chart.

    Args:
        values: Heights, 0 or more.
        labels: A name for each bar.
        path: The PNG file to write.
        title: Title of the chart.
        level: Height of a dashed line, for example the expected value, or `None`.

    Returns:
        The path.

    Raises:
        ArgumentError: If there is no bar, or not one label for each.

    Example:
        >>> bar_chart([3, 5], ["cat", "dog"], "pets.png", level=4).name
        'pets.png'
    """
    heights = np.asarray(values, np.float64)
    if heights.ndim != 1 or not len(heights) or len(labels) != len(heights):
        raise ArgumentError(
            f"bars need one label each, got {len(labels)} labels for values of shape "
            f"{heights.shape}"
        )
    figure = new_figure(width=float(np.clip(0.5 * len(heights) + 2, 4, 16)), height=3.6)
    axes = figure.add_subplot()
    drawn = axes.bar(range(len(heights)), heights)
    if level is not None:
        axes.axhline(level, linestyle="--", color="black", linewidth=1)
    # Names and numbers of more bars would overlap.
    if len(heights) <= 40:
        rotation = 90 if max(map(len, labels)) > 5 else 0
        axes.set_xticks(range(len(heights)), labels, rotation=rotation)
    if len(heights) <= 20:
        axes.bar_label(drawn, fmt="{:g}")
    axes.set_title(title, fontsize="medium", wrap=True)
    return save_figure(figure, path)


def shorten_label(name: str, longest: int) -> str:
    """Shorten the name of a class: the first of several names, or the start of a long one.

    Args:
        name: The name; commas separate several.
        longest: Maximum number of letters.

    Returns:
        At most that many letters.

    Example:
        >>> shorten_label("great white shark, man-eater", 20), shorten_label("electric ray", 9)
        ('great white shark', 'electric…')
    """
    if len(name) > longest:
        name = name.partition(", ")[0]
    return name if len(name) <= longest else f"{name[: longest - 1]}…"


def _panel(name: str) -> str:
    """Title of the panel of a metric; its validation metric is in the same one."""
    base = name.removeprefix("val_")
    if base in ("d_real", "d_fake"):
        return "discriminator output for real and generated images"
    return "loss" if base.endswith("loss") else base


def _number(value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return np.nan
    return number if np.isfinite(number) else np.nan


def new_figure(width: float, height: float) -> Any:
    """Create a Matplotlib figure without a window or global state.

    Args:
        width: Width in inches of 100 pixels.
        height: Height likewise.

    Returns:
        A `matplotlib.figure.Figure` with the constrained layout.

    Example:
        >>> new_figure(4.8, 3.6).add_subplot().get_title()
        ''
    """
    # The import of Matplotlib takes half a second.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Any, path: str | os.PathLike[str]) -> Path:
    """Write a figure as a PNG file, whole or not at all.

    Args:
        figure: As from `new_figure`.
        path: The PNG file; missing folders are created.

    Returns:
        The path.

    Example:
        >>> save_figure(new_figure(1, 1), "white.png").name
        'white.png'
    """
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=DPI)
    return atomic_write(path, content.getvalue())
