"""Memory settings of the C library for training steps on a CPU."""

import ctypes
import os
import sys

from keras_arch._tensorflow import switch

# glibc's names and numbers (malloc.h, mallopt(3)).
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_LARGEST_BLOCK, _TRIM_LIMIT = 2**30, 2**31 - 1
# The user's own settings, which are left alone.
_SETTINGS = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_MMAP_MAX_", "MALLOC_TRIM_THRESHOLD_")


def keep_freed_memory() -> bool:
    """Make the C library keep large freed blocks, which the next training step takes again.

    A step on a CPU frees blocks of many megabytes that the next one asks for anew. glibc hands
    those over 32 MB straight back to the system, which must then clear every page of them for
    each step: 55,000 page faults a step of pix2pix at 256 pixels, a tenth of its time. The process
    then stays about as large as a step makes it at its peak.

    Source: mallopt(3), `M_MMAP_THRESHOLD` and `M_TRIM_THRESHOLD`. The setting holds for the whole
    process, so only a process of ours makes it: the command line and `keras_arch.train`. Nothing
    is set while fast paths are off (`keras_arch.config.set_fast_paths`), where the environment has
    a setting already (`MALLOC_MMAP_THRESHOLD_`, `MALLOC_MMAP_MAX_`, `MALLOC_TRIM_THRESHOLD_`, or
    `GLIBC_TUNABLES` with `glibc.malloc`), or where the C library is not glibc.

    Returns whether the setting is in force.

    Example:
        >>> keep_freed_memory() in (True, False)
        True
    """
    given = any(name in os.environ for name in _SETTINGS)
    given = given or "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", "")
    if given or not switch.fast_paths() or sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    # It returns 0 where it refuses.
    return mallopt is not None and all(
        [mallopt(_MMAP_THRESHOLD, _LARGEST_BLOCK), mallopt(_TRIM_THRESHOLD, _TRIM_LIMIT)]
    )
