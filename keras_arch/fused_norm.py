"""Batch norm in one operation, on the stock layer.

Keras 3 writes the training of batch norm out as a dozen operations, each of which reads or writes
the whole map. TensorFlow has one for them and one for their gradient, with the same results.
"""

import types
from typing import Any

import keras
from keras import layers


def fuse(layer: layers.BatchNormalization) -> layers.BatchNormalization:
    """Let a batch norm train by TensorFlow's fused operation.

    The layer stays Keras' own: it is saved, cloned and loaded as one, and a copy that Keras makes
    trains the slower way to the same weights, up to the rounding of floats. Nothing changes on
    another backend, at inference, or where the fused operation does not do what the layer does: in
    half precision, over another axis than the last of images, under a mask, or synchronized over
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
    """Let all batch norms of a model train by the fused operation.

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
    """The layer's own call, but for training on images in single precision."""
    images = len(inputs.shape) == 4 and self.axis in (-1, 3)
    single = keras.backend.standardize_dtype(inputs.dtype) == "float32"
    if not (training and self.trainable and images and single and mask is None):
        return type(self).call(self, inputs, training=training, mask=mask)
    import tensorflow as tf

    outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=inputs,
        scale=self.gamma,
        offset=self.beta,
        mean=[],
        variance=[],
        epsilon=self.epsilon,
        is_training=True,
    )
    # What the operation tells is the estimate of a population's variance, n / (n - 1) of what
    # Keras averages.
    count = tf.cast(tf.reduce_prod(tf.shape(inputs, tf.int64)[:3]), "float32")
    variance *= tf.maximum(count - 1.0, 1.0) / count
    for average, new in ((self.moving_mean, mean), (self.moving_variance, variance)):
        average.assign(average * self.momentum + new * (1.0 - self.momentum))
    return keras.ops.cast(outputs, self.compute_dtype)
