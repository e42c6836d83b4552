"""Functions of the package: train a config, and use a trained model wherever it is.

Each function is an attribute of the package: `keras_arch.train("resnet20-digits")`. A model is a
run directory, a model directory, the name of a config, `hf://user/repo[@revision]` or
`file://FOLDER/user/repo`; its task decides what can be done with it.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from keras_arch import distribute, export, files, hub, registry, visualization
from keras_arch.data.image_paths import image_paths
from keras_arch.tasks import finetuning_config
from keras_arch.tasks.base import check_options
from keras_arch.tasks.class_names import read_class_map
from keras_arch.tasks.comparison import ComparedModel, compare
from keras_arch.tasks.evaluation_data import EvaluationData
from keras_arch.tasks.generator_evaluation import diagnose, evaluate_generator
from keras_arch.tasks.predictions import Prediction
from keras_arch.training.loop import Run, train
from keras_arch.training.references import load_model, model_uri, training_data

__all__ = [
    "ComparedModel",
    "Prediction",
    "Run",
    "compare",
    "diagnose",
    "evaluate",
    "evaluate_generator",
    "export_model",
    "finetune",
    "generate",
    "load_model",
    "model_uri",
    "predict",
    "push",
    "train",
    "translate",
]

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
    """Fine-tune a trained classifier or segmentation network on the classes of another data set.

    Its head is replaced and trained alone first, then all layers are trained, those nearer to the
    image at lower rates. The weights that are best on a validation part are saved, and training
    stops when it no longer improves. The learning rates depend on the width of the network: 0.003
    for a head of 64 inputs, 0.00053 for one of 2,048. Images go through the preprocessing of the
    model, whatever their size and channels. A segmentation network keeps its loss, tiles and
    augmentation too.

    Args:
        ref: The model, as in `model_uri`: a classifier, or a `UNet`, `FCN` or `DeepLabV3Plus`.
        source: The data, as in `data.load`: `"folder:PATH"`, `"npz:PATH"`, `"digits"`, or a name of
            TensorFlow Datasets; for a segmentation network `"masks:PATH"`. Where it has no
            validation or no test part, 15 % of the training images become one.
        out: The run directory. Default `runs/NAME`.
        data_dir: As in `data.load`.
        overrides: Changes of the config such as `"recipe.epochs=20"`,
            `"data.augment=[crop:4, mixup:0.2]"`, `"recipe.class_weights=balanced"` or, of a
            segmentation network, `"recipe.freeze_backbone=true"`.
        strategy: As in `keras_arch.distribute.strategy`.
        resume: Continue the run in `out`.
        verbose: As for `train`.

    Returns:
        The finished `Run`, like that of `train`; its `config.yaml` can be trained again.

    Raises:
        ArgumentError: If `ref` is no such model of keras_arch.
        DataError: If the data is missing, has no labels or masks, one class only, or does not fit.
        ConfigError: If a change is wrong.
        RunError, NonFiniteError, Interrupted: As for `train`.

    Example:
        >>> import keras_arch
        >>> from keras_arch import hub, models
        >>> from keras_arch.preprocessing import Preprocessing
        >>> card = hub.Card("net", "CIFARResNet", {"depth": 8, "input_shape": [8, 8, 1]},
        ...                 "image-classification", Preprocessing((8, 8), 1))
        >>> model = models.create("CIFARResNet", **card.arguments)
        >>> few = ["recipe.epochs=1", "recipe.head_epochs=0", "data.train=train[:64]",
        ...        "data.validation=train[64:96]", "data.test=test[:64]"]
        >>> saved = hub.save(model, "net", card)
        >>> run = keras_arch.finetune(saved, "digits", "run", overrides=few, verbose=0)
        >>> sorted(run.metrics)
        ['accuracy', 'best_epoch', 'error', 'loss']
    """
    # Over several hosts nothing may use TensorFlow before, and a model is loaded here.
    distribute.strategy(strategy)
    checked = finetuning_config.finetune_config(ref, source, data_dir=data_dir, overrides=overrides)
    parts = checked.data
    _log.info(
        "%s: train on %s, validate on %s, test on %s",
        parts.source,
        parts.train,
        parts.validation,
        parts.test,
    )
    return train(checked, out, strategy=strategy, resume=resume, verbose=verbose)


def evaluate(
    ref: str | Path,
    *,
    source: str | None = None,
    split: str | None = None,
    data_dir: str | None = None,
    class_map: str | Mapping[str, str] | None = None,
    out: str | Path | None = None,
    token: str | None = None,
) -> dict[str, float]:
    """Evaluate a model on a data set.

    Args:
        ref: As in `model_uri`.
        source: As in `data.load`. Default: that of the training.
        split: Default: the recipe's test split (for a generator, its training split).
        data_dir: As in `data.load`.
        class_map: Labels of the model for classes of the data that have other names,
            `"cat=Katze,dog=Hund"` or a dictionary. Equal names are matched in any order.
        out: Folder for `metrics.json`, and of a classifier `confusion_matrix.png`,
            `per_class.png`, `per_class.json` and `mistakes.png` (the most confident ones); of a
            segmentation network `confusion_matrix.png`, `per_class.json`, `overlays.png` and
            `close_ups.png`; or `None`.
        token: For a private repository.

    Returns:
        For a classifier accuracy, error and loss; for a segmentation network the metrics of pixels
        and boundaries of whole images at their own resolution; for a generator the mean losses
        against the discriminator that was saved with it; for a translator of pairs its L1 error in
        [-1, 1].

    Raises:
        DataError: If the data is missing or does not fit the model, or has classes of other names.
        ArgumentError: If the model's training data is unknown and no `source` is given, or its
            task has no evaluation.
    """
    loaded = load_model(ref, token=token, training=True)
    settings = training_data(ref, loaded.card)
    names = read_class_map(class_map)
    chosen = EvaluationData(loaded.card, settings, source, split, data_dir, names)
    folder = None if out is None else Path(out)
    found = _task(loaded).evaluate(loaded, chosen, folder)
    if folder is not None:
        files.atomic_write(folder / "metrics.json", json.dumps(found, indent=1) + "\n")
    return found


def predict(
    ref: str | Path,
    images: str | Path | Sequence[str | Path],
    *,
    out: str | Path | None = None,
    token: str | None = None,
    **options: Any,
) -> Sequence[Prediction]:
    """Predict the classes of image files, or of their pixels.

    Args:
        ref: As in `model_uri`.
        images: JPEG, PNG or other files that Pillow reads; folders, with their sub-folders; and
            patterns such as `"photos/**/*.jpg"`. One or several. Pictures that predictions wrote
            are left out, except a file that is named alone.
        out: Folder of the files that are written. Default: beside each image.
        token: For a private repository.
        **options: Those of the model's task. For a classifier `top=5` (number of classes),
            `explain=True` (Grad-CAM over each image, `NAME_explained.png`), `label` (the class
            to explain, by number or name) and `batch_size=32` (images in a batch); for a
            segmentation network `overlay=True` (classes over each image, `NAME_overlay.png`,
            besides `NAME_mask.png`), `probabilities=True` (of the classes of all pixels,
            `NAME_probabilities.npy`), and where it sees tiles `tile` (height and width in pixels)
            and `batch_size=1` (tiles in a batch).

    Returns:
        One prediction an image.

    Raises:
        ArgumentError: If the task has no prediction or not that option, there is no such class, or
            two files would get one name.
        DataError: If a file is missing or is no image.
    """
    loaded = load_model(ref, token=token)
    task = _task(loaded)
    check_options(task, loaded.card, options)
    return task.predict(
        loaded, image_paths(images), out=None if out is None else Path(out), **options
    )


def generate(
    ref: str | Path,
    count: int = 64,
    seed: int | None = None,
    out: str | Path = "samples.png",
    *,
    labels: Sequence[int | str] | None = None,
    token: str | None = None,
) -> Path:
    """Generate images into one picture.

    A single image is written as the generator makes it. Several are arranged on a white sheet, on
    which small ones are enlarged.

    Args:
        ref: A generator, as in `model_uri`.
        count: Number of images.
        seed: The same seed gives the same images.
        out: The PNG file.
        labels: For a conditional generator, the classes, by number or name, in turn. Default: all
            of them, a column each.
        token: For a private repository.

    Returns:
        The file.

    Raises:
        ArgumentError: If the model is no generator or has no card, a class is unknown, or the name
            of the file does not end in `.png`.
    """
    files.check_png(out, "out")
    loaded = load_model(ref, token=token)
    grid = _task(loaded).generate(loaded, count, seed, labels)
    return visualization.save_png(grid, out)


def translate(
    ref: str | Path,
    images: str | Path | Sequence[str | Path],
    out: str | Path = "translated",
    *,
    batch_size: int = 1,
    token: str | None = None,
) -> list[Path]:
    """Translate image files.

    Args:
        ref: An image translator, as in `model_uri`.
        images: Files of any size, folders and patterns, as for `predict`.
        out: Folder of the results, `NAME.png` each.
        batch_size: Images in one forward, over which a generator may take batch statistics.
            Default 1: each image by itself, as in the papers.
        token: For a private repository.

    Returns:
        The files.

    Raises:
        ArgumentError: If the model is no translator, two images would get one name, or a result
            would replace an image.
        DataError: If a file is missing or is no image.
    """
    loaded = load_model(ref, token=token)
    return _task(loaded).translate(loaded, image_paths(images), Path(out), batch_size=batch_size)


def export_model(
    ref: str | Path,
    directory: str | Path,
    *,
    version: int | None = None,
    max_batch: int | None = None,
    max_pixels: int | None = None,
    token: str | None = None,
) -> Path:
    """Export a model for TF Serving; see `export.saved_model`.

    Args:
        ref: As in `model_uri`.
        directory: Where the model's own folder goes.
        version: Default: the next free one.
        max_batch: Most examples of a request. Default: 256 MiB of inputs and outputs.
        max_pixels: Most pixels of an image of a request. Default: 2**26.
        token: For a private repository.

    Returns:
        `directory/NAME/VERSION`.
    """
    loaded = load_model(ref, token=token)
    card, task = loaded.card, _task(loaded)
    return export.saved_model(
        loaded.model,
        directory,
        name=card.name,
        preprocessing=card.preprocessing,
        labels=task.export_labels(loaded),
        latent=card.latent,
        task=card.task,
        target_preprocessing=card.target_preprocessing,
        tiles=task.in_tiles(card),
        version=version,
        max_batch=max_batch,
        max_pixels=max_pixels,
    )


def push(
    ref: str | Path,
    repository: str,
    *,
    private: bool = False,
    revision: str | None = None,
    token: str | None = None,
) -> str:
    """Publish the model of a run; see `hub.push`.

    Args:
        ref: A run directory, or a model directory.
        repository: `"user/repo"`, or `file://FOLDER/user/repo` for a hub in a folder.
        private: Whether a new repository is private.
        revision: The branch. Default `main`.
        token: Default: the one that `hf auth login` or HF_TOKEN gave.

    Returns:
        Its URI.
    """
    return hub.push(ref, repository, private=private, revision=revision, token=token)


def _task(loaded: hub.LoadedModel) -> Any:
    """The task of a saved model."""
    return registry.TASKS.get(loaded.card.task)
