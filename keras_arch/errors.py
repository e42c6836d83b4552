"""Exceptions of the package.

Every message names the given value and the remedy. The command line prints it as one line and
exits with code 2; after a `HostError` with code 75, after `Interrupted` with that of its signal.
"""

import contextlib
import operator
from collections.abc import Iterator, Sequence
from typing import Any


class KerasArchError(Exception):
    """Base class: a user's error, or a condition outside the program, in one line."""


class ArgumentError(KerasArchError, ValueError):
    """An argument with a wrong value."""


class ConvertError(ArgumentError):
    """Weights of another library that do not fit the architecture."""


class ConfigError(KerasArchError, ValueError):
    """A config with an unknown key or a wrong value."""


class DataError(KerasArchError, ValueError):
    """A data source that is missing, empty or corrupt, or does not fit the model."""


class StorageError(KerasArchError, OSError):
    """A file or folder that cannot be written; the previous one is unchanged."""


class HubError(KerasArchError):
    """A repository that is missing, private, unreachable or cannot be written."""


class IntegrityError(HubError):
    """A model directory whose files differ from their recorded hashes."""


class UnsafeContentError(HubError):
    """A model directory whose loading would run code of its author."""


class NonFiniteError(KerasArchError, ArithmeticError):
    """A loss or a weight that is NaN or infinite."""


class RunError(KerasArchError):
    """A run directory that cannot be started, resumed or read."""


class HostError(KerasArchError):
    """A host of a cluster that is lost, or has not come; the run can be resumed on all hosts.

    Attributes:
        exit_code: 75, `EX_TEMPFAIL` of sysexits.h: run it again.
    """

    exit_code = 75


class Interrupted(KerasArchError):
    """A run that was stopped by a signal and has saved its state.

    Args:
        message: The saved state and the command that resumes the run.
        signal: Number of the signal.
    """

    def __init__(self, message: str, signal: int) -> None:
        super().__init__(message)
        self.signal = signal


@contextlib.contextmanager
def naming(what: object) -> Iterator[None]:
    """Context manager that begins the message of an `ArgumentError` with what it is about.

    Example:
        >>> with naming("scan.png"):
        ...     raise ArgumentError("images must be of numbers")
        Traceback (most recent call last):
        keras_arch.errors.ArgumentError: scan.png: images must be of numbers
    """
    try:
        yield
    except ArgumentError as error:
        raise ArgumentError(f"{what}: {error}") from None


def listed(names: Sequence[str], most: int = 10) -> str:
    """Names in a message, at most some of them and the number of the rest.

    Example:
        >>> listed(["a", "b", "c", "d"], 2)
        'a, b and 2 more'
    """
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def whole_number(name: str, value: Any, least: int = 1) -> int:
    """A whole number of any integer type (`int`, `np.int64`, ...) as an `int`.

    Args:
        name: The argument's name, for the message.
        value: What was given; floats and booleans are refused.
        least: The smallest that is allowed.

    Raises:
        ArgumentError: If it is not a whole number of at least `least`.

    Example:
        >>> import numpy as np
        >>> whole_number("count", np.int64(3))
        3
    """
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = None
    if number is None or number < least:
        kind = "a positive whole number" if least == 1 else f"a whole number of at least {least}"
        raise ArgumentError(f"{name} must be {kind}, got {value!r}")
    return number


def checked_seed(seed: Any) -> int:
    """A seed as an `int`, which must be a whole number from 0 to 2**63 - 1.

    Raises:
        ArgumentError: If it is another value.

    Example:
        >>> checked_seed(3)
        3
    """
    try:
        number = whole_number("seed", seed, 0)
    except ArgumentError:
        number = 2**63
    if number >= 2**63:
        raise ArgumentError(f"seed must be a whole number from 0 to 2**63 - 1, got {seed!r}")
    return number
