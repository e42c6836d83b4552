"""Distribution strategies of `tf.distribute` by name; models are built in their scope.

Keras' `fit` splits a batch over the replicas; `keras_arch.trainers.engines.tensorflow` has the step
of the adversarial trainers on each of them.
"""

import functools
import logging
import os
from typing import Any

from keras_arch.distribute.batches import on_replicas, share
from keras_arch.distribute.cluster import Cluster, is_chief, read_tf_config
from keras_arch.distribute.failure import host_timeout, joining, set_host_timeout, watching
from keras_arch.errors import ArgumentError

__all__ = [
    "STRATEGIES",
    "Cluster",
    "check_name",
    "host_timeout",
    "is_chief",
    "on_replicas",
    "read_tf_config",
    "set_host_timeout",
    "share",
    "strategy",
    "sum_over_replicas",
    "watching",
]

STRATEGIES = ("auto", "none", "mirrored", "multi_worker", "tpu")
_OF_HOSTS = ("auto", "multi_worker")
_log = logging.getLogger("keras_arch")


def strategy(name: str = "auto", *, devices: list[str] | None = None, tpu: str = "") -> Any:
    """A distribution strategy.

    Args:
        name: `"auto"`: several hosts where `TF_CONFIG` describes more than one, mirrored on several
            GPUs, else none. `"none"`: one device. `"mirrored"`: all GPUs of this host (or
            `devices`); with a single device it works and says so. `"multi_worker"`: the hosts in
            `TF_CONFIG`, which must be asked for before TensorFlow is used for anything else, and
            waits for all of them (see `host_timeout`). `"tpu"`: a TPU.
        devices: For `"mirrored"`, the devices to use, such as `["GPU:0", "GPU:1"]`.
        tpu: For `"tpu"`, its name or address; empty finds the local one.

    Returns:
        A `tf.distribute.Strategy`.

    Raises:
        ArgumentError: If the name is unknown, or what it needs is not there.
        HostError: If another host does not come.

    Example:
        >>> from keras_arch import distribute
        >>> distribute.strategy("none").num_replicas_in_sync
        1
    """
    check_name(name)
    # Before anything lists devices, which starts TensorFlow's runtime without the other hosts.
    cluster = read_tf_config() if name in _OF_HOSTS else None
    if name == "multi_worker" or (cluster is not None and cluster.workers > 1):
        return _multi_worker()
    if not os.environ.get("TF_CONFIG", "{}").strip():
        # TensorFlow's strategies fail at an empty variable, which says nothing.
        del os.environ["TF_CONFIG"]
    import tensorflow as tf

    if name == "auto":
        name = "mirrored" if len(tf.config.list_logical_devices("GPU")) > 1 else "none"
    if name == "none":
        return tf.distribute.get_strategy()
    if name == "mirrored":
        mirrored = _mirrored(tuple(devices) if devices else None)
        if mirrored.num_replicas_in_sync == 1:
            _log.warning("strategy mirrored: one device only, so it trains as strategy none does")
        return mirrored
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver.connect(tpu)
    except (ValueError, tf.errors.OpError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ArgumentError(f"strategy tpu found no TPU {tpu or '(local)'}: {reason}") from None
    return tf.distribute.TPUStrategy(resolver)


def check_name(name: str) -> None:
    """Refuse the name of a strategy that there is not; TensorFlow is not imported for it.

    Args:
        name: As for `strategy`.

    Raises:
        ArgumentError: If it is unknown, or the environment variable that it reads is malformed or
            not set.

    Example:
        >>> check_name("mirrored")
    """
    if name in ("parameter_server", "ps"):
        raise ArgumentError(
            f"strategy {name!r} is not supported by Keras 3; use multi_worker for several hosts"
        )
    if name not in STRATEGIES:
        raise ArgumentError(f"strategy must be one of {', '.join(STRATEGIES)}, got {name!r}")
    if name in _OF_HOSTS:
        host_timeout()
    if name in _OF_HOSTS and read_tf_config() is None and name != "auto":
        raise ArgumentError(
            "strategy multi_worker needs the environment variable TF_CONFIG with the "
            "addresses of all hosts and this host's place among them"
        )


@functools.cache
def _mirrored(devices: tuple[str, ...] | None) -> Any:
    """One strategy for the same devices: the collectives of two in one process get mixed up."""
    import tensorflow as tf

    from keras_arch._tensorflow import several_hosts, synchronized_norm

    several_hosts.repair_keras()
    synchronized_norm.install()
    if devices:
        _check_devices(devices)
    return tf.distribute.MirroredStrategy(devices)


@functools.cache
def _multi_worker() -> Any:
    """The one strategy over all hosts that a process can have."""
    import tensorflow as tf

    from keras_arch._tensorflow import several_hosts, synchronized_norm

    several_hosts.repair_keras()
    synchronized_norm.install()
    try:
        with joining():
            return tf.distribute.MultiWorkerMirroredStrategy()
    except RuntimeError as error:
        if "program startup" not in str(error):
            raise
        raise ArgumentError(
            "strategy multi_worker must be made before TensorFlow computes anything or lists its "
            "devices; call keras_arch.distribute.strategy first in the program"
        ) from None


def _check_devices(devices: tuple[str, ...]) -> None:
    """Refuse devices that this host does not have."""
    import tensorflow as tf

    there = [(each.device_type, int(each.name.rpartition(":")[2])) for each in _logical_devices()]
    for device in devices:
        try:
            spec = tf.DeviceSpec.from_string(device)
        except ValueError:
            spec = tf.DeviceSpec()
        if (spec.device_type, spec.device_index or 0) not in there:
            known = ", ".join(f"{kind}:{number}" for kind, number in there)
            raise ArgumentError(f"there is no device {device!r} here; there are {known}")


def _logical_devices() -> list[Any]:
    import tensorflow as tf

    return tf.config.list_logical_devices()


def sum_over_replicas(value: Any) -> Any:
    """The sum of a number over all replicas, inside a step; outside of one the number itself.

    Args:
        value: A tensor that has a value on each replica.

    Example:
        >>> float(sum_over_replicas(3.0))
        3.0
    """
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return value
    return context.all_reduce(tf.distribute.ReduceOp.SUM, value)
