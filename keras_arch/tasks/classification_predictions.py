"""Predictions of a classifier for image files, with Grad-CAM explanations."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import keras
import numpy as np

from keras_arch import hub, visualization
from keras_arch.data.image_paths import PREDICTED
from keras_arch.data.image_reading import read_prepared
from keras_arch.errors import whole_number
from keras_arch.models.common.heads import check_classifier_output, class_probabilities
from keras_arch.tasks.predictions import class_number, output_paths, table_rows


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

    def records(self) -> list[dict[str, Any]]:
        """The probability of each class."""
        return [
            {"label": label, "probability": probability}
            for label, probability in zip(self.labels, self.probabilities, strict=True)
        ]

    def rows(self) -> list[tuple[str, ...]]:
        """Table rows, one a class."""
        return table_rows(self)

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
    batch_size: int,
) -> list[ClassPrediction]:
    """Predict the classes of image files; arguments are those of `Classification.predict`."""
    card = loaded.card
    activation, classes = check_classifier_output(loaded.model)
    labels = card.labels or [str(i) for i in range(classes)]
    explained = class_number(label, labels, card.name) if label is not None else None
    batch_size = whole_number("batch_size", batch_size)
    pictures = output_paths(images, out, "explained") if explain else [None] * len(images)
    predictions = []
    for first in range(0, len(images), batch_size):
        part = images[first : first + batch_size]
        inputs = read_prepared(part, card.preprocessing)
        outputs = class_probabilities(loaded.model(inputs, training=False), activation)
        outputs = keras.ops.convert_to_numpy(outputs)
        for place, (path, picture) in enumerate(
            zip(part, pictures[first : first + batch_size], strict=True)
        ):
            probabilities = outputs[place]
            best = np.argsort(-probabilities, kind="stable")[:top]
            if picture is not None:
                number = int(best[0]) if explained is None else explained
                one = inputs[place : place + 1]
                heat = visualization.grad_cam(loaded.model, one, [number])[0]
                pixels = card.preprocessing.to_pixels(one)[0]
                title = f"{labels[number]}: {100 * probabilities[number]:.1f} %"
                visualization.draw_explanation(pixels, heat, title, picture, note=PREDICTED)
            predictions.append(
                ClassPrediction(
                    path,
                    tuple(labels[i] for i in best),
                    tuple(float(probabilities[i]) for i in best),
                    picture,
                )
            )
    return predictions
