"""Fine-tuning as one call: the config that trained weights and a data set make."""

import logging
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keras_arch import config, data
from keras_arch.data import splits
from keras_arch.errors import DataError
from keras_arch.tasks.finetuning import HEAD, opened_classifier, without_auxiliary_heads
from keras_arch.training.loop import Run, train

_VALIDATION = ("validation", "val")
# Pixels a side from which images are cut at random out of the whole ones.
_LARGE = 96
_log = logging.getLogger("keras_arch")


def finetune(
    ref: str | Path,
    source: str,
    out: str | Path | None = None,
    *,
    data_dir: str | None = None,
    overrides: Sequence[str] = (),
    strategy: str = "auto",
    resume: bool = False,
    verbose: int | str = "auto",
) -> Run:
    """Teach a trained classifier the classes of another data set.

    Its head is replaced and learns alone first, then all layers learn, those nearer to the image
    more slowly. The weights that are best on a validation part are kept, and training stops when
    it gets no better. The learning rates fit the width of the network: 0.003 for a head of 64
    inputs, 0.00053 for one of 2,048. Images are brought to what the network was trained on by its
    own preprocessing, whatever their size and channels.

    Args:
        ref: The classifier: a run, a model directory, the name of a config, `hf://user/repo`.
        source: The data, as in `data.load`: `"folder:PATH"`, `"npz:PATH"`, `"digits"`, or a name of
            TensorFlow Datasets. Where it has no validation or no test part, 15 % of the training
            images become one.
        out: The run directory. Default `runs/NAME`.
        data_dir: As in `data.load`.
        overrides: Changes of the config such as `"recipe.epochs=20"` or
            `"data.augment=[crop:4, mixup:0.2]"`.
        strategy: As in `keras_arch.distribute.strategy`.
        resume: Go on with the run in `out`.
        verbose: As for `train`.

    Returns:
        The finished `Run`, like that of `train`; its `config.yaml` can be trained again.

    Raises:
        ArgumentError: If `ref` is no classifier of keras_arch.
        DataError: If the data is missing, has no labels or does not fit.
        ConfigError: If a change is wrong.
        RunError, NonFiniteError, Interrupted: As for `train`.

    Example:
        >>> import tempfile
        >>> from keras_arch import api, hub, models
        >>> from keras_arch.preprocessing import Preprocessing
        >>> card = hub.Card("net", "CIFARResNet", {"depth": 8, "input_shape": [8, 8, 1]},
        ...                 "image-classification", Preprocessing((8, 8), 1))
        >>> model = models.create("CIFARResNet", **card.arguments)
        >>> few = ["recipe.epochs=1", "recipe.head_epochs=0", "data.train=train[:64]",
        ...        "data.validation=train[64:96]", "data.test=test[:64]"]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     saved = hub.save(model, folder + "/net", card)
        ...     run = api.finetune(saved, "digits", folder + "/run", overrides=few, verbose=0)
        ...     sorted(run.metrics)
        ['accuracy', 'best_epoch', 'error', 'loss']
    """
    checked = finetune_config(ref, source, data_dir=data_dir, overrides=overrides)
    parts = checked.data
    _log.info(
        "%s: %s to learn, %s to choose the epoch, %s to test",
        parts.source,
        parts.train,
        parts.validation,
        parts.test,
    )
    return train(checked, out, strategy=strategy, resume=resume, verbose=verbose)


def finetune_config(
    ref: str | Path, source: str, *, data_dir: str | None = None, overrides: Sequence[str] = ()
) -> config.FinetuneConfig:
    """The config that `finetune` trains.

    Args:
        ref: As for `finetune`.
        source: As for `finetune`.
        data_dir: As for `finetune`.
        overrides: As for `finetune`.

    Returns:
        The checked config.

    Raises:
        ArgumentError, DataError, ConfigError: As for `finetune`.
    """
    opened = opened_classifier(str(ref))
    card = opened.card
    described = data.describe(source, data_dir=data_dir, download=True)
    if described.classes is None:
        raise DataError(
            f"data source {source} has no labels; fine-tuning needs them (folder:PATH with one "
            "sub-folder for each class)"
        )
    parts = _parts(described.splits)
    _, first, last = splits.parse(parts["train"], described.splits, source)[0]
    recipe = config.FinetuneRecipe()
    # Very few images make one batch.
    recipe = recipe.model_copy(update={"batch_size": min(recipe.batch_size, last - first)})
    defaults = recipe.model_dump(mode="json")
    peak, defaults["head_learning_rate"] = _rates(opened.model.get_layer(HEAD).kernel.shape[0])
    defaults["optimizer"]["learning_rate"]["peak"] = peak
    # How long the head learns alone follows from the epochs, which may be changed.
    defaults["head_epochs"] = None
    content: dict[str, Any] = {
        "name": f"{card.name}-{_name(source)}",
        "description": f"{card.architecture} for the {len(described.classes)} classes of "
        f"{_name(source)}.",
        "task": "fine-tuning",
        "weights": str(ref),
        "model": {
            "name": card.architecture,
            "arguments": without_auxiliary_heads(card) | {"classes": len(described.classes)},
        },
        "data": {
            "source": source,
            "data_dir": data_dir,
            **_variation(min(card.preprocessing.size), card.preprocessing.resize),
            **parts,
        },
        "preprocessing": card.preprocessing.to_dict(),
        "recipe": defaults,
        "license": card.license,
    }
    return config.parse(content, "fine-tuning", overrides)


def _rates(features: int) -> tuple[float, float]:
    """Learning rates of all layers and of the head alone, for a head of so many inputs.

    A step of Adam moves every weight alike, and an output by the more the more inputs it has: wide
    networks take smaller steps.
    """
    return tuple(float(f"{rate / math.sqrt(features):.2g}") for rate in (0.024, 0.08))


def _variation(side: int, resize: str) -> dict[str, Any]:
    """How images are varied: large ones as ImageNet's are, though less, small ones as CIFAR's."""
    if side >= _LARGE and resize != "pad":
        # Cut out of whole images, which are read in every epoch.
        return {"augment": ["resized_crop:0.35,1", "flip"], "cache": False}
    return {"augment": [f"crop:{max(1, side // 8)}", "flip"]}


def _parts(sizes: dict[str, int]) -> dict[str, str]:
    """Which images teach, which choose the epoch, and which test."""
    names = list(sizes)
    train = "train" if "train" in sizes else names[0]
    test = "test" if "test" in sizes else None
    validation = next((name for name in _VALIDATION if name in sizes), None)
    if test is None:
        # What chose the epoch would flatter it.
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
    """A data source as a part of a name."""
    kind, colon, path = source.partition(":")
    last = Path(path).stem if colon and kind == "npz" else Path(path).name if colon else kind
    return re.sub(r"[^\w.-]+", "_", last) or kind
