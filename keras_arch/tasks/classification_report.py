"""Report on a classifier: metrics, confusion matrix, metrics of each class, confident mistakes."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_arch import files, visualization
from keras_arch.models.common.heads import check_classifier_output, class_probabilities
from keras_arch.preprocessing import Preprocessing
from keras_arch.training.factories import EVALUATION_BATCH


@dataclasses.dataclass(frozen=True)
class ClassificationReport:
    """Predictions of a classifier on a data set, with their metrics.

    Attributes:
        metrics: `accuracy`, `error` and `loss`; `top5_error` for more than ten classes.
        truth: `(images,)` classes.
        probabilities: `(images, classes)`.
    """

    metrics: dict[str, float]
    truth: np.ndarray
    probabilities: np.ndarray

    @property
    def predictions(self) -> np.ndarray:
        """`(images,)` the most probable classes."""
        return self.probabilities.argmax(axis=1)

    @property
    def confusion(self) -> np.ndarray:
        """`(classes, classes)` counts with true classes as rows."""
        classes = self.probabilities.shape[1]
        matrix = np.zeros((classes, classes), np.int64)
        np.add.at(matrix, (self.truth, self.predictions), 1)
        return matrix

    def write(
        self, batches: Any, preprocessing: Preprocessing, labels: Sequence[str], folder: Path
    ) -> None:
        """Write `confusion_matrix.png`, `per_class.png` and `.json`, and `mistakes.png` if any.

        Args:
            batches: The data set, for the images of mistakes.
            preprocessing: Turns its images back into pixels.
            labels: A name for each class.
            folder: Where to.
        """
        visualization.confusion_matrix(self.confusion, labels, folder / "confusion_matrix.png")
        per_class = visualization.per_class_report(
            self.truth, self.predictions, labels, folder / "per_class.png"
        )
        files.atomic_write(folder / "per_class.json", json.dumps(per_class, indent=1) + "\n")
        mistakes = visualization.confident_mistakes(self.truth, self.probabilities)
        picture = folder / "mistakes.png"
        if not mistakes:
            # That of an earlier evaluation.
            picture.unlink(missing_ok=True)
            return
        pixels = _pixels_of(batches, preprocessing, [one.index for one in mistakes])
        visualization.draw_mistakes(mistakes, pixels, labels, picture)


def measure(model: keras.Model, batches: Any) -> ClassificationReport:
    """Loss, accuracy and error of a classifier on a data set.

    Args:
        model: From images to logits or probabilities.
        batches: A `tf.data.Dataset` of `(images, labels)`.

    Returns:
        The metrics, as fractions, with the probabilities that they follow from.
    """
    activation, classes = check_classifier_output(model)
    outputs = model.predict(batches, verbose=0)
    truth = np.concatenate([np.asarray(labels) for _, labels in batches])
    probabilities = keras.ops.convert_to_numpy(class_probabilities(outputs, activation))
    kind = "SparseCategoricalCrossentropy"
    ranked, wanted = outputs, truth
    if outputs.shape[1] == 1:
        kind, ranked, wanted = "BinaryCrossentropy", probabilities, truth[:, None]
    cross_entropy = getattr(keras.losses, kind)(from_logits=activation == "linear")
    order = np.argsort(-ranked, axis=1, kind="stable")
    accuracy = float((order[:, 0] == truth).mean())
    loss = float(cross_entropy(wanted, outputs))
    metrics = {"accuracy": accuracy, "error": 1 - accuracy, "loss": loss}
    if classes > 10:
        hits = (order[:, :5] == truth[:, None]).any(axis=1)
        metrics["top5_error"] = 1 - float(hits.mean())
    return ClassificationReport(metrics, truth, probabilities)


def evaluation_batch(images: int, replicas: int) -> int:
    """The batch size in which a data set is evaluated on several replicas.

    Keras (3.15) fails where the first batch does not divide by the replicas, and TensorFlow (2.21)
    in a convolution of the part of a last one that has no image.

    Args:
        images: Number of images in the data set.
        replicas: Number of replicas that share a batch.

    Returns:
        At most `EVALUATION_BATCH`.

    Example:
        >>> evaluation_batch(359, 1), evaluation_batch(1000, 3), evaluation_batch(9, 2)
        (256, 255, 6)
    """
    largest = min(EVALUATION_BATCH, images)
    fitting = range(largest - largest % replicas, 0, -replicas)
    return next((batch for batch in fitting if not 0 < images % batch < replicas), max(largest, 1))


def _pixels_of(batches: Any, preprocessing: Preprocessing, indices: list[int]) -> np.ndarray:
    """Images of a batched data set by their places in it, as pixels."""
    wanted, first, found = set(indices), 0, {}
    for images, _ in batches:
        here = sorted(index for index in wanted if first <= index < first + len(images))
        if here:
            pixels = preprocessing.to_pixels(np.asarray(images)[[i - first for i in here]])
            found |= dict(zip(here, pixels, strict=True))
        first += len(images)
        if len(found) == len(wanted):
            break
    return np.stack([found[index] for index in indices])
