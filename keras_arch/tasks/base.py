"""Base class of tasks: all that is done with one kind of model, from its config to its server.

A task is trained from a config: an instance belongs to one run. What is done with a saved model
(evaluation, prediction, export, its card) are class methods, which take the model with its card.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from keras_arch import data, registry
from keras_arch.config.base import TaskConfig
from keras_arch.errors import ArgumentError
from keras_arch.hub import readme
from keras_arch.preprocessing import Preprocessing
from keras_arch.tasks._modules import export, factories
from keras_arch.tasks.predictions import Prediction

if TYPE_CHECKING:
    import keras

    from keras_arch import hub
    from keras_arch.tasks.evaluation_data import EvaluationData
    from keras_arch.training.run_directory import RunDirectory

_T = TypeVar("_T", bound="type[Task]")
# Labels of images, by number or name, or none.
Labels = Sequence[int | str] | None


def register_task(name: str) -> Callable[[_T], _T]:
    """Decorator that makes a task known to configs, the command line, the hub and export.

    Args:
        name: The `task` of its configs and of the cards of its models.

    Returns:
        A decorator that returns the class unchanged.

    Raises:
        ArgumentError: If another task has that name.

    Example:
        >>> @register_task("image-sharpening")
        ... class Sharpening(Task):
        ...     pass
        >>> Sharpening.name, "image-sharpening" in registry.TASKS
        ('image-sharpening', True)
    """

    def decorate(task: _T) -> _T:
        registry.TASKS.register(name)(task)
        task.name = name
        if "model_task" not in vars(task):
            task.model_task = name
        if "export_needs" not in vars(task):
            task.export_needs = task.needs
        return task

    return decorate


class Task:
    """Base class of tasks.

    Sub-classes are registered with `register_task`. To be trained they give `Config`, `check`,
    `build` and `measure`, and `export_copy` and `card` where the config has more than one `model`;
    for saved models those class methods that make sense (`evaluate`, `predict`, `generate`,
    `translate`, `signatures`). The others refuse with the tasks that can.

    Args:
        config: The checked config.
        preprocessing: How images become the network's input.
        replicas: Number of replicas in training.

    Attributes:
        name: The `task` of a config.
        model_task: The task of the models that it trains, which their cards have.
        Config: Class of its configs; `None` where a task is of saved models only.
        pipeline_tag: The Hub's own name of the task, or `None`.
        needs: Which of `labels` and `latent` the cards of its models must have.
        export_needs: Which of them an export takes. Default: `needs`.
        has_target_preprocessing: Whether its models turn images into images of another kind.
        has_colors: Whether the classes of its models have colors in pictures.
        picture: What the picture on the card of its models shows.
        inputs: Number of inputs of its models.
        phases: Epochs, besides the first of a process, before which `set_phase` changes the model.
        one_hot_classes: Number of classes where labels are one-hot, or `None`.
        examples_per_step: Examples that a training step takes, over all replicas.
        share: The part of each batch that this host takes; `train_batches` gives its rows.
        shares_validation: Whether `validation_batches` gives its rows too. Otherwise each host
            reads all, and Keras divides them.
    """

    name: ClassVar[str] = ""
    model_task: ClassVar[str] = ""
    Config: ClassVar[type[TaskConfig] | None] = None
    pipeline_tag: ClassVar[str | None] = None
    needs: ClassVar[tuple[str, ...]] = ()
    export_needs: ClassVar[tuple[str, ...]] = ()
    has_target_preprocessing: ClassVar[bool] = False
    has_colors: ClassVar[bool] = False
    picture: ClassVar[str] = "Samples"
    inputs: ClassVar[int] = 1
    shares_validation: ClassVar[bool] = False

    phases: tuple[int, ...] = ()
    one_hot_classes: int | None = None
    share: data.Share = data.Share()

    def __init__(self, config: Any, preprocessing: Preprocessing, replicas: int = 1) -> None:
        self.config = config
        self.preprocessing = preprocessing
        self.replicas = replicas
        self.examples_per_step: int = config.recipe.batch_size

    # Training.

    @classmethod
    def schedule_length(cls, config: Any, examples: int) -> tuple[int, int]:
        """Steps of an epoch and epochs over which a learning-rate schedule runs."""
        # A data set smaller than a batch is refused when it is read.
        return max(1, examples // config.recipe.batch_size), config.recipe.epochs

    def check(self) -> None:
        """Refuse a config whose parts do not fit each other or the data."""
        raise NotImplementedError

    def build(self) -> keras.Model:
        """The compiled model, in the scope of a strategy."""
        raise NotImplementedError

    def set_phase(self, model: keras.Model, epoch: int) -> None:
        """Change the model for the phase of an epoch."""

    def train_batches(self, dataset: Any, epoch: int, step: int, **options: Any) -> data.Batches:
        """Endless training batches from a step of an epoch on, with options of `train_batches`."""
        return data.train_batches(
            dataset,
            self.preprocessing,
            self.examples_per_step,
            seed=self.config.recipe.seed,
            augment=self.config.data.augment,
            classes=self.one_hot_classes,
            start_epoch=epoch,
            start_step=step,
            cache=self.config.data.cache,
            share=self.share,
            **options,
        )

    def validation_batches(self) -> Any:
        """Batches for the end of each epoch, or `None`."""

    def load(self, split: str) -> Any:
        """A split of the config's data source."""
        settings = self.config.data
        return data.load(settings.uri, split, data_dir=settings.data_dir)

    def callbacks(self, directory: RunDirectory) -> list[keras.callbacks.Callback]:
        """Callbacks of the task: sample grids, the best model."""
        return []

    def should_stop(self, rows: Sequence[Mapping[str, float]]) -> bool:
        """Whether the logs of the epochs so far end the training early."""
        return False

    def measure(self, model: keras.Model, directory: RunDirectory) -> dict[str, float]:
        """Metrics of the trained model."""
        raise NotImplementedError

    def export_copy(self, model: keras.Model) -> tuple[keras.Model, dict[str, Any]]:
        """The network to save, and networks with cards for `training/` by name.

        Default: the `model` of the config, and none.
        """
        return factories.export_copy(self.config.model, model), {}

    def card(self, network: keras.Model, metrics: dict[str, float], **fields: Any) -> hub.Card:
        """The card of the network to save, with more fields. Default: of the config's `model`."""
        return factories.make_card(
            self.config, self.config.model, task=self.model_task, metrics=metrics, **fields
        )

    def pictures(self, directory: RunDirectory) -> list[Path]:
        """Pictures of a finished run; the first one goes on the card."""
        return []

    # Saved models.

    @classmethod
    def check_card(cls, card: hub.Card) -> None:
        """Refuse a card that lacks what the task needs, or has what it cannot have.

        Raises:
            ArgumentError: Naming it.
        """
        given = {"labels": bool(card.labels), "latent": card.latent is not None}
        if missing := [name for name in cls.needs if not given[name]]:
            raise ArgumentError(f"a card of {cls.name} needs {' and '.join(missing)}")
        if card.target_preprocessing is not None and not cls.has_target_preprocessing:
            raise ArgumentError(
                f"a card's target_preprocessing is for image-to-image, the task is {cls.name}"
            )
        if card.colors is not None and not cls.has_colors:
            raise ArgumentError(f"a card's colors are of image-segmentation, not of {cls.name}")

    @classmethod
    def check_network(cls, network: keras.Model, card: hub.Card) -> hub.Card:
        """Refuse a card whose labels, latent or preprocessing do not fit its network.

        Called when a model is saved and when it is loaded.

        Returns:
            The card, with what only the network knows. Default: as it is, after `check_export`.

        Raises:
            ArgumentError: Naming what does not fit.
        """
        cls.check_export(
            network,
            export.ExportSpec(
                card.preprocessing, card.labels, card.latent, card.target_preprocessing
            ),
        )
        return card

    @classmethod
    def evaluate(
        cls, loaded: hub.LoadedModel, chosen: EvaluationData, out: Path | None = None
    ) -> dict[str, float]:
        """Metrics of a saved model on a data set; a report goes into the folder `out`."""
        raise cls.cannot("evaluate", loaded.card)

    @classmethod
    def predict(
        cls, loaded: hub.LoadedModel, images: Sequence[Path], *, out: Path | None = None
    ) -> Sequence[Prediction]:
        """Predictions for image files; sub-classes add options of their own."""
        raise cls.cannot("predict", loaded.card)

    @classmethod
    def generate(
        cls, loaded: hub.LoadedModel, count: int, seed: int | None = None, labels: Labels = None
    ) -> Any:
        """A grid of generated images, `uint8` `(height, width, 1 or 3)`."""
        raise cls.cannot("generate", loaded.card)

    @classmethod
    def check_requested(cls, card: hub.Card, labels: Sequence[int | str]) -> None:
        """Refuse classes that `generate` cannot draw, by the card alone."""

    @classmethod
    def translate(
        cls, loaded: hub.LoadedModel, images: Sequence[Path], out: Path, *, batch_size: int = 1
    ) -> list[Path]:
        """Translated image files."""
        raise cls.cannot("translate", loaded.card)

    @classmethod
    def export_labels(cls, loaded: hub.LoadedModel) -> list[str] | None:
        """The labels of an export: those of the card."""
        return loaded.card.labels

    @classmethod
    def in_tiles(cls, card: hub.Card) -> bool:
        """Whether a model sees tiles of larger images."""
        return False

    @classmethod
    def check_export(cls, model: keras.Model, spec: export.ExportSpec) -> None:
        """Refuse a model that its labels, latent or preprocessing do not fit.

        Raises:
            ArgumentError: Naming what does not fit.
        """

    @classmethod
    def signatures(cls, model: keras.Model, spec: export.ExportSpec) -> export.Servable:
        """The signatures of a SavedModel."""
        raise ArgumentError(
            f"models of the task {cls.name} cannot be exported; those of these tasks can: "
            f"{', '.join(capable('signatures'))}"
        )

    # The README of a saved model.

    @classmethod
    def readme_example(cls, card: hub.Card) -> list[str]:
        """Lines of Python that use the model; `loaded` is what `hub.load_with_card` returned."""
        return [example_images(card), "outputs = loaded.model(loaded.card.preprocessing(images))"]

    @classmethod
    def readme_sections(cls, card: hub.Card) -> list[str]:
        """Paragraphs about classes and inference."""
        return []

    @classmethod
    def readme_pixels(cls, card: hub.Card) -> str:
        """How pixels become the model's input, and its output becomes pixels."""
        return readme.describe_input(card.preprocessing)

    # Helpers of sub-classes.

    @classmethod
    def can(cls, operation: str) -> bool:
        """Whether the task implements a class method such as `"generate"`.

        Example:
            >>> Task.can("generate")
            False
        """
        return getattr(cls, operation).__func__ is not getattr(Task, operation).__func__

    @classmethod
    def cannot(cls, operation: str, card: hub.Card) -> ArgumentError:
        """The error for an operation that the task does not have, with the tasks that do."""
        return ArgumentError(
            f"{card.name} is {card.architecture}, a model of the task {cls.name}, which has no "
            f"{operation}; these tasks have it: {', '.join(capable(operation))}"
        )


