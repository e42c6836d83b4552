"""Evaluation of generators: metrics against real images, and pictures for a person to look at."""

import dataclasses
import functools
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_arch import callbacks, data, files, hub, trainers, visualization
from keras_arch import metrics as generative
from keras_arch.data import caching, counting
from keras_arch.data.model_checks import pixel_range
from keras_arch.errors import ArgumentError, ConfigError, DataError, HubError, RunError
from keras_arch.preprocessing import Preprocessing
from keras_arch.tasks import generator_checks
from keras_arch.tasks.class_names import class_numbers
from keras_arch.tasks.evaluation_data import EvaluationData
from keras_arch.training.references import load_model, training_data
from keras_arch.training.run_directory import RunDirectory

# Images in which a classifier counts the classes.
COUNTED = 1_000
# Images that the bandwidth of Parzen windows is chosen by.
VALIDATION = "train[-1000:]"
# Rows of the picture of nearest neighbors.
SAMPLES = 8
# The nearest neighbors of precision and recall are three, besides the image itself.
_FEWEST_REAL = 4
_log = logging.getLogger("keras_arch")


class GeneratorEvaluator:
    """Evaluates the generator of a run after every so many epochs, and keeps the best one.

    Args:
        task: The task, with its config, preprocessing, classes and `draw_images`.
    """

    def __init__(self, task: Any) -> None:
        self.task = task
        self.config = task.config.generator_evaluation

    def check(self) -> None:
        """Check that the network is there and gives the metrics, before any training.

        Raises:
            ConfigError: Naming what is missing.
        """
        network, classes = self.config.network, self.task.classes
        try:
            features = self.network
        except (ArgumentError, HubError, RunError) as error:
            raise ConfigError(
                f"generator_evaluation.network {network!r} cannot be loaded: {error}; train it "
                "first, or train without it: --set generator_evaluation=null"
            ) from None
        if "classifier_agreement" in self.config.metrics:
            if classes is None:
                raise ConfigError(
                    "generator_evaluation.metrics: classifier_agreement compares images with the "
                    f"class that was asked for, which {self.task.name} has not; leave it out"
                )
            if features.classes != classes:
                raise ConfigError(
                    "generator_evaluation.metrics: classifier_agreement needs a classifier of the "
                    f"generator's {classes} classes, {network} has {features.classes}"
                )
            try:
                self._requested(classes)
            except DataError as error:
                raise ConfigError(
                    f"generator_evaluation.metrics: classifier_agreement: {error}"
                ) from None
        count = self.real.statistics.count
        if count < _FEWEST_REAL:
            raise ConfigError(
                f"generator_evaluation needs at least {_FEWEST_REAL} real images, there are {count}"
            )

    @functools.cached_property
    def network(self) -> generative.FeatureNetwork:
        """The network in whose features images are compared."""
        return feature_network(self.config.network)

    @functools.cached_property
    def real(self) -> generative.GenerativeMetrics:
        """The metrics, with the features of the real images."""
        settings = self.task.config.data
        wanted = [name for name in self.config.metrics if name in generative.GENERATIVE_METRICS]
        images = real_images(
            settings.source,
            settings.train,
            self.task.preprocessing,
            self.config.images,
            settings.data_dir,
        )
        found = generative.GenerativeMetrics(images, self.network, wanted or ["fid"])
        _log.info("evaluated with %s", found.description)
        return found

    @functools.cached_property
    def validation(self) -> np.ndarray:
        """The real images of Parzen windows."""
        settings = self.task.config.data
        return real_images(
            settings.source, VALIDATION, self.task.preprocessing, 1_000, settings.data_dir
        )

    def best(self, directory: RunDirectory) -> callbacks.BestModel:
        """The callback that keeps the best generator of the run."""
        return callbacks.BestModel(
            directory.best,
            lambda trainer: self.measure(trainer.ema_network(trainer.generator)),
            network=lambda trainer: trainer.ema_network(trainer.generator),
            monitor=self.config.metrics[0],
            every=self.config.every,
        )

    def _requested(self, count: int) -> np.ndarray:
        """The classes that generated images were asked for, as the network numbers them."""
        return requested_classes(count, self.task.labels, self.network, self.task.config.name)

    def measure(self, generator: keras.Model) -> dict[str, float]:
        """The metrics of the config."""
        # Other latents than those of the grids, the same in every epoch.
        seed = self.task.config.samples.seed + 1
        images = self.task.draw_images(generator, self.config.images, seed)
        found = dict(self.real(images).values)
        if "classifier_agreement" in self.config.metrics:
            labels = self._requested(len(images))
            agreement = visualization.classifier_agreement(images, labels, self.network)
            found["classifier_agreement"] = agreement.fraction
        if "parzen" in self.config.metrics:
            estimate = generative.parzen_log_likelihood(images, self.validation, self.validation)
            found["parzen"] = estimate.mean
        return {name: float(found[name]) for name in self.config.metrics}

    def measure_classes(self, generator: keras.Model, directory: RunDirectory) -> dict[str, float]:
        """Classes among generated images, where the network is a classifier of these classes."""
        settings, classes = self.task.config.data, self.task.classes
        names = data.describe(settings.source, data_dir=settings.data_dir).classes
        if names is None or len(names) != self.network.classes:
            return {}
        names = self.network.labels or names
        images = self.task.draw_images(generator, COUNTED, self.task.config.samples.seed + 2)
        coverage = visualization.mode_coverage(
            images, self.network, class_names=names, path=directory.modes
        )
        found = {"modes_covered": float(coverage.seen)}
        if classes is not None:
            try:
                labels = self._requested(len(images))
            except DataError as error:
                _log.warning("classifier_agreement is not measured: %s", error)
                return found
            agreement = visualization.classifier_agreement(
                images, labels, self.network, class_names=names, path=directory.confusion
            )
            found["classifier_agreement"] = float(agreement.fraction)
        return found


