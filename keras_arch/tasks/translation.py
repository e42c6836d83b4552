"""Image translation: pix2pix on pairs, CycleGAN on unpaired images."""

from __future__ import annotations

import collections
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import pydantic

from keras_arch import config as configs
from keras_arch import data, hub, registry
from keras_arch._lazy import lazy_modules, np
from keras_arch.config.base import Rate
from keras_arch.data.image_reading import read_prepared
from keras_arch.errors import ArgumentError, ConfigError, DataError, whole_number
from keras_arch.hub.readme import describe_output
from keras_arch.preprocessing import Preprocessing
from keras_arch.tasks._modules import (
    callbacks,
    factories,
    metrics,
    optimizer_from_config,
    trainers,
    visualization,
)
from keras_arch.tasks.base import Task, register_task
from keras_arch.tasks.evaluation_data import EvaluationData
from keras_arch.tasks.generation_config import AdversarialConfig, UnpenalizedLoss

if TYPE_CHECKING:
    import keras

    from keras_arch import export
    from keras_arch.tasks import translation_signatures
    from keras_arch.training.run_directory import RunDirectory
else:
    (translation_signatures,) = lazy_modules("keras_arch.tasks.translation_signatures")

_STATISTICS = {
    "batch": "the statistics of the batch at hand",
    "moving": "the moving averages of training",
    "instance": "the statistics of each image",
}


class Pix2PixRecipe(configs.Recipe):
    """Training settings of a pix2pix; see `keras_arch.trainers.Pix2Pix`."""

    g_optimizer: configs.Optimizer
    d_optimizer: configs.Optimizer
    objective: Literal["l1", "gan", "cgan", "l1+gan", "l1+cgan"] = "l1+cgan"
    loss: UnpenalizedLoss = "non_saturating"
    l1_weight: Rate = 100.0
    d_weight: Rate = 0.5


class CycleGANRecipe(configs.Recipe):
    """Training settings of a CycleGAN; see `keras_arch.trainers.CycleGAN.compile`."""

    g_optimizer: configs.Optimizer
    d_optimizer: configs.Optimizer
    loss: UnpenalizedLoss = "lsgan"
    cycle_weight: Rate = 10.0
    identity_weight: Annotated[float, pydantic.Field(ge=0)] = 0.5
    pool_size: Annotated[int, pydantic.Field(ge=0)] = 50


class Pix2PixConfig(AdversarialConfig):
    """Config of a translator that learns from pairs."""

    recipe: Pix2PixRecipe


class CycleGANConfig(AdversarialConfig):
    """Config of two translators that learn from unpaired images."""

    recipe: CycleGANRecipe


