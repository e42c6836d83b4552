"""Callbacks that stop a run with its state saved: on signals, and on values that are not finite."""

import math
import signal
import threading
import time
from pathlib import Path
from typing import Any

import keras

from keras_arch.callbacks.checkpoint_files import REMEDY, SaveCheckpoint
from keras_arch.distribute import agreement
from keras_arch.distribute.batches import of_several_hosts
from keras_arch.errors import Interrupted, NonFiniteError

# Seconds between two questions of a host to the others.
_ASK_EVERY = 1.0


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

    Of several hosts all stop after the same step, whichever of them got the signal: they ask each
    other about once a second, and at the end of each epoch.

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
        # Steps since hosts asked each other, and after which they do so again.
        self._steps, self._interval, self._asked = 0, 1, time.monotonic()

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
        self._steps += 1
        received = self._received_anywhere(ask=self._steps >= self._interval)
        if received is not None:
            self.checkpoint.save()
            self._interrupt(received)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Stop, if asked to during validation: the epoch's state is written already."""
        received = self._received_anywhere(ask=True)
        if received is not None:
            self._interrupt(received)

    def _received_anywhere(self, ask: bool) -> int | None:
        """The signal that this host or, where it is time to `ask`, another one got."""
        strategy = self.model.distribute_strategy
        if not of_several_hosts(strategy):
            return self.received
        if not ask:
            return None
        now = time.monotonic()
        found = agreement.gather(strategy, [self.received or 0, now - self._asked])
        number, seconds = int(found[:, 0].max()), max(found[:, 1].max(), 1e-6)
        # All hosts know the same numbers, and so the same step at which they ask again.
        steps = max(1, self._steps)
        self._interval = max(1, min(int(steps * _ASK_EVERY / seconds), 10 * steps))
        self._steps, self._asked = 0, now
        return number or None

    def _interrupt(self, number: int) -> None:
        # Not before the chief has written the state.
        agreement.wait(self.model.distribute_strategy)
        position = self.checkpoint.position
        raise Interrupted(
            f"stopped by {signal.Signals(number).name} after epoch {position.epoch}, step "
            f"{position.step}; everything is saved. {self.how_to_resume}",
            number,
        )
