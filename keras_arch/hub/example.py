"""Small model directory for examples in documentation."""

import os
from pathlib import Path

from keras_arch.hub import layout
from keras_arch.hub.card import Card
from keras_arch.preprocessing import Preprocessing


def save_example(folder: str | os.PathLike[str]) -> Path:
    """Save a network without weights that flattens images of 8x8 pixels.

    Args:
        folder: Its new model directory is `flat` in this folder.

    Returns:
        The model directory.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_example(folder).name
        'flat'
    """
    import keras

    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten()])
    preprocessing = Preprocessing(size=(8, 8), channels=1)
    card = Card("flat", "Flatten", {}, "image-classification", preprocessing)
    return layout.save(model, Path(folder) / "flat", card)
