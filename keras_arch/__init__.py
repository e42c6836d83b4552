"""Classic vision architectures for Keras 3.

Sub-modules are imported when they are first used, so that `import keras_arch` costs next to
nothing and the command line answers without loading TensorFlow.

Example:
    >>> import keras_arch
    >>> model = keras_arch.models.CIFARResNet(depth=20)
    >>> model.output_shape
    (None, 10)
"""

import importlib
import sys
from typing import Any

from keras_arch import registry
from keras_arch._version import __version__

_SUBMODULES = (
    "api",
    "callbacks",
    "config",
    "convert",
    "data",
    "demo",
    "distribute",
    "errors",
    "experiments",
    "export",
    "files",
    "hub",
    "layers",
    "losses",
    "metrics",
    "models",
    "optimizers",
    "preprocessing",
    "presets",
    "registry",
    "tiling",
    "trainers",
    "visualization",
    "weights",
)

__all__ = ["__version__", "register_custom_objects", *_SUBMODULES]
# Those with classes that `keras.saving` stores.
_WITH_CUSTOM_OBJECTS = ("losses", "metrics", "optimizers", "trainers")


def register_custom_objects() -> None:
    """Register the losses, metrics, optimizers and trainers of this package with `keras.saving`.

    `keras.saving.load_model` then opens models that were compiled with them. `import keras_arch`
    does so by itself where Keras is imported before; a program that imports Keras after it calls
    this once.

    Example:
        >>> import keras
        >>> register_custom_objects()
        >>> keras.saving.get_registered_object("keras_arch>PixelDice").__name__
        'PixelDice'
    """
    for name in _WITH_CUSTOM_OBJECTS:
        importlib.import_module(f"keras_arch.{name}")


def _open_model(reference: Any) -> tuple[Any, str | None, dict[str, Any]]:
    """How builders get at the weights of a published model: by a floor above theirs."""
    from keras_arch import hub

    opened = hub.load_with_card(reference)
    if opened.card is None:
        return opened.model, None, {}
    return opened.model, opened.card.architecture, opened.card.arguments


registry.set_opener(_open_model)


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        return importlib.import_module(f"keras_arch.{name}")
    raise AttributeError(f"module 'keras_arch' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)


# Not otherwise: importing Keras takes seconds.
if "keras" in sys.modules:
    register_custom_objects()
