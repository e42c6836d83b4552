"""Callbacks that show how a run is going: sample grids, curves and tables."""

import csv
import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_arch import files, visualization


class SampleGrid(keras.callbacks.Callback):
    """Draws the same latents after every so many epochs: `epoch-0001.png`, ...

    Args:
        directory: Where the grids go.
        generate: From the model to `uint8` images `(count, height, width, channels)`; the same
            latents at every call.
        every: Epochs between grids.
        columns: Images in a row. Default: as square a grid as there can be.
        tensorboard: A log folder of TensorBoard to show them in as well, or `None`.
    """

    def __init__(
        self,
        directory: Path,
        generate: Callable[[keras.Model], np.ndarray],
        *,
        every: int = 1,
        columns: int | None = None,
        tensorboard: Path | None = None,
    ) -> None:
        super().__init__()
        self.directory = Path(directory)
        self.generate = generate
        self.every = every
        self.columns = columns
        self.tensorboard = tensorboard
        self._writer: Any = None

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Draw, when it is time."""
        if (epoch + 1) % self.every:
            return
        sheet = visualization.grid(self.generate(self.model), self.columns, enlarge=True)
        visualization.save_png(sheet, self.directory / f"epoch-{epoch + 1:04d}.png")
        if self.tensorboard is not None:
            import tensorflow as tf

            if self._writer is None:
                self._writer = tf.summary.create_file_writer(str(self.tensorboard))
            with self._writer.as_default():
                tf.summary.image("samples", sheet[None], step=epoch + 1)
            # Now, and not when the buffer is full: people look while it trains.
            self._writer.flush()


class LogTable(keras.callbacks.Callback):
    """Writes `log.csv` anew after each epoch and draws `history.png`, from all rows of the run.

    Keras' `CSVLogger` appends, and so repeats the epochs that a killed run had begun. The picture
    is drawn at the end, and after an epoch where the last one is so many seconds old: drawing takes
    longer than a small network's epoch.

    Args:
        table: The CSV file.
        picture: The PNG of the curves.
        rows: Gives all rows so far, for example those of a `SaveCheckpoint`. Put this after it.
        seconds: At least so many between two drawings, but for the last.
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
