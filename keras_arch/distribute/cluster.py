"""The cluster that the environment variable `TF_CONFIG` describes; TensorFlow is not imported."""

import dataclasses
import json
import os
from collections.abc import Mapping
from typing import Any

from keras_arch.errors import ArgumentError

# In the order in which TensorFlow numbers the hosts.
_TRAIN = ("chief", "worker")
_EXAMPLE = (
    '{"cluster": {"worker": ["10.0.0.1:2222", "10.0.0.2:2222"]}, '
    '"task": {"type": "worker", "index": 0}}'
)


@dataclasses.dataclass(frozen=True)
class Cluster:
    """The processes that train together, and this one among them.

    Attributes:
        tasks: `(type, index, address)` of each, in the order of their ranks: the chief first.
        type: Type of this process, `"chief"` or `"worker"`.
        index: Its number among those of its type.

    Example:
        >>> tasks = (("worker", 0, "10.0.0.1:2222"), ("worker", 1, "10.0.0.2:2222"))
        >>> one = Cluster(tasks, "worker", 1)
        >>> one.workers, one.rank, one.is_chief
        (2, 1, False)
    """

    tasks: tuple[tuple[str, int, str], ...]
    type: str
    index: int

    @property
    def workers(self) -> int:
        """Number of processes."""
        return len(self.tasks)

    @property
    def rank(self) -> int:
        """Number of this process among all, from 0."""
        return [task[:2] for task in self.tasks].index((self.type, self.index))

    @property
    def is_chief(self) -> bool:
        """Whether this process is the one that writes: the chief, or the first worker."""
        return self.rank == 0


def read_tf_config(environ: Mapping[str, str] = os.environ) -> Cluster | None:
    """The cluster of the environment variable `TF_CONFIG`.

    Args:
        environ: The environment.

    Returns:
        The cluster; `None` where the variable is not set, is empty or names no cluster.

    Raises:
        ArgumentError: If it is malformed, or has tasks that Keras 3 does not know (`ps`) or need
            not have (`evaluator`).

    Example:
        >>> read_tf_config({}) is None
        True
        >>> task = '{"type": "chief", "index": 0}'
        >>> text = f'{{"cluster": {{"chief": ["localhost:1234"]}}, "task": {task}}}'
        >>> read_tf_config({"TF_CONFIG": text}).workers
        1
    """
    text = environ.get("TF_CONFIG", "").strip()
    if not text:
        return None
    try:
        content = json.loads(text)
    except ValueError as error:
        raise _malformed(f"it is no JSON ({error})") from None
    if not isinstance(content, dict):
        raise _malformed(f"it must be an object with cluster and task, got {text[:60]}")
    cluster = content.get("cluster")
    if not cluster:
        return None
    tasks = _tasks(cluster)
    kind, index = _own_task(content.get("task"))
    if (kind, index) not in [task[:2] for task in tasks]:
        known = ", ".join(f"{task[0]} {task[1]}" for task in tasks)
        raise _malformed(f"task {kind} {index} is none of the cluster, which has {known}")
    return Cluster(tasks, kind, index)


def is_chief() -> bool:
    """Whether this process writes the files of a run: the only one, or the first of its cluster.

    Example:
        >>> is_chief()
        True
    """
    cluster = read_tf_config()
    return cluster is None or cluster.is_chief


def _tasks(cluster: Any) -> tuple[tuple[str, int, str], ...]:
    if not isinstance(cluster, dict):
        raise _malformed(f"cluster must be an object of lists of addresses, got {cluster!r}")
    for kind in cluster:
        _check_type(kind)
    tasks = []
    for kind in _TRAIN:
        addresses = cluster.get(kind, [])
        if not isinstance(addresses, list):
            raise _malformed(f"cluster.{kind} must be a list of addresses, got {addresses!r}")
        for index, address in enumerate(addresses):
            if not _is_address(address):
                raise _malformed(f"cluster.{kind}[{index}] must be HOST:PORT, got {address!r}")
            tasks.append((kind, index, address))
    if not tasks:
        raise _malformed("cluster has no worker")
    if len(cluster.get("chief", [])) > 1:
        raise _malformed(f"there is one chief, got {len(cluster['chief'])}")
    places = [address for *_, address in tasks]
    if twice := [address for address in places if places.count(address) > 1]:
        raise _malformed(f"two processes cannot have one address, {twice[0]}")
    return tuple(tasks)


def _own_task(task: Any) -> tuple[str, int]:
    if not isinstance(task, dict):
        raise _malformed(f"task must be an object with type and index, got {task!r}")
    kind, index = _check_type(task.get("type")), task.get("index")
    # Some launchers write numbers as text.
    if isinstance(index, str) and index.isdecimal():
        index = int(index)
    if isinstance(index, bool) or not isinstance(index, int) or index < 0:
        raise _malformed(f"task.index must be a whole number from 0, got {index!r}")
    return kind, index


def _check_type(kind: Any) -> str:
    if kind == "ps":
        raise ArgumentError(
            "TF_CONFIG has parameter servers (ps), which Keras 3 does not support; make all "
            f"processes workers: {_EXAMPLE}"
        )
    if kind == "evaluator":
        raise ArgumentError(
            "TF_CONFIG has an evaluator, which is not needed: the workers evaluate together; "
            f"leave it out: {_EXAMPLE}"
        )
    if kind not in _TRAIN:
        raise _malformed(f"the type of a task must be chief or worker, got {kind!r}")
    return str(kind)


def _is_address(address: Any) -> bool:
    host, _, port = address.rpartition(":") if isinstance(address, str) else ("", "", "")
    return bool(host) and port.isdecimal() and 0 < int(port) < 65536


def _malformed(fault: str) -> ArgumentError:
    return ArgumentError(f"TF_CONFIG is malformed: {fault}; write for example {_EXAMPLE}")
