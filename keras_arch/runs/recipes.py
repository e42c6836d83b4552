"""What training needs to know of one kind of config, and which kinds there are."""

from pathlib import Path
from typing import Any, Protocol

import keras

from keras_arch import config, hub
from keras_arch.preprocessing import Preprocessing
from keras_arch.runs.classification import Classification
from keras_arch.runs.directory import RunDirectory
from keras_arch.runs.generation import Generation
from keras_arch.runs.translation import Translation


class Job(Protocol):
    """What training needs to know of one kind."""

    config: Any
    preprocessing: Preprocessing
    images_per_step: int

    def check(self) -> None:
        """Refuse a config whose parts do not fit each other or the data."""

    def build(self, replicas: int) -> keras.Model:
        """The compiled model, in the scope of a strategy."""

    def callbacks(self, directory: RunDirectory) -> list[keras.callbacks.Callback]:
        """What to show while it trains."""

    def validation(self) -> Any:
        """Data for the end of each epoch, or `None`."""

    def measure(self, model: keras.Model, directory: RunDirectory) -> dict[str, float]:
        """The figures of the trained model."""

    def publish(self, model: keras.Model) -> tuple[keras.Model, dict[str, Any]]:
        """The network for the Hub, and what goes into `training/` by name, with cards."""

    def card(self, network: keras.Model, metrics: dict[str, float]) -> hub.Card:
        """The network's card."""

    def picture(self, directory: RunDirectory) -> Path | None:
        """What it makes, for the card."""


JOBS: dict[str, Any] = {
    "image-classification": Classification,
    "unconditional-image-generation": Generation,
    "conditional-image-generation": Generation,
    "laplacian-pyramid-generation": Generation,
    "paired-image-translation": Translation,
    "unpaired-image-translation": Translation,
}


def job_for(checked: config.Config, preprocessing: Preprocessing) -> Job:
    """The job of a config's task."""
    return JOBS[checked.task](checked, preprocessing)
