"""Lazy modules: imported when an attribute of them is first used."""

import importlib
import types
from typing import Any


class _LazyModule(types.ModuleType):
    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module(self.__name__), name)


def lazy_modules(*names: str) -> tuple[Any, ...]:
    """Stand-ins for modules that take long to import.

    A config is checked, and a mistake in it reported, before Keras is imported.

    Args:
        *names: Full names, such as `"keras"`.

    Returns:
        A stand-in for each, whose attributes are those of the module.

    Example:
        >>> (math,) = lazy_modules("math")
        >>> math.sqrt(9)
        3.0
    """
    return tuple(map(_LazyModule, names))
