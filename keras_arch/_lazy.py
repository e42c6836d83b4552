"""Lazy modules: `from keras_arch._lazy import keras, tf` imports them when they are first used.

A config is checked, and a mistake in it reported, before Keras is imported.
"""

import importlib
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras as keras
    import numpy as np
    import tensorflow as tf

    __all__ = ["keras", "lazy_modules", "np", "tf"]


class _LazyModule(types.ModuleType):
    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module(self.__name__), name)


def lazy_modules(*names: str) -> tuple[Any, ...]:
    """Stand-ins for modules by their full names, with the attributes of the modules.

    Example:
        >>> (math,) = lazy_modules("math")
        >>> math.sqrt(9)
        3.0
    """
    return tuple(map(_LazyModule, names))


if not TYPE_CHECKING:
    keras, np, tf = lazy_modules("keras", "numpy", "tensorflow")
