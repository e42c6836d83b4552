"""The graphs inside a SavedModel: from what a client sends to what it gets back.

They call the same `Preprocessing` that training and prediction call. Functions hold the model
in a closure and the module holds its variables: what is saved are graphs and numbers, nothing
that needs Keras.
"""

import dataclasses
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_arch.preprocessing import Preprocessing


@dataclasses.dataclass(frozen=True)
class Servable:
    """What is to be saved.

    Attributes:
        module: Holds the variables and tables that the functions use.
        signatures: Functions by signature name.
        requests: For each signature, inputs that it can be tried with.
    """

    module: tf.Module
    signatures: dict[str, Any]
    requests: dict[str, dict[str, Any]]


def classifier(
    model: keras.Model, preprocessing: Preprocessing, labels_file: Path, from_logits: bool
) -> Servable:
    """Pixels or encoded images to probabilities and labels.

    Args:
        model: From preprocessed images to probabilities or logits `(batch, classes)`.
        preprocessing: What pixels go through first.
        labels_file: One label a line, in the order of the model's outputs. It becomes an asset.
        from_logits: Whether the softmax is still to be taken.

    Returns:
        The signatures `serving_default` (input `image`) and `serving_bytes` (`image_bytes`).
    """
    module = _module_of(model)
    module.labels = tf.lookup.StaticHashTable(
        tf.lookup.TextFileInitializer(
            str(labels_file),
            key_dtype=tf.int64,
            key_index=tf.lookup.TextFileIndex.LINE_NUMBER,
            value_dtype=tf.string,
            value_index=tf.lookup.TextFileIndex.WHOLE_LINE,
        ),
        default_value="",
    )

    def classify(images: tf.Tensor) -> dict[str, tf.Tensor]:
        outputs = tf.cast(model(images, training=False), tf.float32)
        probabilities = tf.nn.softmax(outputs) if from_logits else outputs
        best = tf.argmax(probabilities, axis=-1, output_type=tf.int64)
        return {"probabilities": probabilities, "label": module.labels.lookup(best)}

    shape = (None, None, None, preprocessing.channels)

    @tf.function(input_signature=[tf.TensorSpec(shape, tf.float32, "image")])
    def on_pixels(image: tf.Tensor) -> dict[str, tf.Tensor]:
        return classify(preprocessing(image))

    # The suffix tells TensorFlow Serving's REST interface to take {"b64": "..."}.
    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string, "image_bytes")])
    def on_bytes(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        images = tf.map_fn(
            lambda encoded: preprocessing(_decode(encoded)),
            image_bytes,
            fn_output_signature=tf.TensorSpec(preprocessing.input_shape, tf.float32),
        )
        return classify(images)

    black = np.zeros((1, *preprocessing.input_shape), np.uint8)
    return Servable(
        module,
        {"serving_default": on_pixels, "serving_bytes": on_bytes},
        {
            "serving_default": {"image": black.astype(np.float32)},
            "serving_bytes": {"image_bytes": [tf.io.encode_png(black[0]).numpy()]},
        },
    )


def generator(
    model: keras.Model, preprocessing: Preprocessing, size: int, distribution: str
) -> Servable:
    """Latents, or a seed and a count, to images.

    Args:
        model: From latents `(batch, size)` to images.
        preprocessing: What real images went through in training; its inverse gives pixels.
        size: Length of a latent.
        distribution: `"normal"` for N(0, 1) or `"uniform"` for U(-1, 1).

    Returns:
        The signatures `serving_default` (input `latent`) and `generate` (`seed` and `count`).
    """
    module = _module_of(model)
    # A variable, because the graph optimizer would turn a division by a constant into a product
    # with its reciprocal, which rounds a few pixels to the other side than NumPy does.
    module.scale = tf.Variable(preprocessing.scale, trainable=False, dtype=tf.float32)

    def pixels(images: tf.Tensor) -> tf.Tensor:
        std = np.asarray(preprocessing.std, np.float32)
        mean = np.asarray(preprocessing.mean, np.float32)
        images = (images * std + mean) / module.scale
        if preprocessing.channel_order == "bgr":
            images = images[..., ::-1]
        return tf.cast(tf.clip_by_value(tf.round(images), 0.0, 255.0), tf.uint8)

    def make(latent: tf.Tensor) -> dict[str, tf.Tensor]:
        images = tf.cast(model(latent, training=False), tf.float32)
        return {"image": pixels(images), "image_float": images}

    @tf.function(input_signature=[tf.TensorSpec((None, size), tf.float32, "latent")])
    def on_latents(latent: tf.Tensor) -> dict[str, tf.Tensor]:
        return make(latent)

    @tf.function(
        input_signature=[
            tf.TensorSpec((), tf.int64, "seed"),
            tf.TensorSpec((), tf.int32, "count"),
        ]
    )
    def generate(seed: tf.Tensor, count: tf.Tensor) -> dict[str, tf.Tensor]:
        # Keras folds seeds into 31 bits in this way: the same seed gives the same images there.
        folded = tf.cast(tf.math.floormod(seed, tf.int32.max - 1), tf.int32)
        draw = {"shape": tf.stack([count, size]), "seed": tf.stack([folded, 0])}
        if distribution == "normal":
            return make(tf.random.stateless_normal(**draw))
        return make(tf.random.stateless_uniform(**draw, minval=-1.0, maxval=1.0))

    return Servable(
        module,
        {"serving_default": on_latents, "generate": generate},
        {
            "serving_default": {"latent": np.zeros((1, size), np.float32)},
            "generate": {"seed": np.int64(0), "count": np.int32(1)},
        },
    )


def _decode(encoded: tf.Tensor) -> tf.Tensor:
    """A JPEG or PNG as RGB pixels; grey images have three equal channels."""
    pixels = tf.io.decode_image(encoded, channels=3, expand_animations=False)
    return tf.ensure_shape(pixels, (None, None, 3))


def _module_of(model: keras.Model) -> tf.Module:
    module = tf.Module()
    module.state = [variable.value for variable in model.variables]
    return module