def feature_network(ref: str) -> generative.FeatureNetwork:
    """The network in whose features images are compared.

    Args:
        ref: A classifier of ours, as in `training.references.model_uri`, or `"inception"`.

    Raises:
        ConfigError: If it is no classifier.
    """
    if ref == "inception":
        return generative.inception()
    loaded = load_model(ref)
    card = loaded.card
    generator_checks.check_classifier(ref, card)
    network = generative.classifier(loaded.model, card.preprocessing, card.name)
    return dataclasses.replace(network, labels=card.labels and tuple(card.labels))


def requested_classes(
    count: int, labels: Sequence[str], network: generative.FeatureNetwork, source: str
) -> np.ndarray:
    """The classes of images of a conditional generator, which takes them in turn, in a classifier.

    Args:
        count: Number of images.
        labels: The generator's classes.
        network: The classifier.
        source: The generator, for messages.

    Raises:
        DataError: If the classes have other names.
    """
    numbers = class_numbers(
        labels, network.labels, network.classes, source=source, model=network.name
    )
    return np.asarray(numbers)[np.asarray(trainers.class_labels(count, len(labels)))]


def real_images(
    source: str, split: str, preprocessing: Preprocessing, count: int, data_dir: str | None = None
) -> np.ndarray:
    """The first images of a data set as `uint8`, in the size of the generated ones."""
    images = data.load(source, split, data_dir=data_dir)
    if isinstance(images, data.Unpaired):
        raise DataError(f"generated images are compared with one kind of image, {source} has two")
    (columns,), _ = caching.fit_images(images.take(count), preprocessing)
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
    """Generated pixels; a conditional generator takes its classes in turn, or `labels`."""
    if classes is not None:
        labels = trainers.class_labels(count, classes, labels)
    elif labels is not None:
        raise ArgumentError("this generator takes no labels")
    images = trainers.sample(generator, count, seed, latent, labels=labels)
    return preprocessing.to_pixels(images)


def draw_from(
    loaded: hub.LoadedModel, count: int, seed: int | None, labels: Any = None
) -> np.ndarray:
    """Generated pixels of a saved generator."""
    card = loaded.card
    classes = len(card.labels) if card.labels else None
    latent = card.latent["distribution"]
    return draw(loaded.model, card.preprocessing, count, seed, latent, classes, labels)


