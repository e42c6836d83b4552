"""Classic vision architectures for Keras 3.

Submodules are imported when they are first used, so that `import keras_arch` loads neither Keras
nor TensorFlow. The functions of `keras_arch.api` are attributes of the package.

Example:
    >>> import keras_arch
    >>> model = keras_arch.models.CIFARResNet(depth=20)
    >>> model.output_shape
    (None, 10)
"""

import importlib.util
import sys
from typing import TYPE_CHECKING, Any

from keras_arch import registry
from keras_arch._version import __version__

if TYPE_CHECKING:
    from keras_arch import (
        api,
        callbacks,
        cli,
        config,
        convert,
        data,
        demo,
        distribute,
        environment,
        errors,
        experiments,
        export,
        files,
        hub,
        kerascv,
        layers,
        losses,
        metrics,
        models,
        optimizers,
        preprocessing,
        presets,
        pretrained,
        tasks,
        tiling,
        trainers,
        training,
        visualization,
        weights,
    )
    from keras_arch.api import (
        compare,
        diagnose,
        evaluate,
        evaluate_generator,
        export_model,
        finetune,
        generate,
        predict,
        push,
        train,
        translate,
    )

__all__ = [
    "__version__",
    "api",
    "callbacks",
    "cli",
    "compare",
    "config",
    "convert",
    "data",
    "demo",
    "diagnose",
    "distribute",
    "environment",
    "errors",
    "evaluate",
    "evaluate_generator",
    "experiments",
    "export",
    "export_model",
    "files",
    "finetune",
    "generate",
    "hub",
    "kerascv",
    "layers",
    "losses",
    "metrics",
    "models",
    "optimizers",
    "predict",
    "preprocessing",
    "presets",
    "pretrained",
    "push",
    "register_custom_objects",
    "registry",
    "tasks",
    "tiling",
    "train",
    "trainers",
    "training",
    "translate",
    "visualization",
    "weights",
]


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
    for name in ("losses", "metrics", "optimizers", "trainers"):
        importlib.import_module(f"keras_arch.{name}")


def _open_model(reference: Any) -> tuple[Any, str | None, dict[str, Any]]:
    """Open a published model for builders, which are below `keras_arch.hub`."""
    from keras_arch import hub

    if str(reference).endswith(".keras"):
        return hub.load_keras_file(reference), None, {}
    loaded = hub.load_with_card(reference)
    card = loaded.card
    return (loaded.model, card.architecture, card.arguments) if card else (loaded.model, None, {})


registry.set_opener(_open_model)


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'keras_arch' has no attribute {name!r}")
    if importlib.util.find_spec(f"keras_arch.{name}"):
        return importlib.import_module(f"keras_arch.{name}")
    return getattr(importlib.import_module("keras_arch.api"), name)


def __dir__() -> list[str]:
    return sorted(__all__)


# Not otherwise: importing Keras takes seconds.
if "keras" in sys.modules:
    register_custom_objects()