@register_task("image-to-image")
class Translation(Task):
    """Task of saved translators, and base class of those that train them."""

    pipeline_tag = "image-to-image"
    picture = "Test images and their translations"
    has_target_preprocessing = True
    # The kind of data, and the titles of the columns of a sample sheet.
    kind: ClassVar[str] = ""
    titles: ClassVar[tuple[str, ...]] = ("input", "output", "target")

    def __init__(self, config: Any, preprocessing: Preprocessing, replicas: int = 1) -> None:
        super().__init__(config, preprocessing, replicas)
        self._shown: Any = None

    def check(self) -> None:
        """Check the networks, the images and the kind of data."""
        factories.check_architecture(self.config.generator, "generator", "image-to-image")
        factories.check_architecture(self.config.discriminator, "discriminator", "discriminator")
        generator = factories.build_network(self.config.generator)
        for name, shape in (("input", generator.input_shape), ("output", generator.output_shape)):
            factories.check_shape(self.preprocessing, f"the generator's {name}", shape)
        factories.check_range(generator, self.preprocessing)
        settings = self.config.data
        source = data.describe(settings.source, data_dir=settings.data_dir)
        if source.kind != self.kind:
            raise DataError(
                f"{self.name} learns from {self.kind}:PATH, data source {source.name} is of "
                f"another kind"
            )
        self._examples()

    def _compile_arguments(self) -> dict[str, Any]:
        recipe = self.config.recipe
        return {
            "g_optimizer": optimizer_from_config.make_optimizer(recipe.g_optimizer),
            "d_optimizer": optimizer_from_config.make_optimizer(recipe.d_optimizer),
            "loss": recipe.loss,
            "jit_compile": recipe.jit_compile,
            "steps_per_execution": recipe.steps_per_execution,
        }

    def callbacks(self, directory: RunDirectory) -> list[keras.callbacks.Callback]:
        """Inputs beside their translations, the same after every epoch."""
        return [
            callbacks.SampleGrid(
                directory.samples,
                self._sheet,
                every=self.config.samples.every,
                columns=len(self.titles),
                tensorboard=directory.logs / "samples",
                annotate=self._annotated,
            )
        ]

    def measure(self, model: keras.Model, directory: RunDirectory) -> dict[str, float]:
        """L1 error and sharpness on the test split.

        `l1` is in the range of the data, [-1, 1]; `sharpness` is the mean gradient magnitude of
        the pixels in [0, 255], beside that of the targets.
        """
        sheet = visualization.grid(self._sheet(model), columns=len(self.titles), enlarge=True)
        visualization.save_png(self._annotated(sheet), directory.samples / "final.png")
        batches = data.eval_batches(
            self.load(self.config.data.test), self.preprocessing, 16, cache=False
        )
        images, targets = map(np.concatenate, zip(*batches.as_numpy_iterator(), strict=True))
        translated = model.translate(images)
        pixels = self.preprocessing.to_pixels
        return self.measure_l1(model, images, targets, translated) | {
            "sharpness": metrics.mean_gradient_magnitude(pixels(translated)),
            "sharpness_of_targets": metrics.mean_gradient_magnitude(pixels(targets)),
        }

    def measure_l1(
        self, model: keras.Model, images: Any, targets: Any, translated: Any
    ) -> dict[str, float]:
        """The L1 error that the kind of data allows."""
        raise NotImplementedError

    def trained_networks(
        self, model: keras.Model
    ) -> dict[str, tuple[configs.Builder, keras.Model, str]]:
        """The networks for `training/` by name, each with its builder and task."""
        raise NotImplementedError

    def export_copy(self, model: keras.Model) -> tuple[keras.Model, dict[str, Any]]:
        """The generator; the other networks go into `training/`."""
        training = {
            name: (
                factories.export_copy(builder, trained),
                factories.make_card(
                    self.config, builder, name=f"{self.config.name} {name}", task=task
                ),
            )
            for name, (builder, trained, task) in self.trained_networks(model).items()
        }
        generator = model.ema_network(model.generator)
        return factories.export_copy(self.config.generator, generator), training

    def card(self, network: keras.Model, metrics: dict[str, float]) -> hub.Card:
        """The card of the generator."""
        return factories.make_card(
            self.config, self.config.generator, task=self.model_task, metrics=metrics
        )

    def pictures(self, directory: RunDirectory) -> list[Path]:
        """The last sheet."""
        return [directory.samples / "final.png"]

    def _examples(self) -> tuple[np.ndarray, np.ndarray]:
        """The first images of the test split, for the sheets."""
        if self._shown is None:
            settings, count = self.config.data, self.config.samples.count
            pairs = self.load(settings.test).take(count)
            batch = next(iter(data.eval_batches(pairs, self.preprocessing, count)), None)
            if batch is None:
                raise ConfigError(f"data.test {settings.test!r} of {settings.source} is empty")
            self._shown = tuple(np.asarray(column) for column in batch)
        return self._shown

    def _annotated(self, sheet: np.ndarray) -> np.ndarray:
        """A sheet with the titles of its columns."""
        return visualization.annotate(sheet, titles=self.titles)

    def _sheet(self, trainer: keras.Model) -> np.ndarray:
        """Rows of images: input, output and target, or both domains with their translations."""
        rows = np.stack(self.sheet_columns(trainer, *self._examples()), axis=1)
        return self.preprocessing.to_pixels(rows.reshape(-1, *rows.shape[2:]))

    def sheet_columns(self, trainer: keras.Model, images: Any, targets: Any) -> list[Any]:
        """The columns of a sheet."""
        return [images, trainer.translate(images), targets]

    # Saved models.

    @classmethod
    def check_card(cls, card: hub.Card) -> None:
        """Refuse labels and latents."""
        super().check_card(card)
        given = {"labels": card.labels, "latent": card.latent}
        if held := [name for name, value in given.items() if value]:
            raise ArgumentError(f"a card of an image translator has no {' and '.join(held)}")

    @classmethod
    def evaluate(
        cls, loaded: hub.LoadedModel, chosen: EvaluationData, out: Path | None = None
    ) -> dict[str, float]:
        """The mean L1 error on pairs, in [-1, 1]."""
        card = loaded.card
        described, images = chosen.load()
        if described.kind != "pairs":
            raise ArgumentError(
                f"a translator is evaluated on pairs:PATH, {described.name} is no such data"
            )
        batches = data.eval_batches(images, card.preprocessing, factories.EVALUATION_BATCH)
        total = count = 0
        for inputs, targets in batches.as_numpy_iterator():
            translated = trainers.translate(loaded.model, inputs)
            total += float(np.abs(translated - targets).mean(axis=(1, 2, 3)).sum())
            count += len(targets)
        return {"l1": total / count}

    @classmethod
    def translate(
        cls, loaded: hub.LoadedModel, images: Sequence[Path], out: Path, *, batch_size: int = 1
    ) -> list[Path]:
        """Translate image files, `batch_size` in one forward, into `NAME.png` in a folder."""
        card = loaded.card
        batch_size = whole_number("batch_size", batch_size)
        names = collections.Counter(path.stem for path in images)
        twice = next((name for name, count in names.items() if count > 1), None)
        if twice:
            raise ArgumentError(f"two images are named {twice!r} and would become one file")
        results = [out / f"{path.stem}.png" for path in images]
        for path, result in zip(images, results, strict=True):
            if result.exists() and path.exists() and result.samefile(path):
                raise ArgumentError(f"the result would replace {path}; give another folder")
        for first in range(0, len(images), batch_size):
            part = slice(first, first + batch_size)
            inputs = read_prepared(images[part], card.preprocessing)
            translated = trainers.translate(loaded.model, inputs, batch_size)
            pixels = card.output_preprocessing.to_pixels(translated)
            for image, result in zip(pixels, results[part], strict=True):
                visualization.save_png(image, result)
        return results

    @classmethod
    def check_export(cls, model: keras.Model, spec: export.ExportSpec) -> None:
        """Check the shapes of input and output."""
        spec.check_input(model)
        spec.check_output(model, "; give target_preprocessing")

    @classmethod
    def signatures(cls, model: keras.Model, spec: export.ExportSpec) -> export.Servable:
        """Pixels or encoded images to translated images."""
        return translation_signatures.signatures(model, spec)

    @classmethod
    def readme_example(cls, card: hub.Card) -> list[str]:
        """The translation of a batch of images."""
        images, _ = super().readme_example(card)
        return [
            images,
            "inputs = loaded.card.preprocessing(images)",
            "outputs = keras_arch.trainers.translate(loaded.model, inputs)",
            "pixels = loaded.card.output_preprocessing.to_pixels(outputs)  # uint8",
        ]

    @classmethod
    def readme_sections(cls, card: hub.Card) -> list[str]:
        """Normalization and dropout at inference, if its builder has a choice."""
        norm, dropout = (_argument(card, f"inference_{name}") for name in ("norm", "dropout"))
        if norm not in _STATISTICS:
            return []
        text = (
            f"At inference it normalises with {_STATISTICS[norm]} and "
            f"{'keeps dropout' if dropout else 'has no dropout'} (`inference_norm={norm!r}`, "
            f"`inference_dropout={bool(dropout)}`)."
        )
        if norm != "batch" and not dropout:
            return [text]
        return [
            f"{text} In plain Keras call it as `model(inputs)` inside `with "
            "keras.StatelessScope():`, one image at a time: `model.predict` and `training=False` "
            "would switch that off, and a call outside the scope changes the next output."
        ]

    @classmethod
    def readme_pixels(cls, card: hub.Card) -> str:
        """How pixels become the input, and the output becomes pixels."""
        text = super().readme_pixels(card)
        if card.target_preprocessing is None:
            return f"{text} The output is scaled alike."
        return f"{text} {describe_output(card.target_preprocessing, 'It')}"


