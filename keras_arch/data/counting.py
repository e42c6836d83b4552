"""Counting and reading the examples of data sets, with errors of one line."""

from collections.abc import Iterator
from typing import Any

from keras_arch._lazy import tf
from keras_arch.errors import DataError


def count(dataset: Any) -> int:
    """The number of examples of a finite data set, by reading where it is not known."""
    size = int(dataset.cardinality())
    if size == tf.data.INFINITE_CARDINALITY:
        raise DataError("the data set has no end; give a finite one, without repeat()")
    if size == tf.data.UNKNOWN_CARDINALITY:
        size = sum(1 for _ in read(dataset))
    return size


def read(dataset: Any) -> Iterator[Any]:
    """Iterate over a data set; an example that cannot be decoded is a `DataError`."""
    try:
        yield from dataset
    except (tf.errors.InvalidArgumentError, tf.errors.DataLossError) as error:
        reason = str(error.message).partition("\n")[0]
        raise DataError(f"an image of the data set cannot be read: {reason}") from None
