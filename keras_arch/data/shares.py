"""Shares of global batches: the rows that one host takes, with the draws of the whole batch."""

import contextlib
import contextvars
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from keras_arch._lazy import tf
from keras_arch.errors import ArgumentError, whole_number

# The places of the rows at hand in their global batch, and its size.
_rows: contextvars.ContextVar[tuple[Any, Any] | None] = contextvars.ContextVar("rows", default=None)


@dataclasses.dataclass(frozen=True)
class Share:
    """The part of each global batch that one of several hosts takes: a slice of its rows.

    The shares of all hosts, one after the other, are the batch that a single process would have.
    `keras_arch.distribute.share` gives that of a strategy.

    Args:
        number: The host, from 0.
        count: Number of hosts.

    Raises:
        ArgumentError: If there is no such host.

    Example:
        >>> [Share(number, 3).rows(8) for number in range(3)]
        [(0, 2), (2, 5), (5, 8)]
    """

    number: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        whole_number("count", self.count)
        if whole_number("number", self.number, 0) >= self.count:
            raise ArgumentError(
                f"hosts are numbered from 0, of {self.count} there is no host {self.number}"
            )

    @property
    def is_whole(self) -> bool:
        """Whether there is one host only."""
        return self.count == 1

    def rows(self, size: Any) -> tuple[Any, Any]:
        """The first row of a batch of `size`, and the one after the last."""
        return size * self.number // self.count, size * (self.number + 1) // self.count

    def has(self, place: Any, size: Any) -> Any:
        """Whether the row at a place of a batch belongs to the share."""
        first, end = self.rows(size)
        return (place >= first) & (place < end)

    def counts(self, examples: int, batch_size: int) -> list[int]:
        """Rows of each of the batches of some examples, the last of which may be smaller.

        Raises:
            ArgumentError: If there are several batches that cannot be divided evenly.

        Example:
            >>> Share(0, 2).counts(9, 4), Share(1, 2).counts(9, 4)
            ([2, 2, 0], [2, 2, 1])
        """
        if examples > batch_size:
            self.check(batch_size)
        sizes = [min(batch_size, examples - at) for at in range(0, examples, batch_size)]
        return [end - first for first, end in map(self.rows, sizes)]

    def places(self, examples: int, batch_size: int) -> np.ndarray:
        """Numbers of the examples of all batches that belong to the share.

        Example:
            >>> Share(1, 2).places(9, 4).tolist()
            [2, 3, 6, 7, 8]
        """
        numbers = np.arange(examples)
        sizes = np.minimum(batch_size, examples - numbers // batch_size * batch_size)
        return numbers[self.has(numbers % batch_size, sizes)]

    def check(self, batch_size: int) -> None:
        """Refuse a batch that cannot be divided evenly.

        Raises:
            ArgumentError: With both numbers.
        """
        if batch_size % self.count:
            raise ArgumentError(
                f"batch_size {batch_size} is the batch over all hosts and must divide by their "
                f"number, {self.count}"
            )


WHOLE = Share()


@contextlib.contextmanager
def rows_of_batch(places: Any, size: Any) -> Iterator[None]:
    """What is traced inside works on the rows at some places of a global batch of a size."""
    token = _rows.set((places, size))
    try:
        yield
    finally:
        _rows.reset(token)


def draw(images: Any, function: Callable[[Any], Any], axis: int = 0) -> Any:
    """Random numbers of the images of a batch: of a part of it those that they have in the whole.

    Args:
        images: `(batch, ...)`.
        function: From the size of a batch to its random numbers.
        axis: Their axis that is the batch.

    Example:
        >>> def numbers(size):
        ...     return tf.random.stateless_uniform([size], [0, 1])
        >>> whole = draw(tf.zeros([6]), numbers)
        >>> with rows_of_batch(tf.constant([4, 1]), 6):
        ...     part = draw(tf.zeros([2]), numbers)
        >>> bool(tf.reduce_all(part == tf.gather(whole, [4, 1])))
        True
    """
    rows = _rows.get()
    if rows is None:
        return function(tf.shape(images)[0])
    places, size = rows
    return tf.gather(function(size), places, axis=axis)
