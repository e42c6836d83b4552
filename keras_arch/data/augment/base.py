"""Base class of augmentations, and looking augmentations up by name."""

import dataclasses
import difflib
import math
import numbers
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

from keras_arch.errors import ArgumentError, whole_number


class Augmentation:
    """Base class of augmentations: dataclasses whose numbers are checked.

    A subclass is callable, `(images, seed) -> images`, on `(batch, height, width, channels)` and a
    seed of two integers. It gives the same change for the same seed.

    Attributes:
        on_pixels: Whether it changes pixels in [0, 255], before they are normalised.

    Raises:
        ArgumentError: If a number is out of range.
    """

    on_pixels: ClassVar[bool] = False

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            if "check" in field.metadata:
                name = f"{type(self).__name__}: {field.name}"
                value = field.metadata["check"](name, getattr(self, field.name))
                object.__setattr__(self, field.name, value)


def whole(default: int, least: int = 1) -> Any:
    """A field that takes whole numbers of any integer type, from `least`."""

    def check(name: str, value: Any) -> int:
        return whole_number(name, value, least)

    return dataclasses.field(default=default, metadata={"check": check})


def real(default: float, most: float = math.inf, least: float | None = None) -> Any:
    """A field that takes real numbers: above 0, or from `least`; up to `most`, and finite."""
    low = "(0" if least is None else f"[{least:g}"
    limits = f"{low}, inf)" if most == math.inf else f"{low}, {most:g}]"

    def check(name: str, value: Any) -> Any:
        number = isinstance(value, numbers.Real) and not isinstance(value, bool)
        number = number and math.isfinite(value) and value <= most
        if not number or not (value > 0 if least is None else value >= least):
            raise ArgumentError(f"{name} must be a number in {limits}, got {value!r}")
        return value

    return dataclasses.field(default=default, metadata={"check": check})


class Named(NamedTuple):
    """An augmentation by its name in configs: its class, an example, the types of its numbers."""

    build: Callable[..., Any]
    example: str
    numbers: tuple[type, ...] = ()


def look_up(
    names: Sequence[Any], table: Mapping[str, Named], ready: Callable[[Any], bool], title: str
) -> tuple[Any, ...]:
    """Look names such as `"randaugment:2,9"` up in a table, with `title` for messages.

    Those of which `ready` is true are augmentations already, and taken as they are.
    """
    if isinstance(names, str):
        raise ArgumentError(f"augment must be a list of names, got {names!r}; write [{names!r}]")
    return tuple(each if ready(each) else _by_name(each, table, title) for each in names)


def _by_name(text: Any, table: Mapping[str, Named], title: str) -> Any:
    name, colon, rest = str(text).partition(":")
    if name not in table:
        close = difflib.get_close_matches(name, table, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        *first, last = (named.example for named in table.values())
        raise ArgumentError(
            f"no {title} named {text!r}; there are {', '.join(first)} and {last}{hint}"
        )
    found = table[name]
    # "2:9" is read as "2,9", for in a list of YAML the comma ends a name without quotes.
    parts = rest.replace(":", ",").split(",") if colon else []
    readable = not colon or 1 <= len(parts) <= len(found.numbers)
    try:
        values = [number(part) for number, part in zip(found.numbers, parts, strict=False)]
    except ValueError:
        readable = False
    if not readable:
        raise ArgumentError(f"augmentation {text!r} cannot be read; write {found.example}")
    return found.build(*values)
