"""Sheets of images as arrays and PNG files."""

import io
import os
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_arch.errors import ArgumentError
from keras_arch.files import atomic_write
from keras_arch.metrics.checks import check_image_batch
from keras_arch.visualization.figures import DPI, new_figure, save_figure

# Images of a smaller height in pixels are enlarged.
_READABLE = 64


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


def save_png(array: Any, path: str | os.PathLike[str]) -> Path:
    """Write an image as a PNG file, whole or not at all.

    Args:
        array: `uint8` `(height, width)`, `(height, width, 1)` or `(height, width, 3)`.
        path: The PNG file; missing folders are created.

    Returns:
        The path.

    Raises:
        ArgumentError: If the array is no image.

    Example:
        >>> save_png(np.zeros((8, 8), "uint8"), "black.png").name
        'black.png'
    """
    from PIL import Image

    image = np.asarray(array)
    if image.ndim == 3 and image.shape[-1] == 1:
        image = image[..., 0]
    known = image.ndim == 2 or (image.ndim == 3 and image.shape[-1] == 3)
    if image.dtype != np.uint8 or not known or 0 in image.shape:
        raise ArgumentError(
            "a PNG file takes uint8 pixels of shape (height, width) or (height, width, 1 or 3), "
            f"got {image.dtype} of shape {image.shape}"
        )
    content = io.BytesIO()
    Image.fromarray(image).save(content, format="PNG")
    return atomic_write(path, content.getvalue())


def side_by_side(
    columns: Mapping[str, Any],
    path: str | os.PathLike[str],
    *,
    captions: Sequence[Sequence[str]] | None = None,
) -> Path:
    """Draw images side by side in columns with titles, pixel for pixel, one example a row.

    Args:
        columns: Images by title, `uint8` `(n, height, width, 1 or 3)` or `(n, height, width)`,
            n and the size alike in all: `{"input": ..., "output": ..., "target": ...}`. Images
            under 64 pixels are enlarged.
        path: The PNG file to write.
        captions: Texts below the images: `captions[column][row]`, or `None`.

    Returns:
        The path.

    Raises:
        ArgumentError: If there is no image, or the columns do not fit together.

    Example:
        >>> black, white = np.zeros((2, 64, 64, 1), "uint8"), np.full((2, 64, 64, 3), 255, "uint8")
        >>> side_by_side({"input": black, "output": white}, "pairs.png").name
        'pairs.png'
    """
    if not columns:
        raise ArgumentError("side_by_side needs at least one column, got none")
    arrays = {title: np.asarray(images) for title, images in columns.items()}
    arrays = {title: a[..., None] if a.ndim == 3 else a for title, a in arrays.items()}
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
