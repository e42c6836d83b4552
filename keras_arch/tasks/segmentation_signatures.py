"""Serving signatures of a segmentation network."""

import keras
import tensorflow as tf

from keras_arch.export import signatures as shared
from keras_arch.export.spec import ExportSpec, Servable
from keras_arch.models.common.heads import check_classifier_output, class_probabilities


def signatures(model: keras.Model, spec: ExportSpec) -> Servable:
    """Pixels or encoded images to the classes of their pixels.

    Args:
        model: From preprocessed images to probabilities or logits `(batch, height, width,
            classes)`; with one map, it is of the second of two classes.
        spec: Its labels become an asset; with `tiles` images of another size are refused.

    Returns:
        The signatures `serving_default` (input `image`) and `serving_bytes` (`image_bytes`).
    """
    activation, _ = check_classifier_output(model)
    module = shared.module_of(model)
    module.labels = tf.saved_model.Asset(str(spec.labels_file))

    def segment(images: tf.Tensor) -> shared.Outputs:
        outputs = tf.cast(model(images, training=False), tf.float32)
        probabilities = class_probabilities(outputs, activation)
        classes = tf.cast(tf.argmax(probabilities, axis=-1, output_type=tf.int32), tf.uint8)
        return {"probabilities": probabilities, "classes": classes}

    return shared.image_signatures(module, spec, segment)
