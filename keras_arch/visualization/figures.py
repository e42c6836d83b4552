"""Pictures of what a model makes and how its training went, written as PNG files."""

import io
import os
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_arch.errors import ArgumentError
from keras_arch.files import atomic_write

# Height in pixels under which an image is hard to judge on a screen.
_READABLE = 64
# Pixels of a drawing's inch.
_DOTS = 100


def grid(
    images_uint8: Any, columns: int | None = None, padding: int = 2, enlarge: bool = False
) -> np.ndarray:
    """Lay images out on a white sheet, row by row.

    Args:
        images_uint8: `(n, height, width, 1 or 3)` or `(n, height, width)`, `uint8`.
        columns: Images in a row. Default: as square a sheet as there can be.
        padding: White pixels between images and around the sheet.
        enlarge: Repeat the pixels of images that are less than 64 high, up to that height, so
            that people can see them.

    Returns:
        A `uint8` array `(height, width, 1 or 3)`.

    Raises:
        ArgumentError: If there is no image, or the array is none of images.

    Example:
        >>> grid(np.zeros((10, 8, 8, 1), "uint8")).shape
        (32, 42, 1)
    """
    images = np.asarray(images_uint8)
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or images.dtype != np.uint8:
        raise ArgumentError(
            "a grid takes uint8 images of shape (n, height, width, 1 or 3), got "
            f"{images.dtype} of shape {images.shape}"
        )
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
    _, height, width, channels = images.shape
    cells = np.full(
        (rows * columns, height + padding, width + padding, channels), 255, dtype=np.uint8
    )
    cells[: len(images), :height, :width] = images
    cells = cells.reshape(rows, columns, *cells.shape[1:])
    sheet = cells.transpose(0, 2, 1, 3, 4).reshape(
        rows * (height + padding), columns * (width + padding), channels
    )
    return np.pad(sheet, [(padding, 0), (padding, 0), (0, 0)], constant_values=255)


def save_png(array: Any, path: str | os.PathLike[str]) -> Path:
    """Write an image as a PNG file, whole or not at all.

    Args:
        array: `uint8` `(height, width)`, `(height, width, 1)` or `(height, width, 3)`.
        path: Where to; folders are made as needed.

    Returns:
        The path.

    Raises:
        ArgumentError: If the array is no image.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_png(np.zeros((8, 8), "uint8"), f"{folder}/black.png").name
        'black.png'
    """
    from PIL import Image

    image = np.asarray(array)
    if image.ndim == 3 and image.shape[-1] == 1:
        image = image[..., 0]
    if (
        image.dtype != np.uint8
        or not (image.ndim == 2 or (image.ndim == 3 and image.shape[-1] == 3))
        or 0 in image.shape
    ):
        raise ArgumentError(
            "a PNG file takes uint8 pixels of shape (height, width) or (height, width, 1 or 3), "
            f"got {image.dtype} of shape {image.shape}"
        )
    content = io.BytesIO()
    Image.fromarray(image).save(content, format="PNG")
    return atomic_write(path, content.getvalue())


