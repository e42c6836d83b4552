"""Batch norm in one operation, on the stock layer.

Keras 3 writes batch norm out as operations each of which reads or writes the whole map, a dozen of
them in training. TensorFlow has one for them and one for their gradient, with the same results; at
inference it merges that with the convolution before and the ReLU behind.
"""

import types
from typing import Any

import keras
from keras import layers


def fuse(layer: layers.BatchNormalization) -> layers.BatchNormalization:
    """Let a batch norm work by TensorFlow's fused operation.

    The layer stays Keras' own: it is saved, cloned and loaded as one, and a copy that Keras makes
    goes the slower way to the same results, up to the rounding of floats. Nothing changes on
    another backend, or where the fused operation does not do what the layer does: in half
    precision, over another axis than the last of images, under a mask, or synchronized over
    replicas.

    Args:
        layer: Is changed.

    Returns:
        The layer.

    Example:
        >>> norm = fuse(layers.BatchNormalization())
        >>> type(norm) is layers.BatchNormalization
        True
    """
    fits = layer.scale and layer.center and not (layer.renorm or layer.synchronized)
    if keras.backend.backend() == "tensorflow" and fits:
        layer.call = types.MethodType(_call, layer)
    return layer


def fuse_all(model: keras.Model) -> keras.Model:
    """Let all batch norms of a model work by the fused operation.

    Args:
        model: Is changed.

    Returns:
        The model.

    Example:
        >>> model = keras.Sequential([keras.Input((4, 4, 3)), layers.BatchNormalization()])
        >>> fuse_all(model) is model
        True
    """
    for layer in model._flatten_layers(include_self=False):
        if type(layer) is layers.BatchNormalization:
            fuse(layer)
    return model


def _call(
    self: layers.BatchNormalization, inputs: Any, training: bool | None = None, mask: Any = None
) -> Any:
    """The layer's own call, but for images in single precision."""
    images = len(inputs.shape) == 4 and self.axis in (-1, 3)
    single = keras.backend.standardize_dtype(inputs.dtype) == "float32"
    learning = bool(training and self.trainable)
    if not (images and single and mask is None) or not (learning or _may_be_frozen()):
        return type(self).call(self, inputs, training=training, mask=mask)
    if learning:
        outputs, mean, variance = _normalized(self, inputs, [], [], training=True)
        _follow(self, inputs, mean, variance)
    else:
        statistics = self.moving_mean, self.moving_variance
        outputs, _, _ = _normalized(self, inputs, *statistics, training=False)
    return keras.ops.cast(outputs, self.compute_dtype)


def _may_be_frozen() -> bool:
    """Whether gradients may go through the fused operation with statistics that stand still.

    On a GPU they have no deterministic implementation, and TensorFlow refuses them.
    """
    from tensorflow.python.framework import config

    return not config.is_op_determinism_enabled()


def _normalized(
    layer: layers.BatchNormalization, inputs: Any, mean: Any, variance: Any, *, training: bool
) -> Any:
    import tensorflow as tf

    return tf.raw_ops.FusedBatchNormV3(
        x=inputs,
        scale=layer.gamma,
        offset=layer.beta,
        mean=mean,
        variance=variance,
        epsilon=layer.epsilon,
        is_training=training,
    )[:3]


def _follow(layer: layers.BatchNormalization, inputs: Any, mean: Any, variance: Any) -> None:
    """Move the moving statistics."""
    import tensorflow as tf

    # What the operation tells is the estimate of a population's variance, n / (n - 1) of what
    # Keras averages.
    count = tf.cast(tf.reduce_prod(tf.shape(inputs, tf.int64)[:3]), "float32")
    variance *= tf.maximum(count - 1.0, 1.0) / count
    for average, new in ((layer.moving_mean, mean), (layer.moving_variance, variance)):
        average.assign(average * layer.momentum + new * (1.0 - layer.momentum))
