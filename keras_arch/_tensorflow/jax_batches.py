"""Repair of Keras' data parallelism on JAX for batches that the devices do not divide.

Keras 3.15 asks a `Distribution` for the layout of the first batch of an epoch only. The last batch,
which is smaller, cannot be spread as that one was, and the model has lost its variables when the
error comes. Here each batch is laid out by its own shape.
"""

import functools
from collections.abc import Iterator
from typing import Any

from keras_arch._tensorflow.keras_release import is_checked


@functools.cache
def repair_keras() -> bool:
    """Repair Keras' JAX trainer, once in a process; whether it was done.

    Other releases than those that were checked are left alone, with a line in the log.

    Example:
        >>> repair_keras()
        True
    """
    if not is_checked(
        "data parallelism on JAX was",
        "is not repaired: batches must divide by the number of devices",
    ):
        return False
    from keras.src.backend.jax import trainer

    def _get_distributed_iterator(self: Any, distribution: Any) -> Iterator[Any]:
        for data in self.data_adapter.get_jax_iterator():
            yield trainer._distribute_data(data)

    trainer.JAXEpochIterator._get_distributed_iterator = _get_distributed_iterator
    return True
