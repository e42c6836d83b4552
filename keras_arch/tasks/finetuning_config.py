"""The config of fine-tuning a trained model on a data set."""

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keras_arch import config, data, hub
from keras_arch.data import splits
from keras_arch.errors import DataError
from keras_arch.tasks._modules import freezing
from keras_arch.tasks.classification import check_several_classes
from keras_arch.tasks.finetuning import HEAD, FineTuningRecipe, without_auxiliary_heads
from keras_arch.tasks.finetuning_phases import PhasesRecipe, check_tunable, load_tunable
from keras_arch.tasks.segmentation_finetuning import SegmentationFineTuningRecipe

_VALIDATION = ("validation", "valid", "val")
# Side in pixels from which images are random crops of the whole ones.
_LARGE = 96
# Arguments of a segmentation network that say where its weights came from, or what a training
# decides.
_OF_THE_START = ("weights", "backbone_weights", "classifier_activation")
# Settings of the training of a segmentation network that its fine-tuning keeps.
_KEPT = ("loss", "loss_arguments", "normalize", "weights", "interpolation")


def finetune_config(
    ref: str | Path, source: str, *, data_dir: str | None = None, overrides: Sequence[str] = ()
) -> config.TaskConfig:
    """The config that `keras_arch.finetune` trains.

    Args:
        ref: As for `keras_arch.finetune`.
        source: As for `keras_arch.finetune`.
        data_dir: As for `keras_arch.finetune`.
        overrides: As for `keras_arch.finetune`.

    Returns:
        The checked config, a `FineTuningConfig` or a `SegmentationFineTuningConfig`.

    Raises:
        ArgumentError, DataError, ConfigError: As for `keras_arch.finetune`.
    """
    loaded = load_tunable(str(ref))
    card = loaded.card
    described = data.describe(source, data_dir=data_dir, download=True)
    segments = card.task == "image-segmentation"
    _check_source(described, source, segments)
    parts = _splits(described.splits)
    _, first, last = splits.parse(parts["train"], described.splits, source)[0]
    chosen = _segmentation if segments else _classification
    task, arguments, settings, recipe = chosen(loaded)
    # Very few images make one batch.
    examples = (last - first) * settings.get("crops_per_image", 1)
    recipe["batch_size"] = min(recipe["batch_size"], examples)
    # How long the head learns alone follows from the epochs, which may be changed.
    recipe["head_epochs"] = None
    content = _content(card, arguments, ref, source, data_dir, len(described.classes))
    content["data"] |= settings | parts
    return config.parse(content | {"recipe": recipe}, task, overrides)


def preliminary_config(
    card: hub.Card,
    ref: str,
    source: str,
    *,
    data_dir: str | None = None,
    overrides: Sequence[str] = (),
) -> config.TaskConfig:
    """The config as far as it is known before the weights and the data are opened.

    Args:
        card: Of the model to fine-tune.
        ref: As for `keras_arch.finetune`, as the others.

    Raises:
        ArgumentError: If the model cannot be fine-tuned.
        ConfigError: If a change is wrong.
    """
    check_tunable(card, ref)
    content = _content(card, _kept_arguments(card), ref, source, data_dir, classes=2)
    content["data"] |= {"train": "train", "validation": "validation", "test": "test"}
    return config.parse(content, content["task"], overrides)


def _content(
    card: hub.Card,
    arguments: dict[str, Any],
    ref: str | Path,
    source: str,
    data_dir: str | None,
    classes: int,
) -> dict[str, Any]:
    """A config without the splits and the recipe."""
    segments = card.task == "image-segmentation"
    return {
        "name": f"{card.name}-{_name(source)}",
        "description": f"{card.architecture} for the {classes} classes of {_name(source)}.",
        "task": "segmentation-fine-tuning" if segments else "fine-tuning",
        "weights": str(ref),
        "model": {
            "name": card.architecture,
            "arguments": arguments | {"classes": classes},
        },
        "data": {"source": source, "data_dir": data_dir},
        "preprocessing": card.preprocessing.to_dict(),
        "license": card.license,
    }


def _kept_arguments(card: hub.Card) -> dict[str, Any]:
    """The arguments of a segmentation network that its fine-tuning keeps."""
    return {name: value for name, value in card.arguments.items() if name not in _OF_THE_START}


