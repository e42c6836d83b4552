"""The two kinds of training a config can ask for: a classifier, or a generator in a game."""

from pathlib import Path
from typing import Any, Protocol

import keras
import numpy as np

from keras_arch import callbacks, config, data, hub, losses, models, pictures, registry, trainers
from keras_arch.errors import ConfigError, DataError
from keras_arch.preprocessing import Preprocessing
from keras_arch.runs.directory import RunDirectory
from keras_arch.trainers.engine_tensorflow import compiles_faster

EVALUATION_BATCH = 256


class Job(Protocol):
    """What training needs to know of one kind."""

    config: Any
    preprocessing: Preprocessing
    images_per_step: int

    def check(self) -> None:
        """Refuse a config whose parts do not fit each other or the data."""

    def build(self, replicas: int) -> keras.Model:
        """The compiled model, in the scope of a strategy."""

    def callbacks(self, directory: RunDirectory) -> list[keras.callbacks.Callback]:
        """What to show while it trains."""

    def validation(self) -> Any:
        """Data for the end of each epoch, or `None`."""

    def measure(self, model: keras.Model, directory: RunDirectory) -> dict[str, float]:
        """The figures of the trained model."""

    def publish(self, model: keras.Model) -> tuple[keras.Model, dict[str, Any]]:
        """The network for the Hub, and what goes into `training/` by name, with cards."""

    def card(self, network: keras.Model, metrics: dict[str, float]) -> hub.Card:
        """The network's card."""

    def picture(self, directory: RunDirectory) -> Path | None:
        """What it makes, for the card."""


def job_for(checked: config.Config, preprocessing: Preprocessing) -> Job:
    """The job of a config's task."""
    if checked.task == "image-classification":
        return Classification(checked, preprocessing)
    return Generation(checked, preprocessing)


def make_optimizer(settings: config.Optimizer) -> keras.optimizers.Optimizer:
    """A Keras optimizer with its schedule from a config's section.

    Example:
        >>> make_optimizer(config.Adam(name="adam", learning_rate=2e-4, beta_1=0.5)).beta_1
        0.5
    """
    arguments = settings.model_dump(exclude={"name", "learning_rate"})
    rate = settings.learning_rate
    if isinstance(rate, config.Schedule):
        rate = keras.optimizers.schedules.PiecewiseConstantDecay(rate.boundaries, rate.values)
    classes = {
        "sgd": keras.optimizers.SGD,
        "adam": keras.optimizers.Adam,
        "rmsprop": keras.optimizers.RMSprop,
    }
    return classes[settings.name](learning_rate=rate, **arguments)


def build_network(builder: config.Builder, replicas: int = 1, **more: Any) -> keras.Model:
    """A network of a config; batch norm looks at all replicas where there are several."""
    known = registry.entry(builder.name).arguments
    if replicas > 1 and "synchronized" in known:
        more["synchronized"] = True
    return models.create(builder.name, **(builder.arguments | more))


def published(builder: config.Builder, trained: keras.Model) -> keras.Model:
    """A trained network as it is shared: single precision, without a trace of the replicas."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        network = build_network(builder, synchronized=False)
    finally:
        keras.config.set_dtype_policy(before)
    network.set_weights(trained.get_weights())
    return network


def jit_compile(recipe: config.Recipe, model: keras.Model) -> bool:
    """The recipe's choice, or what is faster on this machine."""
    return compiles_faster(model) if recipe.jit_compile == "auto" else recipe.jit_compile


def _check_task(builder: config.Builder, key: str, task: str) -> None:
    found = registry.entry(builder.name).task
    if found != task:
        raise ConfigError(
            f"{key}.name must be an architecture for {task}, {builder.name} is {found}"
        )


def _check_shape(network: keras.Model, preprocessing: Preprocessing, what: str, shape: Any) -> None:
    wanted = tuple(shape[1:])
    given = preprocessing.input_shape
    if any(want is not None and want != got for want, got in zip(wanted, given, strict=True)):
        raise ConfigError(f"preprocessing makes images of shape {given}, {what} is {wanted}")


