"""Pictures of segmentations: classes over an image, mistakes, and borders from near."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_arch.errors import ArgumentError
from keras_arch.losses.pixel import IGNORE

Colors = Sequence[Sequence[int]]
_UNKNOWN = (224, 224, 192)
# Of an error map: right, wrong, not counted.
_RIGHT, _WRONG = (235, 235, 235), (200, 30, 30)


def class_colors(count: int) -> list[tuple[int, int, int]]:
    """Colours that tell classes apart: the map of PASCAL VOC, whose bits are spread over channels.

    Args:
        count: How many.

    Returns:
        Red, green and blue for each; the first is black.

    Example:
        >>> class_colors(3)
        [(0, 0, 0), (128, 0, 0), (0, 128, 0)]
    """
    colors = []
    for number in range(count):
        channels = [0, 0, 0]
        for bit in range(8):
            for channel in range(3):
                channels[channel] |= (number >> (3 * bit + channel) & 1) << (7 - bit)
        colors.append(tuple(channels))
    return colors


def painted(mask: Any, colors: Colors) -> np.ndarray:
    """A mask in the colours of its classes.

    Args:
        mask: `(height, width)` classes; 255 is painted pale.
        colors: Of each class.

    Returns:
        `uint8` `(height, width, 3)`.

    Raises:
        ArgumentError: If a class has no colour.

    Example:
        >>> painted([[0, 1]], class_colors(2)).tolist()
        [[[0, 0, 0], [128, 0, 0]]]
    """
    mask = np.asarray(mask)
    wrong = np.unique(mask[(mask != IGNORE) & ((mask < 0) | (mask >= len(colors)))])
    if wrong.size:
        raise ArgumentError(f"class {wrong[0]} has no colour; there are {len(colors)}")
    table = np.zeros((256, 3), np.uint8)
    table[: len(colors)] = colors
    table[IGNORE] = _UNKNOWN
    return table[mask.astype(np.uint8)]


def overlay(image: Any, mask: Any, colors: Colors, share: float = 0.5) -> np.ndarray:
    """An image with the classes of its pixels laid over it, and their borders drawn.

    The darkest class, which is the background of most colour tables, leaves the image as it is.

    Args:
        image: `uint8` `(height, width, 1 or 3)`.
        mask: `(height, width)` classes.
        colors: Of each class.
        share: How much of the colour there is in the mixture.

    Returns:
        `uint8` `(height, width, 3)`.

    Example:
        >>> overlay(np.full((1, 2, 1), 100, np.uint8), [[0, 1]], class_colors(2)).tolist()
        [[[100, 100, 100], [128, 0, 0]]]
    """
    image, mask = _rgb(image), np.asarray(mask)
    paint = painted(mask, colors).astype(np.float32)
    mixed = (1 - share) * image + share * paint
    clear = ~paint.any(axis=-1)
    mixed[clear] = image[clear]
    edges = borders(mask) & ~clear
    mixed[edges] = paint[edges]
    return np.rint(mixed).astype(np.uint8)


def borders(mask: Any) -> np.ndarray:
    """The pixels whose neighbour on the right, left, top or bottom is of another class.

    Example:
        >>> borders(np.array([[0, 0, 1, 1]])).tolist()
        [[False, True, True, False]]
    """
    mask = np.asarray(mask)
    edges = np.zeros(mask.shape, bool)
    for axis in (0, 1):
        one, other = (
            tuple(np.s_[by] if side == axis else np.s_[:] for side in (0, 1))
            for by in (slice(None, -1), slice(1, None))
        )
        differs = mask[one] != mask[other]
        edges[one] |= differs
        edges[other] |= differs
    return edges


def error_map(truth: Any, predicted: Any) -> np.ndarray:
    """Where a prediction is wrong: red on pale grey, white where the truth is not known.

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
    picture = np.empty((*truth.shape, 3), np.uint8)
    picture[:] = _RIGHT
    picture[truth != predicted] = _WRONG
    picture[truth == IGNORE] = 255
    return picture


def close_up(
    image: Any, truth: Any, predicted: Any, size: int = 48, enlarge: int = 6
) -> np.ndarray:
    """The window with the most mistakes near true borders, enlarged.

    True borders are green and found ones red; where both lie on each other they are yellow.

    Args:
        image: `uint8` `(height, width, 1 or 3)`.
        truth: `(height, width)` classes.
        predicted: Of the same shape.
        size: Height and width of the window in pixels, at most the image's.
        enlarge: By how much each pixel is repeated.

    Returns:
        `uint8` `(size * enlarge, size * enlarge, 3)`, less for a smaller image.

    Example:
        >>> truth = np.tri(64, dtype=int)
        >>> close_up(np.zeros((64, 64, 1), np.uint8), truth, truth, 16, 2).shape
        (32, 32, 3)
    """
    from scipy import ndimage

    image, truth, predicted = _rgb(image), np.asarray(truth), np.asarray(predicted)
    known = truth != IGNORE
    true, found = borders(truth) & known, borders(predicted) & known
    height, width = (min(size, side) for side in truth.shape)
    near = ndimage.binary_dilation(true if true.any() else found, iterations=3)
    # Borders themselves decide where nothing is wrong.
    score = ((truth != predicted) & known & near) + 1e-3 * (true | found)
    sums = np.pad(score.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    windows = (sums[height:, width:] - sums[:-height, width:] - sums[height:, :-width]) + sums[
        :-height, :-width
    ]
    top, left = np.unravel_index(int(windows.argmax()), windows.shape)
    window = np.s_[top : top + height, left : left + width]
    picture = image[window].repeat(enlarge, 0).repeat(enlarge, 1)
    # Borders between enlarged pixels stay thin.
    lines = [
        borders(mask[window].repeat(enlarge, 0).repeat(enlarge, 1)) for mask in (truth, predicted)
    ]
    picture[lines[0]] = (0, 220, 0)
    picture[lines[1]] = (230, 0, 0)
    picture[lines[0] & lines[1]] = (255, 230, 0)
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
    return image.repeat(3, axis=-1) if image.shape[-1] == 1 else image.copy()
