"""Image segmentation: a class for each pixel, trained by plain `model.fit`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_arch import data, hub
from keras_arch._lazy import keras, lazy_modules, np
from keras_arch.errors import ArgumentError, ConfigError, DataError
from keras_arch.preprocessing import Preprocessing
from keras_arch.tasks._modules import (
    callbacks,
    distribute,
    factories,
    heads,
    losses,
    metrics,
    models,
    tiling_networks,
    visualization,
)
from keras_arch.tasks.base import Task, example_images, register_task
from keras_arch.tasks.classification import keep_best, probability_lines, restore_best
from keras_arch.tasks.evaluation_data import EvaluationData
from keras_arch.tasks.predictions import Prediction
from keras_arch.tasks.segmentation_config import SegmentationConfig, SegmentationData

if TYPE_CHECKING:
    from keras_arch import export
    from keras_arch.tasks import (
        segmentation_predictions,
        segmentation_report,
        segmentation_signatures,
    )
    from keras_arch.training.run_directory import RunDirectory
else:
    segmentation_predictions, segmentation_report, segmentation_signatures = lazy_modules(
        "keras_arch.tasks.segmentation_predictions",
        "keras_arch.tasks.segmentation_report",
        "keras_arch.tasks.segmentation_signatures",
    )

MONITOR, TIES = "val_mean_iu", "val_loss"
_ORDERS = {"bilinear": 1, "bicubic": 3}


@register_task("image-segmentation")
class Segmentation(Task):
    """Task of segmentation networks, trained on their logits."""

    Config = SegmentationConfig
    pipeline_tag = "image-segmentation"
    picture = "Test images with true classes, predictions and errors"
    needs = ("labels",)
    has_colors = True
    shares_validation = True

    def __init__(self, config: Any, preprocessing: Preprocessing, replicas: int = 1) -> None:
        super().__init__(config, preprocessing, replicas)
        self.source = data.describe(config.data.uri, data_dir=config.data.data_dir)
        self._validation: Any = None
        self._output: tuple[int, int] | None = None
        self._final: Any = None

    @classmethod
    def schedule_length(cls, config: Any, examples: int) -> tuple[int, int]:
        """An epoch takes several crops of each image."""
        return super().schedule_length(config, examples * config.data.crops_per_image)

    def check(self) -> None:
        """Check masks, classes and sizes."""
        factories.check_architecture(self.config.model, "model", "image-segmentation")
        if self.source.kind != "masks":
            raise DataError(
                f"segmentation learns from images with masks (masks:PATH, cells), data source "
                f"{self.source.name} has none"
            )
        self.check_frozen()
        network = self.build_logits()
        factories.check_shape(self.preprocessing, "the model's input", network.input_shape)
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
        binary = [name for name in self.config.metrics if name in segmentation_report.BINARY]
        if binary and classes != 2:
            raise ConfigError(f"metrics: {binary[0]} is for two classes, the data has {classes}")
        settings = self.config.data
        for key, named in (
            ("data.colors", settings.colors),
            ("data.background", [settings.background] if settings.background else []),
            ("recipe.class_weights", self.config.recipe.class_weights),
        ):
            if unknown := set(named) - set(self.source.classes):
                raise ConfigError(
                    f"{key} names {sorted(unknown)[0]!r}; the classes are "
                    f"{', '.join(self.source.classes)}"
                )
        tiled, size = tiling_networks.network_of(network), self.preprocessing.size
        if not tiled.fits(size):
            raise ConfigError(
                f"preprocessing.size: {self.config.model.name} does not take {size[0]}x{size[1]} "
                "pixels; give another size, or a fixed one in model.arguments.input_shape, which "
                "names those near it"
            )
        self._output = tiled.output_of(size, self.preprocessing.channels)[:2]
        if self.config.data.crop_mode == "whole" and self._output != self.preprocessing.size:
            raise ConfigError(
                f"data.crop_mode whole is for a network that gives all pixels; "
                f"{self.config.model.name} gives {self._output} of {self.preprocessing.size}: use "
                "tiles"
            )
        self.validation_batches()
        next(segmentation_report.examples(self.load(self.config.data.test), 1))

    def check_frozen(self) -> None:
        """Refuse to freeze a backbone of random weights."""
        arguments = self.config.model.arguments
        given = (arguments.get("backbone_weights"), arguments.get("weights"))
        if self.config.recipe.freeze_backbone and not any(given):
            raise ConfigError(
                "recipe.freeze_backbone would keep a backbone of random weights for ever; give "
                "model.arguments.backbone_weights, or leave it out"
            )

    def build_logits(self, replicas: int = 1) -> keras.Model:
        """The network without its softmax, its backbone frozen where the recipe says so."""
        recipe = self.config.recipe
        network = factories.build_network(
            self.config.model, replicas, recipe.synchronized, classifier_activation=None
        )
        return models.freeze_backbone(network) if recipe.freeze_backbone else network

    def build(self) -> keras.Model:
        """The compiled network, with all variables that a step reads or writes."""
        network, recipe = self.build_logits(self.replicas), self.config.recipe
        losses.add_weight_decay(network, recipe.weight_decay, recipe.weight_decay_on)
        self.compile(network)
        self.make_metric_variables(network)
        return network

    def compile(
        self, network: keras.Model, optimizer: keras.optimizers.Optimizer | None = None
    ) -> None:
        """Compile, and create all variables of the optimizer, by default that of the recipe."""
        recipe = self.config.recipe
        classes = network.output_shape[-1]
        loss = losses.pixel_loss(
            recipe.loss,
            ignore=losses.IGNORE,
            class_weights=self._class_weights(),
            total=distribute.sum_over_replicas,
            **recipe.arguments_of_loss(),
        )
        factories.compile_network(network, recipe, loss, self._metrics(classes), optimizer)

    def make_metric_variables(self, network: keras.Model) -> None:
        """Create the variables of the metrics."""
        factories.make_metric_variables(
            network,
            np.zeros((self.replicas, *self.preprocessing.input_shape), np.float32),
            np.zeros((self.replicas, *self._output), np.uint8),
        )

    def train_batches(self, dataset: Any, epoch: int, step: int) -> data.Batches:
        """Tiles or whole images with masks and weights, from a step of an epoch on."""
        settings, recipe = self.config.data, self.config.recipe
        return data.segmentation_train_batches(
            dataset,
            self.preprocessing,
            recipe.batch_size,
            seed=recipe.seed,
            output=self._output,
            crop_mode=settings.crop_mode,
            augment=settings.augment,
            weights=data.WeightMap(**recipe.weights.model_dump()) if recipe.weights else None,
            classes=len(self.source.classes),
            ignore=losses.IGNORE,
            crops_per_image=settings.crops_per_image,
            order=_ORDERS[recipe.interpolation],
            start_epoch=epoch,
            start_step=step,
            share=self.share,
        )

    def callbacks(self, directory: RunDirectory) -> list[keras.callbacks.Callback]:
        """Test images with their truths and predictions; the best weights."""
        samples = callbacks.SampleGrid(
            directory.samples,
            self._sheet,
            every=self.config.samples.every,
            columns=4,
            tensorboard=directory.logs / "samples",
            annotate=lambda sheet: segmentation_report.annotated(
                sheet, self.source.classes, self._colors()
            ),
        )
        return [*self._best(directory), samples]

    def validation_batches(self) -> Any:
        """Tiles that cover `data.validation`, else the test split."""
        if self._validation is None:
            settings = self.config.data
            self._validation = data.segmentation_eval_batches(
                self.load(settings.validation or settings.test),
                self.preprocessing,
                self.config.recipe.batch_size,
                output=self._output,
                crop_mode=settings.crop_mode,
                classes=len(self.source.classes),
                ignore=losses.IGNORE,
                replicas=self.replicas,
                share=self.share,
            )
        return self._validation

    def measure(self, model: keras.Model, directory: RunDirectory) -> dict[str, float]:
        """Metrics of whole test images at their own resolution; the pictures of the report."""
        network, epoch = restore_best(self._best(directory), model, self.build_logits)
        self._final = factories.export_copy(self.config.model, network)
        report = segmentation_report.measure(
            self._final,
            self.load(self.config.data.test),
            self.preprocessing,
            self.config.data.crop_mode,
            len(self.source.classes),
            self.config.metrics,
            self.config.samples.count,
        )
        report.write(self.source.classes, self._colors(), directory.path)
        return report.metrics | epoch

    def export_copy(self, model: keras.Model) -> tuple[keras.Model, dict[str, Any]]:
        """The network with its softmax."""
        return self._final, {}

    def card(self, network: keras.Model, metrics: dict[str, float], **fields: Any) -> hub.Card:
        """The card of the network."""
        fields = {"labels": list(self.source.classes), "colors": self._colors(), **fields}
        return super().card(network, metrics, **fields)

    def pictures(self, directory: RunDirectory) -> list[Path]:
        """Test images with their truths and predictions."""
        return [directory.path / "overlays.png"]

    def _class_weights(self) -> dict[int, float] | None:
        """The weights of the classes that `recipe.class_weights` names, by number."""
        given, classes = self.config.recipe.class_weights, list(self.source.classes)
        return {classes.index(name): value for name, value in given.items()} or None

    def _metrics(self, classes: int) -> list[keras.Metric]:
        """Metrics while training, also those without the background if there is one."""
        found: list[keras.Metric] = [
            metrics.PixelAccuracy(classes, ignore=losses.IGNORE),
            metrics.MeanIU(classes, ignore=losses.IGNORE),
        ]
        background = self.config.data.background or "background"
        if background in self.source.classes:
            number = list(self.source.classes).index(background)
            found.append(metrics.ForegroundIU(classes, number, ignore=losses.IGNORE))
        return found

    def _best(self, directory: RunDirectory) -> list[callbacks.BestModel]:
        return keep_best(self.config.recipe.checkpoint, directory, MONITOR, TIES)

    def _colors(self) -> list[tuple[int, ...]]:
        """The color of each class: the config's, else the source's, else PASCAL VOC's."""
        usual = self.source.colors or visualization.class_colors(len(self.source.classes))
        given = {
            name: tuple(bytes.fromhex(color[1:])) for name, color in self.config.data.colors.items()
        }
        return [
            given.get(name, tuple(color))
            for name, color in zip(self.source.classes, usual, strict=True)
        ]

    def _sheet(self, model: keras.Model) -> np.ndarray:
        shown, settings = [], self.config.data
        for image, mask in segmentation_report.examples(
            self.load(settings.test), self.config.samples.count
        ):
            found = segmentation_predictions.predict_probabilities(
                model, image, self.preprocessing, settings.crop_mode
            )
            picture = visualization.displayable(self.preprocessing.display(image))
            shown.append((picture, mask, found.argmax(axis=-1).astype(np.uint8)))
        return segmentation_report.panels(shown, self._colors())

    # Saved models.

    @classmethod
    def check_card(cls, card: hub.Card) -> None:
        """Check that the classes have colors in 0 to 255, each or none."""
        super().check_card(card)
        if card.colors is None:
            return
        if len(card.colors) != len(card.labels) or any(
            len(color) != 3 or any(type(part) is not int or not 0 <= part <= 255 for part in color)
            for color in card.colors
        ):
            raise ArgumentError(
                f"a card's colors must be red, green and blue in 0 to 255 for each of "
                f"{len(card.labels)} classes, got {card.colors!r}"
            )

    @classmethod
    def evaluate(
        cls, loaded: hub.LoadedModel, chosen: EvaluationData, out: Path | None = None
    ) -> dict[str, float]:
        """Metrics of pixels and boundaries of whole images; writes the report into `out`."""
        card = loaded.card
        source = _with_classes(chosen.uri, chosen.settings)
        described, dataset = chosen.load(uri=source)
        if described.kind != "masks":
            raise DataError(f"{source} has no masks, the model has {len(card.labels)} classes")
        dataset = chosen.as_model_classes(described, dataset, len(card.labels), partly=False)
        usual = ("boundary_f_score", *card.metrics)
        report = segmentation_report.measure(
            loaded.model,
            dataset,
            card.preprocessing,
            crop_mode_of(card),
            len(card.labels),
            [name for name in segmentation_report.METRICS if name in usual],
        )
        if out is not None:
            report.write(card.labels, colors_of(card), out)
        return report.metrics

    @classmethod
    def predict(
        cls,
        loaded: hub.LoadedModel,
        images: Sequence[Path],
        *,
        out: Path | None = None,
        overlay: bool = False,
        probabilities: bool = False,
        tile: int | tuple[int, int] | None = None,
        batch_size: int | None = None,
    ) -> Sequence[Prediction]:
        """Masks of image files, `NAME_mask.png`.

        Args:
            loaded: The segmentation network.
            images: Image files.
            out: Folder of the masks. Default: beside each image.
            overlay: Whether to draw the classes over each image too: `NAME_overlay.png`.
            probabilities: Whether to write the probabilities of the classes of all pixels too:
                `NAME_probabilities.npy`, `float32` `(height, width, classes)`.
            tile: Height and width of the tiles in pixels, or one number for squares. Default:
                those of the training.
            batch_size: Tiles in a batch. Default 1.
        """
        if len(loaded.card.labels) > losses.IGNORE:
            raise ArgumentError(
                f"masks are written as files of 8 bits, for at most {losses.IGNORE} classes, the "
                f"model has {len(loaded.card.labels)}; take the argmax of its outputs"
            )
        return segmentation_predictions.predict(
            loaded,
            images,
            out,
            overlay,
            colors_of(loaded.card),
            crop_mode_of(loaded.card),
            probabilities=probabilities,
            tile=tile,
            batch_size=batch_size,
        )

    @classmethod
    def in_tiles(cls, card: hub.Card) -> bool:
        """Whether the network sees tiles of larger images."""
        return crop_mode_of(card) == "tiles"

    @classmethod
    def check_network(cls, network: keras.Model, card: hub.Card) -> hub.Card:
        """Check shapes and labels; the card gets the activation."""
        return (
            super()
            .check_network(network, card)
            .with_activation(heads.check_classifier_output(network)[0])
        )

    @classmethod
    def check_export(cls, model: keras.Model, spec: export.ExportSpec) -> None:
        """Check the shapes of input and output, and that each class has a label."""
        spec.check_input(model)
        _, classes = heads.check_classifier_output(model)
        if len(model.output_shape) != 4:
            raise ArgumentError(
                f"model {model.name!r} has outputs of shape {tuple(model.output_shape[1:])}; those "
                "of a segmentation network are maps (height, width, classes)"
            )
        if classes > 256:
            raise ArgumentError(
                f"classes are served as uint8, at most 256, model {model.name!r} has {classes}"
            )
        spec.check_labels(model, classes)

    @classmethod
    def signatures(cls, model: keras.Model, spec: export.ExportSpec) -> export.Servable:
        """Pixels or encoded images to the classes of their pixels."""
        return segmentation_signatures.signatures(model, spec)

    @classmethod
    def readme_example(cls, card: hub.Card) -> list[str]:
        """Class numbers of the pixels of a batch of images."""
        _, outputs = super().readme_example(card)
        return [
            '# Masks of whole photos, of any size: keras_arch.predict(".", ["photo.png"])',
            example_images(card, "of this size"),
            outputs,
            *probability_lines(card),
            "classes = keras.ops.argmax(outputs, -1)  # numbers of loaded.card.labels",
        ]

    @classmethod
    def readme_sections(cls, card: hub.Card) -> list[str]:
        """A table of the classes and their colors."""
        colors = card.colors or [None] * len(card.labels)
        rows = [
            f"| {number} | {label} | {'#{:02x}{:02x}{:02x}'.format(*color) if color else ''} |"
            for number, (label, color) in enumerate(zip(card.labels, colors, strict=True))
        ]
        return ["| Class | Name | Color |\n|---|---|---|\n" + "\n".join(rows)]


def colors_of(card: hub.Card) -> list[Sequence[int]]:
    """The colors of a card's classes."""
    return list(card.colors or visualization.class_colors(len(card.labels)))


def crop_mode_of(card: hub.Card) -> str:
    """The crop mode that a network was trained with."""
    return card.recipe.get("data", {}).get("crop_mode", "tiles")


def _with_classes(source: str, settings: Mapping[str, Any]) -> str:
    """A source with the values of the classes in the training masks, where it needs them."""
    plain = source.startswith("masks:") and not source.startswith("masks:tfds:")
    classes = settings.get("classes", {}) if plain and "classes=" not in source else {}
    return SegmentationData(source=source, classes=classes).uri
