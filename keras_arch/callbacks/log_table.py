"""Callback that writes the logs of a run as a table and as curves."""

import csv
import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

from keras_arch import distribute, files, visualization


class LogTable(keras.callbacks.Callback):
    """Writes `log.csv` anew after each epoch and draws `history.png`, from all rows of the run.

    Keras' `CSVLogger` appends, and so repeats the epochs that a killed run had begun. Drawing takes
    longer than a small network's epoch, so it is not done after each. Of several hosts the chief
    writes.

    Args:
        table: The CSV file.
        picture: The PNG of the curves.
        rows: Gives all rows so far, for example those of a `SaveCheckpoint`. Put this after it.
        seconds: At least so many between two drawings, but for the one at the end.
    """

    def __init__(
        self,
        table: Path,
        picture: Path,
        rows: Callable[[], tuple[dict[str, float], ...]],
        seconds: float = 10.0,
    ) -> None:
        super().__init__()
        self.table = Path(table)
        self.picture = Path(picture)
        self.rows = rows
        self.seconds = seconds
        self._drawn = time.monotonic()
        self._stale = False

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Write the table, and draw when it is time."""
        if not distribute.is_chief():
            return
        rows = self.rows()
        text = io.StringIO()
        columns = list(dict.fromkeys(name for row in rows for name in row))
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        files.atomic_write(self.table, text.getvalue())
        self._stale = True
        if time.monotonic() - self._drawn >= self.seconds:
            self._draw()

    def on_train_end(self, logs: Any = None) -> None:
        """Draw what is not drawn yet."""
        if self._stale:
            self._draw()

    def _draw(self) -> None:
        visualization.history(self.rows(), self.picture)
        self._drawn, self._stale = time.monotonic(), False
