"""Serving signatures of a classifier."""

from typing import Any

import keras
import tensorflow as tf

from keras_arch.export import signatures as shared
from keras_arch.export.spec import ExportSpec, Servable
from keras_arch.models.common.heads import check_classifier_output, class_probabilities


def signatures(model: keras.Model, spec: ExportSpec) -> Servable:
    """Pixels or encoded images to probabilities and labels.

    Args:
        model: From preprocessed images to probabilities or logits `(batch, classes)`, or to one
            number, of the second of two classes.
        spec: Its labels become an asset.

    Returns:
        The signatures `serving_default` (input `image`) and `serving_bytes` (`image_bytes`).
    """
    activation, _ = check_classifier_output(model)
    module = shared.module_of(model)
    module.labels = tf.lookup.StaticHashTable(
        tf.lookup.TextFileInitializer(
            str(spec.labels_file),
            key_dtype=tf.int64,
            key_index=tf.lookup.TextFileIndex.LINE_NUMBER,
            value_dtype=tf.string,
            value_index=tf.lookup.TextFileIndex.WHOLE_LINE,
        ),
        default_value="",
    )

    def classify(images: Any) -> dict[str, Any]:
        outputs = tf.cast(model(images, training=False), tf.float32)
        probabilities = class_probabilities(outputs, activation)
        best = tf.argmax(probabilities, axis=-1, output_type=tf.int64)
        return {"probabilities": probabilities, "label": module.labels.lookup(best)}

    return shared.image_signatures(module, spec, classify)