def history(rows: Sequence[Mapping[str, Any]], path: str | os.PathLike[str]) -> Path:
    """Draw how metrics went over the epochs, training and validation in one panel.

    Args:
        rows: One mapping an epoch, as `log.csv` and `keras.callbacks.History` keep them:
            `"epoch"` (optional; counted from 0 without it), and numbers such as `"loss"`,
            `"val_loss"`, `"accuracy"`. Missing and non-finite values leave a gap.
        path: The PNG file to write.

    Returns:
        The path.

    Raises:
        ArgumentError: If there is no row with a number.

    Example:
        >>> import tempfile
        >>> rows = [{"epoch": 0, "loss": 2.3, "val_loss": 2.4}, {"epoch": 1, "loss": 1.1}]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     history(rows, f"{folder}/history.png").name
        'history.png'
    """
    panels: dict[str, list[str]] = {}
    for name in dict.fromkeys(name for row in rows for name in row):
        if name != "epoch":
            panels.setdefault(_panel(name), []).append(name)
    if not panels:
        raise ArgumentError("a history needs at least one row with a metric, got none")
    epochs = [float(row.get("epoch", position)) for position, row in enumerate(rows)]

    figure = blank(width=4.8 * len(panels), height=3.6)
    for position, (title, names) in enumerate(panels.items(), start=1):
        axes = figure.add_subplot(1, len(panels), position)
        for name in names:
            values = np.array([_number(row.get(name)) for row in rows])
            style = "--" if name.startswith("val_") else "-"
            # A value between two gaps is no line, but a point.
            points = len(rows) < 40 or not np.isfinite(values).all()
            axes.plot(epochs, values, style, label=name, marker="." if points else None)
            if title == "learning_rate" and (values[np.isfinite(values)] > 0).all():
                axes.set_yscale("log")
        axes.set_title(title)
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        axes.legend()
    return save_figure(figure, path)


