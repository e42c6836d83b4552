"""Checks of what comes in for training: the parts of a batch, against what a network takes.

Functions of NumPy arrays, so that a file, an array, a dataset and a generator meet the same check
and the same words. `BatchCheck` says what each part of a batch must be; it holds plain values only,
so that the processes of a loader can use it.
"""

import dataclasses
import logging
from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_arch.errors import DataError

Shape = tuple[int | None, ...]
# Examples at a time: large arrays are not copied as a whole.
_CHUNK = 1024
# Beyond the range of an activation, for rounding and resizing that overshoots.
_SLACK = 0.05
# Less of a range than this is another one: values to 1 where 255 is white.
_LITTLE = 0.02
# Networks are initialised for inputs of the order of 1.
_LARGE = 10.0
_log = logging.getLogger("keras_arch")


@dataclasses.dataclass(frozen=True)
class Part:
    """What one part of a batch must be.

    Attributes:
        shape: Shape of one example, `None` where open; `()` for labels, `(height, width)` for
            masks.
        labels: Whether it holds classes: labels, or masks where the shape has two axes.
        classes: Number of classes of labels, or `None` where it is not known.
        ignore: The value in masks of pixels that do not count.
        soft: Whether labels `(batch, classes)` may be shares of several classes.
        bounds: The lowest and the highest value, or `None`.
        why: Where the bounds come from, for the message: "generator ends in tanh".
    """

    shape: Shape
    labels: bool = False
    classes: int | None = None
    ignore: int | None = None
    soft: bool = False
    bounds: tuple[float, float] | None = None
    why: str = ""

    def check(self, name: str, values: Any, whole: bool = True) -> None:
        """Refuse (`DataError`) values that are not of this part; see `BatchCheck.check`."""
        if self.labels and self.shape:
            check_masks(values, self.classes, self.ignore, name)
            return
        if self.labels:
            array = array_of(values)
            mixed = self.soft and array.ndim == 2 and array.shape[1] == self.classes
            if not mixed or not _shares(array):
                check_labels(values, self.classes, name)
            return
        array = numbers(name, values)
        check_shape(name, array.shape, self.shape)
        least, most = extent(name, array)
        if self.bounds:
            check_range(name, least, most, self.bounds, self.why, whole)
        elif whole and max(-least, most) > _LARGE:
            _log.warning(
                "%s has values from %.4g to %.4g, and networks are initialised for values of the "
                "order of 1: scale it (Preprocessing scale and mean), unless that is meant",
                name,
                least,
                most,
            )


