"""Lost hosts: every process of a cluster ends in time, with one line, when another one is lost.

TensorFlow's coordination service does the watching: all processes send the first one a sign of
life, and collective operations end with an error as soon as one is silent for too long. Here its
time limits are set, its errors become a `HostError`, and a thread ends the process where it does
something else meanwhile.

What is not seen: a process whose program hangs while TensorFlow's own threads go on.
"""

import contextlib
import math
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from keras_arch.distribute.batches import of_several_hosts
from keras_arch.distribute.cluster import Cluster, read_tf_config
from keras_arch.errors import ArgumentError, HostError

HOST_TIMEOUT = "KERAS_ARCH_HOST_TIMEOUT"
DEFAULT_TIMEOUT, SHORTEST_TIMEOUT, LONGEST_TIMEOUT = 120.0, 5.0, 86_400.0

_TASK = re.compile(r"/job:(\w+)(?:/replica:0)?/task:(\d+)")
# What the messages of TensorFlow say of lost tasks, the surest first.
_CLUES = (
    re.compile(r"(?:timed out task names|stopped sending heartbeats\)):((?:\s*/job:[\w/:]+)+)"),
    re.compile(r"remote target (/job:[\w/:]+)"),
    re.compile(r"Error reported from (/job:[\w/:]+)"),
)
# Calls of the first process, which has no name in their errors.
_OF_THE_FIRST = "tensorflow.CoordinationService/"
_OF_COLLECTIVES = ("Collective ops is aborted", _OF_THE_FIRST, "remote target /job:")


def host_timeout() -> float:
    """How long hosts wait for each other, in seconds: `KERAS_ARCH_HOST_TIMEOUT`, else 120.

    It is one for the whole process, and counts from when the strategy is made.

    Raises:
        ArgumentError: If the environment variable is no number from 5 to 86400.

    Example:
        >>> host_timeout()
        120.0
    """
    return _checked(os.environ.get(HOST_TIMEOUT) or DEFAULT_TIMEOUT)


def set_host_timeout(seconds: float) -> None:
    """Set how long hosts wait for each other, before the strategy over them is made.

    It holds for this process and those that it starts.

    Args:
        seconds: The time.

    Raises:
        ArgumentError: If it is no number from 5 to 86400.

    Example:
        >>> set_host_timeout(120)
    """
    os.environ[HOST_TIMEOUT] = f"{_checked(seconds):g}"


def _checked(value: float | str) -> float:
    try:
        seconds = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        seconds = math.nan
    if not SHORTEST_TIMEOUT <= seconds <= LONGEST_TIMEOUT:
        raise ArgumentError(
            f"the time-out of hosts ({HOST_TIMEOUT}, --host-timeout) must be "
            f"{SHORTEST_TIMEOUT:g} to {LONGEST_TIMEOUT:g} seconds, got {value!r}"
        )
    return seconds


@contextlib.contextmanager
def joining() -> Iterator[None]:
    """Context in which the strategy over all hosts is made, which waits for them to come.

    Raises:
        HostError: If one has not come in time.

    Example:
        >>> with joining():
        ...     pass
    """
    cluster, seconds = read_tf_config(), host_timeout()
    if cluster is None or cluster.workers == 1:
        yield
        return
    import tensorflow as tf

    from keras_arch._tensorflow import coordination

    kinds = [kind for kind, *_ in cluster.tasks]
    jobs = [(kind, kinds.count(kind)) for kind in dict.fromkeys(kinds)]
    coordination.set_time_limits(jobs, seconds)
    try:
        with _interrupted_at_once():
            yield
    except tf.errors.OpError as error:
        if "Could not start gRPC server" in str(error):
            raise HostError(
                f"{_named(cluster, [cluster.rank])} cannot have its port: end the process that has "
                "it, or choose another port in TF_CONFIG of all hosts"
            ) from None
        raise HostError(
            f"{_named(cluster, _lost(str(error), cluster))} did not come within {seconds:g} s "
            f"({HOST_TIMEOUT}); start all hosts again, with --resume"
        ) from None


