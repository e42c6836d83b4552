"""Assertions on values within a TensorFlow graph, and whether XLA will compile it."""

from collections.abc import Sequence
from typing import Any

from keras_arch._lazy import tf


def assert_in_graph(condition: Any, message: Sequence[Any]) -> None:
    """Stop a `tf.function` where a condition does not hold.

    XLA cannot stop and would leave the check out: it is not put into what XLA compiles.

    Args:
        condition: A boolean tensor, a scalar.
        message: Text and tensors of numbers, printed one after another.

    Raises:
        tf.errors.InvalidArgumentError: While the graph runs, with the message.
    """
    if not compiled_by_xla():
        tf.debugging.Assert(condition, list(message))


def compiled_by_xla() -> bool:
    """Whether what is traced here is for XLA: `jit_compile=True`, or the step of a TPU.

    TensorFlow has no public function for it; where its own is gone, the answer is no.

    Example:
        >>> bool(tf.function(compiled_by_xla, jit_compile=True)()), compiled_by_xla()
        (True, False)
    """
    try:
        from tensorflow.python.ops import control_flow_util
    except ImportError:
        return False
    graph = tf.compat.v1.get_default_graph()
    return bool(control_flow_util.GraphOrParentsInXlaContext(graph))
