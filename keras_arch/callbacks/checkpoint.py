"""Callbacks that keep a run safe: exact checkpoints, clean stops, no training on NaN."""

import math
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

from keras_arch.callbacks.state import REMEDY, Checkpoint, CheckpointManager, Position
from keras_arch.errors import Interrupted, NonFiniteError


class SaveCheckpoint(keras.callbacks.Callback):
    """Writes the whole state after each epoch (and each so many steps) and restores it once.

    A run that is killed at any moment and started again from `resume` ends with the same weights
    as one that was not, where the backend's operations are deterministic.

    Args:
        directory: Folder of the checkpoints.
        every: Steps between checkpoints inside an epoch; `None` for none.
        resume: What to go on from, as `CheckpointManager.newest()` gives it; `None` for a new run.
        keep: How many checkpoints to keep.
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
        self.folder = CheckpointManager(Path(directory), keep)
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
        return self.folder.save(self.model, self.position)


class StopOnNonFinite(keras.callbacks.Callback):
    """Stops with `NonFiniteError` as soon as a logged value is not a number.

    Put it before `SaveCheckpoint`, so that the last good checkpoint stays the last.

    Args:
        checkpoints: Folder named in the message, or `None`.
    """

    def __init__(self, checkpoints: Path | None = None) -> None:
        super().__init__()
        self.checkpoints = checkpoints
        self.epoch = 0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Remember the epoch for the message."""
        self.epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Look at every logged value."""
        for name, value in (logs or {}).items():
            if not math.isfinite(value):
                kept = f"; the last good checkpoint is in {self.checkpoints}"
                raise NonFiniteError(
                    f"{name} became {float(value)} in epoch {self.epoch + 1} at step {batch + 1}"
                    f"{kept if self.checkpoints else ''}; {REMEDY}"
                )


class StopOnSignal(keras.callbacks.Callback):
    """Turns SIGTERM and Ctrl-C into a saved state and a clean end.

    The step under way is finished, the state written, and `Interrupted` raised. A second Ctrl-C
    stops at once. Outside the main thread, where Python takes no signals, it does nothing.

    Args:
        checkpoint: The callback that knows how to write the state. Put this one after it.
        how_to_resume: Said at the end of the message.
    """

    def __init__(self, checkpoint: SaveCheckpoint, how_to_resume: str) -> None:
        super().__init__()
        self.checkpoint = checkpoint
        self.how_to_resume = how_to_resume
        self.received: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "StopOnSignal":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._before[number] = signal.signal(number, self._take)
        return self

    def __exit__(self, *_: Any) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _take(self, number: int, frame: Any) -> None:
        if self.received is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = number

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Save and stop, if asked to."""
        self._stop(self.checkpoint.save)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Stop, if asked to during validation: the epoch's state is written already."""
        self._stop(lambda: None)

    def _stop(self, save: Callable[[], Any]) -> None:
        if self.received is None:
            return
        save()
        position = self.checkpoint.position
        raise Interrupted(
            f"stopped by {signal.Signals(self.received).name} after epoch {position.epoch}, step "
            f"{position.step}; everything is saved. {self.how_to_resume}",
            self.received,
        )


class StopWhen(keras.callbacks.Callback):
    """Ends training after an epoch, as soon as a condition holds.

    Args:
        condition: Asked after each epoch. Put this after what it looks at.

    Example:
        >>> StopWhen(lambda: True).condition()
        True
    """

    def __init__(self, condition: Callable[[], bool]) -> None:
        super().__init__()
        self.condition = condition

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Ask."""
        if self.condition():
            self.model.stop_training = True
