"""Checkpoints: files with the whole state of a training run, and the callback that saves them."""

import dataclasses
import io
import json
import logging
import re
import zipfile
from pathlib import Path
from typing import Any

import keras
import ml_dtypes
import numpy as np

from keras_arch import distribute, files
from keras_arch.errors import NonFiniteError, RunError

VERSION = 1
_log = logging.getLogger("keras_arch")


@dataclasses.dataclass(frozen=True)
class Position:
    """Position of a run: `step` batches into `epoch`, counted from 0.

    Attributes:
        epoch: Complete epochs.
        step: Batches of the epoch after them.
        rows: The logs of the complete epochs, a dictionary each.
    """

    epoch: int = 0
    step: int = 0
    rows: tuple[dict[str, float], ...] = ()


def variables_of(model: keras.Model) -> list[Any]:
    """Every variable that a training step reads or writes, each once, in a fixed order.

    Networks with their statistics, seed generators (those of dropout too), every optimizer with
    its step and loss scale, and the running means of the epoch.

    Example:
        >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        >>> model.compile("sgd", "mse")
        >>> len(variables_of(model)) >= 4  # kernel, bias, iteration, learning rate
        True
    """
    optimizers = getattr(model, "optimizers", None) or {"": model.optimizer}
    groups = [model.variables, model.metrics_variables]
    groups += [optimizer.variables for optimizer in optimizers.values()]
    unique = {id(variable): variable for group in groups for variable in group}
    return list(unique.values())


def save(model: keras.Model, path: Path, position: Position) -> Path:
    """Write the state of a run, whole or not at all.

    Of several hosts all call this, for reading a variable may need them all; the chief writes.

    Args:
        model: A compiled model or trainer.
        path: The file.
        position: How far the run has come.

    Raises:
        NonFiniteError: If a weight is not a number: such a state is not worth keeping.
        StorageError: If the disk is full.
    """
    arrays: dict[str, np.ndarray] = {}
    description = []
    for number, variable in enumerate(variables_of(model)):
        # As a tensor first: a replicated variable is no array.
        tensor = keras.ops.convert_to_tensor(variable)
        value = np.asarray(keras.ops.convert_to_numpy(tensor))
        if variable.trainable and not np.isfinite(value.astype(np.float64)).all():
            raise NonFiniteError(
                f"weight {variable.path} is not finite at epoch {position.epoch}, step "
                f"{position.step}: no checkpoint of it is kept; {REMEDY}"
            )
        # As bytes: NumPy's format does not know bfloat16.
        arrays[str(number)] = np.frombuffer(value.tobytes(), np.uint8)
        description.append([variable.path, str(value.dtype), list(value.shape)])
    state = {
        "version": VERSION,
        "epoch": position.epoch,
        "step": position.step,
        "rows": position.rows,
        "variables": description,
        "metrics": [metric.name for metric in model.metrics],
    }
    arrays["state"] = np.frombuffer(json.dumps(state).encode(), np.uint8)
    if not distribute.is_chief():
        return path
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return files.atomic_write(path, buffer.getvalue())


REMEDY = "lower the learning rate, or look for images that are not numbers"


