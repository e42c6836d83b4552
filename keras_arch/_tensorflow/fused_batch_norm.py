"""Batch normalization by TensorFlow's fused operation, on the stock layer.

Keras 3 writes batch normalization as a dozen operations in training, each of which reads or writes
the whole map. TensorFlow has one operation for them and one for their gradient, with the same
results; at inference it merges that with the convolution before and the ReLU behind.
"""

import types
from typing import Any

import keras
from keras import layers

from keras_arch._tensorflow.switch import FastPath

PATH = FastPath("fused batch normalization")


def fuse(layer: layers.BatchNormalization) -> layers.BatchNormalization:
    """Make a batch normalization layer use TensorFlow's fused operation.

    The layer stays Keras' own: it is saved, cloned and loaded as one, and a copy that Keras makes
    computes the same up to the rounding of floats, only slower. Nothing changes on another
    backend, while fast paths are off (`keras_arch.config.set_fast_paths`), or where the fused
    operation does not do what the layer does: in half precision, over another axis than the last
    of images, under a mask, or synchronized over replicas.

    Args:
        layer: The layer, which is changed in place and returned.

    Example:
        >>> norm = fuse(layers.BatchNormalization())
        >>> type(norm) is layers.BatchNormalization
        True
    """
    if layer.scale and layer.center and not (layer.renorm or layer.synchronized):
        layer.call = types.MethodType(_call, layer)
    return layer


def fuse_batch_norm(model: keras.Model) -> keras.Model:
    """Make all batch normalization layers of a model use TensorFlow's fused operation; see `fuse`.

    Builders of this package do so by themselves. A model that comes from `keras.saving.load_model`
    or `keras.models.clone_model` has stock layers, which compute the same, only slower.

    Args:
        model: The model, whose layers are changed in place; it is returned.

    Example:
        >>> model = keras.Sequential([keras.Input((4, 4, 3)), layers.BatchNormalization()])
        >>> fuse_batch_norm(model) is model
        True
    """
    for layer in model._flatten_layers(include_self=False):
        if type(layer) is layers.BatchNormalization:
            fuse(layer)
    return model


def _call(
    self: layers.BatchNormalization, inputs: Any, training: bool | None = None, mask: Any = None
) -> Any:
    """The layer's call: fused for images in single precision, else its own."""
    images = len(inputs.shape) == 4 and self.axis in (-1, 3)
    single = keras.backend.standardize_dtype(inputs.dtype) == "float32"
    learning = bool(training and self.trainable)
    fits = images and single and mask is None and (learning or _may_be_frozen())
    if not (fits and PATH.enabled):
        return type(self).call(self, inputs, training=training, mask=mask)
    if learning:
        outputs, mean, variance = _normalized(self, inputs, [], [], training=True)
        _update_statistics(self, inputs, mean, variance)
    else:
        statistics = self.moving_mean, self.moving_variance
        outputs, _, _ = _normalized(self, inputs, *statistics, training=False)
    return keras.ops.cast(outputs, self.compute_dtype)


def _may_be_frozen() -> bool:
    """Whether gradients may go through the fused operation with frozen statistics.

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


def _update_statistics(
    layer: layers.BatchNormalization, inputs: Any, mean: Any, variance: Any
) -> None:
    import tensorflow as tf

    # The operation returns the unbiased variance, n / (n - 1) times the one that Keras averages.
    count = tf.cast(tf.reduce_prod(tf.shape(inputs, tf.int64)[:3]), "float32")
    variance *= tf.maximum(count - 1.0, 1.0) / count
    for average, new in ((layer.moving_mean, mean), (layer.moving_variance, variance)):
        average.assign(average * layer.momentum + new * (1.0 - layer.momentum))