def evaluate_generator(
    ref: str | Path,
    network: str,
    *,
    metrics: Sequence[str] = ("fid", "kid"),
    images: int = 10_000,
    source: str | None = None,
    split: str | None = None,
    data_dir: str | None = None,
    seed: int = 0,
    out: str | Path | None = None,
) -> generative.Evaluation:
    """Compare the images of a generator with real ones.

    Args:
        ref: A generator, as in `model_uri`.
        network: In whose features images are compared: a classifier, as in `model_uri`, or
            `"inception"`.
        metrics: Some of `keras_arch.metrics.GENERATIVE_METRICS`; `"classifier_agreement"`, the
            share of images that the network finds to be of the requested class; `"parzen"`, which
            compares pixels and follows the first GAN paper (10,000 images).
        images: Number of generated images, and the most real ones they are compared with.
        source: Of the real images. Default: that of the training.
        split: Default: that of the training.
        data_dir: As in `data.load`.
        seed: Of the latents.
        out: Folder for `generator_evaluation.json`, or `None`.

    Returns:
        The metrics, with a description of the network and the images.

    Raises:
        ArgumentError: If the model is no generator, a metric is unknown or not for this generator,
            or the training data is unknown and no `source` is given.
        ConfigError: If `network` is no classifier.
        DataError: If `network` has no such classes.
    """
    loaded = _load_generator(ref)
    card = loaded.card
    generator_checks.check_metrics(metrics, card)
    settings = training_data(ref, card)
    source = EvaluationData(card, settings, source).uri
    split = split or settings.get("train", "train")
    data_dir = data_dir or settings.get("data_dir")
    values: dict[str, float] = {}
    descriptions = []
    # Before the images, which take longest: a mistake in either shows at once.
    others = [name for name in metrics if name in generative.GENERATIVE_METRICS]
    agreement = "classifier_agreement" in metrics
    features = feature_network(network) if others or agreement else None
    requested = compare = None
    if features is not None and agreement:
        requested = requested_classes(images, card.labels, features, card.name)
    if features is not None and others:
        real = real_images(source, split, card.preprocessing, images, data_dir)
        compare = generative.GenerativeMetrics(real, features, others)
    generated = draw_from(loaded, images, seed)
    if compare is not None:
        found = compare(generated)
        values |= found.values
        descriptions.append(found.description)
    if features is not None and requested is not None:
        share = visualization.classifier_agreement(generated, requested, features).fraction
        values["classifier_agreement"] = float(share)
        if not others:
            descriptions.append(f"{len(generated)} generated images, {features.describe()}")
    if "parzen" in metrics:
        held_out = real_images(source, VALIDATION, card.preprocessing, 1_000, data_dir)
        test = real_images(
            source, settings.get("test", "test"), card.preprocessing, 10_000, data_dir
        )
        parts = [
            (part / np.float32(255)).reshape(len(part), -1) for part in (generated, held_out, test)
        ]
        estimate = generative.parzen_log_likelihood(*parts)
        values |= {"parzen": estimate.mean, "parzen_error": estimate.standard_error}
        descriptions.append(
            f"Parzen windows of sigma {estimate.sigma:.4g} around {len(generated)} images"
        )
    result = generative.Evaluation(values, "; ".join(descriptions))
    if out is not None:
        content = {"metrics": result.values, "description": result.description}
        path = Path(out) / "generator_evaluation.json"
        files.atomic_write(path, json.dumps(content, indent=1) + "\n")
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
    """Draw diagnostic pictures of a generator.

    `latent_walk.png`: smooth changes are evidence against memorised images.
    `vector_arithmetic.png`: sums of latents. `nearest_neighbors.png`: samples beside the training
    images nearest to them. With a classifier `modes.png` (how many of its classes it finds in 1,000
    samples), and for a conditional generator `classifier_agreement.png` (predicted against
    requested classes).

    Args:
        ref: A generator, as in `model_uri`.
        out: Folder of the pictures.
        network: A classifier, as in `model_uri`, or `None`.
        source: Of the training images. Default: that of the training; without any there is no
            picture of neighbors.
        data_dir: As in `data.load`.
        seed: Of the latents.

    Returns:
        The pictures.

    Raises:
        ArgumentError: If the model is no generator.
    """
    loaded = _load_generator(ref)
    card, out = loaded.card, Path(out)
    classes = len(card.labels) if card.labels else None
    size, latent = card.latent["size"], card.latent["distribution"]
    common = {"label": 0 if classes else None, "value_range": pixel_range(card.preprocessing)}
    written = [out / "latent_walk.png", out / "vector_arithmetic.png"]
    walk = visualization.latent_walk(
        loaded.model, size, latent=latent, seed=seed, path=written[0], **common
    )
    ends = walk.latents.reshape(-1, 10, size)[:, 0]
    visualization.vector_arithmetic(
        loaded.model, *(ends[i : i + 2] for i in (0, 2, 4)), path=written[1], **common
    )
    settings = training_data(ref, card)
    source = source or settings.get("source")
    if source:
        split = settings.get("train", "train")
        data_dir = data_dir or settings.get("data_dir")
        training = real_images(source, split, card.preprocessing, 60_000, data_dir)
        written.append(out / "nearest_neighbors.png")
        visualization.nearest_neighbors(
            draw_from(loaded, SAMPLES, seed), training, path=written[-1]
        )
    if network:
        features = feature_network(network)
        images = draw_from(loaded, COUNTED, seed + 1)
        written.append(out / "modes.png")
        names = features.labels or card.labels
        visualization.mode_coverage(images, features, class_names=names, path=written[-1])
        if classes:
            labels = requested_classes(COUNTED, card.labels, features, card.name)
            written.append(out / "classifier_agreement.png")
            visualization.classifier_agreement(
                images, labels, features, class_names=names, path=written[-1]
            )
    return written


def sample_grid(
    loaded: hub.LoadedModel, count: int, seed: int | None, labels: Any = None
) -> np.ndarray:
    """A grid of generated images; a conditional generator has its classes as columns.

    One image is itself, without a frame and at its own size, for a program to read.
    """
    columns = len(loaded.card.labels) if loaded.card.labels and labels is None else None
    images = draw_from(loaded, count, seed, labels)
    if len(images) == 1:
        return images[0]
    return visualization.grid(images, columns=columns, enlarge=True)


def _load_generator(ref: str | Path) -> hub.LoadedModel:
    loaded = load_model(ref)
    generator_checks.check_generator(ref, loaded.card)
    return loaded
