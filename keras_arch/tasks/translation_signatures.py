"""Serving signatures of image translators."""

from typing import Any

import keras
import tensorflow as tf

from keras_arch.export import signatures as shared
from keras_arch.export.spec import ExportSpec, Servable
from keras_arch.trainers.inference import infer


def signatures(model: keras.Model, spec: ExportSpec) -> Servable:
    """Pixels or encoded images to translated images.

    Where the model keeps batch statistics or dropout, each image is translated by itself: it
    does not depend on its neighbours, and has the dropout mask that it has in Python.

    Args:
        model: From preprocessed images to images.
        spec: With the preprocessing of both.

    Returns:
        The signatures `serving_default` (input `image`) and `serving_bytes` (`image_bytes`).
    """
    module = shared.module_of(model)
    outputs = shared.image_outputs(module, spec.output_preprocessing)
    alone = _joins_batch(model) or _keeps_training(model.get_config())

    def translate(images: tf.Tensor) -> shared.Outputs:
        if not alone:
            return outputs(infer(model, images))
        translated = tf.map_fn(
            lambda image: infer(model, image[None])[0],
            images,
            fn_output_signature=tf.TensorSpec(model.output_shape[1:], model.output.dtype),
        )
        return outputs(translated)

    def encoded(found: shared.Outputs) -> shared.Outputs:
        files = tf.map_fn(
            tf.io.encode_png, found["image"], fn_output_signature=tf.TensorSpec((), tf.string)
        )
        return {"image_png_bytes": files}

    return shared.image_signatures(module, spec, translate, encoded_outputs=encoded)


def _joins_batch(model: keras.Model) -> bool:
    """Whether a model reshapes a batch into one image, to take the statistics of the batch."""
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
