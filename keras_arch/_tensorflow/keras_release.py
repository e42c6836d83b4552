"""The releases of Keras that its repairs in this package were checked with."""

import logging

# The first one, and the first that was not checked.
CHECKED = ((3, 15), (3, 16))
_log = logging.getLogger("keras_arch")


def is_checked(subject: str, consequence: str) -> bool:
    """Whether this Keras is one that repairs were checked with; if not, the log says so.

    Args:
        subject: What was checked, with its verb: `"several hosts were"`.
        consequence: What follows without the repair.

    Example:
        >>> is_checked("several hosts were", "is not repaired")
        True
    """
    import keras

    release = tuple(int(part) for part in keras.__version__.split(".")[:2])
    if CHECKED[0] <= release < CHECKED[1]:
        return True
    _log.warning(
        "%s checked with Keras %d.%d only, this is %s, which %s",
        *(subject, *CHECKED[0], keras.__version__, consequence),
    )
    return False