class Checkpoint:
    """A checkpoint file that was read and found whole.

    Args:
        path: The file.

    Raises:
        RunError: If it is not whole.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with np.load(path, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
            state = json.loads(arrays.pop("state").tobytes())
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise RunError(f"checkpoint {path} cannot be read: {error}") from error
        if state["version"] != VERSION:
            raise RunError(
                f"checkpoint {path} has format {state['version']}, this version reads {VERSION}"
            )
        self.position = Position(state["epoch"], state["step"], tuple(state["rows"]))
        self.variables = state["variables"]
        self._metrics = state.get("metrics", [])
        self._arrays = arrays

    def restore(self, model: keras.Model) -> None:
        """Put the state into a model that was built and compiled as the saved one was.

        Raises:
            RunError: If the model has other variables.
        """
        if hasattr(model, "track"):
            # Trainers have running means for what their losses have returned so far.
            model.track(*self._metrics)
        variables = variables_of(model)
        shapes = [list(variable.shape) for variable in variables]
        if shapes != [shape for _, _, shape in self.variables]:
            raise RunError(
                f"checkpoint {self.path} holds {len(self.variables)} variables of another model "
                f"than this one with {len(variables)}; resume with the config that began the run"
            )
        for number, variable in enumerate(variables):
            _, dtype, shape = self.variables[number]
            # NumPy itself has no bfloat16.
            value = self._arrays[str(number)].view(getattr(ml_dtypes, dtype, dtype))
            variable.assign(value.reshape(shape))


class CheckpointManager:
    """The checkpoints of a run; the newest whole one counts.

    Args:
        directory: Their folder.
        keep: Number of checkpoints on disk.
    """

    def __init__(self, directory: Path, keep: int = 2) -> None:
        self.directory = directory
        self.keep = keep

    def save(self, model: keras.Model, position: Position) -> Path:
        """Write a checkpoint and delete the oldest ones."""
        name = f"epoch-{position.epoch:05d}-step-{position.step:07d}.npz"
        path = save(model, self.directory / name, position)
        if not distribute.is_chief():
            return path
        for old in self._files()[: -self.keep]:
            old.unlink(missing_ok=True)
        return path

    def newest(self) -> Checkpoint | None:
        """The newest whole checkpoint, or `None` when there is none."""
        if distribute.is_chief():
            # What a killed process was writing.
            for leftover in self.directory.glob(".*.tmp"):
                leftover.unlink(missing_ok=True)
        for path in reversed(self._files()):
            try:
                return Checkpoint(path)
            except RunError as error:
                _log.warning("%s; taking the one before it", error)
        return None

    def _files(self) -> list[Path]:
        found = self.directory.glob("epoch-*-step-*.npz")
        return sorted(found, key=lambda path: [int(n) for n in re.findall(r"\d+", path.name)])


class SaveCheckpoint(keras.callbacks.Callback):
    """Saves the whole state after each epoch (and every so many steps) and restores it once.

    A run that is killed at any moment and started again from `resume` ends with the same weights
    as one that was not, where the backend's operations are deterministic. Of several hosts the
    chief writes, and all read: the folder is on storage that they share.

    Args:
        directory: Folder of the checkpoints.
        every: Steps between checkpoints inside an epoch; `None` for none.
        resume: The checkpoint to resume from, as `CheckpointManager.newest()` returns it; `None`
            for a new run.
        keep: Number of checkpoints on disk.
    """

    def __init__(
        self,
        directory: Path,
        *,
        every: int | None = None,
        resume: Checkpoint | None = None,
        keep: int = 2,
    ) -> None:
        super().__init__()
        self.manager = CheckpointManager(Path(directory), keep)
        self.every = every
        self.position = resume.position if resume else Position()
        self._resume = resume
        self._first_step = self.position.step
        self._last_saved = self.position.step

    def on_train_begin(self, logs: Any = None) -> None:
        """Restore, into a model whose optimizers and metrics are built."""
        if self._resume:
            self._resume.restore(self.model)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Inside an epoch, restore the running means too, which Keras has just set to zero."""
        if self._resume and self._resume.position.step:
            self._resume.restore(self.model)
        self._resume = None

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Count, and write where it is time."""
        step = self._first_step + batch + 1
        self.position = Position(self.position.epoch, step, self.position.rows)
        if self.every and step // self.every > self._last_saved // self.every:
            self.save()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Write the state at the epoch's end, with its logs."""
        row = {"epoch": epoch + 1} | {name: float(value) for name, value in (logs or {}).items()}
        self.position = Position(epoch + 1, 0, (*self.position.rows, row))
        self._first_step = 0
        self.save()

    def save(self) -> Path:
        """Write a checkpoint of this moment."""
        self._last_saved = self.position.step
        return self.manager.save(self.model, self.position)
