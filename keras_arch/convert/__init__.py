"""Conversion of published weights: PyTorch's, without PyTorch, and Keras'."""

from keras_arch.convert.all_mappings import register_mapping
from keras_arch.convert.keras_models import from_keras_applications, from_keras_hub
from keras_arch.convert.loading import convertible, from_torch

__all__ = [
    "convertible",
    "from_keras_applications",
    "from_keras_hub",
    "from_torch",
    "register_mapping",
]