@dataclasses.dataclass(frozen=True)
class BatchCheck:
    """What the batches of a model must be, for any source of them.

    Attributes:
        owner: Name of the model, for messages.
        keys: Names of the parts of a batch that is a tuple, in order.
        parts: What each part must be, by its name.
        known: Further names that a batch may bring.

    Example:
        >>> check = BatchCheck("net", ("image", "label"), {"image": Part((2,))})
        >>> check.check((np.zeros((4, 2)), np.arange(4)))
        >>> check.check(np.full((4, 2), np.nan))
        Traceback (most recent call last):
        keras_arch.errors.DataError: image has values that are NaN or infinite, first in example 0
    """

    owner: str
    keys: tuple[str, ...]
    parts: Mapping[str, Part]
    known: tuple[str, ...] = ()

    def named(self, batch: Any) -> dict[str, Any]:
        """A batch by the names of its parts.

        Raises:
            DataError: If a tuple has more parts than there are names, or the first is missing.
        """
        # Keras packs what is alone as a tuple of one, or with `None` for what is not there.
        if isinstance(batch, list | tuple) and all(part is None for part in batch[1:]):
            batch = batch[0] if batch else None
        if batch is None:
            return {}
        if isinstance(batch, Mapping):
            named = {name: part for name, part in batch.items() if part is not None}
        elif isinstance(batch, list | tuple):
            if len(batch) > len(self.keys) and any(part is not None for part in batch[2:]):
                raise weights_error(self.owner, f"a batch has {len(batch)} parts", self.keys)
            pairs = zip(self.keys, batch, strict=False)
            named = {name: part for name, part in pairs if part is not None}
        else:
            named = {self.keys[0]: batch}
        if self.keys[0] not in named:
            raise DataError(
                f"a batch that is a dictionary needs the key {self.keys[0]!r}, got {sorted(named)}"
            )
        for name in ("sample_weight", "class_weight"):
            if name in named and name not in self.keys:
                raise weights_error(self.owner, f"a batch has the part {name!r}", self.keys)
        return named

    def check_shapes(self, named: Mapping[str, Any]) -> None:
        """Refuse (`DataError`) missing parts and wrong shapes, as far as specs tell them.

        Args:
            named: Arrays, tensors or `tf.TensorSpec`s by name.
        """
        for name, part in self.parts.items():
            if name not in named:
                raise DataError(
                    f"{self.owner} needs {name!r} in each batch, the data has {', '.join(named)}"
                )
            spec = named[name]
            text = str(getattr(spec, "dtype", "")).endswith("string'>")
            if text and part.labels:
                raise text_error(name)
            if text:
                raise DataError(f"{name} must be numbers, got text")
            shape = static_shape(spec)
            if shape is not None and part.shape:
                check_shape(name, _without_channel(shape) if part.labels else shape, part.shape)
            elif shape is not None and not _label_axes(shape, part.classes):
                raise _label_shape_error(name, shape, part.classes)

    def check(self, batch: Any, whole: bool = True) -> None:
        """Refuse a batch that the model cannot train on.

        Args:
            batch: Arrays as a batch has them, alone, in a tuple or by name.
            whole: Whether it has enough examples to tell that a range is filled by half only.

        Raises:
            DataError: In one line, with what came and what is wanted.
        """
        named = self.named(batch)
        self.check_shapes(named)
        for name, part in self.parts.items():
            part.check(name, named[name], whole)
        if whole and (unknown := sorted(set(named) - set(self.keys) - set(self.known))):
            _log.warning(
                "%s does not use the parts %s of a batch; it knows %s",
                self.owner,
                ", ".join(unknown),
                ", ".join(dict.fromkeys((*self.keys, *self.known))),
            )


def array_of(values: Any) -> np.ndarray:
    """Values as an array, whatever tensor they are, on whatever device.

    Example:
        >>> array_of([1, 2]).shape
        (2,)
    """
    return np.asarray(values.detach().cpu() if hasattr(values, "detach") else values)


def numbers(name: str, values: Any) -> np.ndarray:
    """Values as an array of real numbers, whatever tensor they are.

    Raises:
        DataError: If they are text, objects, complex numbers or of unequal sizes.

    Example:
        >>> numbers("image", [[1, 2]]).shape
        (1, 2)
    """
    try:
        array = array_of(values)
    except (TypeError, ValueError) as error:
        raise DataError(f"{name} must be an array of numbers: {error}") from error
    # NumPy's own kinds, and bfloat16, which it does not know.
    if array.dtype.kind not in "biuf" and array.dtype.name != "bfloat16":
        first = array.reshape(-1)[:1].tolist()
        shown = f" such as {str(first[0])[:40]!r}" if first else ""
        raise DataError(
            f"{name} must be numbers, got an array of type {array.dtype}{shown}; give arrays such "
            "as float32"
        )
    return array


def static_shape(spec: Any) -> Shape | None:
    """The shape of an array, tensor or `tf.TensorSpec`, or `None` where it is not known."""
    shape = getattr(spec, "shape", None)
    if shape is None or (hasattr(shape, "rank") and shape.rank is None):
        return None
    return tuple(shape)


def check_shape(name: str, shape: Shape, wanted: Shape) -> None:
    """Refuse (`DataError`) a batch whose examples have another shape.

    Args:
        name: Name of the part.
        shape: Shape of the batch.
        wanted: Shape of one example; `None` fits any size.
    """
    fits = len(shape) == len(wanted) + 1 and all(
        None in (got, want) or got == want for got, want in zip(shape[1:], wanted, strict=True)
    )
    if fits:
        return
    remedy = ""
    if tuple(shape) == tuple(wanted):
        remedy = f"; add the axis of the batch: {name}[None]"
    elif wanted and len(shape) == len(wanted) and wanted[-1] == 1:
        remedy = f"; add the axis of channels: {name}[..., None]"
    elif len(shape) == len(wanted) + 1:
        remedy = "; resize it, or build the networks for that shape"
    raise DataError(
        f"the network takes batches of {name} of shape {wanted}, the data has batches of shape "
        f"{tuple(shape)}{remedy}"
    )


