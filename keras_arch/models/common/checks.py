"""Checks of arguments that several builders share."""

import math
from collections.abc import Collection
from typing import Any

from keras_arch.errors import ArgumentError, whole_number


def positive_ints(**numbers: Any) -> tuple[int, ...]:
    """Several positive whole numbers of any integer type as plain `int`s, in order.

    Raises:
        ArgumentError: At the first that is none.

    Example:
        >>> positive_ints(latent_size=100, classes=10)
        (100, 10)
    """
    return tuple(whole_number(name, number) for name, number in numbers.items())


def check_choice(name: str, value: Any, choices: Collection[Any]) -> None:
    """Refuse an argument that is none of its choices.

    Raises:
        ArgumentError: With the choices.

    Example:
        >>> check_choice("norm", "batch", ("batch", None))
    """
    # `True` is no 1 here.
    if not any(choice == value and type(choice) is type(value) for choice in choices):
        *first, last = (repr(choice) for choice in choices)
        listed = f"{', '.join(first)} or {last}" if first else last
        raise ArgumentError(f"{name} must be {listed}, got {value!r}")


def check_rate(name: str, rate: Any) -> None:
    """Refuse a dropout rate that is not from 0 to below 1.

    Raises:
        ArgumentError: If it is none.

    Example:
        >>> check_rate("dropout", 0.5)
    """
    if not isinstance(rate, int | float) or isinstance(rate, bool) or not 0 <= rate < 1:
        raise ArgumentError(f"{name} must be a rate in [0, 1), got {rate!r}")


def check_positive(name: str, value: Any) -> None:
    """Refuse what is no positive number.

    Raises:
        ArgumentError: If it is none.

    Example:
        >>> check_positive("max_norm", 1.9365)
    """
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 < value < math.inf:
        raise ArgumentError(f"{name} must be a positive number, got {value!r}")


def check_image_shape(
    shape: Any,
    name: str = "image_shape",
    *,
    minimum: int = 1,
    multiple: int = 1,
    open_sides: bool = False,
) -> tuple[Any, Any, int]:
    """The shape of an image as `(height, width, channels)` of plain `int`s.

    Args:
        shape: The shape.
        name: Name of the argument, for the message.
        minimum: Smallest height and width in pixels.
        multiple: Number of pixels that divides height and width.
        open_sides: Whether height and width may be `None`.

    Raises:
        ArgumentError: If it is no such shape.

    Example:
        >>> check_image_shape([28, 28, 1])
        (28, 28, 1)
    """
    try:
        height, width, channels = shape
        sides = [
            None if side is None and open_sides else whole_number(name, side)
            for side in (height, width)
        ]
        channels = whole_number(name, channels)
    except (TypeError, ValueError):
        sides, channels = [0, 0], 0
    if not channels or any(side is not None and side < minimum for side in sides):
        least = f" of at least {minimum}x{minimum} pixels" if minimum > 1 else " in whole pixels"
        raise ArgumentError(
            f"{name} must be (height, width, channels){least}, got {shape!r}{_hint(shape)}"
        )
    for side, size in zip(("height", "width"), sides, strict=True):
        if size is not None and size % multiple:
            below = size - size % multiple
            near = f"{below} or {below + multiple}" if below >= minimum else f"{below + multiple}"
            raise ArgumentError(
                f"the {side} of {name} must be a multiple of {multiple} pixels, got {size}; the "
                f"next is {near}"
            )
    return *sides, channels


def _hint(shape: Any) -> str:
    """The hint for a shape whose channels come first."""
    match shape:
        case (1 | 3 | 4 as channels, int(height), int(width)) if min(height, width) > channels:
            return f"; channels come last: ({height}, {width}, {channels})"
    return ""
