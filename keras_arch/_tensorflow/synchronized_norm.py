"""Synchronized batch norm with one exchange between the replicas where Keras has three.

Keras 3 adds up three tensors over the replicas in the forward pass (the sums, the sums of squares,
and the counts of a channel, as a map of ones), one after the other, and two in the backward pass.
Each exchange waits for the slowest replica. Here they travel as one, in either direction; the
results are the same up to the rounding of floats.
"""

import functools
from collections.abc import Callable
from typing import Any

from keras_arch._tensorflow.switch import FastPath

PATH = FastPath("synchronized batch norm in one exchange")
Moments = Callable[[Any, Any, bool], tuple[Any, Any]]


def install() -> None:
    """Make Keras use it in this process while fast paths are on; see `FastPath`.

    Example:
        >>> install()
    """
    if PATH.enabled:
        _install()


@functools.cache
def _install() -> None:
    from keras.src.backend.tensorflow import nn

    nn._compute_moments_sync = in_one_exchange(nn._compute_moments_sync)


def in_one_exchange(stock: Moments) -> Moments:
    """The mean and variance over all replicas, computed with one exchange.

    Args:
        stock: Keras' own function, for what is not computed here: one replica, half precision.

    Example:
        >>> import tensorflow as tf
        >>> moments = in_one_exchange(lambda x, axes, keepdims: tf.nn.moments(x, axes))
        >>> [float(value) for value in moments(tf.constant([1.0, 3.0]), [0], False)]
        [2.0, 1.0]
    """
    import tensorflow as tf

    def moments(x: Any, axes: Any, keepdims: bool) -> tuple[Any, Any]:
        context = tf.distribute.get_replica_context()
        several = context is not None and context.num_replicas_in_sync > 1
        if not (several and PATH.enabled and x.dtype in (tf.float32, tf.float64)):
            return stock(x, axes, keepdims)
        sums = tf.reduce_sum(x, axes, keepdims=True)
        squares = tf.reduce_sum(tf.square(x), axes, keepdims=True)
        channels = tf.size(sums)
        # A replica can have no example, and then has no values of a channel.
        count = tf.cast(tf.size(x) // channels, x.dtype)
        packed = tf.concat([tf.reshape(sums, [-1]), tf.reshape(squares, [-1]), [count]], 0)
        total = context.all_reduce(tf.distribute.ReduceOp.SUM, packed)
        mean = tf.math.divide_no_nan(total[:channels], total[-1])
        square = tf.math.divide_no_nan(total[channels:-1], total[-1])
        variance = tf.maximum(square - tf.square(mean), 0.0)
        shape = tf.shape(sums)
        mean, variance = tf.reshape(mean, shape), tf.reshape(variance, shape)
        # As the stock function: shapes that are known stay known.
        mean.set_shape(sums.shape)
        variance.set_shape(sums.shape)
        if keepdims:
            return mean, variance
        return tf.squeeze(mean, axes), tf.squeeze(variance, axes)

    return moments
