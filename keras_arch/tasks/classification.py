"""Image classification: a class for each image, trained by plain `model.fit`."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pydantic

from keras_arch import config, data, hub
from keras_arch._lazy import keras, lazy_modules, np, tf
from keras_arch.config.base import Fraction, NotNegative, Positive
from keras_arch.config.optimizer_schema import WeightDecayOn
from keras_arch.data import balancing, epochs
from keras_arch.errors import ArgumentError, ConfigError, DataError
from keras_arch.hub.readme import describe_input
from keras_arch.preprocessing import Preprocessing
from keras_arch.tasks._modules import (
    callbacks,
    factories,
    heads,
    losses,
    models,
    optimizer_from_config,
)
from keras_arch.tasks.base import Task, register_task
from keras_arch.tasks.evaluation_data import EvaluationData
from keras_arch.tasks.predictions import Prediction

if TYPE_CHECKING:
    from keras_arch import export
    from keras_arch.tasks import (
        auxiliary_heads,
        classification_predictions,
        classification_report,
        classification_signatures,
    )
    from keras_arch.training.run_directory import RunDirectory
else:
    (
        auxiliary_heads,
        classification_predictions,
        classification_report,
        classification_signatures,
    ) = lazy_modules(
        "keras_arch.tasks.auxiliary_heads",
        "keras_arch.tasks.classification_predictions",
        "keras_arch.tasks.classification_report",
        "keras_arch.tasks.classification_signatures",
    )

# The best epoch has the highest accuracy; between equals, the lowest loss.
_MONITOR, _TIES = "val_accuracy", "val_loss"
_log = logging.getLogger("keras_arch")


class ClassificationRecipe(config.Recipe):
    """Training settings of a classifier.

    `weight_decay` is the L2 kind of the classic recipes, on `all` weights or on `kernels` only.
    `label_smoothing` spreads that part of a label over all classes. `synchronized` batch norm takes
    the statistics over all replicas; by default where there are several.
    `class_weights` weigh the loss of the training images by their class, as in
    `keras_arch.data.class_weights`: `balanced`, a weight for each class, or weights by name.
    `checkpoint` says which weights are saved: the `last`, or the `best` on `data.validation` (by
    accuracy, and by loss between equals); with `patience` training ends after so many epochs
    without better ones. The loss of each auxiliary head (GoogLeNet's) counts `auxiliary_weight`
    times.
    """

    optimizer: config.Optimizer
    weight_decay: NotNegative = 0.0
    weight_decay_on: WeightDecayOn = "all"
    auxiliary_weight: NotNegative = 0.3
    label_smoothing: Fraction = 0.0
    class_weights: Literal["balanced"] | dict[str, NotNegative] | list[NotNegative] | None = None
    synchronized: bool | Literal["auto"] = "auto"
    checkpoint: Literal["last", "best"] = "last"
    patience: Positive | None = None

    @pydantic.field_validator("optimizer")
    @classmethod
    def _not_averaged(cls, optimizer: Any) -> Any:
        if optimizer.average is not None:
            raise ValueError("average is for generators; leave it out of a classifier's optimizer")
        return optimizer


class ClassificationData(config.Data):
    """Images with labels.

    With `balanced` an epoch has as many images of each class, as in
    `keras_arch.data.train_batches`.
    """

    balanced: bool = False


class ClassificationConfig(config.TaskConfig):
    """Config of a classifier."""

    model: config.Builder
    data: ClassificationData
    recipe: ClassificationRecipe

    @pydantic.model_validator(mode="after")
    def _balances_once(self) -> ClassificationConfig:
        if self.data.balanced and self.recipe.class_weights == "balanced":
            raise ValueError(
                "recipe.class_weights and data.balanced would balance the classes twice; leave one "
                "out, got 'balanced' and True"
            )
        return self

    @pydantic.model_validator(mode="after")
    def _has_validation(self) -> ClassificationConfig:
        recipe = self.recipe
        if self.data.validation is None and (recipe.checkpoint == "best" or recipe.patience):
            key = "checkpoint" if recipe.checkpoint == "best" else "patience"
            raise ValueError(
                f"recipe.{key} needs data.validation, a part of the data that is neither trained "
                f"on nor tested on, such as train[90%:], got {getattr(recipe, key)!r}"
            )
        return self


@register_task("image-classification")
class Classification(Task):
    """Task of classifiers, trained on their logits."""

    Config = ClassificationConfig
    pipeline_tag = "image-classification"
    picture = "Confusion matrix: true classes down, predicted ones across"
    export_needs = ("labels",)
    shares_validation = True

    def __init__(self, config: Any, preprocessing: Preprocessing, replicas: int = 1) -> None:
        super().__init__(config, preprocessing, replicas)
        self.source = data.describe(config.data.source, data_dir=config.data.data_dir)
        if config.recipe.label_smoothing or data.mixes_labels(config.data.augment):
            self.one_hot_classes = len(self.source.classes or ())
        self._batches: dict[Any, Any] = {}
        self._weights: np.ndarray | None = None
        self._final: Any = None

    def check(self) -> None:
        """Check labels, classes, shapes and the test split."""
        factories.check_architecture(self.config.model, "model", "image-classification")
        if self.source.classes is None:
            raise DataError(
                f"data source {self.source.name} has no labels; a classifier needs them"
            )
        check_several_classes(self.source)
        network = factories.build_network(self.config.model, classifier_activation=None)
        factories.check_shape(self.preprocessing, "the model's input", network.input_shape)
        classes = models.stack_heads(network).output_shape[-1]
        if classes != len(self.source.classes):
            raise ConfigError(
                f"model.arguments.classes is {classes}, {self.source.name} has "
                f"{len(self.source.classes)} classes"
            )
        if self.config.recipe.class_weights is not None:
            self._weights = self._class_weights()
        self.validation_batches()
        self._test_batches()

    def _class_weights(self) -> np.ndarray:
        """The weight of each class; the frequencies are those of the training split."""
        given, labels = self.config.recipe.class_weights, np.zeros(0, np.int64)
        if given == "balanced":
            labels = balancing.labels_of(self.load(self.config.data.train))
        try:
            weights = balancing.class_weights(given, labels, self.source.classes)
        except ArgumentError as error:
            raise ConfigError(f"recipe.{error}") from None
        _log.info(
            "class weights: %s",
            ", ".join(f"{n} {w:.3g}" for n, w in zip(self.source.classes, weights, strict=True)),
        )
        return weights

    def train_batches(self, dataset: Any, epoch: int, step: int) -> data.Batches:
        """Batches of images and labels, and the weights of the images where classes have some."""
        batches = super().train_batches(dataset, epoch, step, balanced=self.config.data.balanced)
        if self._weights is None:
            return batches
        weights = self._weights

        def weighed(images: Any, labels: Any) -> Any:
            # Labels that are spread over classes are weighed by their shares.
            spread = tf.linalg.matvec(labels, weights) if self.one_hot_classes else None
            return images, labels, tf.gather(weights, labels) if spread is None else spread

        weighted = epochs.prefetch(batches.dataset.map(weighed))
        return dataclasses.replace(batches, dataset=weighted)

    def build(self) -> keras.Model:
        """The compiled classifier up to its logits: a softmax would round before the loss."""
        recipe = self.config.recipe
        network = self.build_logits(self.replicas)
        losses.add_weight_decay(network, recipe.weight_decay, recipe.weight_decay_on)
        self.compile(network, optimizer_from_config.make_optimizer(recipe.optimizer))
        self.make_metric_variables(network)
        return network

    def build_logits(self, replicas: int = 1) -> keras.Model:
        """The network without its softmax, and with its heads in one output."""
        network = factories.build_network(
            self.config.model, replicas, self.config.recipe.synchronized, classifier_activation=None
        )
        return models.stack_heads(network)

    def compile(self, network: keras.Model, optimizer: keras.optimizers.Optimizer) -> None:
        """Compile, and create all variables of the optimizer."""
        recipe = self.config.recipe
        loss: Any = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        if self.one_hot_classes:
            loss = keras.losses.CategoricalCrossentropy(
                from_logits=True, label_smoothing=recipe.label_smoothing
            )
        # For mixed labels: how often the class with the largest share is predicted.
        metric: Any = "accuracy"
        if len(network.output_shape) == 3:
            loss = auxiliary_heads.AuxiliaryHeadsLoss(loss, recipe.auxiliary_weight)
            metric = auxiliary_heads.main_head_accuracy(bool(self.one_hot_classes))
        factories.compile_network(network, recipe, loss, [metric], optimizer)

    def make_metric_variables(self, network: keras.Model) -> None:
        """Create the variables of the metrics."""
        replicas, classes = self.replicas, self.one_hot_classes
        factories.make_metric_variables(
            network,
            np.zeros((replicas, *self.preprocessing.input_shape), np.float32),
            np.zeros((replicas, classes) if classes else replicas, np.int64),
        )

    def callbacks(self, directory: RunDirectory) -> list[keras.callbacks.Callback]:
        """The best weights, where the recipe asks for them."""
        return keep_best(self.config.recipe.checkpoint, directory, _MONITOR, _TIES)

    def should_stop(self, rows: Sequence[Mapping[str, float]]) -> bool:
        """Whether there were `patience` epochs without a better one."""
        return callbacks.out_of_patience(
            rows,
            self.config.recipe.patience,
            monitor=_MONITOR,
            ties=_TIES,
            start=self.first_patient_epoch,
        )

    @property
    def first_patient_epoch(self) -> int:
        """The first epoch, from 0, that patience counts from."""
        return 0

    def validation_batches(self) -> Any:
        """`data.validation`, else the test split."""
        settings = self.config.data
        return self._split(settings.validation or settings.test, self.one_hot_classes, self.share)

    def measure(self, model: keras.Model, directory: RunDirectory) -> dict[str, float]:
        """Loss, accuracy and error on the test split; the pictures of the report."""
        kept = keep_best(self.config.recipe.checkpoint, directory, _MONITOR, _TIES)
        network, epoch = restore_best(kept, model, self.build_logits)
        self._final = auxiliary_heads.export_copy(self.config.model, network)
        report = classification_report.measure(models.main_head(network), self._test_batches())
        report.write(self._test_batches(), self.preprocessing, self.source.classes, directory.path)
        return report.metrics | epoch

    def export_copy(self, model: keras.Model) -> tuple[keras.Model, dict[str, Any]]:
        """The classifier with its softmax."""
        return self._final, {}

    def card(self, network: keras.Model, metrics: dict[str, float], **fields: Any) -> hub.Card:
        """The card of the classifier."""
        return factories.make_card(
            self.config,
            auxiliary_heads.without_auxiliary(self.config.model),
            task=self.model_task,
            metrics=metrics,
            **{"labels": list(self.source.classes), **fields},
        )

    def pictures(self, directory: RunDirectory) -> list[Path]:
        """The confusion matrix."""
        return [directory.path / "confusion_matrix.png"]

    def _test_batches(self) -> Any:
        return self._split(self.config.data.test, None, data.Share())

    def _split(self, split: str, classes: int | None, share: data.Share) -> Any:
        """A split as batches, of which a host takes a share, read once."""
        key = split, classes, share
        if key not in self._batches:
            images = self.load(split)
            batch = classification_report.evaluation_batch(int(images.cardinality()), self.replicas)
            self._batches[key] = data.eval_batches(
                images,
                self.preprocessing,
                batch,
                cache=self.config.data.cache,
                classes=classes,
                share=share,
            )
        return self._batches[key]

    # Saved models.

    @classmethod
    def evaluate(
        cls, loaded: hub.LoadedModel, chosen: EvaluationData, out: Path | None = None
    ) -> dict[str, float]:
        """Accuracy, error and loss; writes the report into `out`."""
        card = loaded.card
        _, classes = heads.check_classifier_output(loaded.model)
        described, images = chosen.load_classes(classes)
        batches = data.eval_batches(images, card.preprocessing, factories.EVALUATION_BATCH)
        report = classification_report.measure(loaded.model, batches)
        if out is not None:
            report.write(batches, card.preprocessing, card.labels or described.classes, out)
        return report.metrics

    @classmethod
    def predict(
        cls,
        loaded: hub.LoadedModel,
        images: Sequence[Path],
        *,
        out: Path | None = None,
        top: int = 5,
        explain: bool = False,
        label: int | str | None = None,
        batch_size: int = 32,
    ) -> Sequence[Prediction]:
        """The `top` most probable classes of image files.

        Args:
            loaded: The classifier.
            images: Image files.
            out: Folder of the pictures of `explain`. Default: beside each image.
            top: Number of classes.
            explain: Whether to draw Grad-CAM over each image: `NAME_explained.png`.
            label: The class to explain, by number or name. Default: the most probable one.
            batch_size: Images in a batch.
        """
        if out is not None and not explain:
            raise ArgumentError("out is the folder of the pictures of explain; add explain")
        if label is not None and not explain:
            raise ArgumentError("label is the class to explain; add explain")
        return classification_predictions.predict(
            loaded, images, out, top, explain, label, batch_size
        )

    @classmethod
    def export_labels(cls, loaded: hub.LoadedModel) -> list[str] | None:
        """The labels of the card, else numbers: converted classifiers may have no names."""
        _, classes = heads.check_classifier_output(loaded.model)
        return loaded.card.labels or list(map(str, range(classes)))

    @classmethod
    def check_network(cls, network: keras.Model, card: hub.Card) -> hub.Card:
        """Check shapes and labels, if there are any; the card gets the activation."""
        activation, classes = heads.check_classifier_output(network)
        labels = card.labels or list(map(str, range(classes)))
        super().check_network(network, dataclasses.replace(card, labels=labels))
        return card.with_activation(activation)

    @classmethod
    def check_export(cls, model: keras.Model, spec: export.ExportSpec) -> None:
        """Check the shapes of input and output, and that each class has a label."""
        spec.check_input(model)
        _, classes = heads.check_classifier_output(model)
        outputs = tuple(model.output_shape[1:])
        if len(outputs) != 1:
            raise ArgumentError(
                f"model {model.name!r} has outputs of shape {outputs}; those of a classifier are "
                "one number a class"
            )
        spec.check_labels(model, classes)

    @classmethod
    def signatures(cls, model: keras.Model, spec: export.ExportSpec) -> export.Servable:
        """Pixels or encoded images to probabilities and labels."""
        return classification_signatures.signatures(model, spec)

    @classmethod
    def readme_example(cls, card: hub.Card) -> list[str]:
        """Class names of a batch of images."""
        lines = [*super().readme_example(card), *probability_lines(card)]
        if card.labels:
            lines.append("labels = [loaded.card.labels[i] for i in keras.ops.argmax(outputs, -1)]")
        return lines

    @classmethod
    def readme_pixels(cls, card: hub.Card) -> str:
        """How pixels become the input."""
        return describe_input(card.preprocessing)


def probability_lines(card: hub.Card) -> list[str]:
    """Lines of Python that turn the `outputs` of a card's network into probabilities of classes."""
    if card.activation == "softmax" or card.activation is None:
        return []
    call = f'class_probabilities(outputs, "{card.activation}")'
    return [f"outputs = keras_arch.models.{call}"]


def check_several_classes(source: data.Source) -> None:
    """Refuse a source of one class: a network would learn nothing and be right every time."""
    if len(source.classes or ()) == 1:
        raise DataError(
            f"data source {source.name} has one class, {source.classes[0]!r}; a classifier needs "
            "two or more: add a folder of images that are something else"
        )


def keep_best(
    checkpoint: str, directory: RunDirectory, monitor: str, ties: str
) -> list[callbacks.BestModel]:
    """The callback that keeps the epoch with the highest validation metric, for `"best"`."""
    if checkpoint != "best":
        return []
    best = callbacks.BestModel(
        directory.best, None, lambda model: model, monitor=monitor, mode="max", ties=ties
    )
    return [best]


def restore_best(
    kept: Sequence[Any], model: keras.Model, build: Callable[[], keras.Model]
) -> tuple[keras.Model, dict[str, float]]:
    """The network with the weights that were kept, and their epoch; else the model."""
    best = kept[0].best() if kept else None
    if best is None:
        return model, {}
    network = build()
    best.load(network)
    return network, {"best_epoch": float(best.epoch)}
