"""Errors that a user can act on.

Every message names the value that was given and what would be right. The command line prints
them as one line and exits with code 2; from Python they are ordinary exceptions.
"""

import operator
from typing import Any


class KerasArchError(Exception):
    """A user's mistake or a condition outside the program, told in one line."""


class ArgumentError(KerasArchError, ValueError):
    """An argument that a function cannot work with."""


class ConvertError(ArgumentError):
    """Weights of another library that are not those of the architecture."""


class ConfigError(KerasArchError, ValueError):
    """A configuration that names an unknown key or holds a wrong value."""


class DataError(KerasArchError, ValueError):
    """A data source that is missing, empty, corrupt or does not fit the model."""


class StorageError(KerasArchError, OSError):
    """A file or folder that cannot be written; what was there before is unchanged."""


class HubError(KerasArchError):
    """A repository that is missing, private, unreachable or cannot be written."""


class IntegrityError(HubError):
    """A model directory whose content is not what its record says."""


class UnsafeContentError(HubError):
    """A model directory that asks for code to be run."""


class NonFiniteError(KerasArchError, ArithmeticError):
    """A loss or a weight that is not a number."""


class RunError(KerasArchError):
    """A run directory that cannot be started, resumed or read."""


class Interrupted(KerasArchError):
    """A run that was asked to stop and has saved its state.

    Args:
        message: What was saved and how to go on.
        signal: Number of the signal that asked.
    """

    def __init__(self, message: str, signal: int) -> None:
        super().__init__(message)
        self.signal = signal


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
