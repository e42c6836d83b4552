"""Weights of PyTorch models in the networks of this package, without PyTorch."""

from keras_arch.convert.loading import convertible, from_torch

__all__ = ["convertible", "from_torch"]
