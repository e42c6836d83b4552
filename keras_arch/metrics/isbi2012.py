"""Metrics of the ISBI-2012 challenge: separation of cells by membranes in electron microscopy.

Labels are 1 for interior, 0 for membrane and `ignore` for pixels that do not count. The files of
the challenge have 255 for interior: divide them by 255. Cells are interior regions
connected across the sides of pixels, so that a membrane connected across corners separates them.
Source: Arganda-Carreras et al. 2015, Crowdsourcing the creation of image segmentation algorithms
for connectomics.
"""

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import ndimage

from keras_arch._pixel_classes import checked_classes
from keras_arch.errors import ArgumentError
from keras_arch.metrics.segmentation import boundary_of

# Thresholds of the interior probability.
THRESHOLDS = tuple(step / 10 for step in range(1, 10))
# Offsets of the eight neighbors in order.
_RING = ((0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1), (1, 0), (1, 1))


def pixel_error(truth: Any, interior: Any, ignore: int | None = None) -> float:
    """ISBI-2012's pixel error: the mean squared distance to the label.

    Args:
        truth: `(height, width)` or `(n, height, width)`: 0 membrane, 1 interior.
        interior: Probabilities of interior in [0, 1], in the same shape.
        ignore: Value of `truth` that does not count, such as 255; or `None`.

    Returns:
        A number in [0, 1]; of probabilities 0 and 1 the share of pixels that are wrong.

    Raises:
        ArgumentError: If the shapes or values are others.

    Example:
        >>> pixel_error([[0, 1]], [[0.0, 0.0]])
        0.5
    """
    truth, interior, known = _maps(truth, interior, ignore)
    wrong = np.square(truth - interior.astype(np.float64))[known]
    return float(np.mean(wrong)) if wrong.size else 0.0


def rand_error(
    truth: Any,
    interior: Any,
    thresholds: Sequence[float] = THRESHOLDS,
    thin: bool = True,
    ignore: int | None = None,
) -> float:
    """ISBI-2012's Rand error: 1 - the largest foreground-restricted Rand F-score.

    Two interior pixels of the truth are in one cell or in two, and likewise in the prediction.
    Precision is the share of pairs that the prediction joins which belong together, recall the
    share of pairs that belong together which it joins; the score is their harmonic mean. Pixels of
    the truth's membranes are ignored; pixels of predicted membranes are cells of one pixel each.
    The challenge ranked by it ("1 - the maximal F-score of the foreground-restricted Rand index"),
    later "after border thinning". Here slices are scored one by one and averaged.

    Args:
        truth: Labels `(height, width)` or `(n, height, width)`, as for `pixel_error`.
        interior: Probabilities of interior in [0, 1], in the same shape.
        thresholds: Thresholds of interior; the best one counts, as in the challenge.
        thin: Whether to thin predicted membranes to one pixel first, as the later ranking did.
        ignore: As for `pixel_error`.

    Returns:
        A number in [0, 1].

    Raises:
        ArgumentError: If the shapes or values are others, or there is no threshold.

    Example:
        >>> truth = np.array([[1, 1, 0, 1, 1]])
        >>> rand_error(truth, truth)
        0.0
        >>> round(rand_error(truth, np.ones((1, 5))), 3)  # everything is one cell
        0.333
    """
    if not len(thresholds):
        raise ArgumentError("thresholds must hold a number in [0, 1], got none")
    truth, interior, _ = _maps(truth, interior, ignore)
    cells = [ndimage.label(each)[0] for each in truth]
    best = 0.0
    for threshold in thresholds:
        scores = []
        for known, probabilities in zip(cells, interior, strict=True):
            found = probabilities >= threshold
            if thin:
                found = ~thin_lines(~found)
            scores.append(_rand_f_score(known, ndimage.label(found)[0]))
        best = max(best, float(np.mean(scores)))
    return 1.0 - best


def warping_error(
    truth: Any, interior: Any, threshold: float = 0.5, ignore: int | None = None
) -> float:
    """Warping error (Jain et al. 2010): errors that remain after borders are moved.

    The truth is warped towards the prediction: pixels are flipped one at a time wherever they
    differ, as long as each is a simple point, whose flip changes no topology. Pixels that differ at
    the end are topological errors (splits, mergers, missing cells); a membrane that is a pixel
    further left, or thicker, costs nothing. Source: Boundary learning by optimization with
    topological constraints, section 2. The result is a local optimum, as that of the paper's
    descent. Beyond the image counts as membrane.

    Args:
        truth: Labels `(height, width)` or `(n, height, width)`, as for `pixel_error`.
        interior: Probabilities of interior in [0, 1], in the same shape.
        threshold: Threshold of interior.
        ignore: As for `pixel_error`.

    Returns:
        The share of pixels that differ.

    Raises:
        ArgumentError: If the shapes or values are others.

    Example:
        >>> truth = np.ones((5, 6), int)
        >>> truth[:, 2] = 0
        >>> moved = np.roll(truth, 1, axis=1)
        >>> pixel_error(truth, moved) > 0, warping_error(truth, moved)
        (True, 0.0)
    """
    truth, interior, known = _maps(truth, interior, ignore)
    wrong = [
        (warp_towards(cells, found >= threshold) != (found >= threshold))[counted].mean()
        for cells, found, counted in zip(truth, interior, known, strict=True)
        if counted.any()
    ]
    return float(np.mean(wrong)) if wrong else 0.0


