"""Checkpoint files: the whole state of a training run, from which it resumes exactly."""

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

from keras_arch import files
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
        for old in self._files()[: -self.keep]:
            old.unlink(missing_ok=True)
        return path

    def newest(self) -> Checkpoint | None:
        """The newest whole checkpoint, or `None` when there is none."""
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
