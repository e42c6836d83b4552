"""Agreement of hosts: what all of them tell each other outside of a training step.

Each function is a small exchange that all hosts of a strategy make at the same place of the
program. Under strategies of one host they do nothing.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from keras_arch.distribute.batches import of_several_hosts
from keras_arch.errors import KerasArchError, RunError

# Longer messages are cut.
_MESSAGE_BYTES = 500


def gather(strategy: Any, values: Sequence[float]) -> np.ndarray:
    """The values of all hosts.

    Args:
        strategy: A `tf.distribute.Strategy`.
        values: As many on each host.

    Returns:
        `float64` `(hosts, values)`, in the order of the hosts.

    Example:
        >>> from keras_arch import distribute
        >>> gather(distribute.strategy("none"), [1.0, 2.0]).tolist()
        [[1.0, 2.0]]
    """
    own = np.asarray(values, np.float64)
    if not of_several_hosts(strategy):
        return own[None]
    import tensorflow as tf

    extended = strategy.extended
    table = np.zeros((extended._num_workers, own.size))
    table[extended._id_in_cluster] = own
    replicas = len(extended.worker_devices)

    def part(context: Any) -> Any:
        # One replica of each host speaks for it.
        speaks = context.replica_id_in_sync_group % replicas == 0
        return tf.constant(table if speaks else np.zeros_like(table))

    parts = strategy.experimental_distribute_values_from_function(part)
    return np.asarray(strategy.reduce("SUM", parts, axis=None))


def of_chief(strategy: Any, values: Mapping[str, float]) -> dict[str, float]:
    """Numbers by name, as the chief has them: a decision that follows from them is one.

    Args:
        strategy: A `tf.distribute.Strategy`.
        values: The same names on each host.

    Example:
        >>> from keras_arch import distribute
        >>> of_chief(distribute.strategy("none"), {"loss": 0.5})
        {'loss': 0.5}
    """
    first = gather(strategy, list(values.values()))[0]
    return dict(zip(values, first.tolist(), strict=True))


def wait(strategy: Any) -> None:
    """Wait until all hosts are here.

    Example:
        >>> from keras_arch import distribute
        >>> wait(distribute.strategy("none"))
    """
    gather(strategy, [0.0])


@contextlib.contextmanager
def together(strategy: Any) -> Iterator[None]:
    """What runs inside succeeds on all hosts, or each of them ends with one line.

    It must not exchange anything with the other hosts. An error of this package on one host is
    raised there; on the others it is a `RunError` with its message.

    Args:
        strategy: A `tf.distribute.Strategy`.

    Example:
        >>> from keras_arch import distribute
        >>> with together(distribute.strategy("none")):
        ...     pass
    """
    if not of_several_hosts(strategy):
        yield
        return
    error = None
    try:
        yield
    except KerasArchError as raised:
        error = raised
    text = b"" if error is None else str(error).encode()[:_MESSAGE_BYTES] or b"?"
    messages = gather(strategy, [*text, *[0] * (_MESSAGE_BYTES - len(text))]).astype(np.uint8)
    if error is not None:
        raise error
    for number, row in enumerate(messages):
        if row.any():
            message = row.tobytes().rstrip(b"\0").decode(errors="replace")
            raise RunError(f"host {number} has stopped: {message}")
