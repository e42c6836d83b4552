"""Exceptions of the package.

Every message names the given value and the remedy. The command line prints it as one line and
exits with code 2.
"""


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


class Interrupted(KerasArchError):
    """A run that was stopped by a signal and has saved its state.

    Args:
        message: The saved state and the command that resumes the run.
        signal: Number of the signal.
    """

    def __init__(self, message: str, signal: int) -> None:
        super().__init__(message)
        self.signal = signal
