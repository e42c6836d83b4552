"""Pictures of segmentations: masks over images, error maps, zoom on borders."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import ndimage

from keras_arch._pixel_classes import IGNORE
from keras_arch.errors import ArgumentError

Colors = Sequence[Sequence[int]]
_UNKNOWN = (224, 224, 192)
# Colors of an error map, and of the borders that `zoom_on_errors` draws.
ERROR_COLORS = {"right": (235, 235, 235), "wrong": (200, 30, 30)}
BORDER_COLORS = {
    "border of the truth": (0, 220, 0),
    "of the prediction": (230, 0, 0),
    "of both": (255, 230, 0),
}
_RIGHT, _WRONG = ERROR_COLORS.values()


def class_colors(count: int) -> list[tuple[int, int, int]]:
    """Colors of classes by the color map of PASCAL VOC.

    Args:
        count: Number of classes.

    Returns:
        Red, green and blue for each; the first is black.

    Example:
        >>> class_colors(3)
        [(0, 0, 0), (128, 0, 0), (0, 128, 0)]
    """
    # Each channel takes every third bit of the number, the lowest first.
    return [
        tuple(
            sum((number >> (3 * bit + channel) & 1) << (7 - bit) for bit in range(8))
            for channel in range(3)
        )
        for number in range(count)
    ]


def colorize_mask(mask: Any, colors: Colors) -> np.ndarray:
    """Color a mask by its classes.

    Args:
        mask: `(height, width)` classes; 255 becomes pale.
        colors: Color of each class.

    Returns:
        `uint8` `(height, width, 3)`.

    Raises:
        ArgumentError: If a class has no color.

    Example:
        >>> colorize_mask([[0, 1]], class_colors(2)).tolist()
        [[[0, 0, 0], [128, 0, 0]]]
    """
    mask = np.asarray(mask)
    wrong = np.unique(mask[(mask != IGNORE) & ((mask < 0) | (mask >= len(colors)))])
    if wrong.size:
        raise ArgumentError(f"class {wrong[0]} has no color; there are {len(colors)}")
    table = np.zeros((256, 3), np.uint8)
    table[: len(colors)] = colors
    table[IGNORE] = _UNKNOWN
    return table[mask.astype(np.uint8)]


def overlay(image: Any, mask: Any, colors: Colors, share: float = 0.5) -> np.ndarray:
    """Overlay a mask on an image, with the borders of its classes.

    A black class, the background of most color maps, leaves the image as it is.

    Args:
        image: `uint8` `(height, width, 1 or 3)`.
        mask: `(height, width)` classes.
        colors: Color of each class.
        share: Opacity of the colors, from 0 to 1.

    Returns:
        `uint8` `(height, width, 3)`.

    Example:
        >>> overlay(np.full((1, 2, 1), 100, np.uint8), [[0, 1]], class_colors(2)).tolist()
        [[[100, 100, 100], [128, 0, 0]]]
    """
    image, mask = _rgb(image), np.asarray(mask)
    paint = colorize_mask(mask, colors).astype(np.float32)
    mixed = (1 - share) * image + share * paint
    clear = ~paint.any(axis=-1)
    mixed[clear] = image[clear]
    edges = find_boundaries(mask) & ~clear
    mixed[edges] = paint[edges]
    return np.rint(mixed).astype(np.uint8)


def overlay_legend(labels: Sequence[str], colors: Colors) -> dict[str, tuple[int, ...]]:
    """The colors of an overlay by the names of their classes; black ones are not painted.

    Args:
        labels: A name for each class.
        colors: As for `overlay`.

    Example:
        >>> overlay_legend(["ground", "cell"], class_colors(2))
        {'cell': (128, 0, 0)}
    """
    pairs = zip(labels, colors, strict=True)
    return {label: tuple(color) for label, color in pairs if any(color)}


def displayable(image: Any) -> np.ndarray:
    """Pixels to look at, from an image with any channels and value range.

    Args:
        image: `(height, width, channels)`. `uint8` of 1 or 3 channels stays as it is. Of others the
            first three channels are red, green and blue (of two the first is grey), each stretched
            from its least to its largest value, as far as it is not `uint8`.

    Returns:
        `uint8` `(height, width, 1 or 3)`.

    Example:
        >>> displayable(np.array([[[0, 4000, 7, 1], [100, 0, 7, 2]]], np.uint16)).tolist()
        [[[0, 255, 0], [255, 0, 0]]]
    """
    image = np.asarray(image)
    image = image[..., : 3 if image.shape[-1] >= 3 else 1]
    if image.dtype == np.uint8:
        return image
    least, most = (np.float64(end(axis=(0, 1))) for end in (image.min, image.max))
    return np.rint(255 * (image - least) / np.maximum(most - least, 1e-12)).astype(np.uint8)


def find_boundaries(mask: Any) -> np.ndarray:
    """Find pixels with a neighbor of another class, on one of four sides.

    Args:
        mask: `(height, width)` classes.

    Returns:
        `(height, width)`, boolean.

    Example:
        >>> find_boundaries(np.array([[0, 0, 1, 1]])).tolist()
        [[False, True, True, False]]
    """
    mask = np.asarray(mask)
    edges = np.zeros(mask.shape, bool)
    rows, columns = mask[1:] != mask[:-1], mask[:, 1:] != mask[:, :-1]
    edges[1:] |= rows
    edges[:-1] |= rows
    edges[:, 1:] |= columns
    edges[:, :-1] |= columns
    return edges


def error_map(truth: Any, predicted: Any) -> np.ndarray:
    """Map of errors: red on pale gray, white at ignored pixels.

    Args:
        truth: `(height, width)` classes.
        predicted: Of the same shape.

    Returns:
        `uint8` `(height, width, 3)`.

    Raises:
        ArgumentError: If the shapes differ.

    Example:
        >>> error_map([[0, 1, 255]], [[0, 0, 0]]).tolist()
        [[[235, 235, 235], [200, 30, 30], [255, 255, 255]]]
    """
    truth, predicted = np.asarray(truth), np.asarray(predicted)
    if truth.shape != predicted.shape:
        raise ArgumentError(
            f"truth of {truth.shape} pixels and prediction of {predicted.shape} must be of one size"
        )
    picture = np.full((*truth.shape, 3), _RIGHT, np.uint8)
    picture[truth != predicted] = _WRONG
    picture[truth == IGNORE] = 255
    return picture


def zoom_on_errors(
    image: Any, truth: Any, predicted: Any, size: int = 48, enlarge: int = 6
) -> np.ndarray:
    """Enlarge the window with the most errors near true borders.

    True borders are green, predicted ones red, and both together yellow.

    Args:
        image: `uint8` `(height, width, 1 or 3)`.
        truth: `(height, width)` classes.
        predicted: Of the same shape.
        size: Height and width of the window in pixels, at most the image's.
        enlarge: Factor by which pixels are repeated.

    Returns:
        `uint8` `(size * enlarge, size * enlarge, 3)`, less for a smaller image.

    Example:
        >>> truth = np.tri(64, dtype=int)
        >>> zoom_on_errors(np.zeros((64, 64, 1), np.uint8), truth, truth, 16, 2).shape
        (32, 32, 3)
    """
    image, truth, predicted = _rgb(image), np.asarray(truth), np.asarray(predicted)
    known = truth != IGNORE
    true, found = find_boundaries(truth) & known, find_boundaries(predicted) & known
    height, width = (min(size, side) for side in truth.shape)
    near = ndimage.binary_dilation(true if true.any() else found, iterations=3)
    # Without errors the borders decide.
    score = ((truth != predicted) & known & near) + 1e-3 * (true | found)
    sums = np.pad(score.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    ends, starts = sums[:, width:], sums[:, :-width]
    windows = (ends[height:] - ends[:-height] - starts[height:]) + starts[:-height]
    top, left = np.unravel_index(int(windows.argmax()), windows.shape)
    window = np.s_[top : top + height, left : left + width]
    picture = image[window].repeat(enlarge, 0).repeat(enlarge, 1)
    # Borders between enlarged pixels stay thin.
    true, found = (
        find_boundaries(mask[window].repeat(enlarge, 0).repeat(enlarge, 1))
        for mask in (truth, predicted)
    )
    for where, color in zip((true, found, true & found), BORDER_COLORS.values(), strict=True):
        picture[where] = color
    return picture


def _rgb(image: Any) -> np.ndarray:
    image = np.asarray(image)
    if image.ndim == 2:
        image = image[..., None]
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] not in (1, 3):
        raise ArgumentError(
            f"an overlay takes a uint8 image (height, width, 1 or 3), got {image.dtype} of shape "
            f"{image.shape}"
        )
    return np.broadcast_to(image, (*image.shape[:2], 3))
