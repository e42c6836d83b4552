"""Keeping the network that is best by a figure of what it makes, not the last one."""

import dataclasses
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

from keras_arch import files
from keras_arch.errors import ArgumentError, RunError

# Which way the known figures are better.
LOWER = ("fid", "kid")
HIGHER = ("inception_score", "precision", "recall", "density", "coverage", "classifier_agreement")

FIGURES = "figures.json"


@dataclasses.dataclass(frozen=True)
class BestCheckpoint:
    """Weights that were kept, and how good they were found.

    Attributes:
        epoch: After which epoch, counted from 1.
        monitor: Name of the figure that decided.
        value: That figure.
        figures: All figures of that epoch.
        directory: Folder of the weights.
    """

    epoch: int
    monitor: str
    value: float
    figures: dict[str, float]
    directory: Path

    def weights(self, name: str = "model") -> Path:
        """The `.weights.h5` file of a network, which is `"model"` where there is one only."""
        return self.directory / f"{name}.weights.h5"

    def load(self, networks: keras.Model | dict[str, keras.Model]) -> None:
        """Put the kept weights into a network, or into several by the names they were kept under.

        Args:
            networks: Built as the kept ones were.
        """
        for name, network in _named(networks).items():
            network.load_weights(self.weights(name))


class BestModel(keras.callbacks.Callback):
    """Measures after every so many epochs, and keeps the weights that are best by one figure.

    The figures are added to the epoch's logs, and so come into every table after it: put it before
    `SaveCheckpoint`, and after `StopOnNonFinite`.

    Each best network so far gets a folder of its own, `epoch-00012` with its weights and
    `figures.json`, written whole or not at all. Older ones are deleted once no checkpoint can lead
    back to before they were beaten: a run that is killed at any moment and resumed forgets what
    lies after its checkpoint, still has what was best before it, and ends with what a run without
    the interruption keeps. (What is kept of epochs after the one that a `fit` begins with is taken
    for such a remainder.)

    Args:
        directory: Where the kept weights go. It is this callback's alone.
        measure: From the model to figures by name. It must leave the model's state, its random
            state too, as it finds it. `None` takes the logs of the epoch for figures.
        network: From the model to the network to keep, or to several by name, with the weights
            that count (averaged ones, say).
        monitor: The figure that decides. One that is not a finite number is never the best.
        mode: `"min"` where lower is better, `"max"`, or `"auto"` for what is usual: lower for `fid`
            and `kid`; higher for `inception_score`, `precision`, `recall`, `density`, `coverage`
            and `classifier_agreement`.
        ties: A figure that decides, the lower one, between equals; of equals in both the earliest
            is kept.
        every: Epochs between measurements.
        keep: How many checkpoints are kept, as for `SaveCheckpoint`: the oldest of them is what a run
            may be resumed from.

    Raises:
        ArgumentError: If `mode` or `every` is not one of the above, or nothing is usual.

    Example:
        >>> import tempfile
        >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        >>> fids = iter([30.0, 20.0, 25.0])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     best = BestModel(Path(folder), lambda _: {"fid": next(fids)}, lambda model: model)
        ...     best.set_model(model)
        ...     for epoch in range(3):
        ...         best.on_epoch_begin(epoch)
        ...         best.on_epoch_end(epoch, {})
        ...     best.best().epoch, best.best().value
        (2, 20.0)
    """

    def __init__(
        self,
        directory: Path,
        measure: Callable[[Any], dict[str, float]] | None,
        network: Callable[[Any], keras.Model | dict[str, keras.Model]],
        *,
        monitor: str = "fid",
        mode: str = "auto",
        ties: str | None = None,
        every: int = 1,
        keep: int = 2,
    ) -> None:
        super().__init__()
        if mode not in ("auto", "min", "max"):
            raise ArgumentError(f"mode must be auto, min or max, got {mode!r}")
        if mode == "auto" and monitor not in LOWER + HIGHER:
            raise ArgumentError(
                f"whether {monitor!r} is better low or high must be said, with mode='min' or "
                f"'max'; known are {', '.join(LOWER + HIGHER)}"
            )
        if not isinstance(every, int) or every < 1:
            raise ArgumentError(f"every must be a positive whole number of epochs, got {every!r}")
        self.directory = Path(directory)
        self.measure = measure
        self.network = network
        self.monitor = monitor
        self.lower = mode == "min" or (mode == "auto" and monitor in LOWER)
        self.ties = ties
        self.every = every
        self.keep = keep
        self._done: int | None = None

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Forget what was kept of epochs that are still to come; delete what is old."""
        self._done = epoch
        self._tidy()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Measure, log, and keep the network if it is the best so far."""
        self._done = epoch + 1
        if self._done % self.every:
            return
        measured = (logs or {}) if self.measure is None else self.measure(self.model)
        figures = {name: float(value) for name, value in measured.items()}
        for name in (self.monitor, self.ties):
            if name is not None and name not in figures:
                raise ArgumentError(
                    f"what decides is {name!r}, which was not measured; there are "
                    f"{', '.join(figures)}"
                )
        if logs is not None and self.measure is not None:
            if taken := [name for name in figures if name in logs]:
                raise ArgumentError(
                    f"a figure must not have the name of a training log, {taken[0]!r} has"
                )
            logs.update(figures)
        before = self.best()
        better = before is None or self._rank(figures) < self._rank(before.figures)
        if math.isfinite(figures[self.monitor]) and better:
            self._write(figures)

    def on_train_end(self, logs: Any = None) -> None:
        """Delete what is old, unless there was no epoch left to train."""
        if self._done is not None:
            self._tidy()

    def best(self, epoch: int | None = None) -> BestCheckpoint | None:
        """What is kept of the epochs up to `epoch` (of all without it), `None` where nothing is.

        Also of a run that ended in another process.
        """
        kept = [one for one in self._all() if epoch is None or one.epoch <= epoch]
        # Of equals the earliest.
        return min(kept, key=lambda one: (*self._rank(one.figures), one.epoch), default=None)

    def _rank(self, figures: dict[str, float]) -> tuple[float, float]:
        value = figures[self.monitor]
        return value if self.lower else -value, figures[self.ties] if self.ties else 0.0

    def _write(self, figures: dict[str, float]) -> None:
        with files.atomic_directory(self.directory / f"epoch-{self._done:05d}") as folder:
            for name, network in _named(self.network(self.model)).items():
                network.save_weights(folder / f"{name}.weights.h5")
            record = {"epoch": self._done, "monitor": self.monitor, "figures": figures}
            (folder / FIGURES).write_text(json.dumps(record, indent=1) + "\n")

    def _all(self) -> list[BestCheckpoint]:
        kept = []
        for path in self.directory.glob(f"epoch-*/{FIGURES}"):
            record = json.loads(path.read_text())
            if record["monitor"] != self.monitor:
                raise RunError(
                    f"{path.parent} was kept for its {record['monitor']!r}, which cannot be "
                    f"compared by {self.monitor!r}; resume with the settings that began the run"
                )
            figures = record["figures"]
            value = figures[self.monitor]
            kept.append(BestCheckpoint(record["epoch"], self.monitor, value, figures, path.parent))
        return kept

    def _tidy(self) -> None:
        """Keep what was best after each epoch that a checkpoint may still be of."""
        oldest = self._done - self.keep + 1
        wanted = [self.best(epoch) for epoch in range(oldest, self._done + 1)]
        names = {one.directory.name for one in wanted if one is not None}
        for folder in self.directory.glob("*"):
            # And what a killed process was writing or deleting.
            begun = folder.name.startswith(".epoch-") and folder.suffix == ".tmp"
            if begun or (folder.name.startswith("epoch-") and folder.name not in names):
                # First what makes it one that counts.
                (folder / FIGURES).unlink(missing_ok=True)
                shutil.rmtree(folder)


def _named(networks: keras.Model | dict[str, keras.Model]) -> dict[str, keras.Model]:
    return networks if isinstance(networks, dict) else {"model": networks}
