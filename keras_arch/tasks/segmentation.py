"""Training of networks that classify every pixel, by plain `model.fit`."""

from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_arch import callbacks, config, data, distribute, hub, losses, metrics, visualization
from keras_arch.errors import ConfigError, DataError
from keras_arch.losses.pixel import pixel_loss
from keras_arch.preprocessing import Preprocessing
from keras_arch.tasks import segmentation_report
from keras_arch.tasks.base import Job
from keras_arch.tiling.networks import network_of
from keras_arch.training.factories import (
    build_network,
    check_shape,
    check_task,
    common_of_cards,
    jit_compile,
    make_optimizer,
    published,
)
from keras_arch.training.run_directory import RunDirectory

_MONITOR, _TIES = "val_mean_iu", "val_loss"
_ORDERS = {"bilinear": 1, "bicubic": 3}


class Segmentation(Job):
    """A segmentation network, trained on its logits."""

    def __init__(self, checked: config.SegmentationConfig, preprocessing: Preprocessing) -> None:
        self.config = checked
        self.preprocessing = preprocessing
        self.images_per_step = checked.recipe.batch_size
        settings = checked.data
        self.source = data.describe(settings.address, data_dir=settings.data_dir)
        self._validation: Any = None
        self._output: tuple[int, int] | None = None
        self._final: Any = None

    def check(self) -> None:
        """The data has masks with as many classes as the model, and sizes fit."""
        check_task(self.config.model, "model", "image-segmentation")
        if self.source.kind != "masks":
            raise DataError(
                f"segmentation learns from images with masks (masks:PATH, cells), data source "
                f"{self.source.name} has none"
            )
        network = self.logits()
        check_shape(network, self.preprocessing, "the model's input", network.input_shape)
        classes = network.output_shape[-1]
        if classes != len(self.source.classes):
            raise ConfigError(
                f"model.arguments.classes is {classes}, {self.source.name} has "
                f"{len(self.source.classes)} classes"
            )
        if self.preprocessing.crop is not None:
            raise ConfigError(
                f"preprocessing.crop {self.preprocessing.crop} loses pixels, which a segmentation "
                "must give back; leave it out"
            )
        isbi = [name for name in self.config.figures if name in segmentation_report.ISBI]
        if isbi and classes != 2:
            raise ConfigError(f"figures: {isbi[0]} is of two classes, the data has {classes}")
        unknown = set(self.config.data.colors) - set(self.source.classes)
        if unknown:
            raise ConfigError(
                f"data.colors names {sorted(unknown)[0]!r}; the classes are "
                f"{', '.join(self.source.classes)}"
            )
        tiled, size = network_of(network), self.preprocessing.size
        if not tiled.fits(size):
            raise ConfigError(
                f"preprocessing.size: {self.config.model.name} does not take {size[0]}x{size[1]} "
                "pixels; give another size, or a fixed one in model.arguments.input_shape, which "
                "names those near it"
            )
        self._output = tiled.output_of(size, self.preprocessing.channels)[:2]
        if self.config.data.cut == "whole" and self._output != self.preprocessing.size:
            raise ConfigError(
                f"data.cut whole is for a network that gives all pixels; {self.config.model.name} "
                f"gives {self._output} of {self.preprocessing.size}: cut tiles"
            )
        self.validation()
        next(segmentation_report.examples(self._load(self.config.data.test), 1))

    def logits(self, replicas: int = 1) -> keras.Model:
        """The network without its softmax."""
        return build_network(
            self.config.model, replicas, self.config.recipe.synchronized, classifier_activation=None
        )

    def build(self, replicas: int) -> keras.Model:
        """The compiled network, with all variables that a step reads or writes."""
        recipe = self.config.recipe
        network = self.logits(replicas)
        losses.add_weight_decay(network, recipe.weight_decay, recipe.weight_decay_on)
        arguments = {} if recipe.normalize else {"normalize": False}
        classes = network.output_shape[-1]
        network.compile(
            optimizer=make_optimizer(recipe.optimizer),
            loss=pixel_loss(recipe.loss, total=distribute.sum_over_replicas, **arguments),
            metrics=[metrics.PixelAccuracy(classes), metrics.MeanIU(classes)],
            jit_compile=jit_compile(recipe, network),
            steps_per_execution=recipe.steps_per_execution,
        )
        network.optimizer.build(network.trainable_variables)
        blank = np.zeros((replicas, *self.preprocessing.input_shape), np.float32)
        network.test_on_batch(blank, np.zeros((replicas, *self._output), np.uint8))
        network.reset_metrics()
        return network

    def batches(self, images: Any, epoch: int, step: int) -> data.Batches:
        """Tiles or whole images with masks and weights, from a step of an epoch on."""
        settings, recipe = self.config.data, self.config.recipe
        weights = recipe.weights
        return data.segmentation_train_batches(
            images,
            self.preprocessing,
            recipe.batch_size,
            seed=recipe.seed,
            output=self._output,
            crop_mode=settings.cut,
            augment=settings.augment,
            weights=data.WeightMap(**weights.model_dump()) if weights else None,
            classes=len(self.source.classes),
            crops_per_image=settings.crops_per_image,
            order=_ORDERS[recipe.interpolation],
            start_epoch=epoch,
            start_step=step,
        )

    def callbacks(self, directory: RunDirectory) -> list[keras.callbacks.Callback]:
        """Test images with their truths and predictions; what keeps the best weights."""
        samples = callbacks.SampleGrid(
            directory.samples,
            self._sheet,
            every=self.config.samples.every,
            columns=4,
            tensorboard=directory.logs / "samples",
        )
        best = [self._best(directory)] if self.config.recipe.keep == "best" else []
        return [*best, samples]

    def validation(self) -> Any:
        """Tiles that cover `data.validation`, else the test split."""
        if self._validation is None:
            settings = self.config.data
            self._validation = data.segmentation_eval_batches(
                self._load(settings.validation or settings.test),
                self.preprocessing,
                self.config.recipe.batch_size,
                output=self._output,
                crop_mode=settings.cut,
                replicas=self.replicas,
            )
        return self._validation

    def measure(self, model: keras.Model, directory: RunDirectory) -> dict[str, float]:
        """The figures of whole test images at their own resolution; the pictures of the report."""
        kept, network = None, model
        if self.config.recipe.keep == "best":
            kept = self._best(directory).best()
        if kept is not None:
            network = self.logits()
            kept.load(network)
        self._final = published(self.config.model, network)
        measured = segmentation_report.measure_segmentation(
            self._final,
            self._load(self.config.data.test),
            self.preprocessing,
            self.config.data.cut,
            len(self.source.classes),
            self.config.figures,
            self.config.samples.count,
        )
        segmentation_report.write_report(
            measured, self.source.classes, self._colors(), directory.path
        )
        return measured.figures | ({"best_epoch": float(kept.epoch)} if kept else {})

    def publish(self, model: keras.Model) -> tuple[keras.Model, dict[str, Any]]:
        """The network with its softmax."""
        return self._final, {}

    def card(self, network: keras.Model, metrics: dict[str, float]) -> hub.Card:
        """What the weights are."""
        return hub.Card(
            name=self.config.name,
            architecture=self.config.model.name,
            arguments=self.config.model.arguments,
            task="image-segmentation",
            preprocessing=self.preprocessing,
            labels=list(self.source.classes),
            colors=self._colors(),
            metrics=metrics,
            **common_of_cards(self.config, self.config.model),
        )

    def picture(self, directory: RunDirectory) -> Path | None:
        """Test images with their truths and predictions."""
        return directory.path / "visualization.png"

    def _colors(self) -> list[tuple[int, ...]]:
        """Of each class: the config's, else the source's, else those of PASCAL VOC."""
        usual = self.source.colors or visualization.class_colors(len(self.source.classes))
        given = {
            name: tuple(bytes.fromhex(colour[1:]))
            for name, colour in self.config.data.colors.items()
        }
        return [
            given.get(name, tuple(colour))
            for name, colour in zip(self.source.classes, usual, strict=True)
        ]

    def _load(self, split: str) -> Any:
        settings = self.config.data
        return data.load(settings.address, split, data_dir=settings.data_dir)

    def _sheet(self, model: keras.Model) -> np.ndarray:
        shown = []
        settings = self.config.data
        for image, mask in segmentation_report.examples(
            self._load(settings.test), self.config.samples.count
        ):
            found = segmentation_report.probabilities_of(
                model, image, self.preprocessing, settings.cut
            )
            shown.append((image, mask, found.argmax(axis=-1).astype(np.uint8)))
        return segmentation_report.panels(shown, self._colors())

    def _best(self, directory: RunDirectory) -> "callbacks.BestModel":
        return callbacks.BestModel(
            directory.best, None, lambda model: model, monitor=_MONITOR, mode="max", ties=_TIES
        )
