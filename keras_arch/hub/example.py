"""Small model directory for examples in documentation."""

from pathlib import Path

from keras_arch.hub import layout
from keras_arch.hub.card import Card
from keras_arch.preprocessing import Preprocessing


def saved_example() -> Path:
    """Save a model that flattens 8x8 pixels as the model directory `flat`.

    Example:
        >>> saved_example().name
        'flat'
    """
    import keras

    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten()])
    preprocessing = Preprocessing(size=(8, 8), channels=1)
    card = Card("flat", "Flatten", {}, "image-classification", preprocessing)
    return layout.save(model, "flat", card).absolute()
