"""Callback that draws grids of sample images during training."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_arch import distribute, visualization


class SampleGrid(keras.callbacks.Callback):
    """Draws the same latents after every so many epochs: `epoch-0001.png`, ...

    Of several hosts all generate, and the chief writes.

    Args:
        directory: Where the grids go.
        generate: From the model to `uint8` images `(count, height, width, channels)`; the same
            latents at every call.
        every: Epochs between grids.
        columns: Images in a row. Default: as square a grid as there can be.
        tensorboard: A log folder of TensorBoard to show them in as well, or `None`.
        annotate: From the grid to a grid with titles or a legend, or `None`.
    """

    def __init__(
        self,
        directory: Path,
        generate: Callable[[keras.Model], np.ndarray],
        *,
        every: int = 1,
        columns: int | None = None,
        tensorboard: Path | None = None,
        annotate: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> None:
        super().__init__()
        self.directory = Path(directory)
        self.generate = generate
        self.every = every
        self.columns = columns
        self.tensorboard = tensorboard
        self.annotate = annotate
        self._writer: Any = None

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Draw, when it is time."""
        if (epoch + 1) % self.every:
            return
        images = self.generate(self.model)
        if not distribute.is_chief():
            return
        sheet = visualization.grid(images, self.columns, enlarge=True)
        if self.annotate is not None:
            sheet = self.annotate(sheet)
        visualization.save_png(sheet, self.directory / f"epoch-{epoch + 1:04d}.png")
        if self.tensorboard is not None:
            import tensorflow as tf

            if self._writer is None:
                self._writer = tf.summary.create_file_writer(str(self.tensorboard))
            with self._writer.as_default():
                tf.summary.image("samples", sheet[None], step=epoch + 1)
            # Now, and not when the buffer is full: people look while it trains.
            self._writer.flush()
