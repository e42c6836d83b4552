"""Switch of the fast paths, and the Keras and TensorFlow versions that each was checked for."""

import dataclasses
import functools
import logging
import os

_log = logging.getLogger("keras_arch")
_enabled = os.environ.get("KERAS_ARCH_FAST_PATHS", "1").lower() not in ("0", "false", "off", "no")

Release = tuple[int, int]


def set_fast_paths(enabled: bool) -> None:
    """Switch the fast paths on or off for this process.

    Fast paths reach into Keras or TensorFlow to save time: TensorFlow's fused batch normalization
    in the stock layer, Adam in one pass over memory, and glibc's memory settings. The results are
    the same up to the rounding of float32. `KERAS_ARCH_FAST_PATHS=0` in the environment switches
    them off from the start.

    Args:
        enabled: Whether to use them. A training step or a prediction that is compiled already
            stays as it is; memory settings that were made stay made.

    Example:
        >>> set_fast_paths(False)
        >>> fast_paths()
        False
        >>> set_fast_paths(True)
    """
    global _enabled
    _enabled = bool(enabled)


def fast_paths() -> bool:
    """Whether the fast paths are switched on; see `set_fast_paths`."""
    return _enabled


@dataclasses.dataclass(frozen=True)
class FastPath:
    """One fast path with the versions that it was checked for.

    Attributes:
        name: Its name in the log.
        keras: First release that it was checked for, and the first one that it was not.
        tensorflow: Likewise.
    """

    name: str
    keras: tuple[Release, Release] = ((3, 15), (3, 16))
    tensorflow: tuple[Release, Release] = ((2, 21), (2, 22))

    @property
    def enabled(self) -> bool:
        """Whether to take it: switched on, on the TensorFlow backend and in checked versions."""
        return _enabled and _usable(self)


@functools.cache
def _usable(path: FastPath) -> bool:
    import keras

    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    for module, (first, end) in ((keras, path.keras), (tf, path.tensorflow)):
        release = tuple(int(part) for part in module.__version__.split(".")[:2])
        if not first <= release < end:
            _log.warning(
                "%s is off: it was checked for %s %d.%d to before %d.%d, this is %s",
                path.name,
                module.__name__,
                *first,
                *end,
                module.__version__,
            )
            return False
    return True
