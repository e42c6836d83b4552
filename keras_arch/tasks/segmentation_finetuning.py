"""Fine-tuning of segmentation networks: new classes, the head first and then all layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from keras_arch._lazy import keras
from keras_arch.config.base import Positive
from keras_arch.errors import ConfigError
from keras_arch.tasks._modules import callbacks, freezing
from keras_arch.tasks.base import register_task
from keras_arch.tasks.finetuning_phases import FineTuningPhases, PhasesRecipe
from keras_arch.tasks.segmentation import MONITOR, TIES, Segmentation
from keras_arch.tasks.segmentation_config import SegmentationConfig, SegmentationRecipe


class SegmentationFineTuningRecipe(PhasesRecipe, SegmentationRecipe):
    """Training settings of the fine-tuning of a segmentation network; see `PhasesRecipe`."""

    batch_size: Positive = 8


class SegmentationFineTuningConfig(SegmentationConfig):
    """Config of a segmentation network that starts from the `weights` of another one.

    `weights` is a REF, as on the command line. `preprocessing` and the arguments of the `model` are
    those of the weights, except `classes`.
    """

    weights: str
    recipe: SegmentationFineTuningRecipe = SegmentationFineTuningRecipe()


@register_task("segmentation-fine-tuning")
class SegmentationFineTuning(FineTuningPhases, Segmentation):
    """Task of segmentation networks that start from another one's weights, in two phases."""

    Config = SegmentationFineTuningConfig
    model_task = "image-segmentation"

    def should_stop(self, rows: Sequence[Mapping[str, float]]) -> bool:
        """Whether there were `patience` epochs without a better one."""
        return callbacks.out_of_patience(
            rows,
            self.config.recipe.patience,
            monitor=MONITOR,
            ties=TIES,
            start=self.first_patient_epoch,
        )

    def check_frozen(self) -> None:
        """Nothing: a backbone that is frozen has the weights of the model."""

    def head_names(self, network: keras.Model) -> list[str]:
        """The layers whose weights have an axis of classes."""
        return freezing.head_layers(network)

    def layer_factors(self, network: keras.Model, decay: float) -> dict[str, float]:
        """Factors that fall from the decoder to the image."""
        return freezing.layer_factors(network, decay)

    def transfer_weights(self, network: keras.Model, keep_head: bool) -> None:
        """Transfer all weights, or all but those of the head."""
        head = () if keep_head else self.head_names(network)
        given = {layer.name: layer.get_weights() for layer in self.loaded.model.layers}
        for layer in network.layers:
            if not layer.weights or layer.name in head:
                continue
            wanted = [tuple(weight.shape) for weight in layer.weights]
            found = [array.shape for array in given.get(layer.name, [])]
            if wanted != found:
                raise ConfigError(
                    f"model.arguments do not fit {self.config.weights!r}: layer {layer.name} has "
                    f"weights of shapes {wanted}, there they are {found or 'missing'}"
                )
            layer.set_weights(given[layer.name])
