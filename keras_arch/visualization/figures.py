"""Figures as PNG files: training history, confusion matrix, bar chart, sheets of images."""

import io
import os
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_arch.errors import ArgumentError
from keras_arch.files import atomic_write, check_png
from keras_arch.metrics.checks import check_image_batch
from keras_arch.visualization.fonts import fallback_fonts

# Resolution of PNG files in pixels per inch.
DPI = 100
# Images of a smaller height in pixels are enlarged.
_READABLE = 64


def history(rows: Sequence[Mapping[str, Any]], path: str | os.PathLike[str]) -> Path:
    """Plot metrics over epochs, training and validation in one panel.

    Args:
        rows: One mapping for each epoch, as in `log.csv` and `keras.callbacks.History`:
            `"epoch"` (optional; counted from 0 without it), and numbers such as `"loss"`,
            `"val_loss"`, `"accuracy"`. Missing and non-finite values leave a gap.
        path: The PNG file to write; it is returned.

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
        path: The PNG file to write; it is returned.

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

    # Names and counts of more classes would overlap.
    names = [shorten_label(label, 28) for label in labels] if classes <= 40 else []
    # The cells are squares of one size; what stands beside them comes on top.
    side = float(np.clip(0.5 * classes, 2.5, 14))
    beside = 0.6 + 0.11 * max(map(_letters, names), default=4)
    figure = new_figure(width=side + beside + 1.3, height=side + beside)
    axes = figure.add_subplot()
    picture = axes.imshow(fractions, cmap="Blues", vmin=0, vmax=1)
    bar = figure.colorbar(picture, ax=axes, aspect=10 * side / 2.5)
    bar.set_label("fraction of the true class", fontsize=9 if side < 3 else None)
    axes.set(xlabel="predicted", ylabel="true")
    if names:
        axes.set_xticks(range(classes), names, rotation=90)
        axes.set_yticks(range(classes), names)
    if classes <= 20:
        for (row, column), count in np.ndenumerate(counts):
            shade = "white" if fractions[row, column] > 0.5 else "black"
            axes.text(column, row, f"{count:g}", ha="center", va="center", color=shade)
    return save_figure(figure, path, fit=True)


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
        path: The PNG file to write; it is returned.
        title: Title of the chart.
        level: Height of a dashed line, for example the expected value, or `None`.

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
        axes.margins(y=0.1)
    axes.set_title(title, fontsize="medium", wrap=True)
    return save_figure(figure, path)


def trade_off(
    points: Mapping[str, tuple[float, float]],
    path: str | os.PathLike[str],
    *,
    xlabel: str,
    ylabel: str,
    sizes: Mapping[str, float] | None = None,
    title: str = "",
) -> Path:
    """Draw named points over a logarithmic horizontal axis, such as accuracy against speed.

    Args:
        points: The two coordinates of each point by its name; the first one is positive.
        path: The PNG file to write; it is returned.
        xlabel: Name of the horizontal axis.
        ylabel: Name of the vertical axis.
        sizes: For each point what the area of its mark is proportional to, such as the number of
            parameters. Default: all are alike.
        title: Title of the chart.

    Raises:
        ArgumentError: If there is no point, or a first coordinate is not positive.

    Example:
        >>> speeds = {"ResNet-8": (9000, 0.91), "ResNet-20": (4000, 0.93)}
        >>> trade_off(speeds, "speed.png", xlabel="images/s", ylabel="accuracy").name
        'speed.png'
    """
    if not points or not all(x > 0 for x, _ in points.values()):
        raise ArgumentError(f"points need a positive first coordinate, got {dict(points)}")
    names = list(points)
    across, up = np.array([points[name] for name in names], np.float64).T
    areas = np.array([(sizes or {}).get(name, 1.0) for name in names], np.float64)
    figure = new_figure(width=6.4, height=4.4)
    axes = figure.add_subplot()
    axes.scatter(across, up, s=40 + 360 * areas / areas.max(), alpha=0.6)
    for name, x, y in zip(names, across, up, strict=True):
        axes.annotate(name, (x, y), xytext=(0, 9), textcoords="offset points", ha="center")
    axes.set_xscale("log")
    axes.margins(x=0.2, y=0.2)
    axes.grid(alpha=0.3)
    axes.set(xlabel=xlabel, ylabel=ylabel)
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


def _letters(name: str) -> int:
    """The width of a name in Latin letters."""
    return sum(1 if letter.isascii() else 2 for letter in name)


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


def save_figure(
    figure: Any,
    path: str | os.PathLike[str],
    *,
    note: tuple[str, str] | None = None,
    fit: bool = False,
) -> Path:
    """Write a figure as a PNG file, whole or not at all.

    Args:
        figure: As from `new_figure`.
        path: The PNG file to write, in folders that are created; it is returned.
        note: A key and a text for the head of the file, or `None`.
        fit: Whether the picture is as large as what is drawn, with a narrow border.

    Raises:
        ArgumentError: If the file's name does not end in `.png`.

    Example:
        >>> save_figure(new_figure(1, 1), "white.png").name
        'white.png'
    """
    check_png(path)
    content = io.BytesIO()
    with fallback_fonts(figure):
        figure.savefig(
            content,
            format="png",
            dpi=DPI,
            metadata=dict([note] if note else []),
            bbox_inches="tight" if fit else None,
            pad_inches=0.1,
        )
    return atomic_write(path, content.getvalue())


def grid(
    images_uint8: Any, columns: int | None = None, padding: int = 2, enlarge: bool = False
) -> np.ndarray:
    """Arrange images on a white sheet, row by row.

    Args:
        images_uint8: `(n, height, width, 1 or 3)` or `(n, height, width)`, `uint8`.
        columns: Images in a row. Default: as many as make the sheet nearly square.
        padding: White pixels between images and around the sheet.
        enlarge: Repeat the pixels of images that are less than 64 high, up to that height.

    Returns:
        A `uint8` array `(height, width, 1 or 3)`.

    Raises:
        ArgumentError: If there is no image, or the array does not hold images.

    Example:
        >>> grid(np.zeros((10, 8, 8, 1), "uint8")).shape
        (32, 42, 1)
    """
    images = check_image_batch(images_uint8, "a grid")
    if not len(images):
        raise ArgumentError("a grid needs at least one image, got none")
    if columns is None:
        columns = int(np.ceil(np.sqrt(len(images))))
    if columns < 1 or padding < 0:
        raise ArgumentError(
            f"a grid has columns >= 1 and padding >= 0, got {columns} and {padding}"
        )
    if enlarge:
        factor = max(1, _READABLE // images.shape[1])
        images = images.repeat(factor, axis=1).repeat(factor, axis=2)
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    margins = [(0, rows * columns - len(images)), (0, padding), (0, padding), (0, 0)]
    cells = np.pad(images, margins, constant_values=255)
    _, height, width, channels = cells.shape
    cells = cells.reshape(rows, columns, height, width, channels).transpose(0, 2, 1, 3, 4)
    sheet = cells.reshape(rows * height, columns * width, channels)
    return np.pad(sheet, [(padding, 0), (padding, 0), (0, 0)], constant_values=255)


def save_png(
    array: Any, path: str | os.PathLike[str], *, note: tuple[str, str] | None = None
) -> Path:
    """Write an image as a PNG file, whole or not at all.

    Args:
        array: `uint8` `(height, width)`, `(height, width, 1)` or `(height, width, 3)`.
        path: The PNG file to write, in folders that are created; it is returned.
        note: A key and a text for the head of the file, or `None`.

    Raises:
        ArgumentError: If the array is no image, or the file's name does not end in `.png`.

    Example:
        >>> save_png(np.zeros((8, 8), "uint8"), "black.png").name
        'black.png'
    """
    from PIL import Image, PngImagePlugin

    check_png(path)
    image = np.asarray(array)
    if image.ndim == 3 and image.shape[-1] == 1:
        image = image[..., 0]
    known = image.ndim == 2 or (image.ndim == 3 and image.shape[-1] == 3)
    if image.dtype != np.uint8 or not known or 0 in image.shape:
        raise ArgumentError(
            "a PNG file takes uint8 pixels of shape (height, width) or (height, width, 1 or 3), "
            f"got {image.dtype} of shape {image.shape}"
        )
    content, head = io.BytesIO(), PngImagePlugin.PngInfo()
    if note is not None:
        head.add_text(*note)
    Image.fromarray(image).save(content, format="PNG", pnginfo=head)
    return atomic_write(path, content.getvalue())


def side_by_side(
    columns: Mapping[str, Any],
    path: str | os.PathLike[str],
    *,
    captions: Sequence[Sequence[str]] | None = None,
) -> Path:
    """Draw images side by side in columns with titles, pixel for pixel, one example a row.

    Args:
        columns: Images by title such as `"input"`, `uint8` `(n, height, width, 1 or 3)` or
            `(n, height, width)`, n and the size alike; under 64 pixels they are enlarged.
        path: The PNG file to write; it is returned.
        captions: Texts below the images: `captions[column][row]`, or `None`.

    Raises:
        ArgumentError: If there is no image, or the columns do not fit together.

    Example:
        >>> black, white = np.zeros((2, 64, 64, 1), "uint8"), np.full((2, 64, 64, 3), 255, "uint8")
        >>> side_by_side({"input": black, "output": white}, "pairs.png").name
        'pairs.png'
    """
    if not columns:
        raise ArgumentError("side_by_side needs at least one column, got none")
    arrays = {title: check_image_batch(a, "side_by_side") for title, a in columns.items()}
    first, *others = arrays
    for title in others:
        if arrays[title].shape[:3] != arrays[first].shape[:3]:
            raise ArgumentError(
                f"columns must have the same rows, height and width, got "
                f"{arrays[first].shape[:3]} of {first!r} and {arrays[title].shape[:3]} of {title!r}"
            )
    # One sheet for each column; `grid` checks the images and enlarges them.
    padding = 2 if captions is None else 18
    sheets = [grid(a, columns=1, padding=padding, enlarge=True) for a in arrays.values()]
    sheet = np.concatenate([np.broadcast_to(s, (*s.shape[:2], 3)) for s in sheets], axis=1)
    rows = len(arrays[first])
    if captions is not None and [len(texts) for texts in captions] != [rows] * len(arrays):
        raise ArgumentError(
            f"captions must be {len(arrays)} columns of {rows} texts, got "
            f"{[len(texts) for texts in captions]}"
        )
    across, down = sheets[0].shape[1], (sheets[0].shape[0] - padding) // rows
    # Titles are broken at the column's width; a letter is about 7 pixels wide.
    titles = [textwrap.fill(title, max(8, across // 7)) for title in arrays]
    head = 18 * max(title.count("\n") + 1 for title in titles)
    height, width = sheet.shape[0] + head, sheet.shape[1]
    figure = new_figure(width / DPI, height / DPI)
    figure.set_layout_engine("none")
    figure.figimage(sheet, 0, 0)
    for column, title in enumerate(titles):
        middle = (column + 0.5) * across / width
        figure.text(middle, 1 - 2 / height, title, ha="center", va="top", fontsize=9)
        for row, text in enumerate(captions[column] if captions is not None else ()):
            below = 1 - (head + (row + 1) * down + 1) / height
            figure.text(middle, below, text, ha="center", va="top", fontsize=8)
    return save_figure(figure, path)
