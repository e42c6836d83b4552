"""Fine-tuning of classifiers: new classes, the head first and then all layers."""

from __future__ import annotations

import logging
from typing import Any

from keras_arch import data, hub, registry
from keras_arch._lazy import keras
from keras_arch.errors import DataError, listed
from keras_arch.tasks._modules import models, weights
from keras_arch.tasks.base import register_task
from keras_arch.tasks.classification import (
    Classification,
    ClassificationConfig,
    ClassificationRecipe,
)
from keras_arch.tasks.finetuning_phases import FineTuningPhases, PhasesRecipe

# The name of the classifier's layer in every architecture.
HEAD = "logits"
_log = logging.getLogger("keras_arch")


class FineTuningRecipe(PhasesRecipe, ClassificationRecipe):
    """Training settings of the fine-tuning of a classifier; see `PhasesRecipe`."""


class FineTuningConfig(ClassificationConfig):
    """Config of a classifier that starts from the `weights` of another one.

    `weights` is a REF, as on the command line. `preprocessing` and the arguments of the `model` are
    those of the weights, except `classes`.
    """

    weights: str
    recipe: FineTuningRecipe = FineTuningRecipe()


@register_task("fine-tuning")
class FineTuning(FineTuningPhases, Classification):
    """Task of classifiers that start from the weights of another one, trained in two phases."""

    Config = FineTuningConfig
    model_task = "image-classification"

    def check(self) -> None:
        """Also check that the weights are there and are those of the model."""
        super().check()
        self._check_order()

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
                f"{listed(missing)}; shuffle the archive, or set data.train and data.validation"
            )

    def head_names(self, network: keras.Model) -> list[str]:
        """The one layer of the classes."""
        return [HEAD]

    def layer_factors(self, network: keras.Model, decay: float) -> dict[str, float]:
        """Factors that fall from stage to stage."""
        return layer_factors(network, decay)

    def transfer_weights(self, network: keras.Model, keep_head: bool) -> None:
        """Transfer all weights, or all but those of the head."""
        head = network.get_layer(HEAD)
        fresh = head.get_weights()
        weights.transfer(network, self.loaded.model, f"{self.config.weights!r}")
        if not keep_head:
            head.set_weights(fresh)


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
