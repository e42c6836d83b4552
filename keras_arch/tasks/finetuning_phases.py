"""Fine-tuning in two phases: the head of a network learns alone, and then all layers do."""

from __future__ import annotations

import dataclasses
import logging
from typing import Annotated, Any, Literal

import pydantic

from keras_arch import config, hub
from keras_arch._lazy import keras
from keras_arch.config.base import Positive, Rate
from keras_arch.errors import ArgumentError, ConfigError, listed
from keras_arch.hub.training_command import without_path
from keras_arch.preprocessing import Preprocessing
from keras_arch.tasks._modules import losses, models, optimizer_from_config, optimizers, references
from keras_arch.tasks.base import Task

# The tasks whose models can be fine-tuned, with what they are called.
TUNABLE = {"image-classification": "a classifier", "image-segmentation": "a segmentation network"}
_log = logging.getLogger("keras_arch")


class PhasesRecipe(config.Recipe):
    """Training settings of fine-tuning.

    For the first `head_epochs` of the `epochs` (by default a fifth of them, at most 3) only the new
    head learns, at `head_learning_rate`, and the rest of the network is frozen. Then all layers
    learn by the `optimizer`: the head at its learning rate, and each stage before it at
    `layer_decay` times the rate of the one after it. With `patience` training ends after so many
    epochs without better ones.
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
    def _head_first(self) -> PhasesRecipe:
        if self.head_epochs is None:
            # The one way to set a field of a frozen model.
            self.__dict__["head_epochs"] = min(3, self.epochs // 5)
        if self.head_epochs > self.epochs:
            raise ValueError(
                f"head_epochs are the first of the epochs, {self.epochs}, got {self.head_epochs}"
            )
        return self


class FineTuningPhases(Task):
    """Base class of tasks that start from the weights of a model of the same architecture.

    Sub-classes come before the task that trains such networks, and say which layers are the head,
    how the rates fall towards the image, and how weights are transferred. Both optimizers exist
    from the start, so that a checkpoint holds the same variables in either phase.

    Attributes:
        loaded: The model that has the weights.
    """

    loaded: hub.LoadedModel

    def __init__(self, config: Any, preprocessing: Preprocessing, replicas: int = 1) -> None:
        super().__init__(config, preprocessing, replicas)
        self.phases = (config.recipe.head_epochs,)
        self._trains_head_only = False
        self._learning: set[str] = set()

    def head_names(self, network: keras.Model) -> list[str]:
        """Names of the layers that learn alone at first."""
        raise NotImplementedError

    def layer_factors(self, network: keras.Model, decay: float) -> dict[str, float]:
        """Factors of the learning rate by name of a layer; the head has 1."""
        raise NotImplementedError

    def transfer_weights(self, network: keras.Model, keep_head: bool) -> None:
        """Transfer all weights of the loaded model, or all but those of the head."""
        raise NotImplementedError

    @classmethod
    def schedule_length(cls, config: Any, examples: int) -> tuple[int, int]:
        """The schedule starts in the epoch from which all layers learn."""
        steps, epochs = super().schedule_length(config, examples)
        return steps, max(1, epochs - config.recipe.head_epochs)

    def check(self) -> None:
        """Also check that the weights are there and are those of the model."""
        super().check()
        self.loaded = load_tunable(self.config.weights, self.model_task)
        card, name = self.loaded.card, self.config.model.name
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

    def build(self) -> keras.Model:
        """The network with its weights and a head for the new classes, in its first phase."""
        recipe = self.config.recipe
        network = self.build_logits(self.replicas)
        self._start_from_weights(network)
        self._learning = {layer.name for layer in network.layers if layer.trainable}
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

    @property
    def first_patient_epoch(self) -> int:
        """Patience counts from the epoch in which all layers learn."""
        return self.config.recipe.head_epochs

    def card(self, network: keras.Model, metrics: dict[str, float], **fields: Any) -> hub.Card:
        """The card of the network, with the model that it was fine-tuned from."""
        where = without_path(self.config.weights)
        card = super().card(network, metrics, **fields)
        return dataclasses.replace(card, base=where, recipe=card.recipe | {"weights": where})

    def _set_trainable(self, network: keras.Model, head: bool) -> None:
        """The head alone, with the batch norms of the rest frozen too, or all layers.

        Layers that the builder or the recipe froze stay so.
        """
        names = set(self.head_names(network)) if head else self._learning
        for layer in network.layers:
            layer.trainable = layer.name in self._learning and layer.name in names
        self._trains_head_only = head

    def _optimizer(self, network: keras.Model, head: bool) -> keras.optimizers.Optimizer:
        recipe = self.config.recipe
        if head:
            rate = {"learning_rate": recipe.head_learning_rate}
            return optimizer_from_config.make_optimizer(recipe.optimizer.model_copy(update=rate))
        factors = self.layer_factors(network, recipe.layer_decay)
        # A backbone may be frozen all the time.
        rates = {k: f for k, f in factors.items() if network.get_layer(k).trainable_weights}
        return optimizers.layerwise(optimizer_from_config.make_optimizer(recipe.optimizer), rates)

    def _start_from_weights(self, network: keras.Model) -> None:
        """Transfer all weights; those of the head only where the classes are the same."""
        card, classes = self.loaded.card, list(self.source.classes)
        keep = card.labels == classes
        self.transfer_weights(network, keep)
        if keep:
            _log.info("the classes are those of %s: its head stays", card.name)
            return
        _log.info(
            "the head of %s (%d classes) is replaced by one for %d: %s",
            card.name,
            self.loaded.model.output_shape[-1],
            len(classes),
            listed(classes),
        )


def load_tunable(ref: str, task: str | None = None) -> hub.LoadedModel:
    """Load a classifier or segmentation network to fine-tune.

    Args:
        ref: As in `training.references.model_uri`.
        task: The task that it must have, or `None` for any that can be fine-tuned.

    Raises:
        ArgumentError: If it is another model, or of an architecture that is not known.
        HubError: If it is not there.
    """
    loaded = references.load_model(ref)
    card = loaded.card
    check_tunable(card, ref, task)
    if card.architecture not in models.list_models():
        raise ArgumentError(
            f"{ref} is {card.architecture!r}, which is no architecture of keras_arch, so that its "
            "head cannot be replaced; keras-arch models lists those that there are"
        )
    return loaded


def check_tunable(card: hub.Card, ref: str, task: str | None = None) -> None:
    """Refuse a model that cannot be fine-tuned, or is not of the given task."""
    wanted = [task] if task else list(TUNABLE)
    if card.task not in wanted:
        raise ArgumentError(
            f"{ref} is {card.architecture}, a model of the task {card.task}; fine-tuning takes "
            f"{' or '.join(TUNABLE[each] for each in wanted)} here"
        )
