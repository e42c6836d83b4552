"""Image generation: GAN, conditional GAN and LAPGAN."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from keras_arch import config as configs
from keras_arch import data, hub
from keras_arch._lazy import keras, lazy_modules, np
from keras_arch.errors import ArgumentError, ConfigError, DataError
from keras_arch.hub.readme import describe_output
from keras_arch.preprocessing import Preprocessing
from keras_arch.tasks._modules import (
    callbacks,
    factories,
    models,
    optimizer_from_config,
    trainers,
    visualization,
)
from keras_arch.tasks.base import Labels, Task, register_task
from keras_arch.tasks.evaluation_data import EvaluationData
from keras_arch.tasks.generation_config import GenerationConfig
from keras_arch.tasks.predictions import class_number

if TYPE_CHECKING:
    from keras_arch import export
    from keras_arch.tasks import generation_signatures, generator_evaluation
    from keras_arch.training.run_directory import RunDirectory
else:
    generation_signatures, generator_evaluation = lazy_modules(
        "keras_arch.tasks.generation_signatures", "keras_arch.tasks.generator_evaluation"
    )

# Code that draws from the distributions of `registry.LATENTS`, for READMEs.
_DRAWS = {
    "normal": "normal((16, {size}))",
    "uniform": "uniform((16, {size}), -1.0, 1.0)",
    "uniform01": "uniform((16, {size}), 0.0, 1.0)",
}
_LISTED_CLASSES = 20


@register_task("unconditional-image-generation")
class Generation(Task):
    """Task of generators without labels: a GAN."""

    Config = GenerationConfig
    pipeline_tag = "unconditional-image-generation"
    needs = ("latent",)
    # Tasks of the architectures that can be the generator.
    architectures: ClassVar[tuple[str, ...]] = ("unconditional-image-generation",)
    # Adversarial losses by their name in a recipe, besides those of `losses.adversarial`.
    adversarial_losses: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, config: Any, preprocessing: Preprocessing, replicas: int = 1) -> None:
        super().__init__(config, preprocessing, replicas)
        self.examples_per_step *= getattr(config.recipe, "n_critic", 1)
        self.classes: int | None = factories.argument(config.generator, "classes")
        self.labels: list[str] | None = None
        self._final: Any = None

    @classmethod
    def schedule_length(cls, config: Any, examples: int) -> tuple[int, int]:
        """A step takes a batch for each update of the critic."""
        return super().schedule_length(config, examples // getattr(config.recipe, "n_critic", 1))

    @functools.cached_property
    def evaluator(self) -> generator_evaluation.GeneratorEvaluator | None:
        """The evaluation during training, where the config asks for it."""
        wanted = self.config.generator_evaluation is not None
        return generator_evaluation.GeneratorEvaluator(self) if wanted else None

    def check(self) -> None:
        """Check the networks, the images and the labels."""
        builder = self.config.generator
        factories.check_architecture(builder, "generator", *self.architectures)
        factories.check_architecture(self.config.discriminator, "discriminator", "discriminator")
        generator = factories.build_network(builder)
        factories.check_shape(
            self.preprocessing, "the generator's output", generator.outputs[0].shape
        )
        factories.check_range(generator, self.preprocessing)
        settings = self.config.data
        source = data.describe(settings.source, data_dir=settings.data_dir)
        if source.kind != "images":
            raise DataError(
                f"data source {source.name} has {source.kind}; {self.name} learns from images of "
                "one kind"
            )
        self.check_classes(source)
        if self._starts_at_mean_image:
            # The same refusal as in `build`, before the images are read.
            try:
                models.start_at_mean_image(generator, np.full(generator.output_shape[1:], 0.5))
            except ArgumentError as error:
                raise ConfigError(f"{error}; set recipe.output_bias to zero") from None
        if self.evaluator is not None:
            self.evaluator.check()

    def check_classes(self, source: Any) -> None:
        """Refuse a generator that takes labels."""
        if self.classes is not None:
            raise ConfigError(
                f"generator.arguments.classes is {self.classes}; a generator that takes labels is "
                "trained with task: conditional-image-generation"
            )

    def build(self) -> keras.Model:
        """The compiled trainer."""
        recipe = self.config.recipe
        generator = factories.build_network(self.config.generator, self.replicas)
        if self._starts_at_mean_image:
            models.start_at_mean_image(generator, self._mean_image())
        trainer = self.make_trainer(
            generator,
            factories.build_network(self.config.discriminator, self.replicas),
            self.classes,
            **self._trainer_arguments(),
        )
        trainer.compile(
            **self._compile_arguments(),
            g_optimizer=optimizer_from_config.make_optimizer(recipe.g_optimizer),
            d_optimizer=optimizer_from_config.make_optimizer(recipe.d_optimizer),
            n_critic=recipe.n_critic,
            update=recipe.update,
            diff_augment=recipe.diff_augment,
            d_weight=recipe.d_weight,
        )
        return trainer

    @classmethod
    def make_trainer(
        cls,
        generator: keras.Model,
        discriminator: keras.Model,
        classes: int | None,
        **arguments: Any,
    ) -> keras.Model:
        """The trainer of a new or saved generator and its discriminator, before `compile`."""
        if classes is None:
            return trainers.GAN(generator, discriminator, **arguments)
        return trainers.ConditionalGAN(generator, discriminator, classes, **arguments)

    @property
    def _starts_at_mean_image(self) -> bool:
        return getattr(self.config.recipe, "output_bias", "zero") == "mean_image"

    def _mean_image(self) -> np.ndarray:
        """The mean of the training images as the generator gives images."""
        images = self.load(self.config.data.train)
        mean = data.mean_image(images, self.preprocessing, per_pixel=True)
        return (mean - self.preprocessing.mean) / self.preprocessing.std

    def _trainer_arguments(self) -> dict[str, Any]:
        return {"latent": self.config.recipe.latent, "seed": self.config.recipe.seed}

    def _compile_arguments(self) -> dict[str, Any]:
        recipe = self.config.recipe
        names = ("jit_compile", "steps_per_execution")
        loss = self.adversarial_losses.get(recipe.loss, recipe.loss)
        return {"loss": loss} | {name: getattr(recipe, name) for name in names}

    def callbacks(self, directory: RunDirectory) -> list[keras.callbacks.Callback]:
        """A grid from the same latents; with an evaluation, the best model."""
        grid = callbacks.SampleGrid(
            directory.samples,
            lambda trainer: self._sample(trainer.ema_network(trainer.generator)),
            every=self.config.samples.every,
            columns=self.classes,
            tensorboard=directory.logs / "samples",
        )
        return [grid, *([self.evaluator.best(directory)] if self.evaluator else [])]

    def measure(self, model: keras.Model, directory: RunDirectory) -> dict[str, float]:
        """Mean losses over the training images, the evaluation's metrics, the last grid.

        The evaluation's metrics and the grid are those of the saved weights.
        """
        batches = data.eval_batches(
            self.load(self.config.data.train),
            self.preprocessing,
            factories.EVALUATION_BATCH,
            cache=self.config.data.cache,
        )
        losses = model.evaluate(batches, return_dict=True, verbose=0)
        found = {name: float(value) for name, value in losses.items()}
        self._final = factories.export_copy(
            self.config.generator, model.ema_network(model.generator)
        )
        if self.evaluator is not None:
            best = self.evaluator.best(directory).best()
            if best is not None:
                best.load(self._final)
                found |= {"best_epoch": float(best.epoch)} | best.metrics
            else:
                # The run is shorter than the interval between two evaluations.
                found |= self.evaluator.measure(self._final)
            classes = self.evaluator.measure_classes(self._final, directory)
            found |= {name: value for name, value in classes.items() if name not in found}
        grid = visualization.grid(self._sample(self._final), columns=self.classes, enlarge=True)
        visualization.save_png(grid, directory.samples / "final.png")
        return found

    def export_copy(self, model: keras.Model) -> tuple[keras.Model, dict[str, Any]]:
        """The generator; its discriminators go into `training/`."""
        training = {
            name: (
                factories.export_copy(builder, trained),
                factories.make_card(
                    self.config, builder, name=f"{self.config.name} {name}", task="discriminator"
                ),
            )
            for name, (builder, trained) in self.trained_discriminators(model).items()
        }
        return self._final, training

    def trained_discriminators(
        self, model: keras.Model
    ) -> dict[str, tuple[configs.Builder, keras.Model]]:
        """The discriminators by name, each with its builder."""
        return {"discriminator": (self.config.discriminator, model.discriminator)}

    def card(self, network: keras.Model, metrics: dict[str, float]) -> hub.Card:
        """The card of the generator."""
        description = self.config.description.strip()
        if self.evaluator is not None:
            computed = f"Metrics were computed with {self.evaluator.real.description}."
            description += f"\n\n{computed}"
        size = network.inputs[0].shape[-1]
        return factories.make_card(
            self.config,
            self.config.generator,
            task=self.model_task if self.classes is None else "conditional-image-generation",
            labels=self.labels,
            latent={"size": size, "distribution": self.config.recipe.latent},
            metrics=metrics,
            description=description,
        )

    def pictures(self, directory: RunDirectory) -> list[Path]:
        """The last grid."""
        return [directory.samples / "final.png"]

    def draw_images(self, generator: keras.Model, count: int, seed: int) -> np.ndarray:
        """Generated images as pixels."""
        latent = self.config.recipe.latent
        return generator_evaluation.draw(
            generator, self.preprocessing, count, seed, latent, self.classes
        )

    def _sample(self, generator: keras.Model) -> np.ndarray:
        settings = self.config.samples
        return self.draw_images(generator, settings.count, settings.seed)

    # Saved models.

    @classmethod
    def evaluate(
        cls, loaded: hub.LoadedModel, chosen: EvaluationData, out: Path | None = None
    ) -> dict[str, float]:
        """Mean losses against the discriminator that was saved with the generator."""
        card = loaded.card
        folder = loaded.training / "discriminator" if loaded.training else None
        if folder is None or not folder.exists():
            raise ArgumentError(
                f"{card.name} was saved without its discriminator; compare its images with real "
                "ones: keras-arch evaluate-generator, or look at them: keras-arch generate"
            )
        described, images = chosen.load("train")
        if card.labels and described.classes:
            images = chosen.as_model_classes(described, images, len(card.labels))
        batches = data.eval_batches(images, card.preprocessing, factories.EVALUATION_BATCH)
        classes, latent = len(card.labels or ()) or None, card.latent["distribution"]
        trainer = cls.make_trainer(loaded.model, hub.load(folder), classes, latent=latent)
        recipe = card.recipe.get("recipe", {})
        loss = recipe.get("loss", "non_saturating")
        trainer.compile(
            loss=cls.adversarial_losses.get(loss, loss), d_weight=recipe.get("d_weight", 1.0)
        )
        losses = trainer.evaluate(batches, return_dict=True, verbose=0)
        return {name: float(value) for name, value in losses.items()}

    @classmethod
    def generate(
        cls, loaded: hub.LoadedModel, count: int, seed: int | None = None, labels: Labels = None
    ) -> Any:
        """A grid of generated images; with classes, `labels` in turn, else a column for each."""
        numbers = cls.class_numbers(loaded.card, labels, count) if labels else None
        return generator_evaluation.sample_grid(loaded, count, seed, numbers)

    @classmethod
    def check_requested(cls, card: hub.Card, labels: Sequence[int | str]) -> None:
        """Refuse classes that the generator does not have."""
        cls.class_numbers(card, labels, len(labels))

    @classmethod
    def class_numbers(cls, card: hub.Card, labels: Sequence[int | str], count: int) -> list[int]:
        """The class of each image of a grid."""
        raise ArgumentError(f"{card.name} takes no labels; leave them out")

    @classmethod
    def check_export(cls, model: keras.Model, spec: export.ExportSpec) -> None:
        """Check the latent and the shape of the images."""
        spec.check_latent(model)
        spec.check_output(model)

    @classmethod
    def signatures(cls, model: keras.Model, spec: export.ExportSpec) -> export.Servable:
        """Latents, or a seed and a count, to images."""
        return generation_signatures.unconditional(model, spec)

    @classmethod
    def readme_example(cls, card: hub.Card) -> list[str]:
        """Images from random latents."""
        return [_draw_latents(card), _to_pixels("latent")]

    @classmethod
    def readme_pixels(cls, card: hub.Card) -> str:
        """How generated images become pixels."""
        return describe_output(card.preprocessing)


@register_task("conditional-image-generation")
class ConditionalGeneration(Generation):
    """Task of generators that take a label: a conditional GAN."""

    needs = ("labels", "latent")
    inputs = 2
    # Builders of the unconditional ones take `classes`.
    architectures = ("conditional-image-generation", "unconditional-image-generation")

    def check_classes(self, source: Any) -> None:
        """Check that generator, discriminator and data have the same classes."""
        if self.classes is None:
            raise ConfigError(
                f"generator.arguments.classes is missing: {self.name} needs the number of classes"
            )
        self.check_labels(source)
        discriminated = factories.argument(self.config.discriminator, "classes")
        if discriminated != self.classes:
            raise ConfigError(
                f"discriminator.arguments.classes must be {self.classes} as the generator's, got "
                f"{discriminated!r}"
            )

    def check_labels(self, source: Any) -> None:
        """Check that the data has labels, of as many classes as the generator."""
        if source.classes is None:
            raise DataError(f"data source {source.name} has no labels; {self.name} needs them")
        if len(source.classes) != self.classes:
            raise ConfigError(
                f"generator.arguments.classes is {self.classes}, {source.name} has "
                f"{len(source.classes)} classes"
            )
        self.labels = list(source.classes)

    # Saved models.

    @classmethod
    def class_numbers(cls, card: hub.Card, labels: Sequence[int | str], count: int) -> list[int]:
        """The class of each image of a grid: `labels` in turn."""
        numbers = [class_number(label, card.labels, card.name) for label in labels]
        return [numbers[i % len(numbers)] for i in range(count)]

    @classmethod
    def check_export(cls, model: keras.Model, spec: export.ExportSpec) -> None:
        """Check the latent, the labels and the shape of the images."""
        super().check_export(model, spec)
        spec.check_labels(model, _encoded_classes(model))

    @classmethod
    def signatures(cls, model: keras.Model, spec: export.ExportSpec) -> export.Servable:
        """Latents and labels, or a seed and labels, to images."""
        return generation_signatures.conditional(model, spec)

    @classmethod
    def readme_example(cls, card: hub.Card) -> list[str]:
        """Images from random latents, of all classes in turn."""
        classes = len(card.labels)
        return [
            _draw_latents(card),
            f"label = keras.ops.arange(16) % {classes}  # Of loaded.card.labels",
            _to_pixels("[latent, label]"),
        ]

    @classmethod
    def readme_sections(cls, card: hub.Card) -> list[str]:
        """The labels that it takes."""
        # A digit's name is its number.
        listed = [
            str(label) if str(label) == str(i) else f"{i} {label}"
            for i, label in enumerate(card.labels[:_LISTED_CLASSES])
        ]
        more = len(card.labels) - len(listed)
        return [f"Labels: {', '.join(listed)}{f' and {more} more' if more else ''}."]


@register_task("discriminator")
class Discrimination(Task):
    """Task of discriminators, which are saved beside their generator."""


def _draw_latents(card: hub.Card) -> str:
    return f"latent = keras.random.{_DRAWS[card.latent['distribution']].format(**card.latent)}"


def _to_pixels(inputs: str) -> str:
    return f"images = loaded.card.preprocessing.to_pixels(loaded.model({inputs}))  # uint8"


def _encoded_classes(model: keras.Model) -> int | None:
    """The number of classes of a conditional generator, if its layers say so."""
    numbers = {
        layer.num_tokens
        for layer in model._flatten_layers()
        if isinstance(layer, keras.layers.CategoryEncoding)
    }
    return numbers.pop() if len(numbers) == 1 else None
