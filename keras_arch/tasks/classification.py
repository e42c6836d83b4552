"""Training of classifiers by plain `model.fit`."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_arch import callbacks, config, data, files, hub, losses, visualization
from keras_arch.errors import ConfigError, DataError
from keras_arch.preprocessing import Preprocessing
from keras_arch.tasks import auxiliary_heads
from keras_arch.tasks.base import Job
from keras_arch.training.factories import (
    EVALUATION_BATCH,
    build_network,
    check_shape,
    check_task,
    common_of_cards,
    jit_compile,
    make_optimizer,
)
from keras_arch.training.run_directory import RunDirectory

CONFUSION, PER_CLASS, MISTAKES = "confusion_matrix.png", "per_class", "mistakes.png"
# What decides which epoch is the best: the higher one of these; of equals the lower one of those.
_MONITOR, _TIES = "val_accuracy", "val_loss"


class Classification(Job):
    """A classifier, trained on its logits by plain `model.fit`."""

    def __init__(self, checked: config.ClassifierConfig, preprocessing: Preprocessing) -> None:
        self.config = checked
        self.preprocessing = preprocessing
        self.images_per_step = checked.recipe.batch_size
        self.source = data.describe(checked.data.source, data_dir=checked.data.data_dir)
        if checked.recipe.label_smoothing or data.mixes_labels(checked.data.augment):
            self.shares = len(self.source.classes or ())
        self._batches: dict[Any, Any] = {}
        self._final: Any = None

    def check(self) -> None:
        """The data has labels, as many classes as the model, and the test split is there."""
        check_task(self.config.model, "model", "image-classification")
        if self.source.classes is None:
            raise DataError(
                f"data source {self.source.name} has no labels; a classifier needs them"
            )
        network = build_network(self.config.model, classifier_activation=None)
        check_shape(network, self.preprocessing, "the model's input", network.input_shape)
        classes = auxiliary_heads.joined(network).output_shape[-1]
        if classes != len(self.source.classes):
            raise ConfigError(
                f"model.arguments.classes is {classes}, {self.source.name} has "
                f"{len(self.source.classes)} classes"
            )
        self.validation()
        self._test()

    def build(self, replicas: int) -> keras.Model:
        """The classifier up to its logits: the loss is exact where a softmax would round."""
        recipe = self.config.recipe
        network = self.logits(replicas)
        losses.add_weight_decay(network, recipe.weight_decay, recipe.weight_decay_on)
        self.compile(network, make_optimizer(recipe.optimizer))
        self.make_metrics(network, replicas)
        return network

    def logits(self, replicas: int = 1) -> keras.Model:
        """The network without its softmax, and its heads in one output."""
        network = build_network(
            self.config.model,
            replicas,
            self.config.recipe.synchronized,
            classifier_activation=None,
        )
        return auxiliary_heads.joined(network)

    def compile(self, network: keras.Model, optimizer: keras.optimizers.Optimizer) -> None:
        """Compile, with all variables of the optimizer."""
        recipe = self.config.recipe
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        if self.shares:
            loss = keras.losses.CategoricalCrossentropy(
                from_logits=True, label_smoothing=recipe.label_smoothing
            )
        # Of mixed labels: how often the class with the largest share was found.
        metric: Any = "accuracy"
        if auxiliary_heads.are_joined(network):
            loss = auxiliary_heads.HeadsLoss(loss, recipe.auxiliary_weight)
            metric = auxiliary_heads.accuracy(bool(self.shares))
        network.compile(
            optimizer=optimizer,
            loss=loss,
            metrics=[metric],
            jit_compile=jit_compile(recipe, network),
            steps_per_execution=recipe.steps_per_execution,
        )
        # Keras makes them at the first batch; a run that is resumed restores them before it.
        network.optimizer.build(network.trainable_variables)

    def make_metrics(self, network: keras.Model, replicas: int) -> None:
        """Make the variables of the metrics, which Keras does at the first batch too."""
        blank = np.zeros((replicas, *self.preprocessing.input_shape), np.float32)
        labels = np.zeros((replicas, self.shares) if self.shares else replicas, np.int64)
        network.test_on_batch(blank, labels)
        network.reset_metrics()

    def callbacks(self, directory: RunDirectory) -> list[keras.callbacks.Callback]:
        """What keeps the best weights, where they are asked for."""
        return [self._best(directory)] if self.config.recipe.keep == "best" else []

    def should_stop(self, rows: Sequence[Mapping[str, float]]) -> bool:
        """Whether there were `patience` epochs without a better one."""
        patience = self.config.recipe.patience
        if patience is None or not rows:
            return False
        ranks = [(-row[_MONITOR], row[_TIES]) for row in rows]
        best = ranks.index(min(ranks))
        return len(rows) - 1 - max(best, self.first_that_counts) >= patience

    @property
    def first_that_counts(self) -> int:
        """The epoch, from 0, that patience is counted from at the earliest."""
        return 0

    def validation(self) -> Any:
        """What is looked at after every epoch: `data.validation`, else the test split."""
        settings = self.config.data
        return self._split(settings.validation or settings.test, self.shares)

    def measure(self, model: keras.Model, directory: RunDirectory) -> dict[str, float]:
        """Loss, accuracy and error on the test split; the pictures of the report."""
        kept, network = None, model
        if self.config.recipe.keep == "best":
            kept = self._best(directory).best()
        if kept is not None:
            network = self.logits()
            kept.load(network)
        self._final = auxiliary_heads.published(self.config.model, network)
        network = auxiliary_heads.main(network)
        measured = measure_classifier(network, self._test(), from_logits=True)
        write_report(
            measured, self._test(), self.preprocessing, self.source.classes, directory.path
        )
        return measured.figures | ({"best_epoch": float(kept.epoch)} if kept else {})

    def publish(self, model: keras.Model) -> tuple[keras.Model, dict[str, Any]]:
        """The classifier with its softmax."""
        return self._final, {}

    def card(self, network: keras.Model, metrics: dict[str, float]) -> hub.Card:
        """What the weights are."""
        return hub.Card(
            name=self.config.name,
            architecture=self.config.model.name,
            arguments=auxiliary_heads.shared(self.config.model).arguments,
            task="image-classification",
            preprocessing=self.preprocessing,
            labels=list(self.source.classes),
            metrics=metrics,
            **common_of_cards(self.config, self.config.model),
        )

    def picture(self, directory: RunDirectory) -> Path | None:
        """The confusion matrix."""
        return directory.confusion

    def _test(self) -> Any:
        return self._split(self.config.data.test, None)

    def _split(self, split: str, shares: int | None) -> Any:
        """A part of the data as batches, read once."""
        if (split, shares) not in self._batches:
            settings = self.config.data
            images = data.load(settings.source, split, data_dir=settings.data_dir)
            batch = batch_of_all(int(images.cardinality()), self.replicas)
            self._batches[split, shares] = data.eval_batches(
                images, self.preprocessing, batch, cache=settings.cache, classes=shares
            )
        return self._batches[split, shares]

    def _best(self, directory: RunDirectory) -> "callbacks.BestModel":
        return callbacks.BestModel(
            directory.best, None, lambda model: model, monitor=_MONITOR, mode="max", ties=_TIES
        )


def batch_of_all(images: int, replicas: int) -> int:
    """The batch in which a data set is measured on so many replicas.

    Keras (3.15) fails where the first batch does not divide by the replicas, and TensorFlow (2.21)
    in a convolution of the part of a last one that has no image.

    Args:
        images: In the data set.
        replicas: How many share a batch.

    Returns:
        At most `EVALUATION_BATCH`.

    Example:
        >>> batch_of_all(359, 1), batch_of_all(1000, 3), batch_of_all(9, 2)
        (256, 255, 6)
    """
    largest = min(EVALUATION_BATCH, images)
    fitting = range(largest - largest % replicas, 0, -replicas)
    return next((batch for batch in fitting if not 0 < images % batch < replicas), max(largest, 1))


@dataclasses.dataclass(frozen=True)
class Measured:
    """What a classifier made of a data set.

    Attributes:
        figures: `accuracy`, `error` and `loss`; `top5_error` of more than ten classes.
        truth: `(images,)` classes.
        probabilities: `(images, classes)`.
    """

    figures: dict[str, float]
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


def measure_classifier(model: keras.Model, batches: Any, *, from_logits: bool) -> Measured:
    """Loss, accuracy and error over a data set.

    Args:
        model: From images to logits or probabilities.
        batches: A `tf.data.Dataset` of `(images, labels)`.
        from_logits: Which of the two the model gives.

    Returns:
        The figures, as fractions, with the probabilities that they were taken from.
    """
    outputs = model.predict(batches, verbose=0)
    truth = np.concatenate([np.asarray(labels) for _, labels in batches])
    cross_entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=from_logits)
    order = np.argsort(-outputs, axis=1, kind="stable")
    accuracy = float((order[:, 0] == truth).mean())
    loss = float(cross_entropy(truth, outputs))
    figures = {"accuracy": accuracy, "error": 1 - accuracy, "loss": loss}
    if outputs.shape[1] > 10:
        hits = (order[:, :5] == truth[:, None]).any(axis=1)
        figures["top5_error"] = 1 - float(hits.mean())
    if from_logits:
        outputs = keras.ops.convert_to_numpy(keras.ops.softmax(outputs))
    return Measured(figures, truth, outputs)


def write_report(
    measured: Measured,
    batches: Any,
    preprocessing: Preprocessing,
    labels: Sequence[str],
    folder: Path,
) -> None:
    """Write `confusion_matrix.png`, `per_class.png` and `.json`, and `mistakes.png` if any.

    Args:
        measured: What the classifier made of the data set.
        batches: The data set that was measured, for the images of mistakes.
        preprocessing: What turns its images back into pixels.
        labels: A name for each class.
        folder: Where to.
    """
    visualization.confusion_matrix(measured.confusion, labels, folder / CONFUSION)
    report = visualization.per_class_report(
        measured.truth, measured.predictions, labels, folder / f"{PER_CLASS}.png"
    )
    files.atomic_write(folder / f"{PER_CLASS}.json", json.dumps(report, indent=1) + "\n")
    mistakes = visualization.confident_mistakes(measured.truth, measured.probabilities)
    if not mistakes:
        # Of an earlier measurement.
        (folder / MISTAKES).unlink(missing_ok=True)
        return
    wanted, first, found = {one.index for one in mistakes}, 0, {}
    for images, _ in batches:
        here = sorted(index for index in wanted if first <= index < first + len(images))
        if here:
            pixels = preprocessing.to_pixels(np.asarray(images)[[i - first for i in here]])
            found |= dict(zip(here, pixels, strict=True))
        first += len(images)
        if len(found) == len(wanted):
            break
    visualization.draw_mistakes(
        mistakes, np.stack([found[one.index] for one in mistakes]), labels, folder / MISTAKES
    )
