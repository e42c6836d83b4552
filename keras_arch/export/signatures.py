"""Parts of serving signatures that several tasks share.

They call the same `Preprocessing` as training and prediction. Functions hold the model in a
closure and the module holds its variables: a SavedModel consists of graphs and numbers, and needs
no Keras.
"""

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_arch.data.image_bytes import pixels_of
from keras_arch.export import request_checks
from keras_arch.export.spec import ExportSpec, Servable
from keras_arch.preprocessing import Preprocessing

Outputs = request_checks.Outputs


def module_of(model: keras.Model) -> tf.Module:
    """A module that holds the variables of a model."""
    module = tf.Module()
    module.state = [variable.value for variable in model.variables]
    return module


def image_signatures(
    module: tf.Module,
    spec: ExportSpec,
    outputs: Callable[[tf.Tensor], Outputs],
    *,
    encoded_outputs: Callable[[Outputs], Outputs] | None = None,
) -> Servable:
    """The two signatures of a model that takes images: pixels, and encoded files.

    Args:
        module: Holds the variables.
        spec: Its preprocessing makes the model's input of pixels; with `tiles` images of another
            size are refused.
        outputs: From a batch of inputs to named outputs, each with an item an image.
        encoded_outputs: Further outputs of the signature for files, from those of `outputs`.

    Returns:
        `serving_default` (input `image`, float32 pixels in [0, 255], or in the `value_range` of the
        preprocessing) and, for 1 or 3 channels, `serving_bytes` (`image_bytes`, files as
        `image_bytes.pixels_of` takes them), with a black image as warm-up request.
    """
    preprocessing = spec.preprocessing

    def on_pixels(image: tf.Tensor) -> Outputs:
        return outputs(preprocessing(image))

    def on_bytes(image_bytes: tf.Tensor) -> Outputs:
        found = outputs(_decoded(image_bytes, preprocessing, spec.tiles))
        return found | encoded_outputs(found) if encoded_outputs else found

    served: dict[str, Any] = {
        "serving_default": (
            on_pixels,
            {"image": request_checks.images(preprocessing, spec.max_pixels, spec.tiles)},
        )
    }
    # No encoded picture has other channels than grey or colour.
    if preprocessing.channels in (1, 3):
        files = request_checks.image_files(preprocessing, spec.max_pixels)
        # With the suffix _bytes, TensorFlow Serving's REST interface takes {"b64": "..."}.
        served["serving_bytes"] = (on_bytes, {"image_bytes": files})
    return servable(module, spec, **served)


def servable(
    module: tf.Module,
    spec: ExportSpec,
    **signatures: tuple[Callable[..., Outputs], Mapping[str, request_checks.Input]],
) -> Servable:
    """A servable whose signatures check their requests.

    Args:
        module: Holds the variables.
        spec: Its `max_batch` is the most examples of a request.
        **signatures: By name, a function and its inputs in order; see `request_checks.signature`.

    Returns:
        The signatures, with the examples of the inputs as warm-up requests.
    """
    return Servable(
        module,
        {
            name: request_checks.signature(function, inputs, spec.max_batch)
            for name, (function, inputs) in signatures.items()
        },
        {name: request_checks.warmup_request(inputs) for name, (_, inputs) in signatures.items()},
    )


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


def _decoded(image_bytes: tf.Tensor, preprocessing: Preprocessing, exact_size: bool) -> tf.Tensor:
    """A batch of preprocessed images from encoded ones that each have their own size."""

    def read(encoded: tf.Tensor) -> tf.Tensor:
        pixels = pixels_of(encoded, preprocessing.value_range)
        if exact_size:
            size = tf.shape(pixels)[:2]
            fits = tf.reduce_all(size == preprocessing.size)
            text = f"{request_checks.tiles_text(preprocessing)}; image_bytes has the size"
            with tf.control_dependencies([request_checks.require(fits, text, size)]):
                pixels = tf.identity(pixels)
        return preprocessing(pixels)

    return tf.map_fn(
        read, image_bytes, fn_output_signature=tf.TensorSpec(preprocessing.input_shape, tf.float32)
    )
