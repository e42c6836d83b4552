"""Callback that saves the best network by a metric, such as the FID of generated images."""

import dataclasses
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

from keras_arch import distribute, files
from keras_arch._tensorflow import model_files
from keras_arch.errors import ArgumentError, RunError, whole_number

# Metrics that are better when they are lower, or higher.
LOWER = ("fid", "kid")
HIGHER = (
    *("inception_score", "precision", "recall", "density", "coverage"),
    *("classifier_agreement", "parzen"),
)

METRICS = "metrics.json"


@dataclasses.dataclass(frozen=True)
class BestCheckpoint:
    """Saved weights of the best epoch, with its metrics.

    Attributes:
        epoch: The epoch, counted from 1.
        monitor: Name of the metric that decided.
        value: That metric.
        metrics: All metrics of that epoch.
        directory: Folder of the weights.
    """

    epoch: int
    monitor: str
    value: float
    metrics: dict[str, float]
    directory: Path

    def weights(self, name: str = "model") -> Path:
        """The `.weights.h5` file of a network, which is `"model"` where there is one only."""
        return self.directory / f"{name}.weights.h5"

    def load(self, networks: keras.Model | dict[str, keras.Model]) -> None:
        """Load the weights into a network, or several by name, that are built as the saved ones."""
        for name, network in _named(networks).items():
            network.load_weights(self.weights(name))


class BestModel(keras.callbacks.Callback):
    """Measures after every so many epochs, and saves the weights that are best by one metric.

    The metrics are added to the epoch's logs, and so to every table after it: put it before
    `SaveCheckpoint`, and after `StopOnNonFinite`.

    Each best network so far gets a folder of its own, `epoch-00012` with its weights and
    `metrics.json`, written whole or not at all. Older ones are deleted once no checkpoint can lead
    back to before they were surpassed: a run that is killed and resumed forgets the epochs after
    its checkpoint, and ends with the same best epoch as a run without the interruption.

    Args:
        directory: Folder of the weights. It is this callback's alone.
        measure: From the model to metrics by name. It must leave the model's state, its random
            state too, as it finds it. `None` takes the logs of the epoch as metrics.
        network: From the model to the network to save, or to several by name, with the weights
            that count (averaged ones, say).
        monitor: The metric that decides. One that is not a finite number is never the best.
        mode: `"min"` where lower is better, `"max"`, or `"auto"`: lower for `fid` and `kid`; higher
            for `inception_score`, `precision`, `recall`, `density`, `coverage` and
            `classifier_agreement`.
        ties: A metric whose lower value decides between equals; of equals in both the earliest
            epoch is the best.
        every: Epochs between measurements.
        keep: Number of checkpoints, as for `SaveCheckpoint`: a run may be resumed from the oldest
            of them.

    Raises:
        ArgumentError: If `mode` or `every` is wrong, or `"auto"` is unknown for the metric.

    Example:
        >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        >>> fids = iter([30.0, 20.0, 25.0])
        >>> best = BestModel(Path("best"), lambda _: {"fid": next(fids)}, lambda model: model)
        >>> best.set_model(model)
        >>> for epoch in range(3):
        ...     best.on_epoch_begin(epoch)
        ...     best.on_epoch_end(epoch, {})
        >>> best.best().epoch, best.best().value
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
        self.directory = Path(directory)
        self.measure = measure
        self.network = network
        self.monitor = monitor
        self.lower = mode == "min" or (mode == "auto" and monitor in LOWER)
        self.ties = ties
        self.every = whole_number("every", every)
        self.keep = keep
        self._done: int | None = None

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Delete the weights of later epochs, and those that are no longer needed."""
        self._done = epoch
        self._tidy()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Measure, log, and save the network if it is the best so far."""
        self._done = epoch + 1
        if self._done % self.every:
            return
        measured = (logs or {}) if self.measure is None else self.measure(self.model)
        metrics = {name: float(value) for name, value in measured.items()}
        for name in (self.monitor, self.ties):
            if name is not None and name not in metrics:
                raise ArgumentError(
                    f"{name!r} is to decide and was not measured; there are {', '.join(metrics)}"
                )
        if logs is not None and self.measure is not None:
            if taken := [name for name in metrics if name in logs]:
                raise ArgumentError(
                    f"a metric must not have the name of a training log, {taken[0]!r} has"
                )
            logs.update(metrics)
        if not distribute.is_chief():
            return
        before = self.best()
        better = before is None or self._rank(metrics) < self._rank(before.metrics)
        if math.isfinite(metrics[self.monitor]) and better:
            self._write(metrics)

    def on_train_end(self, logs: Any = None) -> None:
        """Delete the weights that are no longer needed, unless there was no epoch left to train."""
        if self._done is not None:
            self._tidy()

    def best(self, epoch: int | None = None) -> BestCheckpoint | None:
        """The best epoch up to `epoch`, or of all; `None` where there is none."""
        saved = [one for one in self._all() if epoch is None or one.epoch <= epoch]
        # Of equals the earliest.
        return min(saved, key=lambda one: (*self._rank(one.metrics), one.epoch), default=None)

    def _rank(self, metrics: dict[str, float]) -> tuple[float, float]:
        value = metrics[self.monitor]
        return value if self.lower else -value, metrics[self.ties] if self.ties else 0.0

    def _write(self, metrics: dict[str, float]) -> None:
        with files.atomic_directory(self.directory / f"epoch-{self._done:05d}") as folder:
            for name, network in _named(self.network(self.model)).items():
                model_files.save_weights(network, folder / f"{name}.weights.h5")
            record = {"epoch": self._done, "monitor": self.monitor, "metrics": metrics}
            (folder / METRICS).write_text(json.dumps(record, indent=1) + "\n")

    def _all(self) -> list[BestCheckpoint]:
        saved = []
        for path in self.directory.glob(f"epoch-*/{METRICS}"):
            record = json.loads(path.read_text())
            if record["monitor"] != self.monitor:
                raise RunError(
                    f"{path.parent} was saved for its {record['monitor']!r}, which cannot be "
                    f"compared by {self.monitor!r}; resume with the settings that began the run"
                )
            value = record["metrics"][self.monitor]
            saved.append(BestCheckpoint(**record, value=value, directory=path.parent))
        return saved

    def _tidy(self) -> None:
        """Keep the best epoch up to each epoch that a checkpoint may still be of."""
        if not distribute.is_chief():
            return
        oldest = self._done - self.keep + 1
        wanted = [self.best(epoch) for epoch in range(oldest, self._done + 1)]
        names = {one.directory.name for one in wanted if one is not None}
        for folder in self.directory.glob("*"):
            # Also remainders of a killed process.
            begun = folder.name.startswith(".epoch-") and folder.suffix == ".tmp"
            if begun or (folder.name.startswith("epoch-") and folder.name not in names):
                # First the file that makes the folder count.
                (folder / METRICS).unlink(missing_ok=True)
                shutil.rmtree(folder)


def _named(networks: keras.Model | dict[str, keras.Model]) -> dict[str, keras.Model]:
    return networks if isinstance(networks, dict) else {"model": networks}
