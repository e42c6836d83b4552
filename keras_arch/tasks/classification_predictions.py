"""Predictions of a classifier for image files, with Grad-CAM explanations."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import keras
import numpy as np

from keras_arch import hub, visualization
from keras_arch.data.image_reading import read_image
from keras_arch.errors import ArgumentError
from keras_arch.tasks.base import class_number


@dataclasses.dataclass(frozen=True)
class ClassPrediction:
    """The most probable classes of one image.

    Attributes:
        path: The image file.
        labels: The classes, the most probable first.
        probabilities: Their probabilities.
        explanation: The Grad-CAM picture, or `None`.
    """

    columns: ClassVar[tuple[str, ...]] = ("image", "label", "probability")

    path: Path
    labels: tuple[str, ...]
    probabilities: tuple[float, ...]
    explanation: Path | None = None

    def rows(self) -> list[tuple[str, ...]]:
        """Table rows, one a class."""
        return [
            (str(self.path), label, f"{probability:.4f}")
            for label, probability in zip(self.labels, self.probabilities, strict=True)
        ]

    @property
    def files(self) -> Mapping[str, Path]:
        """The Grad-CAM picture, if there is one."""
        return {"explained": self.explanation} if self.explanation else {}


def predict(
    loaded: hub.LoadedModel,
    images: Sequence[Path],
    out: Path | None,
    top: int,
    explain: bool,
    label: int | str | None,
) -> list[ClassPrediction]:
    """Predict the classes of image files; arguments are those of `Classification.predict`."""
    card = loaded.card
    labels = card.labels or [str(i) for i in range(loaded.model.output_shape[-1])]
    explained = class_number(label, labels, card.name) if label is not None else None
    pictures = _explanation_paths(images, out) if explain else [None] * len(images)
    predictions = []
    for path, picture in zip(images, pictures, strict=True):
        inputs = np.asarray(card.preprocessing(read_image(path)[None]))
        probabilities = keras.ops.convert_to_numpy(loaded.model(inputs, training=False))[0]
        best = np.argsort(-probabilities, kind="stable")[:top]
        if picture is not None:
            number = int(best[0]) if explained is None else explained
            heat = visualization.grad_cam(loaded.model, inputs, [number])[0]
            pixels = card.preprocessing.to_pixels(inputs)[0]
            title = f"{labels[number]}: {100 * probabilities[number]:.1f} %"
            visualization.draw_explanation(pixels, heat, title, picture)
        predictions.append(
            ClassPrediction(
                path,
                tuple(labels[i] for i in best),
                tuple(float(probabilities[i]) for i in best),
                picture,
            )
        )
    return predictions


def _explanation_paths(images: Sequence[Path], out: Path | None) -> list[Path]:
    """A path of its own for the picture of each image."""
    pictures = [(out or path.parent) / f"{path.stem}_explained.png" for path in images]
    twice = next((path for path in pictures if pictures.count(path) > 1), None)
    if twice:
        raise ArgumentError(f"two images would be explained in {twice}; explain them one by one")
    return pictures
