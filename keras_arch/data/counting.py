"""Iterating over data sets, with messages that a user can act on."""

from collections.abc import Iterator
from typing import Any

from keras_arch._tensorflow.lazy import tf
from keras_arch.errors import DataError


def count(dataset: Any) -> int:
    """The number of examples, counted by reading where the data set does not tell.

    Raises:
        DataError: If it has no end, or cannot be decoded.
    """
    size = int(dataset.cardinality())
    if size == tf.data.INFINITE_CARDINALITY:
        raise DataError("the data set has no end; give a finite one, without repeat()")
    if size == tf.data.UNKNOWN_CARDINALITY:
        size = sum(1 for _ in read(dataset))
    return size


def read(dataset: Any) -> Iterator[Any]:
    """Iterate; what TensorFlow cannot decode becomes a message of one line."""
    try:
        yield from dataset
    except (tf.errors.InvalidArgumentError, tf.errors.DataLossError) as error:
        reason = str(error.message).partition("\n")[0]
        raise DataError(f"an image of the data set cannot be read: {reason}") from None