class Classification:
    """A classifier, trained on its logits by plain `model.fit`."""

    def __init__(self, checked: config.ClassifierConfig, preprocessing: Preprocessing) -> None:
        self.config = checked
        self.preprocessing = preprocessing
        self.images_per_step = checked.recipe.batch_size
        self.source = data.describe(checked.data.source, data_dir=checked.data.data_dir)
        self._test: Any = None

    def check(self) -> None:
        """The data has labels, as many classes as the model, and the test split is there."""
        _check_task(self.config.model, "model", "image-classification")
        if self.source.classes is None:
            raise DataError(
                f"data source {self.source.name} has no labels; a classifier needs them"
            )
        network = build_network(self.config.model)
        _check_shape(network, self.preprocessing, "the model's input", network.input_shape)
        classes = network.output_shape[-1]
        if classes != len(self.source.classes):
            raise ConfigError(
                f"model.arguments.classes is {classes}, {self.source.name} has "
                f"{len(self.source.classes)} classes"
            )
        self.validation()

    def build(self, replicas: int) -> keras.Model:
        """The classifier up to its logits: the loss is exact where a softmax would round."""
        recipe = self.config.recipe
        network = build_network(self.config.model, replicas, classifier_activation=None)
        losses.add_weight_decay(network, recipe.weight_decay)
        network.compile(
            optimizer=make_optimizer(recipe.optimizer),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
            jit_compile=jit_compile(recipe, network),
            steps_per_execution=recipe.steps_per_execution,
        )
        # Keras makes an optimizer's and the metrics' variables at the first batch; a run that is
        # resumed restores them before it.
        network.optimizer.build(network.trainable_variables)
        blank = np.zeros((replicas, *self.preprocessing.input_shape), np.float32)
        network.test_on_batch(blank, np.zeros(replicas, np.int64))
        network.reset_metrics()
        return network

    def callbacks(self, directory: RunDirectory) -> list[keras.callbacks.Callback]:
        """Nothing besides what every run has."""
        return []

    def validation(self) -> Any:
        """The test split."""
        if self._test is None:
            settings = self.config.data
            images = data.load(settings.source, settings.test, data_dir=settings.data_dir)
            self._test = data.evaluation(
                images, self.preprocessing, EVALUATION_BATCH, cache=settings.cache
            )
        return self._test

    def measure(self, model: keras.Model, directory: RunDirectory) -> dict[str, float]:
        """Loss, accuracy and error on the test split; the confusion matrix as a picture."""
        metrics, matrix = classification_figures(model, self.validation(), from_logits=True)
        pictures.confusion_matrix(matrix, self.source.classes, directory.confusion)
        return metrics

    def publish(self, model: keras.Model) -> tuple[keras.Model, dict[str, Any]]:
        """The classifier with its softmax."""
        return published(self.config.model, model), {}

    def card(self, network: keras.Model, metrics: dict[str, float]) -> hub.Card:
        """What the weights are."""
        return hub.Card(
            name=self.config.name,
            architecture=self.config.model.name,
            arguments=self.config.model.arguments,
            task=self.config.task,
            preprocessing=self.preprocessing,
            labels=list(self.source.classes),
            metrics=metrics,
            **_common(self.config, self.config.model),
        )

    def picture(self, directory: RunDirectory) -> Path | None:
        """The confusion matrix."""
        return directory.confusion


