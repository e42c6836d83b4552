"""Published weights in the networks of this package: PyTorch's, without PyTorch, and Keras'."""

from keras_arch.convert.loading import convertible, from_torch

__all__ = ["convertible", "from_torch"]
