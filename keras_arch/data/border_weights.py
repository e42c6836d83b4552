"""Weights of pixels: higher for rare classes, and for the gaps between cells that touch."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_arch._pixel_classes import IGNORE, checked_classes
from keras_arch.errors import ArgumentError

# Values of the border's term below this are left out.
_NEGLIGIBLE = 1e-7


@dataclasses.dataclass(frozen=True)
class WeightMap:
    """Options of the weights of pixels in training; see `border_weights`.

    Args:
        w0: Weight of the gaps between cells, 0 for none.
        sigma: Width of these gaps' weights, in pixels.
        balance: Whether all classes count alike, by their frequencies in the whole training set.

    Example:
        >>> WeightMap().w0
        10.0
    """

    w0: float = 10.0
    sigma: float = 5.0
    balance: bool = True


def instances_of(mask: Any, ignore: int | None = IGNORE) -> np.ndarray:
    """Number the connected regions of a mask.

    Args:
        mask: `(height, width)` classes; 0 is the background. Pixels are connected across their
            sides, so that cells that touch at a corner are two.
        ignore: Value of pixels without a class, or `None`.

    Returns:
        `int32` `(height, width)`: 0, or a region's number from 1.

    Raises:
        ArgumentError: If the mask has not two dimensions, or holds no classes.

    Example:
        >>> instances_of([[1, 0, 1], [1, 0, 1]]).tolist()
        [[1, 0, 2], [1, 0, 2]]
    """
    from scipy import ndimage

    mask = checked_classes(_two_dimensional(mask, "mask"), None, ignore, "mask")
    numbered, count = np.zeros(mask.shape, np.int32), 0
    for value in np.unique(mask):
        if value not in (0, ignore):
            regions, found = ndimage.label(mask == value)
            numbered = np.where(regions > 0, regions + count, numbered)
            count += found
    return numbered.astype(np.int32)


def separate_instances(instances: Any) -> np.ndarray:
    """Part instances that touch by a border of one pixel, which belongs to none of them.

    Source: Ronneberger et al. 2015, section 3: "the small separation borders that we introduce
    between touching cells". Of two instances that touch across a side, the one with the larger
    number loses its pixels there. An instance of which nothing would be left keeps its pixels.

    Args:
        instances: `(height, width)` whole numbers, 0 between instances.

    Returns:
        `int32` `(height, width)`.

    Raises:
        ArgumentError: If they are not of two dimensions, no whole numbers, or negative.

    Example:
        >>> separate_instances([[1, 1, 2, 2, 0, 3]]).tolist()
        [[1, 1, 0, 2, 0, 3]]
    """
    given = _whole_instances(instances)
    padded = np.pad(given, 1)
    middle = padded[1:-1, 1:-1]
    neighbours = (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:])
    lost = np.zeros(given.shape, bool)
    for other in neighbours:
        lost |= (other > 0) & (other < middle)
    apart = np.where(lost, 0, given)
    gone = np.setdiff1d(given, apart)
    return np.where(np.isin(given, gone), given, apart).astype(np.int32)


def class_balance(masks: Any, classes: int, ignore: int | None = IGNORE) -> tuple[float, ...]:
    """Weights under which all classes of a set of masks count alike.

    Args:
        masks: An iterable of arrays of classes.
        classes: How many classes there are.
        ignore: Value of pixels without a class, or `None`.

    Returns:
        `pixels / (classes that occur * pixels of the class)`, of which the mean over all pixels is
        1; 0 for a class that does not occur.

    Raises:
        ArgumentError: If no pixel counts, or a value is neither a class nor `ignore`.

    Example:
        >>> class_balance([[[0, 0, 0, 1]]], 2)
        (0.6666666666666666, 2.0)
    """
    counts = np.zeros(classes, np.int64)
    for mask in masks:
        found = checked_classes(mask, classes, ignore)
        known = found if ignore is None else found[found != ignore]
        counts += np.bincount(known.ravel(), minlength=classes)
    if not counts.any():
        raise ArgumentError("the masks hold no pixel that counts, so that no class has a weight")
    occurring = int((counts > 0).sum())
    weights = counts.sum() / (occurring * np.maximum(counts, 1))
    return tuple(float(weight) for weight in np.where(counts > 0, weights, 0.0))


def border_weights(
    instances: Any,
    w0: float = 10.0,
    sigma: float = 5.0,
    balance: bool | Sequence[float] = True,
    mask: Any = None,
    ignore: int | None = IGNORE,
) -> np.ndarray:
    """The weight map of U-Net: class balance, and more for the gaps between cells.

    Ronneberger et al. 2015, equation 2: `w(x) = w_c(x) + w0 * exp(-(d1(x) + d2(x))^2 /
    (2 sigma^2))`, with the distances in pixels from x to the nearest and to the second nearest
    cell. The second term is 0 inside cells, and left out where it is less than 1e-7. Where cells
    touch there is no pixel between them: without `mask`, their pixels on both sides of the border
    have the term too, with distances 0 and 1. To learn that border, train on classes that have it:
    `separate_instances(instances) > 0`.

    Args:
        instances: `(height, width)` whole numbers: 0 between cells, the same number all over a
            cell, as `instances_of` gives.
        w0: Weight of the border's term.
        sigma: Its width, in pixels.
        balance: `True` weighs the classes of this map so that they count alike (`class_balance`),
            `False` weighs each pixel by 1, and a sequence gives a weight for each class.
        mask: `(height, width)` classes where there are others than between cells (0) and inside of
            them (1).
        ignore: Value of `mask` without a class, or `None`. Such pixels weigh nothing.

    Returns:
        `float32` `(height, width)`.

    Raises:
        ArgumentError: If shapes or numbers do not fit.

    Example:
        >>> cells = np.zeros((1, 5), int)
        >>> cells[0, 0], cells[0, 4] = 1, 2
        >>> weights = border_weights(cells, w0=10, sigma=5, balance=False)
        >>> weights.astype(float).round(2).tolist()
        [[1.0, 8.26, 8.26, 8.26, 1.0]]
    """
    instances = _whole_instances(instances)
    if not (math.isfinite(w0) and w0 >= 0 and math.isfinite(sigma) and sigma > 0):
        raise ArgumentError(
            f"w0 must be at least 0 and sigma a number of pixels above 0, got {w0!r} and {sigma!r}"
        )
    classes = instances > 0 if mask is None else _two_dimensional(mask, "mask")
    classes = checked_classes(classes, None, ignore, "mask")
    if classes.shape != instances.shape:
        raise ArgumentError(
            f"mask of {classes.shape} pixels and instances of {instances.shape} must be of one size"
        )
    known = np.ones(classes.shape, bool) if ignore is None else classes != ignore
    weights = np.zeros(classes.shape, np.float32)
    weights[known] = _by_class(classes[known], balance)
    if w0:
        border = instances == 0 if mask is not None else (instances == 0) | _touching(instances)
        weights += _between(instances, border, w0, sigma)
    weights[~known] = 0.0
    return weights


def weight_maps(
    masks: Sequence[np.ndarray],
    weights: WeightMap,
    classes: int | None = None,
    instances: Sequence[np.ndarray] | None = None,
    ignore: int | None = IGNORE,
) -> list[np.ndarray]:
    """The weight map of each mask of a training set; `classes` are by default those in it.

    `instances` are the objects of each mask, by default its connected regions.
    """
    known = [int(mask[mask != ignore].max(initial=0)) + 1 for mask in masks]
    balance = class_balance(masks, classes or max(known), ignore) if weights.balance else False
    if instances is None:
        instances = [instances_of(mask, ignore) if weights.w0 else mask for mask in masks]
    return [
        border_weights(objects, weights.w0, weights.sigma, balance, mask, ignore)
        for objects, mask in zip(instances, masks, strict=True)
    ]


def _by_class(known: np.ndarray, balance: bool | Sequence[float]) -> np.ndarray:
    """The weight of each of the pixels that count."""
    most = int(known.max(initial=0)) + 1
    if balance is False:
        given = np.ones(most)
    elif balance is True:
        given = np.asarray(class_balance([known], most, None)) if known.size else np.zeros(most)
    else:
        given = np.asarray(balance, np.float64)
        if given.ndim != 1 or len(given) < most or not (given >= 0).all():
            raise ArgumentError(
                f"balance must have a weight of at least 0 for each of {most} classes, got "
                f"{balance!r}"
            )
    return given.astype(np.float32)[known]


def _touching(instances: np.ndarray) -> np.ndarray:
    """Pixels of an instance with another instance across one of their sides."""
    touching = np.zeros(instances.shape, bool)
    for axis in (0, 1):
        one, other = (np.swapaxes(array, 0, axis) for array in (instances, touching))
        meets = (one[1:] != one[:-1]) & (one[1:] > 0) & (one[:-1] > 0)
        other[1:] |= meets
        other[:-1] |= meets
    return touching


def _between(instances: np.ndarray, border: np.ndarray, w0: float, sigma: float) -> np.ndarray:
    """The term of the pixels of `border`; 0 for all others."""
    from scipy import ndimage

    if w0 <= _NEGLIGIBLE or not border.any():
        return np.zeros(instances.shape, np.float32)
    reach = math.ceil(sigma * math.sqrt(2 * math.log(w0 / _NEGLIGIBLE)))
    # Numbers without gaps: `find_objects` goes through all up to the largest.
    known = np.union1d(0, instances)
    numbered = np.searchsorted(known, instances).reshape(instances.shape).astype(np.int32)
    nearest = np.full(instances.shape, np.inf, np.float32)
    second = nearest.copy()
    for number, box in enumerate(ndimage.find_objects(numbered), start=1):
        grown = tuple(slice(max(0, side.start - reach), side.stop + reach) for side in box)
        distance = ndimage.distance_transform_edt(numbered[grown] != number)
        distance = distance.astype(np.float32)
        first, other = nearest[grown], second[grown]
        np.minimum(other, np.maximum(first, distance), out=other)
        np.minimum(first, distance, out=first)
    term = w0 * np.exp(-np.square(nearest + second) / (2 * sigma**2))
    return np.where(border, term, 0.0).astype(np.float32)


def _whole_instances(instances: Any) -> np.ndarray:
    instances = _two_dimensional(instances, "instances")
    if not np.issubdtype(instances.dtype, np.integer):
        raise ArgumentError(f"instances must be whole numbers, got {instances.dtype}")
    if instances.min() < 0:
        raise ArgumentError(f"instances are numbered from 0, got {instances.min()}")
    return instances


def _two_dimensional(values: Any, name: str) -> np.ndarray:
    array = np.asarray(values)
    if array.ndim == 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim != 2 or 0 in array.shape:
        raise ArgumentError(f"{name} must be of shape (height, width), got {array.shape}")
    return array
