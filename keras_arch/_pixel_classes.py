"""Classes of pixels as arrays: one check, and one wording, for losses, metrics and data."""

from typing import Any

from keras_arch._lazy import np
from keras_arch.errors import ArgumentError

# The value of pixels without a class in PASCAL VOC, and in all sources of masks.
IGNORE = 255
_SHOWN = 5


def checked_classes(
    values: Any, classes: int | None, ignore: int | None = None, name: str = "masks"
) -> "np.ndarray":
    """Check that an array holds a class a pixel.

    Args:
        values: Whole numbers of any type, floats too, or booleans; one-hot classes if there are
            four axes, the last of which has the length `classes`.
        classes: Number of classes, or `None` where any number from 0 is one.
        ignore: A value that is no class, or `None`.
        name: Name of the array, for messages.

    Returns:
        Classes as integers; an array of integers is returned as it is, without a last axis of 1.

    Raises:
        ArgumentError: If a value is a fraction, NaN, or neither a class nor `ignore`.

    Example:
        >>> checked_classes([0.0, 1.0, 255.0], 2, ignore=255).tolist()
        [0, 1, 255]
        >>> checked_classes([0, 7], 2)
        Traceback (most recent call last):
        keras_arch.errors.ArgumentError: found 7 in the masks; classes are 0 to 1; number the \
classes from 0, or give as many classes as there are
    """
    array = np.asarray(values)
    if array.dtype.kind not in "biuf" and array.dtype.name != "bfloat16":
        raise ArgumentError(f"the {name} must be numbers, got an array of {array.dtype}")
    if array.ndim == 4:
        if array.shape[-1] == 1:
            array = array[..., 0]
        elif array.shape[-1] == classes:
            array = _from_one_hot(array, name)
    if array.dtype.kind == "b":
        return array.astype(np.uint8)
    with np.errstate(invalid="ignore"):
        right = array >= 0
        if classes is not None:
            right &= array < classes
        if array.dtype.kind not in "iu":
            right &= (array == np.floor(array)) & np.isfinite(array)
    if ignore is not None:
        right |= array == ignore
    if not right.all():
        raise ArgumentError(_message(np.unique(array[~right]), classes, ignore, name))
    return array if array.dtype.kind in "iu" else array.astype(np.int64)


def soft_mask_message(name: str) -> str:
    """Why an array with an axis of classes is refused."""
    return (
        f"found an axis of classes in the {name} that is not one-hot; give classes, the argmax "
        "over that axis"
    )


def remedy(classes: int | None, ignore: int | None, found: Any = (IGNORE,)) -> str:
    """What to do about values that are no class; `found` are such values, as far as known."""
    if ignore is None and IGNORE in found:
        unknown = f"give ignore={IGNORE} if {IGNORE} marks unknown pixels"
        return f"divide masks of 0 and 255 by 255, or {unknown}" if classes == 2 else unknown
    return "number the classes from 0, or give as many classes as there are"


def _from_one_hot(array: "np.ndarray", name: str) -> "np.ndarray":
    found = array.argmax(axis=-1)
    if not (array == (np.arange(array.shape[-1]) == found[..., None])).all():
        raise ArgumentError(soft_mask_message(name))
    return found


def _message(wrong: "np.ndarray", classes: int | None, ignore: int | None, name: str) -> str:
    shown = ", ".join(f"{value:g}" for value in wrong[:_SHOWN].tolist())
    more = ", ..." if len(wrong) > _SHOWN else ""
    numbers = wrong.astype(np.float64)
    kinds = f"0 to {classes - 1}" if classes is not None else "0, 1, 2 and so on"
    if np.isnan(numbers).any() or (numbers != np.floor(numbers)).any():
        todo = "make whole numbers of them first, by rounding if they are meant as such"
    else:
        todo = remedy(classes, ignore, numbers.tolist())
    return f"found {shown}{more} in the {name}; classes are {kinds}; {todo}"