def extent(name: str, array: np.ndarray) -> tuple[float, float]:
    """The lowest and the highest value of an array that is not empty.

    Raises:
        DataError: If it is empty, or a value is NaN or infinite.

    Example:
        >>> extent("image", np.array([[0.0, 1.0], [-2.0, 0.5]]))
        (-2.0, 1.0)
    """
    if not array.size:
        raise DataError(f"{name} is empty, an array of shape {array.shape}")
    least, most = np.inf, -np.inf
    for start in range(0, len(array), _CHUNK):
        chunk = array[start : start + _CHUNK]
        low, high = float(chunk.min()), float(chunk.max())
        if not (np.isfinite(low) and np.isfinite(high)):
            finite = np.isfinite(chunk.astype(np.float64).reshape(len(chunk), -1)).all(axis=1)
            raise not_finite_error(name, start + int(np.argmin(finite)))
        least, most = min(least, low), max(most, high)
    return least, most


def check_range(
    name: str,
    least: float,
    most: float,
    bounds: tuple[float, float],
    why: str = "the network",
    whole: bool = True,
) -> None:
    """Refuse (`DataError`) values outside a range, or that plainly fill only a part of it.

    Args:
        name: Name of the part.
        least: The lowest value.
        most: The highest value.
        bounds: The range.
        why: What gives values of that range.
        whole: Whether these are enough values to tell that a range is filled by half only.
    """
    low, high = bounds
    half = whole and low < 0 and least >= 0 and most > 0.5
    slack = _SLACK * max(1.0, (high - low) / 2)
    little = whole and 0 < most - least < _LITTLE * (high - low)
    if least < low - slack or most > high + slack or half or little:
        raise DataError(
            f"{why} and gives values in [{low:g}, {high:g}]; the data's {name} has values from "
            f"{least:.4g} to {most:.4g}: scale it to that range (Preprocessing scale and mean)"
        )


def check_labels(labels: Any, classes: int | None = None, name: str = "label") -> np.ndarray:
    """Labels as `int32` numbers `(batch,)`, where their meaning is plain.

    Args:
        labels: Whole numbers of any type, `(batch,)` or `(batch, 1)`, or one-hot rows
            `(batch, classes)`.
        classes: Number of classes, or `None` where it is not known.
        name: Name of the part, for messages.

    Raises:
        DataError: If they are text, fractions, NaN, outside the classes or of another shape.

    Example:
        >>> check_labels([[0.0, 1.0], [1.0, 0.0]], 2).tolist()
        [1, 0]
        >>> check_labels(np.array([1.0, 1.7]), 2)
        Traceback (most recent call last):
        keras_arch.errors.DataError: label must be whole numbers, got 1.7 in example 1
    """
    given = array_of(labels)
    if given.dtype.kind in "SUT" or (
        given.dtype.kind == "O" and given.size and isinstance(given.reshape(-1)[0], str | bytes)
    ):
        raise text_error(name, given.reshape(-1)[0])
    array = numbers(name, given)
    if not _label_axes(array.shape, classes):
        raise _label_shape_error(name, array.shape, classes)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    elif array.ndim == 2:
        hot = ((array == 1).sum(axis=1) == 1) & ((array != 0).sum(axis=1) == 1)
        if not hot.all():
            row = int(np.argmin(hot))
            raise DataError(
                f"{name} must be one number an example or one-hot, got the row "
                f"{np.round(array[row].astype(float), 4).tolist()} in example {row}: mixed labels "
                "are not taken"
            )
        array = array.argmax(axis=1)
    whole = np.isfinite(array) & (array == np.floor(array))
    if not whole.all():
        row = int(np.argmin(whole))
        raise DataError(f"{name} must be whole numbers, got {array[row]:g} in example {row}")
    outside = array[(array < 0) | (array >= (np.inf if classes is None else classes))]
    if outside.size:
        raise label_error(classes, int(outside[0]))
    return array.astype(np.int32)