@register_task("paired-image-translation")
class PairedTranslation(Translation):
    """Task of translators that learn from pairs: pix2pix."""

    Config = Pix2PixConfig
    model_task = "image-to-image"
    kind = "pairs"

    def build(self) -> keras.Model:
        """The compiled trainer."""
        recipe, builder = self.config.recipe, self._discriminator_builder()
        trainer = trainers.Pix2Pix(
            factories.build_network(self.config.generator, self.replicas),
            factories.build_network(builder, self.replicas) if builder else None,
            objective=recipe.objective,
            seed=recipe.seed,
        )
        trainer.compile(
            l1_weight=recipe.l1_weight, d_weight=recipe.d_weight, **self._compile_arguments()
        )
        return trainer

    def measure_l1(
        self, model: keras.Model, images: Any, targets: Any, translated: Any
    ) -> dict[str, float]:
        """The L1 error against the targets."""
        return {"l1": float(np.abs(translated - targets).mean())}

    def trained_networks(
        self, model: keras.Model
    ) -> dict[str, tuple[configs.Builder, keras.Model, str]]:
        """The discriminator, if the objective has one."""
        builder = self._discriminator_builder()
        found = (builder, model.discriminator, "discriminator")
        return {"discriminator": found} if builder else {}

    def _discriminator_builder(self) -> configs.Builder | None:
        """The discriminator of the objective: with the input, without it, or none."""
        builder, objective = self.config.discriminator, self.config.recipe.objective
        if "gan" not in objective:
            return None
        if "cgan" in objective:
            return builder
        return configs.Builder(
            name=builder.name, arguments=builder.arguments | {"target_channels": None}
        )