class Generation:
    """A generator, trained against a discriminator by `trainers.GAN`."""

    def __init__(self, checked: config.GANConfig, preprocessing: Preprocessing) -> None:
        self.config = checked
        self.preprocessing = preprocessing
        self.images_per_step = checked.recipe.batch_size * checked.recipe.n_critic

    def check(self) -> None:
        """The networks and the images have one shape."""
        _check_task(self.config.generator, "generator", "unconditional-image-generation")
        _check_task(self.config.discriminator, "discriminator", "discriminator")
        generator = build_network(self.config.generator)
        _check_shape(generator, self.preprocessing, "the generator's", generator.output_shape)

    def build(self, replicas: int) -> keras.Model:
        """The compiled trainer."""
        recipe = self.config.recipe
        gan = trainers.GAN(
            build_network(self.config.generator, replicas),
            build_network(self.config.discriminator, replicas),
            latent=recipe.latent,
            seed=recipe.seed,
        )
        gan.compile(
            g_optimizer=make_optimizer(recipe.g_optimizer),
            d_optimizer=make_optimizer(recipe.d_optimizer),
            loss=recipe.loss,
            n_critic=recipe.n_critic,
            update=recipe.update,
            jit_compile=recipe.jit_compile,
            steps_per_execution=recipe.steps_per_execution,
        )
        return gan

    def callbacks(self, directory: RunDirectory) -> list[keras.callbacks.Callback]:
        """A grid over the same latents."""
        return [
            callbacks.SampleGrid(
                directory.samples,
                self._samples,
                every=self.config.samples.every,
                tensorboard=directory.logs / "samples",
            )
        ]

    def validation(self) -> Any:
        """None: a game has no validation loss that says anything."""

    def measure(self, model: keras.Model, directory: RunDirectory) -> dict[str, float]:
        """The game's means over the training images, in inference mode; the last grid."""
        settings = self.config.data
        images = data.load(settings.source, settings.train, data_dir=settings.data_dir)
        batches = data.evaluation(
            images, self.preprocessing, EVALUATION_BATCH, cache=settings.cache
        )
        figures = model.evaluate(batches, return_dict=True, verbose=0)
        sheet = pictures.grid(self._samples(model), enlarge=True)
        pictures.save_png(sheet, directory.samples / "final.png")
        return {name: float(value) for name, value in figures.items()}

    def publish(self, model: keras.Model) -> tuple[keras.Model, dict[str, Any]]:
        """The generator; its discriminator goes into `training/`."""
        discriminator = published(self.config.discriminator, model.discriminator)
        card = hub.Card(
            name=f"{self.config.name} discriminator",
            architecture=self.config.discriminator.name,
            arguments=self.config.discriminator.arguments,
            task="discriminator",
            preprocessing=self.preprocessing,
            **_common(self.config, self.config.discriminator),
        )
        generator = published(self.config.generator, model.generator)
        return generator, {"discriminator": (discriminator, card)}

    def card(self, network: keras.Model, metrics: dict[str, float]) -> hub.Card:
        """What the weights are."""
        return hub.Card(
            name=self.config.name,
            architecture=self.config.generator.name,
            arguments=self.config.generator.arguments,
            task=self.config.task,
            preprocessing=self.preprocessing,
            latent={
                "size": network.input_shape[-1],
                "distribution": self.config.recipe.latent,
            },
            metrics=metrics,
            **_common(self.config, self.config.generator),
        )

    def picture(self, directory: RunDirectory) -> Path | None:
        """The last grid."""
        return directory.samples / "final.png"

    def _samples(self, gan: trainers.GAN) -> np.ndarray:
        settings = self.config.samples
        return self.preprocessing.to_pixels(gan.generate(settings.count, settings.seed))


def classification_figures(
    model: keras.Model, batches: Any, *, from_logits: bool
) -> tuple[dict[str, float], np.ndarray]:
    """Loss, accuracy, error and confusion matrix over a data set.

    Args:
        model: From images to logits or probabilities.
        batches: A `tf.data.Dataset` of `(images, labels)`.
        from_logits: Which of the two the model gives.

    Returns:
        The figures (`accuracy` and `error` as fractions, `top5_error` where there are more than
        ten classes), and the matrix `(classes, classes)` with true classes as rows.
    """
    classes = model.output_shape[-1]
    matrix = np.zeros((classes, classes), np.int64)
    loss, top5 = 0.0, 0
    cross_entropy = keras.losses.SparseCategoricalCrossentropy(
        from_logits=from_logits, reduction="sum"
    )
    outputs = model.predict(batches, verbose=0)
    first = 0
    for _, labels in batches:
        truth = np.asarray(labels)
        part = outputs[first : first + len(truth)]
        first += len(truth)
        loss += float(cross_entropy(truth, part))
        order = np.argsort(-part, axis=1, kind="stable")
        np.add.at(matrix, (truth, order[:, 0]), 1)
        top5 += int((order[:, :5] == truth[:, None]).any(axis=1).sum())
    count = int(matrix.sum())
    accuracy = float(np.trace(matrix)) / count
    figures = {"accuracy": accuracy, "error": 1 - accuracy, "loss": loss / count}
    if classes > 10:
        figures["top5_error"] = 1 - top5 / count
    return figures, matrix


def _common(checked: config.Config, builder: config.Builder) -> dict[str, Any]:
    """What both cards say; of local data only the name, not where it lay."""
    entry = registry.entry(builder.name)
    kind, colon, path = checked.data.source.partition(":")
    source = f"{kind}:{Path(path).name}" if colon else kind
    recipe = checked.model_dump(mode="json", exclude={"preprocessing", "expected"})
    recipe["data"] = recipe["data"] | {"source": source, "data_dir": None}
    return {
        "description": checked.description,
        "license": checked.license,
        "datasets": [source],
        "recipe": recipe,
        "paper": f"{entry.paper}, {entry.url}",
        "repository": checked.repository,
    }
