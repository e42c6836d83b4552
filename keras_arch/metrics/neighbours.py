"""Distances between two sets of points, in blocks that fit into memory."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from keras_arch.errors import ArgumentError

# Numbers in one block of distances: 32 MiB of float64.
_BLOCK = 2**22
# Squared lengths to which two distances are one and the same: a matrix product leaves that much
# rounding, and a copy of an image must count as one.
_ROUNDING = 1e-12


def check_points(points: Any, name: str, minimum: int = 2) -> np.ndarray:
    """Points as an array `(n, dimensions)` of finite numbers.

    Args:
        points: Anything that NumPy makes such an array of.
        name: What an error calls them.
        minimum: Points that there must be.

    Raises:
        ArgumentError: If the shape is another, there are too few, or one is not finite.

    Example:
        >>> check_points([[0, 1], [2, 3]], "features").shape
        (2, 2)
    """
    array = np.asarray(points)
    if array.ndim != 2 or not array.shape[1]:
        raise ArgumentError(
            f"{name} must be an array (samples, dimensions), got shape {array.shape}"
        )
    if len(array) < minimum:
        raise ArgumentError(f"{name} must have at least {minimum} samples, got {len(array)}")
    if array.dtype.kind not in "fiub" or not np.isfinite(array).all():
        raise ArgumentError(f"{name} must be finite numbers, got {_strangers(array)}")
    return array


def check_pair(first: Any, second: Any, names: tuple[str, str], minimum: int = 2) -> Any:
    """Two sets of points of one dimension.

    Raises:
        ArgumentError: If either is none, or their dimensions differ.
    """
    first = check_points(first, names[0], minimum)
    second = check_points(second, names[1], minimum)
    if first.shape[1] != second.shape[1]:
        raise ArgumentError(
            f"{names[0]} and {names[1]} must have the same dimensions, got {first.shape[1]} and "
            f"{second.shape[1]}"
        )
    return first, second


def squared_distances(
    points: np.ndarray, references: np.ndarray
) -> Iterator[tuple[slice, np.ndarray]]:
    """Squared Euclidean distances, some points at a time.

    Args:
        points: `(n, dimensions)`, floats.
        references: `(m, dimensions)`, floats. Centre both: what all have in common costs digits.

    Yields:
        Which points, and their distances `(points, m)`, a new `float64` array each time.
    """
    references = np.asarray(references, np.float64)
    lengths = np.einsum("ij,ij->i", references, references)
    rows = max(1, _BLOCK // len(references))
    for first in range(0, len(points), rows):
        block = slice(first, min(first + rows, len(points)))
        part = np.asarray(points[block], np.float64)
        distances = part @ references.T
        distances *= -2
        distances += lengths
        distances += np.einsum("ij,ij->i", part, part)[:, None]
        yield block, np.maximum(distances, 0, out=distances)


def rounding_of(*sets: np.ndarray) -> float:
    """By how much squared distances between these points can be off."""
    return _ROUNDING * max(float(np.einsum("ij,ij->i", points, points).max()) for points in sets)


def nearest(points: Any, references: Any, k: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest references of each point, by Euclidean distance.

    Args:
        points: `(n, ...)`; further axes are taken as one.
        references: `(m, ...)` likewise. Blocks of them are turned into `float64` one after
            another, so `uint8` images stay small.
        k: How many, at most m.

    Returns:
        Indices `(n, k)` into the references, the nearest first, and the distances `(n, k)`.

    Raises:
        ArgumentError: If k is not between 1 and m, or the points are not alike.

    Example:
        >>> indices, distances = nearest([[0.0, 0.0]], [[3.0, 4.0], [0.0, 1.0]], k=2)
        >>> indices.tolist(), distances.tolist()
        ([[1, 0]], [[1.0, 5.0]])
    """
    points, references = (np.asarray(array) for array in (points, references))
    points, references = (
        array.reshape(len(array), -1) if array.ndim > 2 and len(array) else array
        for array in (points, references)
    )
    points, references = check_pair(points, references, ("points", "references"), minimum=1)
    if not isinstance(k, int) or not 1 <= k <= len(references):
        raise ArgumentError(f"k must be 1 to the {len(references)} references, got {k!r}")
    points = points.astype(np.float64)
    centre = points.mean(axis=0)
    centred = points - centre
    best = np.full((len(points), k), np.inf)
    chosen = np.zeros((len(points), k), np.int64)
    step = max(k, _BLOCK // points.shape[1])
    for first in range(0, len(references), step):
        part = references[first : first + step].astype(np.float64) - centre
        for block, distances in squared_distances(centred, part):
            # The best so far and the new ones stand in one row; its k smallest are kept.
            row = np.concatenate([best[block], distances], axis=1)
            order = np.argpartition(row, k - 1, axis=1)[:, :k]
            old = order < k
            indices = np.where(
                old, np.take_along_axis(chosen[block], order * old, axis=1), order - k + first
            )
            best[block] = np.take_along_axis(row, order, axis=1)
            chosen[block] = indices
    # Those few once more, difference by difference: a copy is at distance 0, not near it.
    exact = np.empty_like(best)
    for column in range(k):
        gap = points - references[chosen[:, column]]
        exact[:, column] = np.sqrt(np.einsum("ij,ij->i", gap, gap))
    order = np.argsort(exact, axis=1, kind="stable")
    return np.take_along_axis(chosen, order, axis=1), np.take_along_axis(exact, order, axis=1)


def _strangers(array: np.ndarray) -> str:
    """What in an array is no finite number, in words."""
    if array.dtype.kind not in "fiub":
        return f"an array of {array.dtype}"
    return f"{int((~np.isfinite(array)).sum())} values that are not"
