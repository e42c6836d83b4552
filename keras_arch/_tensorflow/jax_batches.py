"""Repair of Keras' data parallelism on JAX for batches that the devices do not divide.

Keras 3.15 asks a `Distribution` for the layout of the first batch of an epoch only. The last batch,
which is smaller, cannot be spread as that one was, and the model has lost its variables when the
error comes. Here each batch is laid out by its own shape.
"""

import functools
import logging
from collections.abc import Iterator
from typing import Any

# Releases of Keras that need the repair: the first one, and the first that was not checked.
NEEDED = ((3, 15), (3, 16))
_log = logging.getLogger("keras_arch")


@functools.cache
def repair_keras() -> bool:
    """Repair Keras' JAX trainer, once in a process; whether it was done.

    Other releases than those that were checked are left alone, with a line in the log.

    Example:
        >>> repair_keras()
        True
    """
    import keras

    release = tuple(int(part) for part in keras.__version__.split(".")[:2])
    if not NEEDED[0] <= release < NEEDED[1]:
        _log.warning(
            "data parallelism on JAX was checked with Keras %d.%d only, this is %s, which is not "
            "repaired: batches must divide by the number of devices",
            *NEEDED[0],
            keras.__version__,
        )
        return False
    from keras.src.backend.jax import trainer

    def _get_distributed_iterator(self: Any, distribution: Any) -> Iterator[Any]:
        for data in self.data_adapter.get_jax_iterator():
            yield trainer._distribute_data(data)

    trainer.JAXEpochIterator._get_distributed_iterator = _get_distributed_iterator
    return True
