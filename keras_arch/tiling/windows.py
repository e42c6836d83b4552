"""Positions of tiles, their pixels, and the Gaussian weights of overlapping tiles."""

import dataclasses
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from keras_arch.tiling.networks import Size

# The Gaussian's standard deviation as a part of the tile, and the least weight of a pixel.
SIGMA = 0.125
LEAST_WEIGHT = 1e-3


@dataclasses.dataclass(frozen=True)
class Places:
    """Grid of the upper left corners of the tiles' outputs in the image.

    Attributes:
        rows: Rows, in ascending order.
        columns: Columns, in ascending order.
    """

    rows: tuple[int, ...]
    columns: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.rows) * len(self.columns)

    def __iter__(self) -> Iterator[Size]:
        return itertools.product(self.rows, self.columns)


def side_by_side(size: Size, output: Size, multiple: int) -> Places:
    """Positions of outputs side by side, at multiples of a number of pixels.

    Args:
        size: Of the image.
        output: Height and width of the output for a tile, at least `multiple` each.
        multiple: See `keras_arch.tiling.networks.Network.multiple`.

    Example:
        >>> side_by_side((512, 300), (388, 388), 16)
        Places(rows=(0, 384), columns=(0,))
    """
    return Places(*(_steps(*sides, multiple) for sides in zip(size, output, strict=True)))


def _steps(size: int, output: int, multiple: int) -> tuple[int, ...]:
    step = output // multiple * multiple
    count = 1 + max(0, -(-(size - output) // step))
    return tuple(step * number for number in range(count))


def overlapping(size: Size, tile: Size, overlap: float) -> Places:
    """Positions of overlapping tiles; the last ones end at the image's border.

    Source: `sliding_window_inference` of MONAI. An image that is smaller than a tile is centred in
    it.

    Args:
        size: Of the image.
        tile: Size of the tiles.
        overlap: Overlap as a fraction of the tile's side, in [0, 1).

    Example:
        >>> overlapping((20, 5), (8, 8), 0.25)
        Places(rows=(0, 6, 12), columns=(-1,))
    """
    return Places(*(_shifts(*sides, overlap) for sides in zip(size, tile, strict=True)))


def _shifts(size: int, tile: int, overlap: float) -> tuple[int, ...]:
    if size <= tile:
        return (-((tile - size) // 2),)
    step = max(1, int(tile * (1 - overlap)))
    count = 1 + -(-(size - tile) // step)
    return tuple(min(step * number, size - tile) for number in range(count))


def importance(tile: Size) -> np.ndarray:
    """Gaussian weights of the pixels of an overlapping tile, 1 in the middle.

    Source: MONAI's `compute_importance_map` in the mode `"gaussian"`.

    Args:
        tile: Height and width.

    Returns:
        A float32 array of the tile's size.

    Example:
        >>> importance((3, 3)).max(), importance((3, 3)).shape
        (np.float32(1.0), (3, 3))
    """
    lines = []
    for side in tile:
        away = np.arange(side) - (side - 1) / 2
        lines.append(np.exp(-(away**2) / (2 * (SIGMA * side) ** 2)))
    weights = np.outer(*lines)
    # As in MONAI: at least LEAST_WEIGHT. The minimum of the weights is larger for tiny tiles only.
    return np.maximum(weights, max(weights.min(), LEAST_WEIGHT)).astype(np.float32)


def cut(image: Any, top: int, left: int, tile: Size) -> np.ndarray:
    """Cut a tile out of an image, mirrored beyond its border (repeatedly for large tiles).

    Source: Ronneberger et al. 2015, figure 2. The pixels at the border are not repeated.

    Args:
        image: `(height, width, channels)`; only the part inside the tile is read.
        top: First row of the tile, which may be outside the image.
        left: First column of the tile, likewise.
        tile: Height and width.

    Example:
        >>> cut(np.arange(4)[None, :, None], 0, -2, (1, 9)).ravel().tolist()
        [2, 1, 0, 1, 2, 3, 2, 1, 0]
    """
    height, width = image.shape[:2]
    if 0 <= top <= height - tile[0] and 0 <= left <= width - tile[1]:
        return np.asarray(image[top : top + tile[0], left : left + tile[1]])
    rows = _mirrored(np.arange(top, top + tile[0]), height)
    columns = _mirrored(np.arange(left, left + tile[1]), width)
    part = np.asarray(image[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1])
    return part[np.ix_(rows - rows.min(), columns - columns.min())]


def _mirrored(places: np.ndarray, size: int) -> np.ndarray:
    if size == 1:
        return np.zeros_like(places)
    there_and_back = 2 * (size - 1)
    places = places % there_and_back
    return np.minimum(places, there_and_back - places)
