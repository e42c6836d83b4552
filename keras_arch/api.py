"""What can be done with a trained model, wherever it is: in a run, a folder or on the Hub."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_arch import data, export, files, hub, trainers, visualization
from keras_arch.errors import ArgumentError, DataError
from keras_arch.tasks.classification import measure_classifier, write_report
from keras_arch.tasks.finetuning_config import finetune
from keras_arch.tasks.generator_evaluation import diagnose, judge, sample_sheet
from keras_arch.tasks.predictions import Prediction, predict, read_image
from keras_arch.tasks.segmentation_report import cut_of, evaluate_segmentation
from keras_arch.training.factories import EVALUATION_BATCH
from keras_arch.training.loop import Run, train
from keras_arch.training.references import model_uri, open_model, opened_with_card, trained_on
from keras_arch.training.run_directory import RunDirectory, environment

__all__ = [
    "Prediction",
    "Run",
    "RunDirectory",
    "diagnose",
    "environment",
    "evaluate",
    "export_model",
    "finetune",
    "generate",
    "judge",
    "model_uri",
    "open_model",
    "predict",
    "push",
    "train",
    "translate",
]


def evaluate(
    ref: str | Path,
    *,
    source: str | None = None,
    split: str | None = None,
    data_dir: str | None = None,
    out: str | Path | None = None,
    token: str | None = None,
) -> dict[str, float]:
    """Measure a model on a data set.

    Args:
        ref: As in `model_uri`.
        source: As in `data.load`. Default: what the model was trained on.
        split: Default: the recipe's test split (for a generator, its training split).
        data_dir: As in `data.load`.
        out: Folder for `metrics.json`, and of a classifier `confusion_matrix.png`,
            `per_class.png`, `per_class.json` and `mistakes.png` (those it was surest of); of a
            segmentation network `confusion_matrix.png`, `per_class.json`, `overlays.png` and
            `close_ups.png`; or `None`.
        token: For a private repository.

    Returns:
        For a classifier accuracy, error and loss; for a segmentation network the figures of pixels
        and boundaries of whole images at their own resolution; for a generator the means of its
        game against the discriminator that was saved with it; for a translator of pairs its L1
        error in [-1, 1].

    Raises:
        DataError: If the data is missing or does not fit the model.
        ArgumentError: If the model says not what it was trained on, and `source` neither, or it is
            a discriminator.
    """
    opened = opened_with_card(ref, token=token, training=True)
    card = opened.card
    settings = trained_on(ref, card)
    if card.task == "image-segmentation":
        return evaluate_segmentation(opened, settings, source, split, data_dir, out)
    classifier = card.task == "image-classification"
    if not classifier and card.latent is None and card.task != "image-to-image":
        raise ArgumentError(
            f"{ref} is {card.architecture}, a {card.task}; it is measured with its generator"
        )
    source = source or settings.get("source")
    generator = card.latent is not None
    split = split or settings.get("train" if generator else "test")
    data_dir = data_dir or settings.get("data_dir")
    if source is None:
        raise ArgumentError(f"{ref} does not say what it was trained on; give a data source")
    images = data.load(source, split or "test", data_dir=data_dir)
    if card.task == "image-to-image":
        kind = data.describe(source, data_dir=data_dir).kind
        if kind != "pairs":
            raise ArgumentError(f"a translator is measured on pairs:PATH, {source} is no such data")
    batches = data.eval_batches(images, card.preprocessing, EVALUATION_BATCH)
    if classifier:
        classes = data.describe(source, data_dir=data_dir).classes
        outputs = opened.model.output_shape[-1]
        if classes is None or len(classes) != outputs:
            raise DataError(
                f"{source} has {len(classes) if classes else 'no'} classes, the model {outputs}"
            )
        measured = measure_classifier(opened.model, batches, from_logits=False)
        figures = measured.figures
        if out is not None:
            labels = card.labels or classes
            write_report(measured, batches, card.preprocessing, labels, Path(out))
    elif generator:
        figures = _evaluate_game(opened, batches)
    else:
        figures = _evaluate_pairs(opened, batches)
    if out is not None:
        files.atomic_write(Path(out) / "metrics.json", json.dumps(figures, indent=1) + "\n")
    return figures


def generate(
    ref: str | Path,
    count: int = 64,
    seed: int | None = None,
    out: str | Path = "samples.png",
    *,
    labels: Sequence[int | str] | None = None,
    token: str | None = None,
) -> Path:
    """Draw images from a generator into one picture.

    Args:
        ref: As in `model_uri`.
        count: How many images.
        seed: The same seed gives the same images.
        out: The PNG file.
        labels: For a conditional generator, the classes to draw, by number or name, in turn.
            Default: all of them, a column each.
        token: For a private repository.

    Returns:
        The file.

    Raises:
        ArgumentError: If the model is no generator or has no card, or a class is unknown.
    """
    opened = opened_with_card(ref, token=token)
    card = opened.card
    if card.latent is None:
        raise ArgumentError(f"{ref} is {card.architecture}, which generates no images")
    if labels:
        numbers = [_class_number(label, card.labels, ref) for label in labels]
        labels = [numbers[i % len(numbers)] for i in range(count)]
    return visualization.save_png(sample_sheet(opened, count, seed, labels or None), out)


def translate(
    ref: str | Path,
    images: Sequence[str | Path],
    out: str | Path = "translated",
    *,
    token: str | None = None,
) -> list[Path]:
    """Translate image files, each by itself.

    Args:
        ref: An image translator, as in `model_uri`.
        images: JPEG, PNG or other files that Pillow reads, of any size.
        out: Folder of the results, `NAME.png` each.
        token: For a private repository.

    Returns:
        The files.

    Raises:
        ArgumentError: If the model is no translator, two images would get one name, or a result
            would replace an image.
        DataError: If a file is missing or is no image.
    """
    opened = opened_with_card(ref, token=token)
    card = opened.card
    if card.task != "image-to-image":
        raise ArgumentError(f"{ref} is {card.architecture}, which does not translate images")
    paths = list(map(Path, images))
    names = [path.stem for path in paths]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise ArgumentError(f"two images are named {twice!r} and would become one file")
    made = card.target_preprocessing or card.preprocessing
    results = [Path(out) / f"{name}.png" for name in names]
    for path, result in zip(paths, results, strict=True):
        if result.exists() and path.exists() and result.samefile(path):
            raise ArgumentError(f"the result would replace {path}; give another folder")
    written = []
    for path, result in zip(paths, results, strict=True):
        inputs = np.asarray(card.preprocessing(read_image(path)[None]))
        pixels = made.to_pixels(trainers.translate(opened.model, inputs)[0])
        written.append(visualization.save_png(pixels, result))
    return written


def export_model(
    ref: str | Path,
    directory: str | Path,
    *,
    version: int | None = None,
    token: str | None = None,
) -> Path:
    """Write a model for TF Serving; see `export.saved_model`.

    A classifier whose classes have no names, as converted ones may be, gives their numbers.

    Args:
        ref: As in `model_uri`.
        directory: Where the model's own folder goes.
        version: Default: the next free one.
        token: For a private repository.

    Returns:
        `directory/NAME/VERSION`.
    """
    opened = opened_with_card(ref, token=token)
    card = opened.card
    labels = card.labels
    if labels is None and card.task == "image-classification":
        labels = [str(number) for number in range(opened.model.output_shape[-1])]
    return export.saved_model(
        opened.model,
        directory,
        name=card.name,
        preprocessing=card.preprocessing,
        labels=labels,
        latent=card.latent,
        task=card.task,
        target_preprocessing=card.target_preprocessing,
        tiles=card.task == "image-segmentation" and cut_of(card) == "tiles",
        version=version,
    )


def push(
    ref: str | Path,
    repository: str,
    *,
    private: bool = False,
    revision: str | None = None,
    token: str | None = None,
) -> str:
    """Publish a run's model; see `hub.push`.

    Args:
        ref: A run directory, or a model directory.
        repository: `"user/repo"`, or `file://FOLDER/user/repo` for a hub in a folder.
        private: Whether a new repository is private.
        revision: The branch. Default `main`.
        token: Default: the one that `hf auth login` or HF_TOKEN gave.

    Returns:
        Where it is now.
    """
    where = model_uri(ref)
    if not Path(where).is_dir():
        raise ArgumentError(f"{ref} is not on this machine; push a run or a model directory")
    return hub.push(where, repository, private=private, revision=revision, token=token)


def _evaluate_game(opened: "hub.LoadedModel", batches: Any) -> dict[str, float]:
    """The losses of a generator against the discriminator beside it."""
    folder = opened.training / "discriminator" if opened.training else None
    if folder is None or not folder.exists():
        raise ArgumentError(
            f"{opened.card.name} was saved without the one discriminator of a game; measure the "
            "generator with: keras-arch judge; look at it with: keras-arch generate"
        )
    latent, labels = opened.card.latent["distribution"], opened.card.labels
    discriminator = hub.load(folder)
    if labels:
        gan = trainers.ConditionalGAN(opened.model, discriminator, len(labels), latent=latent)
    else:
        gan = trainers.GAN(opened.model, discriminator, latent=latent)
    gan.compile(loss=opened.card.recipe.get("recipe", {}).get("loss", "non_saturating"))
    figures = gan.evaluate(batches, return_dict=True, verbose=0)
    return {name: float(value) for name, value in figures.items()}


def _evaluate_pairs(opened: "hub.LoadedModel", batches: Any) -> dict[str, float]:
    """The mean L1 error of a translator on pairs."""
    total = count = 0
    for inputs, targets in batches.as_numpy_iterator():
        made = trainers.translate(opened.model, inputs)
        total += float(np.abs(made - targets).mean(axis=(1, 2, 3)).sum())
        count += len(targets)
    return {"l1": total / count}


def _class_number(label: int | str, labels: Sequence[str] | None, ref: Any) -> int:
    """A class by its number or name."""
    if not labels:
        raise ArgumentError(f"{ref} draws no classes on request; leave labels out")
    if str(label) in labels:
        return list(labels).index(str(label))
    if str(label).isdecimal() and int(label) < len(labels):
        return int(label)
    raise ArgumentError(f"{ref} draws {', '.join(labels)}; there is no class {label!r}")
