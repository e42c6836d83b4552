"""Assertion on values within a TensorFlow graph."""

from collections.abc import Sequence
from typing import Any

from keras_arch._lazy import tf


def assert_in_graph(condition: Any, message: Sequence[Any]) -> None:
    """Stop a `tf.function` where a condition does not hold; XLA leaves such checks out.

    Args:
        condition: A boolean tensor, a scalar.
        message: Text and tensors of numbers, printed one after another.

    Raises:
        tf.errors.InvalidArgumentError: While the graph runs, with the message.
    """
    tf.debugging.Assert(condition, list(message))
