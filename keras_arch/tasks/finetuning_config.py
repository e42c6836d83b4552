"""The config of fine-tuning a trained classifier on a data set."""

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keras_arch import config, data, hub
from keras_arch.data import splits
from keras_arch.errors import DataError
from keras_arch.tasks.finetuning import (
    HEAD,
    FineTuningConfig,
    FineTuningRecipe,
    check_classifier,
    load_classifier,
    without_auxiliary_heads,
)

_VALIDATION = ("validation", "valid", "val")
# Side in pixels from which images are random crops of the whole ones.
_LARGE = 96


def finetune_config(
    ref: str | Path, source: str, *, data_dir: str | None = None, overrides: Sequence[str] = ()
) -> FineTuningConfig:
    """The config that `keras_arch.finetune` trains.

    Args:
        ref: As for `keras_arch.finetune`.
        source: As for `keras_arch.finetune`.
        data_dir: As for `keras_arch.finetune`.
        overrides: As for `keras_arch.finetune`.

    Returns:
        The checked config.

    Raises:
        ArgumentError, DataError, ConfigError: As for `keras_arch.finetune`.
    """
    loaded = load_classifier(str(ref))
    card = loaded.card
    described = data.describe(source, data_dir=data_dir, download=True)
    if described.classes is None:
        raise DataError(
            f"data source {source} has no labels; fine-tuning needs them (folder:PATH with one "
            "sub-folder for each class)"
        )
    parts = _splits(described.splits)
    _, first, last = splits.parse(parts["train"], described.splits, source)[0]
    recipe = FineTuningRecipe()
    # Very few images make one batch.
    recipe = recipe.model_copy(update={"batch_size": min(recipe.batch_size, last - first)})
    defaults = recipe.model_dump(mode="json")
    peak, defaults["head_learning_rate"] = _rates(loaded.model.get_layer(HEAD).kernel.shape[0])
    defaults["optimizer"]["learning_rate"]["peak"] = peak
    # How long the head learns alone follows from the epochs, which may be changed.
    defaults["head_epochs"] = None
    arguments = without_auxiliary_heads(card)
    content = _content(card, arguments, ref, source, data_dir, len(described.classes))
    content["data"] |= parts
    return config.parse(content | {"recipe": defaults}, "fine-tuning", overrides)


def preliminary_config(
    card: hub.Card,
    ref: str,
    source: str,
    *,
    data_dir: str | None = None,
    overrides: Sequence[str] = (),
) -> FineTuningConfig:
    """The config as far as it is known before the weights and the data are opened.

    Args:
        card: Of the classifier.
        ref: As for `keras_arch.finetune`, as the others.

    Raises:
        ArgumentError: If the model is no classifier.
        ConfigError: If a change is wrong.
    """
    check_classifier(card, ref)
    content = _content(card, card.arguments, ref, source, data_dir, classes=1)
    return config.parse(content, "fine-tuning", overrides)


def _content(
    card: hub.Card,
    arguments: dict[str, Any],
    ref: str | Path,
    source: str,
    data_dir: str | None,
    classes: int,
) -> dict[str, Any]:
    """A config without the splits and the recipe."""
    return {
        "name": f"{card.name}-{_name(source)}",
        "description": f"{card.architecture} for the {classes} classes of {_name(source)}.",
        "task": "fine-tuning",
        "weights": str(ref),
        "model": {
            "name": card.architecture,
            "arguments": arguments | {"classes": classes},
        },
        "data": {
            "source": source,
            "data_dir": data_dir,
            **_augmentation(min(card.preprocessing.size), card.preprocessing.resize),
        },
        "preprocessing": card.preprocessing.to_dict(),
        "license": card.license,
    }


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
