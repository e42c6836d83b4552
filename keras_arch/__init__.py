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
    "kerascv",
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

__all__ = ["__version__", *_SUBMODULES]


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
