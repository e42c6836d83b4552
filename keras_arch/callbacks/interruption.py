"""Callbacks that stop a run with its state saved: on signals, and on values that are not finite."""

import math
import signal
import threading
from pathlib import Path
from typing import Any

import keras

from keras_arch.callbacks.checkpoint_files import REMEDY, SaveCheckpoint
from keras_arch.errors import Interrupted, NonFiniteError


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
                place = f"; the last good checkpoint is in {self.checkpoints}"
                raise NonFiniteError(
                    f"{name} became {float(value)} in epoch {self.epoch + 1} at step {batch + 1}"
                    f"{place if self.checkpoints else ''}; {REMEDY}"
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
        if self.received is not None:
            self.checkpoint.save()
            self._interrupt(self.received)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Stop, if asked to during validation: the epoch's state is written already."""
        if self.received is not None:
            self._interrupt(self.received)

    def _interrupt(self, number: int) -> None:
        position = self.checkpoint.position
        raise Interrupted(
            f"stopped by {signal.Signals(number).name} after epoch {position.epoch}, step "
            f"{position.step}; everything is saved. {self.how_to_resume}",
            number,
        )
