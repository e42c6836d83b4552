"""Nearest neighbors and distances between two sets of points, with bounded memory.

Blocks of distances come from scikit-learn. Its `NearestNeighbors` is not used: it converts all
references to float64 at once (376 MB for MNIST), and a copy of an image is not at distance 0.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from keras_arch.errors import ArgumentError, whole_number
from keras_arch.metrics.checks import check_pair

# Numbers in one block of distances: 32 MiB of float64.
_BLOCK = 2**22
# Relative rounding of squared distances by a matrix product. Distances that differ by less are
# equal, as a copy of an image must count as one.
_ROUNDING = 1e-12


def squared_distances(
    points: np.ndarray, references: np.ndarray
) -> Iterator[tuple[slice, np.ndarray]]:
    """Squared Euclidean distances in blocks of points: their slice, and a new array `(points, m)`.

    Center points and references, float64 `(n, dimensions)`: a common offset costs digits.
    """
    from sklearn.metrics import euclidean_distances

    rows = max(1, _BLOCK // len(references))
    for first in range(0, len(points), rows):
        block = slice(first, min(first + rows, len(points)))
        yield block, euclidean_distances(points[block], references, squared=True)


def rounding_of(*sets: np.ndarray) -> float:
    """Largest error of squared distances between these points."""
    return _ROUNDING * max(float(np.einsum("ij,ij->i", points, points).max()) for points in sets)


def nearest_neighbors(points: Any, references: Any, k: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Find the k nearest references of each point by Euclidean distance.

    Args:
        points: `(n, ...)`; further axes are flattened.
        references: `(m, ...)` likewise, converted to float64 in blocks.
        k: Number of neighbors, at most m.

    Returns:
        Indices `(n, k)` into the references, the nearest first, and the distances `(n, k)`.

    Raises:
        ArgumentError: If k is not between 1 and m, or the shapes differ.

    Example:
        >>> indices, distances = nearest_neighbors([[0.0, 0.0]], [[3.0, 4.0], [0.0, 1.0]], k=2)
        >>> indices.tolist(), distances.tolist()
        ([[1, 0]], [[1.0, 5.0]])
    """
    points, references = (
        array.reshape(len(array), -1) if array.ndim > 2 and len(array) else array
        for array in map(np.asarray, (points, references))
    )
    points, references = check_pair(points, references, ("points", "references"), minimum=1)
    k = whole_number("k", k)
    if k > len(references):
        raise ArgumentError(f"k must be 1 to the {len(references)} references, got {k}")
    points = points.astype(np.float64)
    center = points.mean(axis=0)
    centered = points - center
    best = np.full((len(points), k), np.inf)
    chosen = np.zeros((len(points), k), np.int64)
    step = max(k, _BLOCK // points.shape[1])
    for first in range(0, len(references), step):
        part = references[first : first + step].astype(np.float64) - center
        for block, distances in squared_distances(centered, part):
            # The k smallest of the best so far and of the new ones.
            row = np.concatenate([best[block], distances], axis=1)
            order = np.argpartition(row, k - 1, axis=1)[:, :k]
            kept = order < k
            indices = np.take_along_axis(chosen[block], order * kept, axis=1)
            chosen[block] = np.where(kept, indices, order - k + first)
            best[block] = np.take_along_axis(row, order, axis=1)
    # Exact distances of the chosen ones: a copy is at distance 0, not near it.
    exact = np.empty_like(best)
    for column in range(k):
        gap = points - references[chosen[:, column]]
        exact[:, column] = np.sqrt(np.einsum("ij,ij->i", gap, gap))
    order = np.argsort(exact, axis=1, kind="stable")
    return np.take_along_axis(chosen, order, axis=1), np.take_along_axis(exact, order, axis=1)
