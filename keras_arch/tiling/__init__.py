"""Images of any size through a network that sees a tile at a time."""

from keras_arch.tiling.predicting import predict

__all__ = ["predict"]
