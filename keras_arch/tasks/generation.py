"""Training of generators of images: GAN, conditional GAN, LAPGAN."""

import functools
import logging
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_arch import callbacks, config, data, hub, metrics, trainers, visualization
from keras_arch.errors import ArgumentError, ConfigError, DataError, HubError, RunError
from keras_arch.preprocessing import Preprocessing
from keras_arch.tasks.base import Job
from keras_arch.tasks.generator_evaluation import COUNTED, draw, judge_network, real_images
from keras_arch.training.factories import (
    EVALUATION_BATCH,
    argument,
    build_network,
    check_range,
    check_shape,
    check_task,
    common_of_cards,
    make_optimizer,
    published,
)
from keras_arch.training.run_directory import RunDirectory

_TASKS = {
    "unconditional-image-generation": ("unconditional-image-generation",),
    "conditional-image-generation": (
        "conditional-image-generation",
        # The same builder with `classes`.
        "unconditional-image-generation",
    ),
    "laplacian-pyramid-generation": ("conditional-image-generation",),
}
# The nearest neighbours of precision and its kin are three, besides an image itself.
_LEAST_JUDGED = 4
_log = logging.getLogger("keras_arch")


class Generation(Job):
    """A generator, trained against one discriminator or one a level."""

    def __init__(self, checked: config.GeneratorConfig, preprocessing: Preprocessing) -> None:
        self.config = checked
        self.preprocessing = preprocessing
        self.images_per_step = checked.recipe.batch_size * getattr(checked.recipe, "n_critic", 1)
        self.classes = argument(checked.generator, "classes")
        self.levels = checked.task == "laplacian-pyramid-generation"
        self.labels: list[str] | None = None
        self._final: Any = None

    def check(self) -> None:
        """The networks, the images and the labels fit each other."""
        check_task(self.config.generator, "generator", *_TASKS[self.config.task])
        check_task(self.config.discriminator, "discriminator", "discriminator")
        generator = build_network(self.config.generator)
        check_shape(generator, self.preprocessing, "the generator's", generator.outputs[0].shape)
        check_range(generator, self.preprocessing)
        settings = self.config.data
        source = data.describe(settings.source, data_dir=settings.data_dir)
        if source.kind != "images":
            raise DataError(
                f"data source {source.name} has {source.kind}; {self.config.task} learns from "
                "images of one kind"
            )
        self._check_classes(source)
        if self.config.judge is not None:
            self._check_judge()

    def _check_classes(self, source: data.Source) -> None:
        """The classes of the generator, the discriminator and the data are the same."""
        if self.config.task == "conditional-image-generation" and self.classes is None:
            raise ConfigError(
                f"generator.arguments.classes is missing: {self.config.task} needs the number of "
                "classes"
            )
        if self.config.task == "unconditional-image-generation" and self.classes is not None:
            raise ConfigError(
                f"generator.arguments.classes is {self.classes}; a generator that takes labels is "
                "trained with task: conditional-image-generation"
            )
        if self.classes is None:
            return
        if source.classes is None:
            raise DataError(
                f"data source {source.name} has no labels; {self.config.task} needs them"
            )
        if len(source.classes) != self.classes:
            raise ConfigError(
                f"generator.arguments.classes is {self.classes}, {source.name} has "
                f"{len(source.classes)} classes"
            )
        told = argument(self.config.discriminator, "classes")
        if not self.levels and told != self.classes:
            raise ConfigError(
                f"discriminator.arguments.classes must be {self.classes} as the generator's, got "
                f"{told!r}"
            )
        self.labels = list(source.classes)

    def _check_judge(self) -> None:
        """The judge is there and can say what it is asked for, before any time is spent."""
        judge = self.config.judge
        try:
            network = self._network
        except (ArgumentError, HubError, RunError) as error:
            raise ConfigError(
                f"judge.network {judge.network!r} cannot be opened: {error}; train it first, or "
                "leave the judge out with --set judge=null"
            ) from None
        if "classifier_agreement" in judge.figures:
            if self.classes is None:
                raise ConfigError(
                    "judge.figures: classifier_agreement asks whether images are of the class that was asked "
                    f"for, which {self.config.task} has not; leave it out"
                )
            if network.classes != self.classes:
                raise ConfigError(
                    f"judge.figures: classifier_agreement needs a classifier of the generator's {self.classes} "
                    f"classes, {judge.network} has {network.classes}"
                )
        if self._judge.statistics.count < _LEAST_JUDGED:
            raise ConfigError(
                f"judge needs at least {_LEAST_JUDGED} real images, there are "
                f"{self._judge.statistics.count}"
            )

    def build(self, replicas: int) -> keras.Model:
        """The compiled trainer."""
        recipe = self.config.recipe
        generator = build_network(self.config.generator, replicas)
        common = {"latent": recipe.latent, "seed": recipe.seed}
        fit = {
            "loss": recipe.loss,
            "jit_compile": recipe.jit_compile,
            "steps_per_execution": recipe.steps_per_execution,
        }
        if self.levels:
            discriminators = {
                size: build_network(builder, replicas)
                for size, builder in self._discriminators().items()
            }
            trainer = trainers.LAPGAN(generator, discriminators, classes=self.classes, **common)
            sides = {"g": recipe.g_optimizer, "d": recipe.d_optimizer}
            optimizers = {
                player.name: make_optimizer(sides[player.name[0]]) for player in trainer.players()
            }
            trainer.compile(optimizers, **fit)
            return trainer
        discriminator = build_network(self.config.discriminator, replicas)
        if self.classes is None:
            trainer = trainers.GAN(generator, discriminator, **common)
        else:
            trainer = trainers.ConditionalGAN(generator, discriminator, self.classes, **common)
        trainer.compile(
            g_optimizer=make_optimizer(recipe.g_optimizer),
            d_optimizer=make_optimizer(recipe.d_optimizer),
            n_critic=recipe.n_critic,
            update=recipe.update,
            diff_augment=recipe.diff_augment,
            **fit,
        )
        return trainer

    def callbacks(self, directory: RunDirectory) -> list[keras.callbacks.Callback]:
        """A grid over the same latents; with a judge, the best model is kept."""
        chain: list[keras.callbacks.Callback] = [
            callbacks.SampleGrid(
                directory.samples,
                self._samples,
                every=self.config.samples.every,
                columns=self.classes,
                tensorboard=directory.logs / "samples",
            )
        ]
        if self.config.judge is not None:
            chain.append(self._best(directory))
        return chain

    def validation(self) -> Any:
        """None: a game has no validation loss that says anything."""

    def measure(self, model: keras.Model, directory: RunDirectory) -> dict[str, float]:
        """The game's means over the training images, the judge's figures, the last grid.

        The generator's figures and grid are those of the kept weights.
        """
        settings = self.config.data
        images = data.load(settings.source, settings.train, data_dir=settings.data_dir)
        batches = data.eval_batches(
            images, self.preprocessing, EVALUATION_BATCH, cache=settings.cache
        )
        found = model.evaluate(batches, return_dict=True, verbose=0)
        figures = {name: float(value) for name, value in found.items()}
        self._final = published(self.config.generator, model.ema_network(model.generator))
        if self.config.judge is not None:
            kept = self._best(directory).best()
            if kept is not None:
                kept.load(self._final)
                figures |= {"best_epoch": float(kept.epoch)} | kept.figures
            else:
                # Shorter than the time between two looks.
                figures |= self._figures_of(self._final)
            seen = self._diagnosed(self._final, directory)
            figures |= {name: value for name, value in seen.items() if name not in figures}
        sheet = self._draw(self._final, self.config.samples.count, self.config.samples.seed)
        sheet = visualization.grid(sheet, columns=self.classes, enlarge=True)
        visualization.save_png(sheet, directory.samples / "final.png")
        return figures

    def publish(self, model: keras.Model) -> tuple[keras.Model, dict[str, Any]]:
        """The generator; its discriminators go into `training/`."""
        training = {}
        if self.levels:
            trained_at = dict(zip(model.sizes, model.discriminators, strict=True))
            parts = {
                f"discriminator{size}": (builder, trained_at[size])
                for size, builder in self._discriminators().items()
            }
        else:
            parts = {"discriminator": (self.config.discriminator, model.discriminator)}
        for name, (builder, trained) in parts.items():
            card = hub.Card(
                name=f"{self.config.name} {name}",
                architecture=builder.name,
                arguments=builder.arguments,
                task="discriminator",
                preprocessing=self.preprocessing,
                **common_of_cards(self.config, builder),
            )
            training[name] = (published(builder, trained), card)
        return self._final, training

    def card(self, network: keras.Model, metrics: dict[str, float]) -> hub.Card:
        """What the weights are."""
        conditional = self.classes is not None
        common = common_of_cards(self.config, self.config.generator)
        if self.config.judge is not None:
            common["description"] += f"\n\nFigures were taken with {self._judge.description}."
        return hub.Card(
            name=self.config.name,
            architecture=self.config.generator.name,
            arguments=self.config.generator.arguments,
            task=f"{'' if conditional else 'un'}conditional-image-generation",
            preprocessing=self.preprocessing,
            labels=self.labels,
            latent={
                "size": network.inputs[0].shape[-1],
                "distribution": self.config.recipe.latent,
            },
            metrics=metrics,
            **common,
        )

    def picture(self, directory: RunDirectory) -> Path | None:
        """The last grid."""
        return directory.samples / "final.png"

    # The judge.

    def _best(self, directory: RunDirectory) -> "callbacks.BestModel":
        """What keeps the best generator of the run."""
        return callbacks.BestModel(
            directory.best,
            self._judged,
            network=lambda trainer: trainer.ema_network(trainer.generator),
            monitor=self.config.judge.figures[0],
            every=self.config.judge.every,
        )

    @functools.cached_property
    def _network(self) -> metrics.FeatureNetwork:
        """The network that judges."""
        return judge_network(self.config.judge.network)

    @functools.cached_property
    def _judge(self) -> metrics.GenerativeMetrics:
        """The figures, with the real images looked at once."""
        judge, settings = self.config.judge, self.config.data
        wanted = [name for name in judge.figures if name != "classifier_agreement"]
        real = real_images(
            settings.source, settings.train, self.preprocessing, judge.images, settings.data_dir
        )
        judged = metrics.GenerativeMetrics(real, self._network, wanted or ["fid"])
        _log.info("judged by %s", judged.description)
        return judged

    def _judged(self, trainer: keras.Model) -> dict[str, float]:
        return self._figures_of(trainer.ema_network(trainer.generator))

    def _figures_of(self, generator: keras.Model) -> dict[str, float]:
        judge = self.config.judge
        # Other latents than those of the grids, the same in every epoch.
        images = self._draw(generator, judge.images, self.config.samples.seed + 1)
        figures = dict(self._judge(images).values)
        if "classifier_agreement" in judge.figures:
            labels = trainers.class_labels(len(images), self.classes)
            figures["classifier_agreement"] = visualization.classifier_agreement(
                images, labels, self._network
            ).fraction
        return {name: float(figures[name]) for name in judge.figures}

    def _diagnosed(self, generator: keras.Model, directory: RunDirectory) -> dict[str, float]:
        """What a classifier sees in the final images, where the judge is one of these classes."""
        settings = self.config.data
        classes = data.describe(settings.source, data_dir=settings.data_dir).classes
        if classes is None or len(classes) != self._network.classes:
            return {}
        images = self._draw(generator, COUNTED, self.config.samples.seed + 2)
        coverage = visualization.mode_coverage(
            images, self._network, class_names=classes, path=directory.modes
        )
        figures = {"modes_covered": float(coverage.seen)}
        if self.classes is not None:
            labels = trainers.class_labels(len(images), self.classes)
            read = visualization.classifier_agreement(
                images, labels, self._network, class_names=classes, path=directory.confusion
            )
            figures["classifier_agreement"] = float(read.fraction)
        return figures

    # Drawing.

    def _draw(self, generator: keras.Model, count: int, seed: int) -> np.ndarray:
        latent = self.config.recipe.latent
        return draw(generator, self.preprocessing, count, seed, latent, self.classes)

    def _samples(self, trainer: keras.Model) -> np.ndarray:
        settings = self.config.samples
        return self._draw(trainer.ema_network(trainer.generator), settings.count, settings.seed)

    def _discriminators(self) -> dict[int, config.Builder]:
        """The builder of each level's discriminator, with what it shares with the generator."""
        builder = self.config.discriminator
        classes, coarser_sizes, image_shape = (
            argument(self.config.generator, name)
            for name in ("classes", "coarser_sizes", "image_shape")
        )
        side, _, channels = image_shape
        shared = {"classes": classes} | builder.arguments
        return {
            size: config.Builder(
                name=builder.name,
                arguments={"input_shape": (size, size, channels)}
                | ({"coarsest": True} if size == coarser_sizes[0] else {})
                | shared,
            )
            for size in (*coarser_sizes, side)
        }
