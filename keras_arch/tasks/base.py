"""What training needs to know of one kind of config."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras

from keras_arch import data, hub
from keras_arch.preprocessing import Preprocessing
from keras_arch.training.run_directory import RunDirectory


class Job:
    """What training needs to know of one kind.

    Attributes:
        config: The checked config.
        preprocessing: How images become the network's input.
        images_per_step: Images that a step takes, over all replicas.
        replicas: How many there are, at training.
        shares: Labels as shares of so many classes, or `None` for labels as numbers.
        phases: Epochs before which `enter` changes the model, besides the first of a process.
    """

    config: Any
    preprocessing: Preprocessing
    images_per_step: int
    replicas: int = 1
    shares: int | None = None
    phases: tuple[int, ...] = ()

    def check(self) -> None:
        """Refuse a config whose parts do not fit each other or the data."""
        raise NotImplementedError

    def build(self, replicas: int) -> keras.Model:
        """The compiled model, in the scope of a strategy."""
        raise NotImplementedError

    def enter(self, model: keras.Model, epoch: int) -> None:
        """Bring the model into the phase of an epoch."""

    def batches(self, images: Any, epoch: int, step: int) -> "data.Batches":
        """Training batches without end, from a step of an epoch on."""
        return data.train_batches(
            images,
            self.preprocessing,
            self.images_per_step,
            seed=self.config.recipe.seed,
            augment=self.config.data.augment,
            classes=self.shares,
            start_epoch=epoch,
            start_step=step,
            cache=self.config.data.cache,
        )

    def callbacks(self, directory: RunDirectory) -> list[keras.callbacks.Callback]:
        """What to show and keep while it trains."""
        return []

    def should_stop(self, rows: Sequence[Mapping[str, float]]) -> bool:
        """Whether the logs of the epochs so far say that no more are needed."""
        return False

    def validation(self) -> Any:
        """Data for the end of each epoch, or `None`."""

    def measure(self, model: keras.Model, directory: RunDirectory) -> dict[str, float]:
        """The figures of the trained model."""
        raise NotImplementedError

    def publish(self, model: keras.Model) -> tuple[keras.Model, dict[str, Any]]:
        """The network for the Hub, and what goes into `training/` by name, with cards."""
        raise NotImplementedError

    def card(self, network: keras.Model, metrics: dict[str, float]) -> hub.Card:
        """The network's card."""
        raise NotImplementedError

    def picture(self, directory: RunDirectory) -> Path | None:
        """What it makes, for the card."""