@register_task("unpaired-image-translation")
class UnpairedTranslation(Translation):
    """Task of two translators that learn from unpaired images: CycleGAN."""

    Config = CycleGANConfig
    model_task = "image-to-image"
    kind = "unpaired"
    titles = ("image", "translated", "other", "translated back")

    def build(self) -> keras.Model:
        """The compiled trainer."""
        recipe = self.config.recipe

        def network(builder: configs.Builder, **more: Any) -> keras.Model:
            return factories.build_network(builder, self.replicas, **more)

        generator, discriminator = self.config.generator, self.config.discriminator
        trainer = trainers.CycleGAN(
            network(generator),
            network(generator, name="generator_back"),
            network(discriminator),
            network(discriminator, name="discriminator_back"),
            pool_size=recipe.pool_size,
            seed=recipe.seed,
        )
        trainer.compile(
            cycle_weight=recipe.cycle_weight,
            identity_weight=recipe.identity_weight,
            **self._compile_arguments(),
        )
        return trainer

    def measure_l1(
        self, model: keras.Model, images: Any, targets: Any, translated: Any
    ) -> dict[str, float]:
        """The L1 error of images that were translated there and back."""
        back = model.translate(translated, backward=True)
        return {"cycle_l1": float(np.abs(back - images).mean())}

    def trained_networks(
        self, model: keras.Model
    ) -> dict[str, tuple[configs.Builder, keras.Model, str]]:
        """The generator of the other direction, and both discriminators."""
        generator, discriminator = self.config.generator, self.config.discriminator
        back = model.ema_network(model.generator_back)
        return {
            "generator_back": (generator, back, self.model_task),
            "discriminator": (discriminator, model.discriminator, "discriminator"),
            "discriminator_back": (discriminator, model.discriminator_back, "discriminator"),
        }

    def sheet_columns(self, trainer: keras.Model, images: Any, targets: Any) -> list[Any]:
        """Also the translation of the other domain."""
        columns = super().sheet_columns(trainer, images, targets)
        return [*columns, trainer.translate(targets, backward=True)]


def _argument(card: hub.Card, name: str) -> Any:
    """An argument of the builder, or its default; `None` where there is no such argument."""
    from keras_arch import models

    if name in card.arguments:
        return card.arguments[name]
    if card.architecture not in models.list_models():
        return None
    parameter = registry.entry(card.architecture).arguments.get(name)
    return parameter.default if parameter else None
