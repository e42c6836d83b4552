"""Parts of serving signatures that several tasks share.

They call the same `Preprocessing` as training and prediction. Functions hold the model in a
closure and the module holds its variables: a SavedModel consists of graphs and numbers, and needs
no Keras.
"""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_arch.data.image_bytes import pixels_of
from keras_arch.errors import ArgumentError
from keras_arch.export.spec import Servable
from keras_arch.preprocessing import Preprocessing

Outputs = dict[str, tf.Tensor]


def module_of(model: keras.Model) -> tf.Module:
    """A module that holds the variables of a model."""
    module = tf.Module()
    module.state = [variable.value for variable in model.variables]
    return module


def image_signatures(
    module: tf.Module,
    preprocessing: Preprocessing,
    outputs: Callable[[tf.Tensor], Outputs],
    *,
    exact_size: bool = False,
    encoded_outputs: Callable[[Outputs], Outputs] | None = None,
) -> Servable:
    """The two signatures of a model that takes images: pixels, and encoded files.

    Args:
        module: Holds the variables.
        preprocessing: How pixels become the model's input.
        outputs: From a batch of inputs to named outputs.
        exact_size: Whether images of another size are refused, and not resized.
        encoded_outputs: Further outputs of the signature for files, from those of `outputs`.

    Returns:
        `serving_default` (input `image`, float32 pixels in [0, 255], or in the `value_range` of the
        preprocessing) and, for 1 or 3 channels, `serving_bytes` (`image_bytes`, files as
        `image_bytes.pixels_of` takes them), with a black image as warm-up request.
    """
    size = preprocessing.size if exact_size else (None, None)
    shape = (None, *size, preprocessing.channels)

    @tf.function(input_signature=[tf.TensorSpec(shape, tf.float32, "image")])
    def on_pixels(image: tf.Tensor) -> Outputs:
        return outputs(preprocessing(image))

    # With the suffix _bytes, TensorFlow Serving's REST interface takes {"b64": "..."}.
    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string, "image_bytes")])
    def on_bytes(image_bytes: tf.Tensor) -> Outputs:
        found = outputs(_decoded(image_bytes, preprocessing, exact_size))
        return found | encoded_outputs(found) if encoded_outputs else found

    # Of 16 bits where those of 8 cannot have the values.
    deep = preprocessing.value_range is not None and preprocessing.value_range[1] > 255
    black = np.zeros((1, *preprocessing.input_shape), np.uint16 if deep else np.uint8)
    functions = {"serving_default": on_pixels}
    examples: dict[str, Any] = {"serving_default": {"image": black.astype(np.float32)}}
    # No encoded picture has other channels than grey or colour.
    if preprocessing.channels in (1, 3):
        functions["serving_bytes"] = on_bytes
        examples["serving_bytes"] = {"image_bytes": [tf.io.encode_png(black[0]).numpy()]}
    return Servable(module, functions, examples)


def image_outputs(
    module: tf.Module, preprocessing: Preprocessing
) -> Callable[[tf.Tensor], Outputs]:
    """A function from generated images to the outputs `image` and `image_float`.

    Args:
        module: Gets a variable.
        preprocessing: Of the real images in training; its inverse gives pixels.
    """
    # A variable, because the graph optimizer would turn a division by a constant into a product
    # with its reciprocal, which rounds a few pixels to the other side than NumPy does.
    module.scale = tf.Variable(preprocessing.scale, trainable=False, dtype=tf.float32)

    def outputs(images: tf.Tensor) -> Outputs:
        images = tf.cast(images, tf.float32)
        std = np.asarray(preprocessing.std, np.float32)
        mean = np.asarray(preprocessing.mean, np.float32)
        pixels = (images * std + mean) / module.scale
        if preprocessing.channel_order == "bgr":
            pixels = pixels[..., ::-1]
        pixels = tf.cast(tf.clip_by_value(tf.round(pixels), 0.0, 255.0), tf.uint8)
        return {"image": pixels, "image_float": images}

    return outputs


def ends_in_logits(model: keras.Model) -> bool:
    """Whether a classifier still lacks its softmax.

    Raises:
        ArgumentError: If it ends in another activation.
    """
    last = model.layers[-1]
    activation = getattr(last, "activation", None)
    if isinstance(last, keras.layers.Softmax) or activation is keras.activations.softmax:
        return False
    if activation is keras.activations.linear:
        return True
    raise ArgumentError(
        f"model {model.name!r} ends in {last.name!r} with activation "
        f"{getattr(activation, '__name__', None)}; a classifier ends in a softmax or in logits"
    )


def _decoded(image_bytes: tf.Tensor, preprocessing: Preprocessing, exact_size: bool) -> tf.Tensor:
    """A batch of preprocessed images from encoded ones that each have their own size."""
    height, width = preprocessing.size

    def read(encoded: tf.Tensor) -> tf.Tensor:
        pixels = pixels_of(encoded, preprocessing.value_range)
        if exact_size:
            message = (
                f"the network takes tiles of {height}x{width} pixels at the image's own "
                "resolution; cut images into such tiles, as keras_arch.tiling.predict does"
            )
            fits = tf.debugging.assert_equal(tf.shape(pixels)[:2], preprocessing.size, message)
            with tf.control_dependencies([fits]):
                pixels = tf.identity(pixels)
        return preprocessing(pixels)

    return tf.map_fn(
        read, image_bytes, fn_output_signature=tf.TensorSpec(preprocessing.input_shape, tf.float32)
    )
