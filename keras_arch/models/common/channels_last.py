"""Keras' layers of maps with channels last, whatever `keras.config.image_data_format()` says."""

import functools
from typing import Any

from keras import layers


def _channels_last(layer: type[layers.Layer]) -> Any:
    return functools.partial(layer, data_format="channels_last")


AdaptiveAveragePooling2D = _channels_last(layers.AdaptiveAveragePooling2D)
AveragePooling2D = _channels_last(layers.AveragePooling2D)
Conv2D = _channels_last(layers.Conv2D)
Conv2DTranspose = _channels_last(layers.Conv2DTranspose)
Cropping2D = _channels_last(layers.Cropping2D)
Flatten = _channels_last(layers.Flatten)
GlobalAveragePooling2D = _channels_last(layers.GlobalAveragePooling2D)
GlobalMaxPooling2D = _channels_last(layers.GlobalMaxPooling2D)
MaxPooling2D = _channels_last(layers.MaxPooling2D)
Resizing = _channels_last(layers.Resizing)
UpSampling2D = _channels_last(layers.UpSampling2D)
ZeroPadding2D = _channels_last(layers.ZeroPadding2D)
