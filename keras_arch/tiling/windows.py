"""Positions of tiles, their pixels, and the weights of pixels where tiles overlap."""

from typing import Any, NamedTuple

import numpy as np

from keras_arch.preprocessing import Preprocessing
from keras_arch.tiling.networks import Size

# The Gaussian's standard deviation as a part of the tile, and the least weight of a pixel.
SIGMA = 0.125
LEAST_WEIGHT = 1e-3


class Places(NamedTuple):
    """Upper left corners of the tiles' outputs in the image: a grid of rows and columns."""

    rows: tuple[int, ...]
    columns: tuple[int, ...]


def side_by_side(size: Size, output: Size, multiple: int) -> Places:
    """Positions of outputs that cover an image side by side, at multiples of some pixels.

    The output for a tile is at least `multiple` (see `networks.Network`) in height and width.

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
    """Positions of tiles that overlap by a part of their side; the last ones end with the image.

    An image that is smaller than a tile lies in its middle. Source: `sliding_window_inference` of
    MONAI.

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
    """Weights of the pixels of a tile where tiles overlap: a Gaussian, 1 in the middle, float32.

    Source: MONAI's `compute_importance_map` in the mode `"gaussian"`.
    """
    away = [np.arange(side) - (side - 1) / 2 for side in tile]
    lines = [
        np.exp(-(x**2) / (2 * (SIGMA * side) ** 2)) for x, side in zip(away, tile, strict=True)
    ]
    weights = np.outer(*lines)
    # As in MONAI: the least of them where that is more, which it is for the smallest tiles only.
    return np.maximum(weights, max(weights.min(), LEAST_WEIGHT)).astype(np.float32)


def cut(image: Any, top: int, left: int, tile: Size) -> np.ndarray:
    """A tile of an image, mirrored beyond its border (repeatedly where the tile is larger).

    Source: Ronneberger et al. 2015, figure 2. The pixels at the border are not repeated. The tile's
    first pixel may be outside. Only the part inside is read.

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
    there_and_back = max(1, 2 * (size - 1))
    places = places % there_and_back
    return np.minimum(places, there_and_back - places)


class WithChannels:
    """View of an image with the channels and value range of a preprocessing, window by window.

    Args:
        image: `(height, width, channels)`: an array, or an object with the same slicing.
        preprocessing: Of the network.

    Example:
        >>> view = WithChannels(np.zeros((9, 9, 1), np.uint8), Preprocessing((4, 4), channels=3))
        >>> view.shape, view[2:4, :5].shape
        ((9, 9, 3), (2, 5, 3))
    """

    def __init__(self, image: Any, preprocessing: Preprocessing) -> None:
        self._image = image
        self._preprocessing = preprocessing
        self._is_plain = image.dtype == np.uint8 and preprocessing.value_range is None
        if not self._is_plain:
            # Once, of the whole: a window may hold dark pixels only.
            preprocessing.check_values(image)
        self.shape = (*image.shape[:2], preprocessing.channels)
        self.dtype = np.dtype(np.uint8 if self._is_plain else np.float32)

    def __getitem__(self, part: Any) -> np.ndarray:
        window, own = np.asarray(self._image[part]), self._preprocessing
        if not self._is_plain:
            window = np.asarray(own.rescale(window, check=False), np.float32)
        # Grey of deep images is not rounded, as in `Preprocessing.fit`.
        exact = own.value_range is not None or self._image.dtype == np.uint16
        return np.asarray(own.fit_channels(window, exact=exact))
