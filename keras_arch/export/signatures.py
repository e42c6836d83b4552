"""The graphs inside a SavedModel: from what a client sends to what it gets back.

They call the same `Preprocessing` that training and prediction call. Functions hold the model
in a closure and the module holds its variables: what is saved are graphs and numbers, nothing
that needs Keras.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_arch.data.image_files import pixels_of
from keras_arch.preprocessing import Preprocessing
from keras_arch.trainers.inference import infer


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
        return classify(_from_files(image_bytes, preprocessing))

    return Servable(
        module,
        {"serving_default": on_pixels, "serving_bytes": on_bytes},
        _black_images(preprocessing),
    )


def segmenter(
    model: keras.Model,
    preprocessing: Preprocessing,
    labels_file: Path,
    from_logits: bool,
    tiles: bool = False,
) -> Servable:
    """Pixels or encoded images to the classes of their pixels.

    Args:
        model: From preprocessed images to probabilities or logits `(batch, height, width,
            classes)`.
        preprocessing: What pixels go through first.
        labels_file: One label a line, in the order of the classes. It becomes an asset.
        from_logits: Whether the softmax is still to be taken.
        tiles: Whether images of another size are refused, and not resized.

    Returns:
        The signatures `serving_default` (input `image`) and `serving_bytes` (`image_bytes`).
    """
    module = _module_of(model)
    module.labels = tf.saved_model.Asset(str(labels_file))

    def segment(images: tf.Tensor) -> dict[str, tf.Tensor]:
        outputs = tf.cast(model(images, training=False), tf.float32)
        probabilities = tf.nn.softmax(outputs) if from_logits else outputs
        classes = tf.cast(tf.argmax(probabilities, axis=-1, output_type=tf.int32), tf.uint8)
        return {"probabilities": probabilities, "classes": classes}

    size = preprocessing.size if tiles else (None, None)

    @tf.function(
        input_signature=[tf.TensorSpec((None, *size, preprocessing.channels), tf.float32, "image")]
    )
    def on_pixels(image: tf.Tensor) -> dict[str, tf.Tensor]:
        return segment(preprocessing(image))

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string, "image_bytes")])
    def on_bytes(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        return segment(_from_files(image_bytes, preprocessing, exact=tiles))

    return Servable(
        module,
        {"serving_default": on_pixels, "serving_bytes": on_bytes},
        _black_images(preprocessing),
    )


def generator(
    model: keras.Model, preprocessing: Preprocessing, size: int, distribution: str
) -> Servable:
    """Latents, or a seed and a count, to images.

    Args:
        model: From latents `(batch, size)` to images.
        preprocessing: What real images went through in training; its inverse gives pixels.
        size: Length of a latent.
        distribution: `"normal"` for N(0, 1), `"uniform"` for U(-1, 1), `"uniform01"` for U(0, 1).

    Returns:
        The signatures `serving_default` (input `latent`) and `generate` (`seed` and `count`).
    """
    module = _module_of(model)
    described = _described(module, preprocessing)

    @tf.function(input_signature=[tf.TensorSpec((None, size), tf.float32, "latent")])
    def on_latents(latent: tf.Tensor) -> dict[str, tf.Tensor]:
        return described(infer(model, latent))

    @tf.function(
        input_signature=[
            tf.TensorSpec((), tf.int64, "seed"),
            tf.TensorSpec((), tf.int32, "count"),
        ]
    )
    def generate(seed: tf.Tensor, count: tf.Tensor) -> dict[str, tf.Tensor]:
        return described(infer(model, _draw(seed, count, size, distribution)))

    return Servable(
        module,
        {"serving_default": on_latents, "generate": generate},
        {
            "serving_default": {"latent": np.zeros((1, size), np.float32)},
            "generate": {"seed": np.int64(0), "count": np.int32(1)},
        },
    )


def conditional_generator(
    model: keras.Model,
    preprocessing: Preprocessing,
    labels_file: Path,
    classes: int,
    size: int,
    distribution: str,
) -> Servable:
    """Latents and labels, or a seed and labels, to images.

    Args:
        model: From `[latent, label]`, of shapes `(batch, size)` and `(batch,)`, to images.
        preprocessing: What real images went through in training; its inverse gives pixels.
        labels_file: One class a line. It becomes an asset.
        classes: Number of classes; another label is refused when it is sent.
        size: Length of a latent.
        distribution: As for `generator`.

    Returns:
        The signatures `serving_default` (inputs `latent` and `label`) and `generate` (`seed` and
        `label`).
    """
    module = _module_of(model)
    module.labels = tf.saved_model.Asset(str(labels_file))
    described = _described(module, preprocessing)
    told = f"label must be 0 to {classes - 1}, got"

    def make(latent: tf.Tensor, label: tf.Tensor) -> dict[str, tf.Tensor]:
        fits = tf.reduce_all((label >= 0) & (label < classes))
        counts = tf.shape(latent)[0], tf.shape(label)[0]
        checks = [
            tf.debugging.Assert(fits, [told, label]),
            tf.debugging.Assert(
                counts[0] == counts[1], ["each latent needs one label, got", *counts]
            ),
        ]
        with tf.control_dependencies(checks):
            return described(infer(model, [latent, tf.identity(label)]))

    @tf.function(
        input_signature=[
            tf.TensorSpec((None, size), tf.float32, "latent"),
            tf.TensorSpec((None,), tf.int32, "label"),
        ]
    )
    def on_latents(latent: tf.Tensor, label: tf.Tensor) -> dict[str, tf.Tensor]:
        return make(latent, label)

    @tf.function(
        input_signature=[
            tf.TensorSpec((), tf.int64, "seed"),
            tf.TensorSpec((None,), tf.int32, "label"),
        ]
    )
    def generate(seed: tf.Tensor, label: tf.Tensor) -> dict[str, tf.Tensor]:
        return make(_draw(seed, tf.shape(label)[0], size, distribution), label)

    first = np.zeros(1, np.int32)
    return Servable(
        module,
        {"serving_default": on_latents, "generate": generate},
        {
            "serving_default": {"latent": np.zeros((1, size), np.float32), "label": first},
            "generate": {"seed": np.int64(0), "label": first},
        },
    )


def translator(
    model: keras.Model, preprocessing: Preprocessing, target_preprocessing: Preprocessing
) -> Servable:
    """Pixels or encoded images to translated images.

    Where the model keeps batch statistics or dropout, each image is translated by itself: it
    does not depend on its neighbours, and has the mask that it has in Python.

    Args:
        model: From preprocessed images to images.
        preprocessing: What pixels go through first.
        target_preprocessing: What the images that the model was to make went through in training;
            its inverse gives pixels.

    Returns:
        The signatures `serving_default` (input `image`) and `serving_bytes` (`image_bytes`).
    """
    module = _module_of(model)
    described = _described(module, target_preprocessing)
    alone = _joins_batch(model) or _keeps_training(model.get_config())

    def translate(images: tf.Tensor) -> dict[str, tf.Tensor]:
        if not alone:
            return described(infer(model, images))
        translated = tf.map_fn(
            lambda image: infer(model, image[None])[0],
            images,
            fn_output_signature=tf.TensorSpec(model.output_shape[1:], model.output.dtype),
        )
        return described(translated)

    shape = (None, None, None, preprocessing.channels)

    @tf.function(input_signature=[tf.TensorSpec(shape, tf.float32, "image")])
    def on_pixels(image: tf.Tensor) -> dict[str, tf.Tensor]:
        return translate(preprocessing(image))

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string, "image_bytes")])
    def on_bytes(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        outputs = translate(_from_files(image_bytes, preprocessing))
        files = tf.map_fn(
            tf.io.encode_png, outputs["image"], fn_output_signature=tf.TensorSpec((), tf.string)
        )
        return outputs | {"image_png_bytes": files}

    return Servable(
        module,
        {"serving_default": on_pixels, "serving_bytes": on_bytes},
        _black_images(preprocessing),
    )


def _described(
    module: tf.Module, preprocessing: Preprocessing
) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    """A function from images as a model makes them to the outputs `image` and `image_float`."""
    # A variable, because the graph optimizer would turn a division by a constant into a product
    # with its reciprocal, which rounds a few pixels to the other side than NumPy does.
    module.scale = tf.Variable(preprocessing.scale, trainable=False, dtype=tf.float32)

    def described(images: tf.Tensor) -> dict[str, tf.Tensor]:
        images = tf.cast(images, tf.float32)
        std = np.asarray(preprocessing.std, np.float32)
        mean = np.asarray(preprocessing.mean, np.float32)
        pixels = (images * std + mean) / module.scale
        if preprocessing.channel_order == "bgr":
            pixels = pixels[..., ::-1]
        pixels = tf.cast(tf.clip_by_value(tf.round(pixels), 0.0, 255.0), tf.uint8)
        return {"image": pixels, "image_float": images}

    return described


def _draw(seed: tf.Tensor, count: tf.Tensor, size: int, distribution: str) -> tf.Tensor:
    """The latents that `trainers.sample` draws."""
    # Keras folds seeds into 31 bits in this way: the same seed gives the same images there.
    folded = tf.cast(tf.math.floormod(seed, tf.int32.max - 1), tf.int32)
    draw = {"shape": tf.stack([count, size]), "seed": tf.stack([folded, 0])}
    if distribution == "normal":
        return tf.random.stateless_normal(**draw)
    low = {"uniform": -1.0, "uniform01": 0.0}[distribution]
    return tf.random.stateless_uniform(**draw, minval=low, maxval=1.0)


def _joins_batch(model: keras.Model) -> bool:
    """Whether a model makes one image of a batch, to take its statistics."""
    return any(
        tensor.shape[0] == 1
        for layer in model.layers
        for tensor in keras.tree.flatten(layer.output)
    )


def _keeps_training(config: Any) -> bool:
    """Whether a model's configuration has a layer that was called with `training=True`."""
    if isinstance(config, list | tuple):
        return any(_keeps_training(part) for part in config)
    if not isinstance(config, dict):
        return False
    nodes = config.get("inbound_nodes") or ()
    if any(isinstance(n, dict) and n.get("kwargs", {}).get("training") for n in nodes):
        return True
    return any(_keeps_training(part) for part in config.values())


