"""Training of translators from images to images: pix2pix on pairs, CycleGAN without."""

from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_arch import callbacks, config, data, hub, metrics, trainers, visualization
from keras_arch.errors import ConfigError, DataError
from keras_arch.preprocessing import Preprocessing
from keras_arch.tasks.base import Job
from keras_arch.training.factories import (
    build_network,
    check_range,
    check_shape,
    check_task,
    common_of_cards,
    make_optimizer,
    published,
)
from keras_arch.training.run_directory import RunDirectory


class Translation(Job):
    """A generator from images to images, or two of them, one each way."""

    def __init__(self, checked: config.GeneratorConfig, preprocessing: Preprocessing) -> None:
        self.config = checked
        self.preprocessing = preprocessing
        self.images_per_step = checked.recipe.batch_size
        self.paired = checked.task == "paired-image-translation"
        self._shown: Any = None

    def check(self) -> None:
        """The networks, the images and the kind of data fit each other."""
        check_task(self.config.generator, "generator", "image-to-image")
        check_task(self.config.discriminator, "discriminator", "discriminator")
        generator = build_network(self.config.generator)
        check_shape(generator, self.preprocessing, "the generator's input", generator.input_shape)
        check_shape(generator, self.preprocessing, "the generator's", generator.output_shape)
        check_range(generator, self.preprocessing)
        settings = self.config.data
        source = data.describe(settings.source, data_dir=settings.data_dir)
        wanted = "pairs" if self.paired else "unpaired"
        if source.kind != wanted:
            raise DataError(
                f"{self.config.task} learns from {wanted}:PATH, data source {source.name} is of "
                f"another kind"
            )
        self._examples()

    def build(self, replicas: int) -> keras.Model:
        """The compiled trainer."""
        recipe = self.config.recipe
        generator = build_network(self.config.generator, replicas)
        fit = {
            "g_optimizer": make_optimizer(recipe.g_optimizer),
            "d_optimizer": make_optimizer(recipe.d_optimizer),
            "loss": recipe.loss,
            "jit_compile": recipe.jit_compile,
            "steps_per_execution": recipe.steps_per_execution,
        }
        if self.paired:
            builder = self._discriminator()
            discriminator = build_network(builder, replicas) if builder else None
            trainer = trainers.Pix2Pix(
                generator, discriminator, objective=recipe.objective, seed=recipe.seed
            )
            trainer.compile(l1_weight=recipe.l1_weight, d_weight=recipe.d_weight, **fit)
            return trainer
        trainer = trainers.CycleGAN(
            generator,
            build_network(self.config.generator, replicas, name="generator_back"),
            build_network(self.config.discriminator, replicas),
            build_network(self.config.discriminator, replicas, name="discriminator_back"),
            pool_size=recipe.pool_size,
            seed=recipe.seed,
        )
        trainer.compile(
            cycle_weight=recipe.cycle_weight, identity_weight=recipe.identity_weight, **fit
        )
        return trainer

    def callbacks(self, directory: RunDirectory) -> list[keras.callbacks.Callback]:
        """Inputs beside what is made of them, the same after every epoch."""
        return [
            callbacks.SampleGrid(
                directory.samples,
                self._sheet,
                every=self.config.samples.every,
                columns=3 if self.paired else 4,
                tensorboard=directory.logs / "samples",
            )
        ]

    def validation(self) -> Any:
        """None: a game has no validation loss that says anything."""

    def measure(self, model: keras.Model, directory: RunDirectory) -> dict[str, float]:
        """On the test split: the L1 error of pairs and how sharp the pictures are.

        `l1` is in the range of the data, [-1, 1]; `sharpness` is the mean gradient magnitude of
        the pixels in [0, 255], beside that of the targets.
        """
        sheet = visualization.grid(
            self._sheet(model), columns=3 if self.paired else 4, enlarge=True
        )
        visualization.save_png(sheet, directory.samples / "final.png")
        images, targets = self._test_set()
        made = model.translate(images)
        pixels = self.preprocessing.to_pixels
        figures = {
            "sharpness": metrics.mean_gradient_magnitude(pixels(made)),
            "sharpness_of_targets": metrics.mean_gradient_magnitude(pixels(targets)),
        }
        if self.paired:
            return {"l1": float(np.abs(made - targets).mean())} | figures
        back = model.translate(made, backward=True)
        return {"cycle_l1": float(np.abs(back - images).mean())} | figures

    def publish(self, model: keras.Model) -> tuple[keras.Model, dict[str, Any]]:
        """The generator; what it was trained with goes into `training/`."""
        generator = self.config.generator
        if self.paired:
            builder = self._discriminator()
            parts = {"discriminator": (builder, model.discriminator)} if builder else {}
        else:
            judge = self.config.discriminator
            parts = {
                "generator_back": (generator, model.ema_network(model.generator_back)),
                "discriminator": (judge, model.discriminator),
                "discriminator_back": (judge, model.discriminator_back),
            }
        training = {}
        for name, (builder, trained) in parts.items():
            card = hub.Card(
                name=f"{self.config.name} {name}",
                architecture=builder.name,
                arguments=builder.arguments,
                task="image-to-image" if name.startswith("generator") else "discriminator",
                preprocessing=self.preprocessing,
                **common_of_cards(self.config, builder),
            )
            training[name] = (published(builder, trained), card)
        return published(generator, model.ema_network(model.generator)), training

    def card(self, network: keras.Model, metrics: dict[str, float]) -> hub.Card:
        """What the weights are."""
        return hub.Card(
            name=self.config.name,
            architecture=self.config.generator.name,
            arguments=self.config.generator.arguments,
            task="image-to-image",
            preprocessing=self.preprocessing,
            metrics=metrics,
            **common_of_cards(self.config, self.config.generator),
        )

    def picture(self, directory: RunDirectory) -> Path | None:
        """The last sheet."""
        return directory.samples / "final.png"

    def _discriminator(self) -> config.Builder | None:
        """The discriminator that the objective asks for: with the input, without, or none."""
        builder, objective = self.config.discriminator, self.config.recipe.objective
        if "gan" not in objective:
            return None
        if "cgan" in objective:
            return builder
        return config.Builder(
            name=builder.name, arguments=builder.arguments | {"target_channels": None}
        )

    def _test_set(self) -> tuple[np.ndarray, np.ndarray]:
        settings = self.config.data
        pairs = data.load(settings.source, settings.test, data_dir=settings.data_dir)
        batches = data.eval_batches(pairs, self.preprocessing, 16, cache=False)
        columns = zip(*batches.as_numpy_iterator(), strict=True)
        images, targets = (np.concatenate(column) for column in columns)
        return images, targets

    def _examples(self) -> tuple[np.ndarray, np.ndarray]:
        """The images that the sheets show: the first of the test split."""
        if self._shown is None:
            settings = self.config.data
            pairs = data.load(settings.source, settings.test, data_dir=settings.data_dir)
            count = self.config.samples.count
            batch = next(
                iter(data.eval_batches(pairs.take(count), self.preprocessing, count)), None
            )
            if batch is None:
                raise ConfigError(f"data.test {settings.test!r} of {settings.source} is empty")
            self._shown = tuple(np.asarray(column) for column in batch)
        return self._shown

    def _sheet(self, trainer: keras.Model) -> np.ndarray:
        """Rows of input, output and target, or of both domains with their translations."""
        images, targets = self._examples()
        made = trainer.translate(images)
        columns = [images, made, targets]
        if not self.paired:
            columns.append(trainer.translate(targets, backward=True))
        rows = np.stack(columns, axis=1)
        return self.preprocessing.to_pixels(rows.reshape(-1, *rows.shape[2:]))
