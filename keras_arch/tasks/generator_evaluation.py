"""Generators judged by figures, and what a person should look at."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_arch import data, files, hub, metrics, trainers, visualization
from keras_arch.data import caching, counting
from keras_arch.errors import ArgumentError, ConfigError, DataError
from keras_arch.preprocessing import Preprocessing
from keras_arch.training.factories import pixel_range
from keras_arch.training.references import open_model, opened_with_card, trained_on

# Images that a classifier looks at to count the classes there are.
COUNTED = 1_000
# Rows of the picture of nearest neighbours.
SAMPLES = 8


def judge_network(ref: str) -> metrics.FeatureNetwork:
    """The network that images are judged with.

    Args:
        ref: A classifier of ours, as in `model_uri`, or `"inception"`.

    Raises:
        ConfigError: If it is no classifier.
    """
    if ref == "inception":
        return metrics.inception()
    opened = open_model(ref)
    if opened.card is None or opened.card.task != "image-classification":
        raise ConfigError(f"judge {ref} is no classifier; give one, or inception")
    return metrics.classifier(opened.model, opened.card.preprocessing, opened.card.name)


def real_images(
    source: str, split: str, preprocessing: Preprocessing, count: int, data_dir: str | None = None
) -> np.ndarray:
    """The first images of a data set as `uint8`, brought to the size that a generator makes."""
    images = data.load(source, split, data_dir=data_dir)
    if isinstance(images, data.Unpaired):
        raise DataError(f"generated images are compared with one kind of image, {source} has two")
    (columns,), _ = caching.fitted(images.take(count), preprocessing)
    batches = [np.asarray(batch[0]) for batch in counting.read(columns.batch(256))]
    return np.clip(np.rint(np.concatenate(batches)), 0, 255).astype(np.uint8)


def draw(
    generator: keras.Model,
    preprocessing: Preprocessing,
    count: int,
    seed: int | None,
    latent: str,
    classes: int | None = None,
    labels: Any = None,
) -> np.ndarray:
    """Generated pixels; a conditional generator draws its classes in turn, or those given."""
    if classes is not None:
        labels = trainers.class_labels(count, classes, labels)
    elif labels is not None:
        raise ArgumentError("this generator takes no labels")
    made = trainers.sample(generator, count, seed, latent, labels=labels)
    return preprocessing.to_pixels(made)


def judge(
    ref: str | Path,
    network: str,
    *,
    figures: Sequence[str] = ("fid", "kid"),
    images: int = 10_000,
    source: str | None = None,
    split: str | None = None,
    data_dir: str | None = None,
    seed: int = 0,
    out: str | Path | None = None,
) -> metrics.Evaluation:
    """Figures of a generator's images against real ones.

    Args:
        ref: A generator, as in `model_uri`.
        network: As in `judge_network`.
        figures: Some of `metrics.GENERATIVE_METRICS`; `parzen` needs no network's features but
            pixels, and follows the first GAN paper (10,000 images).
        images: How many are generated, and at most how many real ones they are compared with.
        source: Of the real images. Default: what the model was trained on.
        split: Default: the split it was trained on.
        data_dir: As in `data.load`.
        seed: Of the latents.
        out: Folder for `figures.json`, or `None`.

    Returns:
        The figures and the description of what they were taken with.

    Raises:
        ArgumentError: If the model is no generator, a figure is unknown, or the model says not
            what it was trained on, and `source` neither.
        ConfigError: If `network` is no classifier.
    """
    opened = opened_with_card(ref)
    card = _generator_card(opened, ref)
    settings = trained_on(ref, card)
    source = source or settings.get("source")
    if source is None:
        raise ArgumentError(f"{ref} does not say what it was trained on; give a data source")
    split = split or settings.get("train", "train")
    data_dir = data_dir or settings.get("data_dir")
    if unknown := [name for name in figures if name not in (*metrics.GENERATIVE_METRICS, "parzen")]:
        raise ArgumentError(
            f"figures are {', '.join(metrics.GENERATIVE_METRICS)} and parzen, got {unknown[0]!r}"
        )
    values, said = {}, []
    others = [name for name in figures if name != "parzen"]
    judged = None
    if others:
        # Before the images, which take longest: what is wrong with either shows at once.
        looking = judge_network(network)
        real = real_images(source, split, card.preprocessing, images, data_dir)
        judged = metrics.GenerativeMetrics(real, looking, others)
    made = _images_of(opened, images, seed)
    if judged is not None:
        found = judged(made)
        values |= found.values
        said.append(found.description)
    if "parzen" in figures:
        held = real_images(source, "train[-1000:]", card.preprocessing, 1_000, data_dir)
        test = real_images(
            source, settings.get("test", "test"), card.preprocessing, 10_000, data_dir
        )
        parts = [(part / np.float32(255)).reshape(len(part), -1) for part in (made, held, test)]
        estimate = metrics.parzen_log_likelihood(*parts)
        values |= {"parzen": estimate.mean, "parzen_error": estimate.standard_error}
        said.append(f"Parzen windows of sigma {estimate.sigma:.4g} around {len(made)} images")
    result = metrics.Evaluation(values, "; ".join(said))
    if out is not None:
        content = {"figures": result.values, "taken_with": result.description}
        files.atomic_write(Path(out) / "figures.json", json.dumps(content, indent=1) + "\n")
    return result


def diagnose(
    ref: str | Path,
    out: str | Path,
    *,
    network: str | None = None,
    source: str | None = None,
    data_dir: str | None = None,
    seed: int = 0,
) -> list[Path]:
    """Pictures that tell a generator's illnesses.

    `latent_walk.png`: smooth changes speak against memorised images. `vector_arithmetic.png`:
    sums of latents. `nearest_neighbours.png`: samples beside the training images nearest to them.
    With a classifier `modes.png` (how many of its classes it sees in 1,000 samples), and for a
    conditional generator `classifier_agreement.png` (which digits are read for which were asked for).

    Args:
        ref: A generator, as in `model_uri`.
        out: Folder of the pictures.
        network: A classifier, as in `judge_network`, or `None`.
        source: Of the training images. Default: what the model was trained on; without any there
            is no picture of neighbours.
        data_dir: As in `data.load`.
        seed: Of the latents.

    Returns:
        The pictures.

    Raises:
        ArgumentError: If the model is no generator.
    """
    opened = opened_with_card(ref)
    card = _generator_card(opened, ref)
    out = Path(out)
    classes = len(card.labels) if card.labels else None
    latent = card.latent["distribution"]
    label = 0 if classes else None
    value_range = pixel_range(card.preprocessing)
    walk = visualization.latent_walk(
        opened.model,
        card.latent["size"],
        latent=latent,
        label=label,
        seed=seed,
        value_range=value_range,
        path=out / "latent_walk.png",
    )
    ends = walk.latents.reshape(-1, 10, card.latent["size"])[:, 0]
    visualization.vector_arithmetic(
        opened.model,
        *(ends[i : i + 2] for i in (0, 2, 4)),
        label=label,
        value_range=value_range,
        path=out / "vector_arithmetic.png",
    )
    written = [out / "latent_walk.png", out / "vector_arithmetic.png"]
    settings = trained_on(ref, card)
    source = source or settings.get("source")
    if source:
        split = settings.get("train", "train")
        data_dir = data_dir or settings.get("data_dir")
        training = real_images(source, split, card.preprocessing, 60_000, data_dir)
        samples = _images_of(opened, SAMPLES, seed)
        path = out / "nearest_neighbours.png"
        visualization.nearest_neighbors(samples, training, path=path)
        written.append(path)
    if network:
        judge = judge_network(network)
        images = _images_of(opened, COUNTED, seed + 1)
        path = out / "modes.png"
        visualization.mode_coverage(images, judge, class_names=card.labels, path=path)
        written.append(path)
        if classes:
            labels = trainers.class_labels(COUNTED, classes)
            path = out / "classifier_agreement.png"
            visualization.classifier_agreement(
                images, labels, judge, class_names=card.labels, path=path
            )
            written.append(path)
    return written


def sample_sheet(
    opened: "hub.LoadedModel", count: int, seed: int | None, labels: Any
) -> np.ndarray:
    """A grid of images from an opened generator; a conditional one has its classes as columns."""
    classes = len(opened.card.labels) if opened.card.labels else None
    images = _images_of(opened, count, seed, labels)
    columns = classes if classes and labels is None else None
    return visualization.grid(images, columns=columns, enlarge=True)


def _images_of(
    opened: "hub.LoadedModel", count: int, seed: int | None, labels: Any = None
) -> np.ndarray:
    card = opened.card
    classes = len(card.labels) if card.labels else None
    return draw(
        opened.model, card.preprocessing, count, seed, card.latent["distribution"], classes, labels
    )


def _generator_card(opened: "hub.LoadedModel", ref: Any) -> "hub.Card":
    if opened.card.latent is None:
        raise ArgumentError(f"{ref} is {opened.card.architecture}, which generates no images")
    return opened.card