def _from_files(
    image_bytes: tf.Tensor, preprocessing: Preprocessing, exact: bool = False
) -> tf.Tensor:
    """A batch of preprocessed images, of encoded ones that each have their own size."""
    height, width = preprocessing.size

    def read(encoded: tf.Tensor) -> tf.Tensor:
        pixels = pixels_of(encoded)
        if exact:
            message = (
                f"the network takes tiles of {height}x{width} pixels at the image's own "
                "resolution; cut images into such tiles, as keras_arch.tiling.predict does"
            )
            fits = tf.debugging.assert_equal(tf.shape(pixels)[:2], preprocessing.size, message)
            with tf.control_dependencies([fits]):
                pixels = tf.identity(pixels)
        return preprocessing(pixels)

    return tf.map_fn(
        read,
        image_bytes,
        fn_output_signature=tf.TensorSpec(preprocessing.input_shape, tf.float32),
    )


def _black_images(preprocessing: Preprocessing) -> dict[str, dict[str, Any]]:
    """Requests of the signatures that take an image."""
    black = np.zeros((1, *preprocessing.input_shape), np.uint8)
    return {
        "serving_default": {"image": black.astype(np.float32)},
        "serving_bytes": {"image_bytes": [tf.io.encode_png(black[0]).numpy()]},
    }


def _module_of(model: keras.Model) -> tf.Module:
    module = tf.Module()
    module.state = [variable.value for variable in model.variables]
    return module