def _check_source(described: data.Source, source: str, segments: bool) -> None:
    """Refuse a source without the kind of labels that the model learns from."""
    if segments:
        if described.kind != "masks":
            raise DataError(
                f"data source {source} has no masks; fine-tuning a segmentation network needs them "
                "(masks:PATH with folders of images and masks)"
            )
        return
    if described.classes is None or described.kind == "masks":
        raise DataError(
            f"data source {source} has no labels of images; fine-tuning a classifier needs them "
            "(folder:PATH with one sub-folder for each class)"
        )
    check_several_classes(described)


# What differs between the tasks: its name, the arguments of the model, data settings, the recipe.
_Chosen = tuple[str, dict[str, Any], dict[str, Any], dict[str, Any]]


def _classification(loaded: hub.LoadedModel) -> _Chosen:
    preprocessing = loaded.card.preprocessing
    recipe = _recipe(FineTuningRecipe(), loaded.model.get_layer(HEAD).kernel.shape[0])
    settings = _augmentation(min(preprocessing.size), preprocessing.resize)
    return "fine-tuning", without_auxiliary_heads(loaded.card), settings, recipe


def _segmentation(loaded: hub.LoadedModel) -> _Chosen:
    card, model = loaded.card, loaded.model
    # Of those that score maps the widest; transposed convolutions are among the others.
    kernels = [model.get_layer(name).kernel for name in freezing.head_layers(model)]
    recipe = _recipe(SegmentationFineTuningRecipe(), max(kernel.shape[-2] for kernel in kernels))
    before = card.recipe.get("recipe", {})
    recipe |= {key: before[key] for key in _KEPT if key in before}
    recipe["batch_size"] = before.get("batch_size", recipe["batch_size"])
    trained = card.recipe.get("data", {})
    settings = {key: trained[key] for key in ("crop_mode", "crops_per_image") if key in trained}
    settings["augment"] = trained.get("augment", ["flip"])
    return "segmentation-fine-tuning", _kept_arguments(card), settings, recipe


def _recipe(usual: PhasesRecipe, features: int) -> dict[str, Any]:
    """A recipe with the learning rates for a head of so many inputs."""
    recipe = usual.model_dump(mode="json")
    peak, recipe["head_learning_rate"] = _rates(features)
    recipe["optimizer"]["learning_rate"]["peak"] = peak
    return recipe


def _rates(features: int) -> tuple[float, float]:
    """Learning rates of all layers and of the head alone, for a head of so many inputs.

    A step of Adam moves every weight alike, and an output by the more the more inputs it has: wide
    networks take smaller steps.
    """
    return tuple(float(f"{rate / math.sqrt(features):.2g}") for rate in (0.024, 0.08))


def _augmentation(side: int, resize: str) -> dict[str, Any]:
    """Augmentation by image size: crops as for ImageNet, though milder, or as for CIFAR."""
    if side >= _LARGE and resize != "pad":
        # Cut out of whole images, which are read in every epoch.
        return {"augment": ["resized_crop:0.35,1", "flip"], "cache": False}
    return {"augment": [f"crop:{max(1, side // 8)}", "flip"]}


def _splits(sizes: dict[str, int]) -> dict[str, str]:
    """The splits for training, validation and test."""
    names = list(sizes)
    train = "train" if "train" in sizes else names[0]
    test = "test" if "test" in sizes else None
    validation = next((name for name in _VALIDATION if name in sizes), None)
    if test is None:
        # The split that chose the epoch would give a better figure than new images do.
        test, validation = validation, None
    if test is None:
        return {
            "train": f"{train}[:70%]",
            "validation": f"{train}[70%:85%]",
            "test": f"{train}[85%:]",
        }
    if validation is None:
        return {"train": f"{train}[:85%]", "validation": f"{train}[85%:]", "test": test}
    return {"train": train, "validation": validation, "test": test}


def _name(source: str) -> str:
    """The part of a run.s name that a data source gives."""
    kind, colon, path = source.partition(":")
    last = Path(path).stem if colon and kind == "npz" else Path(path).name if colon else kind
    return re.sub(r"[^\w.-]+", "_", last) or kind
