"""Data source `cells`: drawn cells that touch, a segmentation set without a download."""

import functools
from typing import Any

import numpy as np

from keras_arch.data.border_weights import instances_of
from keras_arch.data.sources.base import Source
from keras_arch.errors import ArgumentError

_SIZE = (128, 128)
_SPLITS = {"train": 64, "val": 16, "test": 16}
# Cells of fewer pixels are fragments between others, and are left out.
_SMALLEST = 20


def draw_cells(
    seed: Any = 0, size: tuple[int, int] = _SIZE, count: int = 30
) -> tuple[np.ndarray, np.ndarray]:
    """Draw ellipses that touch, as a microscope might show cells, and number them.

    Where two cells meet, only a dark gap of about two pixels separates them: the case that the
    border weights of U-Net are for.

    Args:
        seed: Anything that `numpy.random.default_rng` takes.
        size: Height and width in pixels, at least 16.
        count: Ellipses to draw; some may vanish behind others.

    Returns:
        The image, `uint8` `(height, width, 1)`, and `int32` `(height, width)`: 0 between cells, a
        cell's number from 1 inside. `instances_of(instances > 0)` gives the same numbers.

    Raises:
        ArgumentError: If a number is out of range.

    Example:
        >>> image, instances = draw_cells(seed=1)
        >>> image.shape, bool(instances.max() > 10)
        ((128, 128, 1), True)
    """
    from scipy import ndimage

    if len(size) != 2 or min(size) < 16 or count < 1:
        raise ArgumentError(
            f"cells need a size of at least 16x16 pixels and a count from 1, got {size!r} and "
            f"{count!r}"
        )
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[: size[0], : size[1]]
    nearest = np.full(size, np.inf)
    owner = np.zeros(size, np.int32)
    for number in range(1, count + 1):
        y, x = rng.uniform(0, size[0]), rng.uniform(0, size[1])
        radii, angle = rng.uniform(8, 16, 2), rng.uniform(0, np.pi)
        along = (columns - x) * np.cos(angle) + (rows - y) * np.sin(angle)
        across = (rows - y) * np.cos(angle) - (columns - x) * np.sin(angle)
        distance = np.hypot(along / radii[0], across / radii[1])
        closer = distance < nearest
        owner[closer & (distance < 1)] = number
        nearest[closer] = distance[closer]
    # The gap: pixels with a neighbour that belongs to another cell.
    most = ndimage.maximum_filter(owner, 3)
    least = ndimage.minimum_filter(np.where(owner > 0, owner, count + 1), 3)
    gap = (owner > 0) & ((most != owner) & (most > 0) | (least != owner) & (least <= count))
    instances = instances_of((owner > 0) & ~gap)
    sizes = np.bincount(instances.ravel())
    instances = instances_of((instances > 0) & (sizes[instances] >= _SMALLEST))
    inside = instances > 0
    light = 70 + 70 * inside * (1 - 0.5 * np.minimum(nearest, 1) ** 2) - 25 * gap
    light = ndimage.gaussian_filter(light, 0.7)
    # Shading of low frequency, and grain.
    light = light + ndimage.gaussian_filter(rng.normal(0, 300, size), 20) + rng.normal(0, 7, size)
    return np.clip(np.rint(light), 0, 255).astype(np.uint8)[..., None], instances


class Cells(Source):
    """Pictures of drawn cells with masks: background, and cell."""

    kind = "masks"
    classes = ("background", "cell")
    image_shape = (*_SIZE, 1)
    license = "CC0-1.0"

    def __init__(self) -> None:
        self.splits = dict(_SPLITS)

    def examples(self, split: str, start: int, stop: int) -> tuple[np.ndarray, ...]:
        """Images `start` to `stop` with their masks."""
        drawn = [_drawn(split, number) for number in range(start, stop)]
        return tuple(map(np.stack, zip(*drawn, strict=True)))


@functools.cache
def _drawn(split: str, number: int) -> tuple[np.ndarray, np.ndarray]:
    image, instances = draw_cells((list(_SPLITS).index(split), number))
    return image, (instances > 0).astype(np.uint8)
