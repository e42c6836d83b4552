"""Task `image-regression`: an angle for each image, trained by plain `model.fit`."""

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import keras
import numpy as np
import tensorflow as tf
from PIL import Image

from keras_arch import config, data
from keras_arch.data.image_reading import read_image
from keras_arch.errors import ConfigError, DataError
from keras_arch.export import signatures as shared
from keras_arch.tasks.base import Task, register_task
from keras_arch.training import factories
from keras_arch_angles.losses import squared_distance


class RegressionRecipe(config.Recipe):
    """Training settings of image regression."""

    optimizer: config.Optimizer


class RegressionConfig(config.TaskConfig):
    """Config of image regression."""

    model: config.Builder
    recipe: RegressionRecipe


@dataclasses.dataclass(frozen=True)
class AnglePrediction:
    """The angle of one image, in degrees, and the image turned back by it."""

    columns: ClassVar[tuple[str, ...]] = ("image", "angle")

    path: Path
    angle: float
    files: Mapping[str, Path]

    def rows(self):
        """The table row of the image."""
        return [(str(self.path), f"{self.angle:.1f}")]


@register_task("image-regression")
class Regression(Task):
    """Task of networks that give the cosine and the sine of an angle."""

    Config = RegressionConfig

    def check(self):
        """Check the network and the targets of the data."""
        factories.check_architecture(self.config.model, "model", self.name)
        network = factories.build_network(self.config.model)
        factories.check_shape(self.preprocessing, "the model's input", network.input_shape)
        if network.output_shape[1:] != (2,):
            raise ConfigError(f"{self.config.model.name} must give 2 numbers, a cosine and a sine")
        _check_angles(data.describe(self.config.data.uri))

    def build(self):
        """The compiled network."""
        network = factories.build_network(self.config.model, self.replicas)
        factories.compile_network(network, self.config.recipe, squared_distance)
        factories.make_metric_variables(
            network,
            np.zeros((self.replicas, *self.preprocessing.input_shape), np.float32),
            np.zeros(self.replicas, np.float32),
        )
        return network

    def validation_batches(self):
        """The test split."""
        return self._test_batches

    @functools.cached_property
    def _test_batches(self):
        return data.eval_batches(self.load(self.config.data.test), self.preprocessing, 64)

    def measure(self, model, directory):
        """Errors on the test split."""
        return _errors(model, self._test_batches)

    # Saved models.

    @classmethod
    def evaluate(cls, loaded, chosen, out=None):
        """Errors on a split of a data source."""
        described, images = chosen.load()
        _check_angles(described)
        return _errors(loaded.model, data.eval_batches(images, loaded.card.preprocessing, 64))

    @classmethod
    def predict(cls, loaded, images, *, out=None):
        """Angles of image files; with `out` also each image turned back, `NAME_upright.png`."""
        found = []
        for path in images:
            inputs = np.asarray(loaded.card.preprocessing(read_image(path)[None]))
            angle = float(_angles(keras.ops.convert_to_numpy(loaded.model(inputs)))[0])
            files = {}
            if out is not None:
                out.mkdir(parents=True, exist_ok=True)
                files["upright"] = out / f"{path.stem}_upright.png"
                with Image.open(path) as image:
                    image.rotate(-angle).save(files["upright"])
            found.append(AnglePrediction(path, angle, files))
        return found

    @classmethod
    def check_export(cls, model, spec):
        """Check the shape of the images."""
        spec.check_input(model)

    @classmethod
    def signatures(cls, model, spec):
        """Pixels or encoded images to directions and angles."""

        def outputs(images):
            direction = model(images, training=False)
            turn = tf.math.atan2(direction[:, 1], direction[:, 0]) * (180 / np.pi)
            return {"direction": direction, "angle": turn % 360}

        return shared.image_signatures(shared.module_of(model), spec.preprocessing, outputs)


def _check_angles(source):
    if source.kind != "angles":
        raise DataError(f"data source {source.name} has {source.kind}, not angles")


def _angles(direction):
    """Angles in degrees, in [0, 360), of `(batch, 2)` cosines and sines."""
    return np.degrees(np.arctan2(direction[:, 1], direction[:, 0])) % 360


def _errors(model, batches):
    """Mean and largest difference of the angles, in degrees."""
    truth = np.concatenate([angles for _, angles in batches.as_numpy_iterator()])
    found = _angles(model.predict(batches, verbose=0))
    differences = np.abs((found - truth + 180) % 360 - 180)
    return {"mean_error": float(differences.mean()), "largest_error": float(differences.max())}
