"""Training of classifiers by plain `model.fit`."""

from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_arch import config, data, hub, losses, pictures
from keras_arch.errors import ConfigError, DataError
from keras_arch.preprocessing import Preprocessing
from keras_arch.runs.building import (
    EVALUATION_BATCH,
    build_network,
    check_shape,
    check_task,
    common_of_cards,
    jit_compile,
    make_optimizer,
    published,
)
from keras_arch.runs.directory import RunDirectory


class Classification:
    """A classifier, trained on its logits by plain `model.fit`."""

    def __init__(self, checked: config.ClassifierConfig, preprocessing: Preprocessing) -> None:
        self.config = checked
        self.preprocessing = preprocessing
        self.images_per_step = checked.recipe.batch_size
        self.source = data.describe(checked.data.source, data_dir=checked.data.data_dir)
        self._test: Any = None

    def check(self) -> None:
        """The data has labels, as many classes as the model, and the test split is there."""
        check_task(self.config.model, "model", "image-classification")
        if self.source.classes is None:
            raise DataError(
                f"data source {self.source.name} has no labels; a classifier needs them"
            )
        network = build_network(self.config.model)
        check_shape(network, self.preprocessing, "the model's input", network.input_shape)
        classes = network.output_shape[-1]
        if classes != len(self.source.classes):
            raise ConfigError(
                f"model.arguments.classes is {classes}, {self.source.name} has "
                f"{len(self.source.classes)} classes"
            )
        self.validation()

    def build(self, replicas: int) -> keras.Model:
        """The classifier up to its logits: the loss is exact where a softmax would round."""
        recipe = self.config.recipe
        network = build_network(self.config.model, replicas, classifier_activation=None)
        losses.add_weight_decay(network, recipe.weight_decay)
        network.compile(
            optimizer=make_optimizer(recipe.optimizer),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
            jit_compile=jit_compile(recipe, network),
            steps_per_execution=recipe.steps_per_execution,
        )
        # Keras makes an optimizer's and the metrics' variables at the first batch; a run that is
        # resumed restores them before it.
        network.optimizer.build(network.trainable_variables)
        blank = np.zeros((replicas, *self.preprocessing.input_shape), np.float32)
        network.test_on_batch(blank, np.zeros(replicas, np.int64))
        network.reset_metrics()
        return network

    def callbacks(self, directory: RunDirectory) -> list[keras.callbacks.Callback]:
        """Nothing besides what every run has."""
        return []

    def validation(self) -> Any:
        """The test split."""
        if self._test is None:
            settings = self.config.data
            images = data.load(settings.source, settings.test, data_dir=settings.data_dir)
            self._test = data.evaluation(
                images, self.preprocessing, EVALUATION_BATCH, cache=settings.cache
            )
        return self._test

    def measure(self, model: keras.Model, directory: RunDirectory) -> dict[str, float]:
        """Loss, accuracy and error on the test split; the confusion matrix as a picture."""
        metrics, matrix = classification_figures(model, self.validation(), from_logits=True)
        pictures.confusion_matrix(matrix, self.source.classes, directory.confusion)
        return metrics

    def publish(self, model: keras.Model) -> tuple[keras.Model, dict[str, Any]]:
        """The classifier with its softmax."""
        return published(self.config.model, model), {}

    def card(self, network: keras.Model, metrics: dict[str, float]) -> hub.Card:
        """What the weights are."""
        return hub.Card(
            name=self.config.name,
            architecture=self.config.model.name,
            arguments=self.config.model.arguments,
            task=self.config.task,
            preprocessing=self.preprocessing,
            labels=list(self.source.classes),
            metrics=metrics,
            **common_of_cards(self.config, self.config.model),
        )

    def picture(self, directory: RunDirectory) -> Path | None:
        """The confusion matrix."""
        return directory.confusion


def classification_figures(
    model: keras.Model, batches: Any, *, from_logits: bool
) -> tuple[dict[str, float], np.ndarray]:
    """Loss, accuracy, error and confusion matrix over a data set.

    Args:
        model: From images to logits or probabilities.
        batches: A `tf.data.Dataset` of `(images, labels)`.
        from_logits: Which of the two the model gives.

    Returns:
        The figures (`accuracy` and `error` as fractions, `top5_error` where there are more than
        ten classes), and the matrix `(classes, classes)` with true classes as rows.
    """
    classes = model.output_shape[-1]
    matrix = np.zeros((classes, classes), np.int64)
    loss, top5 = 0.0, 0
    cross_entropy = keras.losses.SparseCategoricalCrossentropy(
        from_logits=from_logits, reduction="sum"
    )
    outputs = model.predict(batches, verbose=0)
    first = 0
    for _, labels in batches:
        truth = np.asarray(labels)
        part = outputs[first : first + len(truth)]
        first += len(truth)
        loss += float(cross_entropy(truth, part))
        order = np.argsort(-part, axis=1, kind="stable")
        np.add.at(matrix, (truth, order[:, 0]), 1)
        top5 += int((order[:, :5] == truth[:, None]).any(axis=1).sum())
    count = int(matrix.sum())
    accuracy = float(np.trace(matrix)) / count
    figures = {"accuracy": accuracy, "error": 1 - accuracy, "loss": loss / count}
    if classes > 10:
        figures["top5_error"] = 1 - top5 / count
    return figures, matrix