def confusion_matrix(matrix: Any, labels: Sequence[str], path: str | os.PathLike[str]) -> Path:
    """Draw which classes a classifier takes for which.

    Args:
        matrix: `(classes, classes)` counts; rows are the true classes, columns the predictions.
        labels: A name for each class.
        path: The PNG file to write.

    Returns:
        The path.

    Raises:
        ArgumentError: If the matrix is not square or has not one row for each label.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     confusion_matrix([[9, 1], [0, 10]], ["cat", "dog"], f"{folder}/pets.png").name
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
    shares = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)

    side = float(np.clip(0.5 * classes + 2, 4, 16))
    figure = blank(width=side + 1, height=side)
    axes = figure.add_subplot()
    picture = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(picture, ax=axes, label="share of the true class")
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    # Beyond this, names and counts would lie on top of each other.
    if classes <= 40:
        names = [shortened(label, 28) for label in labels]
        axes.set_xticks(range(classes), names, rotation=90)
        axes.set_yticks(range(classes), names)
    if classes <= 20:
        for row, column in np.ndindex(classes, classes):
            shade = "white" if shares[row, column] > 0.5 else "black"
            axes.text(
                column, row, f"{counts[row, column]:g}", ha="center", va="center", color=shade
            )
    return save_figure(figure, path)


def bars(
    values: Sequence[float],
    labels: Sequence[str],
    path: str | os.PathLike[str],
    *,
    title: str = "",
    level: float | None = None,
) -> Path:
    """Draw one bar for each class.

    Args:
        values: Heights, 0 or more.
        labels: A name for each bar.
        path: The PNG file to write.
        title: Above the bars.
        level: Where to draw a dashed line, for example what is expected of each; `None` for none.

    Returns:
        The path.

    Raises:
        ArgumentError: If there is no bar, or not one label for each.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     bars([3, 5], ["cat", "dog"], f"{folder}/pets.png", level=4).name
        'pets.png'
    """
    heights = np.asarray(values, np.float64)
    if heights.ndim != 1 or not len(heights) or len(labels) != len(heights):
        raise ArgumentError(
            f"bars need one label each, got {len(labels)} labels for values of shape "
            f"{heights.shape}"
        )
    figure = blank(width=float(np.clip(0.5 * len(heights) + 2, 4, 16)), height=3.6)
    axes = figure.add_subplot()
    drawn = axes.bar(range(len(heights)), heights)
    if level is not None:
        axes.axhline(level, linestyle="--", color="black", linewidth=1)
    # Beyond these, names and numbers would lie on top of each other.
    if len(heights) <= 40:
        axes.set_xticks(range(len(heights)), labels, rotation=90 if _long(labels) else 0)
    if len(heights) <= 20:
        axes.bar_label(drawn, fmt="{:g}")
    axes.set_title(title, fontsize="medium", wrap=True)
    return save_figure(figure, path)


def table(
    columns: Mapping[str, Any],
    path: str | os.PathLike[str],
    *,
    captions: Sequence[Sequence[str]] | None = None,
) -> Path:
    """Set images side by side in columns with titles, pixel for pixel.

    Args:
        columns: Images by title, `uint8` `(rows, height, width, 1 or 3)` or `(rows, height,
            width)`: in all columns as many, and of one height and width. Images under 64 pixels are
            enlarged.
        path: The PNG file to write.
        captions: One text a column and row, below the image: `captions[column][row]`.

    Returns:
        The path.

    Raises:
        ArgumentError: If there is no image, or the columns do not fit together.

    Example:
        >>> import tempfile
        >>> black, white = np.zeros((2, 64, 64, 1), "uint8"), np.full((2, 64, 64, 3), 255, "uint8")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     table({"input": black, "output": white}, f"{folder}/pairs.png").name
        'pairs.png'
    """
    if not columns:
        raise ArgumentError("a table needs at least one column, got none")
    arrays = {title: np.asarray(images) for title, images in columns.items()}
    arrays = {title: a[..., None] if a.ndim == 3 else a for title, a in arrays.items()}
    first, *others = arrays
    for title in others:
        if arrays[title].shape[:3] != arrays[first].shape[:3]:
            raise ArgumentError(
                f"columns of a table must have the same rows, height and width, got "
                f"{arrays[first].shape[:3]} of {first!r} and {arrays[title].shape[:3]} of {title!r}"
            )
    # One column of the sheet each; `grid` checks the images and enlarges them.
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
    figure = blank(width / _DOTS, height / _DOTS)
    figure.set_layout_engine("none")
    figure.figimage(sheet, 0, 0)
    for column, title in enumerate(titles):
        middle = (column + 0.5) * across / width
        figure.text(middle, 1 - 2 / height, title, ha="center", va="top", fontsize=9)
        for row, text in enumerate(captions[column] if captions is not None else ()):
            below = 1 - (head + (row + 1) * down + 1) / height
            figure.text(middle, below, text, ha="center", va="top", fontsize=8)
    return save_figure(figure, path)


def shortened(name: str, longest: int) -> str:
    """A name that fits: of several with commas between the first, and of a long one its start.

    Args:
        name: Of a class.
        longest: Letters that there is room for.

    Returns:
        At most so many letters.

    Example:
        >>> shortened("great white shark, man-eater", 20), shortened("electric ray", 9)
        ('great white shark', 'electric…')
    """
    if len(name) > longest:
        name = name.partition(", ")[0]
    return name if len(name) <= longest else f"{name[: longest - 1]}…"


def _panel(name: str) -> str:
    """What a metric is drawn together with: its validation twin, and whatever is compared."""
    base = name.removeprefix("val_")
    if base in ("d_real", "d_fake"):
        return "what D says of real and of generated images"
    return "loss" if base.endswith("loss") else base


def _long(labels: Sequence[str]) -> bool:
    """Whether names under bars would run into each other."""
    return max(map(len, labels)) > 5


def _number(value: Any) -> float:
    """A value of a row; whatever is no finite number is a gap."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return np.nan
    return number if np.isfinite(number) else np.nan


def blank(width: float, height: float) -> Any:
    """A Matplotlib figure that belongs to no window and no global state.

    Args:
        width: In inches; a picture has 100 pixels an inch.
        height: Likewise.

    Returns:
        A `matplotlib.figure.Figure` that lays itself out.

    Example:
        >>> blank(4.8, 3.6).add_subplot().get_title()
        ''
    """
    # Matplotlib takes half a second; only who draws pays.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Any, path: str | os.PathLike[str]) -> Path:
    """Write a figure as a PNG file, whole or not at all.

    Args:
        figure: As `blank` gives it.
        path: Where to; folders are made as needed.

    Returns:
        The path.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_figure(blank(1, 1), f"{folder}/white.png").name
        'white.png'
    """
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=_DOTS)
    return atomic_write(path, content.getvalue())
