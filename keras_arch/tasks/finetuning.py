"""Fine-tuning: a trained classifier learns other classes, its head first and then all of it."""

import dataclasses
import logging
from typing import Any

import keras

from keras_arch import config, data, hub, losses, models, optimizers, registry, weights
from keras_arch.errors import ArgumentError, ConfigError, DataError
from keras_arch.preprocessing import Preprocessing
from keras_arch.tasks.classification import Classification
from keras_arch.training.factories import make_optimizer
from keras_arch.training.references import model_uri

# The layer that knows the classes, in every architecture.
HEAD = "logits"
_log = logging.getLogger("keras_arch")


class Finetuning(Classification):
    """A classifier with the weights of another one, trained in two phases.

    Both optimizers are there from the beginning, so that a checkpoint holds the same variables in
    either phase.
    """

    def __init__(self, checked: config.FinetuneConfig, preprocessing: Preprocessing) -> None:
        super().__init__(checked, preprocessing)
        self.phases = (checked.recipe.head_epochs,)
        self._opened: Any = None
        self._head_learns = False

    def check(self) -> None:
        """As for every classifier; the weights are there, and are those of the model."""
        super().check()
        self._check_order()
        self._opened = opened_classifier(self.config.weights)
        card, name = self._opened.card, self.config.model.name
        if card.architecture != name:
            raise ConfigError(
                f"weights {self.config.weights!r} are those of {card.architecture}, model.name is "
                f"{name!r}"
            )
        differing = [
            key
            for key in ("channels", "scale", "mean", "std", "channel_order")
            if getattr(card.preprocessing, key) != getattr(self.preprocessing, key)
        ]
        if differing:
            _log.warning(
                "preprocessing has another %s than what the weights were trained with",
                " and ".join(differing),
            )

    def _check_order(self) -> None:
        """Archives are sliced as they lie; those in order of their classes would lose some.

        Folders are interleaved, and TensorFlow Datasets shuffles when it prepares a set.
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

    def build(self, replicas: int) -> keras.Model:
        """The network with its weights and a head for the new classes, in its first phase."""
        recipe = self.config.recipe
        network = self.logits(replicas)
        self._take_weights(network)
        losses.add_weight_decay(network, recipe.weight_decay, recipe.weight_decay_on)
        head_first = recipe.head_epochs > 0
        made = {}
        for head in (False, True) if head_first else (True, False):
            self._let_learn(network, head)
            self.compile(network, self._optimizer(network, head))
            made["head" if head else "all"] = network.optimizer
        # All that the state of a run consists of, in either phase.
        network.optimizers = dict(sorted(made.items()))
        self.make_metrics(network, replicas)
        return network

    def enter(self, model: keras.Model, epoch: int) -> None:
        """Let the head learn alone, or all layers."""
        head = epoch < self.config.recipe.head_epochs
        if head == self._head_learns:
            return
        strategy = model.distribute_strategy
        with strategy.scope():
            self._let_learn(model, head)
            self.compile(model, model.optimizers["head" if head else "all"])
            self.make_metrics(model, strategy.num_replicas_in_sync)

    def _let_learn(self, network: keras.Model, head: bool) -> None:
        """The head alone, batch norms of the rest keeping their statistics too, or all layers."""
        for layer in network.layers:
            layer.trainable = not head or layer.name == HEAD
        self._head_learns = head

    def _optimizer(self, network: keras.Model, head: bool) -> keras.optimizers.Optimizer:
        recipe = self.config.recipe
        if head:
            rate = {"learning_rate": recipe.head_learning_rate}
            return make_optimizer(recipe.optimizer.model_copy(update=rate))
        factors = stage_factors(network, recipe.layer_decay)
        return optimizers.layerwise(make_optimizer(recipe.optimizer), factors)

    @property
    def first_that_counts(self) -> int:
        """Patience begins with the epochs in which all layers learn."""
        return self.config.recipe.head_epochs

    def card(self, network: keras.Model, metrics: dict[str, float]) -> hub.Card:
        """What the weights are, and whose they were."""
        where = public_name(self.config.weights)
        card = super().card(network, metrics)
        return dataclasses.replace(card, base=where, recipe=card.recipe | {"weights": where})

    def _take_weights(self, network: keras.Model) -> None:
        """All weights but the head's, and those too where the classes are the same."""
        source, classes = self._opened, list(self.source.classes)
        head = network.get_layer(HEAD)
        fresh = head.get_weights()
        weights.transfer(network, source.model, f"{self.config.weights!r}")
        if source.card.labels == classes:
            _log.info("the classes are those of %s: its head is kept", source.card.name)
            return
        head.set_weights(fresh)
        _log.info(
            "the head of %s (%d classes) is replaced by one for %d: %s",
            source.card.name,
            source.model.output_shape[-1],
            len(classes),
            _listed(classes),
        )


def opened_classifier(ref: str) -> hub.LoadedModel:
    """A classifier that another one can be made of.

    Args:
        ref: As in `model_uri`.

    Raises:
        ArgumentError: If it is no classifier, or of an architecture that is not known.
        HubError: If it is not there.
    """
    opened = hub.load_with_card(model_uri(ref))
    card = opened.card
    if card is None:
        raise ArgumentError(
            f"{ref} was not saved by keras_arch, so nothing says what network it is and how its "
            "pixels are prepared; save it with hub.save and a card first"
        )
    if card.task != "image-classification":
        raise ArgumentError(
            f"{ref} is {card.architecture}, which does not classify images; fine-tuning takes a "
            "classifier"
        )
    if card.architecture not in models.list_models():
        raise ArgumentError(
            f"{ref} is {card.architecture!r}, which is no architecture of keras_arch, so that its "
            "head cannot be replaced; keras-arch models lists those that there are"
        )
    return opened


def without_auxiliary_heads(card: hub.Card) -> dict[str, Any]:
    """The arguments of a network with the one head that is fine-tuned."""
    known = registry.entry(card.architecture).arguments
    off = {"auxiliary": False} if "auxiliary" in known else {}
    return card.arguments | off


def stage_factors(network: keras.Model, decay: float) -> dict[str, float]:
    """Factors on the learning rate of layers that fall from the head to the image.

    The head has 1. The last stage of `models.features` has `decay`, the one before it `decay ** 2`,
    and so on; what lies before the first stage belongs to it. Layers between the last stage and
    the head, such as the dense ones of a VGG, count as a stage of their own.

    Args:
        network: A classifier with named stages whose head is the layer `logits`.
        decay: From one stage to the one before it.

    Returns:
        Factors by name of the layer, for layers with weights.

    Example:
        >>> factors = stage_factors(models.CIFARResNet(depth=8), 0.5)
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
    """A reference as a card may show it: of what is on this machine only the name."""
    if ref.startswith("hf://"):
        return ref
    return ref.rstrip("/").rpartition("/")[2]


def _operations_before(tensor: Any) -> set[str]:
    """Names of all that a tensor is computed by."""
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