def check_masks(
    masks: Any, classes: int | None = None, ignore: int | None = None, name: str = "mask"
) -> None:
    """Refuse (`DataError`) masks that are not a whole number of a class, or `ignore`, a pixel.

    Args:
        masks: `(batch, height, width)` or `(batch, height, width, 1)` of any type.
        classes: Number of classes, or `None` where it is not known.
        ignore: The value of pixels that do not count, or `None`.
        name: Name of the part, for messages.

    Example:
        >>> check_masks([[[0, 1], [1, 255]]], classes=2, ignore=255)
        >>> check_masks([[[0, 255]]], classes=2)
        Traceback (most recent call last):
        keras_arch.errors.DataError: mask has the values 255, which are none of the 2 classes from \
0 to 1: divide masks of 0 and 255 by 255, or give ignore=255 where such pixels do not count
    """
    array = numbers(name, masks)
    if array.dtype.kind not in "biu":
        extent(name, array)
        broken = array[array != np.floor(array)]
        if broken.size:
            raise DataError(
                f"{name} must hold a whole number a pixel, its class; got {broken[0]:g}"
            )
    low, high = array.min(initial=0), array.max(initial=0)
    if low >= 0 and (classes is None or high < classes):
        return
    # Found only where something is wrong: it sorts all pixels.
    found = np.unique(array)
    outside = found[((found < 0) | (found >= (np.inf if classes is None else classes)))]
    outside = outside[outside != (np.nan if ignore is None else ignore)]
    if outside.size:
        end = f"the {classes} classes from 0 to {(classes or 0) - 1}" if classes else "the classes"
        remedy = f"; ignore is {ignore}"
        if classes == 2 and outside.tolist() == [255]:
            remedy = (
                ": divide masks of 0 and 255 by 255, or give ignore=255 where such pixels do not "
                "count"
            )
        values = ", ".join(f"{value:g}" for value in outside[:5].tolist())
        raise DataError(f"{name} has the values {values}, which are none of {end}{remedy}")


def label_error(classes: int | None, label: int | None = None) -> DataError:
    """The error for a label outside the classes."""
    found = "a label" if label is None else f"the label {label}"
    if classes is None:
        return DataError(f"the data has {found}: labels must be 0 or more")
    return DataError(
        f"the data has {found} outside the classes: labels must be 0 to {classes - 1}; give the "
        "model as many classes as the data has"
    )


def text_error(name: str, first: Any = None) -> DataError:
    """The error for labels that are names."""
    first = first.decode(errors="replace") if isinstance(first, bytes) else first
    shown = "" if first is None else f" such as {str(first)[:40]!r}"
    return DataError(
        f"{name} must be whole numbers, got text{shown}; number the names: names, labels = "
        "np.unique(labels, return_inverse=True)"
    )


def not_finite_error(name: str, example: int | None = None) -> DataError:
    """The error for NaN and infinite values."""
    where = "" if example is None else f", first in example {example}"
    return DataError(f"{name} has values that are NaN or infinite{where}")


def weights_error(owner: str, found: str, keys: tuple[str, ...]) -> DataError:
    """The error for weights of examples, which a game has no place for."""
    return DataError(
        f"{owner} takes batches of ({', '.join(keys)}) and no weights of examples, {found}: each "
        "generated image answers a real one, so give examples that count more more often"
    )


def _without_channel(shape: Shape) -> Shape:
    """The shape of masks without an axis of one channel."""
    return shape[:-1] if len(shape) == 4 and shape[-1] == 1 else shape


def _shares(array: np.ndarray) -> bool:
    """Whether rows are shares of classes, as those of mixed images are."""
    with np.errstate(invalid="ignore"):
        sums = array.astype(np.float64).sum(axis=1)
    return bool((array >= 0).all() and np.allclose(sums, 1, atol=1e-3))


def _label_axes(shape: Shape, classes: int | None) -> bool:
    if len(shape) == 2:
        return shape[1] in (1, None) or (classes is not None and shape[1] == classes)
    return len(shape) == 1


def _label_shape_error(name: str, shape: Shape, classes: int | None) -> DataError:
    one_hot = "" if classes is None else f", or one-hot rows (batch, {classes})"
    return DataError(
        f"{name} must be one whole number an example, (batch,) or (batch, 1){one_hot}; got batches "
        f"of shape {tuple(shape)}"
    )
