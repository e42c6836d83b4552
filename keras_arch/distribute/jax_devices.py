"""Data parallelism on the JAX backend of Keras: one program over several GPUs or TPU cores.

JAX sees a batch as one array that is spread over the devices. Means over the batch, batch
statistics and random numbers are therefore those of the global batch by themselves, in plain models
and in the trainers.
"""

import math
from collections.abc import Sequence
from typing import Any

from keras_arch.errors import ArgumentError


def data_parallel(devices: Sequence[str] | None = None) -> Any:
    """Data parallelism of Keras' JAX backend: each device takes its part of every batch.

    Call it once, before models are built. What is built afterwards has its weights on all devices,
    and `fit`, `evaluate` and `predict`, of plain models and of trainers, divide their batches.
    `keras.distribution.set_distribution(None)` ends it for what is built after that.

    A batch that does not divide by the number of devices, such as the last one of an evaluation,
    is computed whole on each of them.

    Several hosts, such as those of a TPU slice, call `keras.distribution.initialize()` before this
    function. All give `fit` the same `tf.data` batches, of which each takes its part; these must
    divide by the number of devices.

    Args:
        devices: The devices, such as `["gpu:0", "gpu:1"]`. Default: all that
            `keras.distribution.list_devices()` names.

    Returns:
        The `keras.distribution.DataParallel` that is now set.

    Raises:
        ArgumentError: If Keras runs on another backend, or a device is not there.

    Example:
        >>> from keras_arch import distribute
        >>> distribute.data_parallel(["cpu:0"]).num_model_replicas
        1
    """
    import keras

    backend = keras.backend.backend()
    if backend != "jax":
        raise ArgumentError(
            f"data_parallel is of KERAS_BACKEND=jax, not of {backend!r}; on tensorflow the same is "
            "distribute.strategy('mirrored')"
        )
    there = keras.distribution.list_devices()
    wanted = list(there if devices is None else devices)
    if unknown := [name for name in wanted if name not in there]:
        raise ArgumentError(f"there is no device {unknown[0]!r} here; there are {', '.join(there)}")
    if not wanted or len(set(wanted)) < len(wanted):
        raise ArgumentError(f"devices must name each device once, got {wanted!r}")
    from keras_arch._tensorflow import jax_batches

    jax_batches.repair_keras()
    distribution = _make(wanted)
    keras.distribution.set_distribution(distribution)
    return distribution


def _make(devices: list[str]) -> Any:
    import keras

    class DataParallel(keras.distribution.DataParallel):
        """As Keras' own, and batches that do not divide are held whole on every device."""

        def get_data_layout(self, data_shape: Sequence[int]) -> Any:
            layout = super().get_data_layout(data_shape)
            if self.num_processes > 1 or data_shape[0] % math.prod(self.device_mesh.shape) == 0:
                return layout
            return keras.distribution.TensorLayout([None] * len(data_shape), self.device_mesh)

    return DataParallel(devices=devices)
