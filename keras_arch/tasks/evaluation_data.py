"""Data of an evaluation: the user's choice, else that of the training."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_arch import data, hub
from keras_arch._lazy import tf
from keras_arch.errors import ArgumentError
from keras_arch.tasks import class_names


@dataclasses.dataclass(frozen=True)
class EvaluationData:
    """The data of an evaluation: the user's choice, else that of the training.

    Attributes:
        card: Of the model.
        settings: The data settings of its training.
        source: As in `data.load`, or `None`, as the other two.
        split: A split or slice.
        data_dir: Folder of TensorFlow Datasets.
        class_map: Labels of the model for classes of the data that have other names.
    """

    card: hub.Card
    settings: Mapping[str, Any]
    source: str | None = None
    split: str | None = None
    data_dir: str | None = None
    class_map: Mapping[str, str] | None = None

    @property
    def uri(self) -> str:
        """The data source; an `ArgumentError` if neither is known."""
        source = self.source or self.settings.get("source")
        if source is None:
            raise ArgumentError(
                f"{self.card.name} does not say what it was trained on; give a data source"
            )
        return source

    def load(self, default: str = "test", uri: str | None = None) -> tuple[data.Source, Any]:
        """The description of the source, and the examples of a split of it.

        Args:
            default: The split of the training's settings to take where none was chosen.
            uri: The source, where a task changes it.
        """
        data_dir = self.data_dir or self.settings.get("data_dir")
        described = data.describe(uri or self.uri, data_dir=data_dir, download=True)
        return described, described.load(self.split or self.settings.get(default, default))

    def load_classes(self, classes: int) -> tuple[data.Source, Any]:
        """As `load`, with the model's class numbers; a `DataError` if the data has other classes.

        Args:
            classes: Number of the model's classes.
        """
        described, images = self.load()
        return described, self.as_model_classes(described, images, classes)

    def as_model_classes(
        self, described: data.Source, dataset: Any, classes: int, *, partly: bool = True
    ) -> Any:
        """A data set of `(image, label)` or `(image, mask)` with the model's class numbers.

        Args:
            described: The description of its source.
            dataset: The examples.
            classes: Number of the model's classes.
            partly: Whether classes of the model may be missing.

        Raises:
            DataError, ArgumentError: As `class_names.class_numbers`.
        """
        numbers = class_names.class_numbers(
            described.classes,
            self.card.labels,
            classes,
            source=described.name,
            model=self.card.name,
            class_map=self.class_map,
            partly=partly,
        )
        if numbers == list(range(classes)):
            return dataset
        # Values that are no class, such as ignored pixels, stay what they are.
        table = np.arange(256) if described.kind == "masks" else np.arange(len(numbers))
        table[: len(numbers)] = numbers

        def renumber(image: Any, label: Any) -> tuple[Any, Any]:
            found = tf.gather(tf.constant(table), tf.cast(label, tf.int32))
            return image, tf.cast(found, label.dtype)

        return dataset.map(renumber)