def warp_towards(truth: Any, target: Any) -> np.ndarray:
    """Move the borders of a map of cells towards another map without changing its topology.

    Args:
        truth: `(height, width)`, boolean or of 0 and 1: the map to move.
        target: The other map, of the same shape.

    Returns:
        `(height, width)`, boolean.

    Example:
        >>> warp_towards([[1, 1, 0, 1]], [[1, 0, 0, 1]]).tolist()
        [[True, False, False, True]]
    """
    image, target = np.asarray(truth, bool).copy(), np.asarray(target, bool)
    while True:
        before = image.copy()
        for field in _fields(image.shape):
            flips = (image != target) & field & _simple(image)
            image[flips] = target[flips]
        if np.array_equal(before, image):
            return image


def thin_lines(lines: Any) -> np.ndarray:
    """Thin lines to one pixel without changing the topology.

    Simple points are removed, layer by layer. Beyond the image counts as line, so that a line that
    ends at the image's border still separates its sides.

    Args:
        lines: `(height, width)`, boolean; connected across sides and corners.

    Returns:
        `(height, width)`, boolean.

    Example:
        >>> thin_lines(np.repeat([[0], [1], [1], [1], [0]], 4, axis=1)).astype(int)[:, 0].tolist()
        [0, 0, 1, 0, 0]
    """
    image = np.asarray(lines, bool).copy()
    while True:
        before = image.copy()
        # Only the rim at the start of a round, so that all sides shrink alike.
        rim = boundary_of(image)
        for field in _fields(image.shape):
            # An end of a line has one neighbor on it.
            ends = sum(_around(~image)) == 7
            image[image & rim & field & ~ends & _simple(~image)] = False
        if np.array_equal(before, image):
            return image


def _fields(shape: tuple[int, int]) -> list[np.ndarray]:
    """Four sets of pixels without neighbors in a set, whose simple points can flip at once."""
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return [(rows % 2 == row) & (columns % 2 == column) for row in (0, 1) for column in (0, 1)]


def _around(image: np.ndarray) -> list[np.ndarray]:
    """The eight neighbors of each pixel, 0 beyond the image."""
    padded = np.pad(image, 1).astype(np.uint8)
    height, width = image.shape
    return [padded[1 + r : 1 + r + height, 1 + c : 1 + c + width] for r, c in _RING]


def _simple(interior: np.ndarray) -> np.ndarray:
    """Mask of pixels whose flip changes no topology; beyond the image counts as membrane."""
    code = np.zeros(interior.shape, np.uint8)
    for bit, neighbor in enumerate(_around(interior)):
        code |= neighbor << bit
    return _is_simple()[code]


@functools.cache
def _is_simple() -> np.ndarray:
    """Table of simple points by the neighbors of a pixel as bits.

    A pixel is simple if the interior beside it is one region across sides, and the membrane around
    it one region across corners (Bertrand 1994, for an interior that is 4-connected).
    """
    table = np.zeros(256, bool)
    for code in range(256):
        ring = np.zeros((3, 3), bool)
        for bit, (row, column) in enumerate(_RING):
            ring[1 + row, 1 + column] = code >> bit & 1
        regions, _ = ndimage.label(ring)
        beside = {regions[1 + r, 1 + c] for r, c in _RING if not (r and c)} - {0}
        outside = ~ring
        outside[1, 1] = False
        _, membranes = ndimage.label(outside, np.ones((3, 3)))
        table[code] = len(beside) == 1 and membranes == 1
    return table


def _rand_f_score(truth: np.ndarray, found: np.ndarray) -> float:
    """The foreground-restricted Rand F-score of numbered cells."""
    inside = truth > 0
    known, found = truth[inside], found[inside]
    counts = np.zeros((known.max(initial=0) + 1, found.max(initial=0) + 1))
    np.add.at(counts, (known, found), 1)
    single = counts[:, 0].sum()
    joined = (counts[:, 1:] ** 2).sum() + single
    together = (counts.sum(axis=1) ** 2).sum()
    predicted = (counts[:, 1:].sum(axis=0) ** 2).sum() + single
    return float(2 * joined / (together + predicted)) if inside.any() else 1.0


def _maps(
    truth: Any, interior: Any, ignore: int | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Both as `(n, height, width)`, membrane at ignored pixels, and the mask of known pixels."""
    truth, interior = checked_classes(truth, 2, ignore, "truth"), np.asarray(interior)
    if truth.shape != interior.shape or truth.ndim not in (2, 3) or not truth.size:
        raise ArgumentError(
            "truth and interior must be of one shape, (height, width) or (n, height, width), got "
            f"{truth.shape} and {interior.shape}"
        )
    if not ((interior >= 0) & (interior <= 1)).all():
        raise ArgumentError(
            f"interior must hold probabilities in [0, 1], got {interior.min()} to {interior.max()}"
        )
    if truth.ndim == 2:
        truth, interior = truth[None], interior[None]
    known = np.ones(truth.shape, bool) if ignore is None else truth != ignore
    return np.where(known, truth, 0).astype(np.float64), np.where(known, interior, 0), known
