"""Pictures of what a model makes and how its training went, written as PNG files."""

import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_arch.errors import ArgumentError
from keras_arch.files import atomic_write


def grid(images_uint8: Any, columns: int | None = None, padding: int = 2) -> np.ndarray:
    """Lay images out on a white sheet, row by row.

    Args:
        images_uint8: `(n, height, width, 1 or 3)` or `(n, height, width)`, `uint8`.
        columns: Images in a row. Default: as square a sheet as there can be.
        padding: White pixels between images and around the sheet.

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
