"""Tiled prediction: segmentation of images of any size."""

from keras_arch.tiling.predicting import predict

__all__ = ["predict"]
