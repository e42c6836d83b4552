"""Conversion of published weights: PyTorch's, without PyTorch, and Keras'."""

from keras_arch.convert.keras_models import from_keras_applications, from_keras_hub
from keras_arch.convert.loading import convertible, from_torch
from keras_arch.convert.mappings import register_mapping

__all__ = [
    "convertible",
    "from_keras_applications",
    "from_keras_hub",
    "from_torch",
    "register_mapping",
]