@contextlib.contextmanager
def watching(strategy: Any) -> Iterator[None]:
    """Context in which hosts train together: it ends in time when one of them is lost.

    An error of TensorFlow that comes from a lost host becomes a `HostError`. Where none comes
    because this process computes something by itself, it is ended when a host has not answered for
    twice the time, with the same line on standard error and exit code 75. All hosts enter and leave
    it together. Under strategies of one host it does nothing.

    Args:
        strategy: A `tf.distribute.Strategy`.

    Raises:
        HostError: If a host is lost.

    Example:
        >>> from keras_arch import distribute
        >>> with watching(distribute.strategy("none")):
        ...     pass
    """
    cluster = read_tf_config() if of_several_hosts(strategy) else None
    if cluster is None:
        yield
        return
    import tensorflow as tf

    from keras_arch._tensorflow import coordination

    seconds = host_timeout()
    watch = _Watch(cluster, seconds, coordination.answers)
    watch.start()
    try:
        yield
    except tf.errors.OpError as error:
        if not _is_of_a_host(error):
            raise
        raise HostError(_line(cluster, _lost(str(error), cluster), seconds)) from None
    finally:
        watch.stop()


@contextlib.contextmanager
def _interrupted_at_once() -> Iterator[None]:
    """Context in which Ctrl-C ends the process while TensorFlow does not let Python run."""
    usual = signal.default_int_handler
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGINT) is not usual
    ):
        yield
        return
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)


class _Watch:
    """Thread that ends the process where a lost host has not ended it otherwise."""

    def __init__(
        self,
        cluster: Cluster,
        seconds: float,
        answers: Callable[[tuple[str, int]], bool],
        end: Callable[[str], None] | None = None,
    ) -> None:
        self.cluster = cluster
        self.seconds = seconds
        self.answers = answers
        self.end = end or _end
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="host watch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._done.set()

    def _run(self) -> None:
        now = time.monotonic()
        others = [rank for rank in range(self.cluster.workers) if rank != self.cluster.rank]
        seen = dict.fromkeys(others, now)
        while not self._done.wait(self.seconds / 4):
            for rank in others:
                if self._done.is_set():
                    return
                if self.answers(self.cluster.tasks[rank][:2]):
                    seen[rank] = time.monotonic()
            # Twice the time: TensorFlow's own error comes first, if this process waits for it.
            silent = [rank for rank in others if time.monotonic() - seen[rank] > 2 * self.seconds]
            if silent and not self._done.is_set():
                self.end(_line(self.cluster, silent, self.seconds))
                return


def _end(line: str) -> None:
    """End the process from another thread than the main one, which may never return."""
    os.write(2, f"error: {line}\n".encode())
    os._exit(HostError.exit_code)


def _is_of_a_host(error: Any) -> bool:
    """Whether an error of TensorFlow comes from the loss of a host, or of the way to it."""
    import tensorflow as tf

    kinds = (
        tf.errors.UnavailableError,
        tf.errors.AbortedError,
        tf.errors.DeadlineExceededError,
        tf.errors.CancelledError,
    )
    return isinstance(error, kinds) or any(clue in str(error) for clue in _OF_COLLECTIVES)


def _lost(message: str, cluster: Cluster) -> list[int]:
    """Ranks of the processes that an error of TensorFlow says are lost; often, but not always."""
    ranks = {task[:2]: rank for rank, task in enumerate(cluster.tasks)}
    for clue in _CLUES:
        names = _TASK.findall(" ".join(clue.findall(message)))
        found = {ranks.get((kind, int(index)), cluster.rank) for kind, index in names}
        if others := sorted(found - {cluster.rank}):
            return others
    if _OF_THE_FIRST in message and cluster.rank != 0:
        return [0]
    return []


def _line(cluster: Cluster, ranks: list[int], seconds: float) -> str:
    return (
        f"{_named(cluster, ranks)} was lost: it ended, or was silent for {seconds:g} s; run all "
        "hosts again with --resume"
    )


def _named(cluster: Cluster, ranks: list[int]) -> str:
    named = [
        f"{kind} {index} ({place})" for kind, index, place in map(cluster.tasks.__getitem__, ranks)
    ]
    return " and ".join(named) or "another host"
