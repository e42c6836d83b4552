"""Small model directory for examples in documentation."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from keras_arch.hub import layout
from keras_arch.hub.card import Card
from keras_arch.preprocessing import Preprocessing


@contextlib.contextmanager
def saved_example() -> Iterator[Path]:
    """Context manager with the directory of a model that flattens 8x8 pixels, for a while.

    Example:
        >>> with saved_example() as directory:
        ...     directory.name
        'flat'
    """
    import keras

    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten()])
    preprocessing = Preprocessing(size=(8, 8), channels=1)
    card = Card("flat", "Flatten", {}, "image-classification", preprocessing)
    with tempfile.TemporaryDirectory() as folder:
        yield layout.save(model, Path(folder, "flat"), card)
