"""Warning of models that Keras saves as one HDF5 file and cannot load from it."""

import logging
import types
from typing import Any

import keras

_log = logging.getLogger(__name__)


def warn_of_h5(model: keras.Model) -> keras.Model:
    """Warn when a model with operations of `keras.ops` is saved as a whole `.h5` file.

    Keras writes such a file, and `keras.saving.load_model` does not know the operations in it. The
    weights in it can be loaded into a network that was built anew.

    Args:
        model: The model, which is changed in place and returned.

    Example:
        >>> from keras_arch import models
        >>> model = models.CIFARResNet(depth=8)
        >>> operations_of(model)
        ['Pad']
    """
    if operations_of(model):
        model.save = types.MethodType(_save, model)
    return model


def operations_of(model: keras.Model) -> list[str]:
    """Kinds of the operations in a functional model, and in the models inside it, by name.

    Example:
        >>> operations_of(keras.Sequential([keras.Input((2,)), keras.layers.ReLU()]))
        []
    """
    found: set[str] = set()
    for operation in getattr(model, "operations", ()):
        if isinstance(operation, keras.Model):
            found |= {*operations_of(operation)}
        elif not isinstance(operation, keras.layers.Layer):
            found.add(type(operation).__name__)
    return sorted(found)


def _save(self: keras.Model, filepath: Any, *arguments: Any, **more: Any) -> None:
    """`keras.Model.save`, with a warning before a whole `.h5` file."""
    path = str(filepath)
    if path.endswith((".h5", ".hdf5")):
        _log.warning(
            "%s: keras.saving.load_model will not open %s, as Keras' HDF5 format does not know the "
            "operations of this network (%s); save %s. Its weights load into a network built anew, "
            "by model.load_weights(%r)",
            self.name,
            path,
            ", ".join(operations_of(self)),
            f"{path.rpartition('.')[0]}.keras",
            path,
        )
    type(self).save(self, filepath, *arguments, **more)
