"""Fine-tuning: a trained classifier learns other classes, its head first and then all layers."""

from __future__ import annotations

import dataclasses
import logging
from typing import Annotated, Any, Literal

import pydantic

from keras_arch import config, data, hub, registry
from keras_arch._lazy import keras
from keras_arch.config.base import Positive, Rate
from keras_arch.errors import ArgumentError, ConfigError, DataError
from keras_arch.preprocessing import Preprocessing
from keras_arch.tasks._modules import (
    losses,
    models,
    optimizers,
    references,
    training_optimizers,
    weights,
)
from keras_arch.tasks.base import register_task
from keras_arch.tasks.classification import (
    Classification,
    ClassificationConfig,
    ClassificationRecipe,
)

# The name of the classifier's layer in every architecture.
HEAD = "logits"
_log = logging.getLogger("keras_arch")


class FineTuningRecipe(ClassificationRecipe):
    """Training settings of fine-tuning.

    For the first `head_epochs` of the `epochs` (by default a fifth of them, at most 3) only the new
    classifier learns, at `head_learning_rate`, and the rest of the network is frozen. Then all
    layers learn by the `optimizer`: the classifier at its learning rate, and each stage before it
    at `layer_decay` times the rate of the one after it.
    """

    epochs: Positive = 30
    batch_size: Positive = 32
    optimizer: config.Optimizer = config.AdamW(
        name="adamw", learning_rate=config.Cosine(peak=1e-3, warmup_epochs=1.0), weight_decay=0.01
    )
    head_epochs: Annotated[int, pydantic.Field(ge=0)] | None = None
    head_learning_rate: Rate = 3e-3
    layer_decay: Annotated[float, pydantic.Field(gt=0, le=1)] = 0.5
    checkpoint: Literal["last", "best"] = "best"
    patience: Positive | None = 10

    @pydantic.model_validator(mode="after")
    def _head_first(self) -> FineTuningRecipe:
        if self.head_epochs is None:
            # The one way to set a field of a frozen model.
            self.__dict__["head_epochs"] = min(3, self.epochs // 5)
        if self.head_epochs > self.epochs:
            raise ValueError(
                f"head_epochs are the first of the epochs, {self.epochs}, got {self.head_epochs}"
            )
        return self


class FineTuningConfig(ClassificationConfig):
    """Config of a classifier that starts from the `weights` of another one.

    `weights` is a REF, as on the command line. `preprocessing` and the arguments of the `model` are
    those of the weights, except `classes`.
    """

    weights: str
    recipe: FineTuningRecipe = FineTuningRecipe()


@register_task("fine-tuning")
class FineTuning(Classification):
    """Task of classifiers that start from the weights of another one, trained in two phases.

    Both optimizers exist from the start, so that a checkpoint holds the same variables in either
    phase.
    """

    Config = FineTuningConfig
    model_task = "image-classification"

    def __init__(self, config: Any, preprocessing: Preprocessing, replicas: int = 1) -> None:
        super().__init__(config, preprocessing, replicas)
        self.phases = (config.recipe.head_epochs,)
        self._loaded: Any = None
        self._trains_head_only = False

    @classmethod
    def schedule_length(cls, config: Any, examples: int) -> tuple[int, int]:
        """The schedule starts in the epoch from which all layers learn."""
        steps, epochs = super().schedule_length(config, examples)
        return steps, max(1, epochs - config.recipe.head_epochs)

    def check(self) -> None:
        """Also check that the weights are there and are those of the model."""
        super().check()
        self._check_order()
        self._loaded = load_classifier(self.config.weights)
        card, name = self._loaded.card, self.config.model.name
        if card.architecture != name:
            raise ConfigError(
                f"weights {self.config.weights!r} are those of {card.architecture}, model.name is "
                f"{name!r}"
            )
        differing = [
            key
            for key in ("channels", "scale", "mean", "std", "channel_order", "value_range")
            if getattr(card.preprocessing, key) != getattr(self.preprocessing, key)
        ]
        if differing:
            _log.warning(
                "preprocessing has another %s than the weights were trained with",
                " and ".join(differing),
            )

    def _check_order(self) -> None:
        """Refuse a slice of an archive without images of some classes.

        Archives are sliced in their own order, which may be that of the classes. Folders are
        interleaved, and TensorFlow Datasets shuffles when it prepares a set.
        """
        settings = self.config.data
        if not settings.source.startswith("npz:") or "[" not in settings.train:
            return
        images = data.load(settings.source, settings.train)
        seen = {int(label) for label in images.map(lambda image, label: label)}
        missing = [name for label, name in enumerate(self.source.classes) if label not in seen]
        if missing:
            raise DataError(
                f"data.train {settings.train!r} of {settings.source} has no image of "
                f"{_listed(missing)}; shuffle the archive, or set data.train and data.validation"
            )

    def build(self) -> keras.Model:
        """The network with its weights and a head for the new classes, in its first phase."""
        recipe = self.config.recipe
        network = self.build_logits(self.replicas)
        self._transfer_weights(network)
        losses.add_weight_decay(network, recipe.weight_decay, recipe.weight_decay_on)
        head_first = recipe.head_epochs > 0
        both = {}
        for head in (False, True) if head_first else (True, False):
            self._set_trainable(network, head)
            self.compile(network, self._optimizer(network, head))
            both["head" if head else "all"] = network.optimizer
        # The state of a run holds both, in either phase.
        network.optimizers = dict(sorted(both.items()))
        self.make_metric_variables(network)
        return network

    def set_phase(self, model: keras.Model, epoch: int) -> None:
        """Train the head alone, or all layers."""
        head = epoch < self.config.recipe.head_epochs
        if head == self._trains_head_only:
            return
        with model.distribute_strategy.scope():
            self._set_trainable(model, head)
            self.compile(model, model.optimizers["head" if head else "all"])
            self.make_metric_variables(model)

    def _set_trainable(self, network: keras.Model, head: bool) -> None:
        """The head alone, with the batch norms of the rest frozen too, or all layers."""
        for layer in network.layers:
            layer.trainable = not head or layer.name == HEAD
        self._trains_head_only = head

    def _optimizer(self, network: keras.Model, head: bool) -> keras.optimizers.Optimizer:
        recipe = self.config.recipe
        if head:
            rate = {"learning_rate": recipe.head_learning_rate}
            return training_optimizers.make_optimizer(recipe.optimizer.model_copy(update=rate))
        rates = layer_factors(network, recipe.layer_decay)
        return optimizers.layerwise(training_optimizers.make_optimizer(recipe.optimizer), rates)

    @property
    def first_patient_epoch(self) -> int:
        """Patience counts from the epoch in which all layers learn."""
        return self.config.recipe.head_epochs

    def card(self, network: keras.Model, metrics: dict[str, float]) -> hub.Card:
        """The card of the classifier, with the model that it was fine-tuned from."""
        where = public_name(self.config.weights)
        card = super().card(network, metrics)
        return dataclasses.replace(card, base=where, recipe=card.recipe | {"weights": where})

    def _transfer_weights(self, network: keras.Model) -> None:
        """Transfer all weights; those of the head only where the classes are the same."""
        source, classes = self._loaded, list(self.source.classes)
        head = network.get_layer(HEAD)
        fresh = head.get_weights()
        weights.transfer(network, source.model, f"{self.config.weights!r}")
        if source.card.labels == classes:
            _log.info("the classes are those of %s: its head stays", source.card.name)
            return
        head.set_weights(fresh)
        _log.info(
            "the head of %s (%d classes) is replaced by one for %d: %s",
            source.card.name,
            source.model.output_shape[-1],
            len(classes),
            _listed(classes),
        )


def load_classifier(ref: str) -> hub.LoadedModel:
    """Load a classifier to fine-tune.

    Args:
        ref: As in `training.references.model_uri`.

    Raises:
        ArgumentError: If it is no classifier, or of an architecture that is not known.
        HubError: If it is not there.
    """
    loaded = references.load_model(ref)
    card = loaded.card
    check_classifier(card, ref)
    if card.architecture not in models.list_models():
        raise ArgumentError(
            f"{ref} is {card.architecture!r}, which is no architecture of keras_arch, so that its "
            "head cannot be replaced; keras-arch models lists those that there are"
        )
    return loaded


def check_classifier(card: hub.Card, ref: str) -> None:
    """Refuse a model that does not classify images."""
    if card.task != "image-classification":
        raise ArgumentError(
            f"{ref} is {card.architecture}, which does not classify images; fine-tuning takes a "
            "classifier"
        )


def without_auxiliary_heads(card: hub.Card) -> dict[str, Any]:
    """The arguments of a network with one head."""
    known = registry.entry(card.architecture).arguments
    off = {"auxiliary": False} if "auxiliary" in known else {}
    return card.arguments | off


def layer_factors(network: keras.Model, decay: float) -> dict[str, float]:
    """Factors of the learning rate of each layer, which fall from the head to the image.

    The head has 1. The last stage of `models.features` has `decay`, the one before it `decay ** 2`,
    and so on; what lies before the first stage belongs to it. Layers between the last stage and
    the head, such as the dense ones of a VGG, count as a stage of their own.

    Args:
        network: A classifier with named stages whose head is the layer `logits`.
        decay: From one stage to the one before it.

    Returns:
        Factors by name of the layer, for layers with weights.

    Example:
        >>> from keras_arch import models
        >>> factors = layer_factors(models.CIFARResNet(depth=8), 0.5)
        >>> [factors[f"{name}_conv"] for name in ("stem", "stage1_block1_1", "stage3_block1_2")]
        [0.125, 0.125, 0.5]
    """
    groups: list[set[str]] = []
    placed = {HEAD}
    for end in models.features(network).output.values():
        groups.append(_operations_before(end) - placed)
        placed |= groups[-1]
    weighted = [layer.name for layer in network.layers if layer.trainable_weights]
    rest = {name for name in weighted if name not in placed}
    groups += [rest] if rest else []
    return {
        name: decay**distance
        for distance, group in enumerate(reversed(groups), start=1)
        for name in weighted
        if name in group
    }


def public_name(ref: str) -> str:
    """A reference for a card: of a local path only the last part."""
    if ref.startswith("hf://"):
        return ref
    return ref.rstrip("/").rpartition("/")[2]


def _operations_before(tensor: Any) -> set[str]:
    """Names of the operations that a tensor is computed by."""
    names: set[str] = set()
    left = [tensor]
    while left:
        history = left.pop()._keras_history
        if history.operation.name not in names:
            names.add(history.operation.name)
            left += history.operation._inbound_nodes[history.node_index].input_tensors
    return names


def _listed(classes: list[str]) -> str:
    more = len(classes) - 10
    return ", ".join(classes[:10]) + (f" and {more} more" if more > 0 else "")