def capable(operation: str) -> list[str]:
    """The model tasks that implement a class method of `Task`.

    Example:
        >>> capable("translate")
        ['image-to-image']
    """
    return [
        name
        for name, task in registry.TASKS.items()
        if task.can(operation) and task.model_task == name
    ]


def check_options(task: type[Task], card: hub.Card, options: Mapping[str, Any]) -> None:
    """Refuse options of `predict` that a task does not have, with those of the tasks that do.

    Args:
        task: The task of the model.
        card: The card of the model.
        options: By name.

    Raises:
        ArgumentError: If there is one, or the task has no `predict`.
    """
    if not task.can("predict"):
        raise task.cannot("predict", card)
    known = _options_of(task)
    if unknown := sorted(set(options) - known):
        others = [
            name
            for name, other in registry.TASKS.items()
            if name == other.model_task and unknown[0] in _options_of(other)
        ]
        hint = (
            f"only {', '.join(others)} has it"
            if others
            else f"there are {', '.join(sorted(known))}"
        )
        raise ArgumentError(
            f"{unknown[0]} is no option of {card.name}, a model of the task {task.name}; {hint}"
        )


def _options_of(task: type[Task]) -> set[str]:
    return set(inspect.signature(task.predict).parameters) - {"loaded", "images", "out"}


def example_images(card: hub.Card, of: str = "of any size") -> str:
    """The line of a README's example that makes the images."""
    height, width, channels = card.preprocessing.input_shape
    value_range = card.preprocessing.value_range
    dtype = "uint8" if value_range is None or value_range[1] <= 255 else "uint16"
    shape = f"(1, {height}, {width}, {channels})"
    return f'images = keras.ops.zeros({shape}, "{dtype}")  # yours, {of}'
