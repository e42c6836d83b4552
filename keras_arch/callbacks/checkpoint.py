"""Callback that saves checkpoints from which a run resumes exactly."""

from pathlib import Path
from typing import Any

import keras

from keras_arch.callbacks.checkpoint_files import Checkpoint, CheckpointManager, Position


class SaveCheckpoint(keras.callbacks.Callback):
    """Saves the whole state after each epoch (and every so many steps) and restores it once.

    A run that is killed at any moment and started again from `resume` ends with the same weights
    as one that was not, where the backend's operations are deterministic.

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
