"""Distribution strategies of `tf.distribute` by name; models are built in their scope.

Keras' `fit` splits a batch over the replicas; `keras_arch.trainers.engines.tensorflow` has the step
of the adversarial trainers on each of them.
"""

import functools
import logging
import os
import sys
from typing import Any

from keras_arch.distribute import tpu as tpu_connection
from keras_arch.distribute.batches import on_replicas, share
from keras_arch.distribute.cluster import Cluster, is_chief, read_tf_config
from keras_arch.distribute.failure import host_timeout, joining, set_host_timeout, watching
from keras_arch.distribute.jax_devices import data_parallel
from keras_arch.errors import ArgumentError

__all__ = [
    "STRATEGIES",
    "Cluster",
    "check_name",
    "data_parallel",
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


def strategy(
    name: str = "auto",
    *,
    devices: list[str] | None = None,
    tpu: str = "",
    tpu_timeout: float | None = None,
) -> Any:
    """A distribution strategy.

    Args:
        name: `"auto"`: several hosts where `TF_CONFIG` describes more than one, mirrored on several
            GPUs, else none. `"none"`: one device. `"mirrored"`: all GPUs of this host (or
            `devices`); with a single device it works and says so. `"multi_worker"`: the hosts in
            `TF_CONFIG`, which must be asked for before TensorFlow is used for anything else, and
            waits for all of them (see `host_timeout`). `"tpu"`: a TPU.
        devices: For `"mirrored"`, the devices to use, such as `["GPU:0", "GPU:1"]`.
        tpu: For `"tpu"`, its address `"grpc://HOST:PORT"`, its name, or `"local"` for one of this
            machine. Default: the environment variable `TPU_NAME`.
        tpu_timeout: Seconds after which the connection to a TPU is given up. Default: the
            environment variable `KERAS_ARCH_TPU_TIMEOUT`, else 20.

    Returns:
        A `tf.distribute.Strategy`.

    Raises:
        ArgumentError: If the name is unknown, what it needs is not there, or Keras runs on another
            backend than TensorFlow; on JAX `data_parallel` takes the place of strategies.
        HostError: If another host does not come.

    Example:
        >>> from keras_arch import distribute
        >>> distribute.strategy("none").num_replicas_in_sync
        1
    """
    check_name(name, tpu)
    # Before anything lists devices, which starts TensorFlow's runtime without the other hosts.
    cluster = read_tf_config() if name in _OF_HOSTS else None
    if name == "multi_worker" or (cluster is not None and cluster.workers > 1):
        return _multi_worker()
    if not os.environ.get("TF_CONFIG", "{}").strip():
        # TensorFlow's strategies fail at an empty variable, which says nothing.
        del os.environ["TF_CONFIG"]
    if name == "tpu":
        return tpu_connection.strategy(tpu, tpu_timeout)
    import tensorflow as tf

    if name == "auto":
        name = "mirrored" if len(tf.config.list_logical_devices("GPU")) > 1 else "none"
    if name == "none":
        return tf.distribute.get_strategy()
    mirrored = _mirrored(tuple(devices) if devices else None)
    if mirrored.num_replicas_in_sync == 1:
        _log.warning("strategy mirrored: one device only, so it trains as strategy none does")
    return mirrored


def check_name(name: str, tpu: str = "") -> None:
    """Refuse the name of a strategy that there is not; TensorFlow is not imported for it.

    Args:
        name: As for `strategy`.
        tpu: Likewise.

    Raises:
        ArgumentError: If it is unknown, or the environment variable that it reads is malformed or
            not set; or Keras runs on another backend than TensorFlow.

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
    if (backend := _backend()) != "tensorflow":
        instead = (
            "call keras_arch.distribute.data_parallel() before models are built, and use fit"
            if backend == "jax"
            else "there models train on one device, by fit"
        )
        raise ArgumentError(
            f"keras_arch.train and distribution strategies run on KERAS_BACKEND=tensorflow, it is "
            f"{backend!r}: {instead}"
        )
    if name == "tpu":
        tpu_connection.check_named(tpu)
    if name in _OF_HOSTS and read_tf_config() is None and name != "auto":
        raise ArgumentError(
            "strategy multi_worker needs the environment variable TF_CONFIG with the "
            "addresses of all hosts and this host's place among them"
        )


def _backend() -> str:
    """The backend of Keras, which is not imported for it."""
    if (keras := sys.modules.get("keras")) is not None and hasattr(keras, "backend"):
        return str(keras.backend.backend())
    return os.environ.get("KERAS_BACKEND", "") or "tensorflow"


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
