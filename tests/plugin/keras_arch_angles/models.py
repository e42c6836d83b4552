"""Architecture `AngleNet`: a small convolutional network with two outputs."""

import keras

from keras_arch.registry import register


@register(
    task="image-regression",
    paper="An example, of no paper",
    url="https://example.org/angles",
    default_input=(16, 16, 1),
    parameters={"": 13_042},
)
def AngleNet(*, input_shape=(16, 16, 1), filters=16, name="AngleNet"):
    """Two strided convolutions and a dense layer for the cosine and the sine of an angle."""
    image = keras.Input(input_shape, name="image")
    x = image
    for factor in (1, 2):
        x = keras.layers.Conv2D(factor * filters, 3, 2, "same", activation="relu")(x)
    x = keras.layers.Dense(filters, activation="relu")(keras.layers.Flatten()(x))
    direction = keras.layers.Dense(2, dtype="float32", name="direction")(x)
    return keras.Model(image, direction, name=name)
