"""Registries: architectures with the paper's facts beside them, and data sources.

`@register(...)` is all it takes for a builder to be listed, shown, created by name from a
config and run through the shared model tester.
"""

import dataclasses
import difflib
import importlib
import inspect
import re
import types
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar

from keras_arch.errors import ArgumentError, DataError, KerasArchError

T = TypeVar("T")


class Registry(Generic[T]):
    """Objects of one kind by name, from this package, from decorators and from entry points.

    A name is looked for among the registered objects, then among the built-in ones, then among the
    entry points of installed packages. The latter two are imported when their name is asked for.

    Args:
        kind: The kind of object, for messages: `"data source"`.
        group: Entry-point group in which other packages name objects of this kind. The entry point
            is the object itself, or a module that registers it when it is imported.
        builtins: This package's own objects, `{name: "module:attribute"}`.
        error: Class of the error for an unknown name.

    Example:
        >>> samplers = Registry("sampler", builtins={"counter": "collections:Counter"})
        >>> @samplers.register("first")
        ... def first(values):
        ...     return values[0]
        >>> samplers.names(), samplers.get("counter").__name__
        (('counter', 'first'), 'Counter')
    """

    def __init__(
        self,
        kind: str,
        group: str | None = None,
        builtins: Mapping[str, str] | None = None,
        error: type[KerasArchError] = ArgumentError,
    ) -> None:
        self.kind, self.group = kind, group
        self._builtins, self._error = dict(builtins or {}), error
        self._objects: dict[str, T] = {}
        self._failed: dict[str, str] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator that registers a class or function under a name.

        The same definition may be registered again, as a notebook does when a cell is run twice.

        Raises:
            ArgumentError: If another object has the name.
        """

        def decorate(value: T) -> T:
            taken = self._builtins.get(name)
            if name in self._objects:
                taken = _path_of(self._objects[name])
            if taken not in (None, _path_of(value)):
                raise ArgumentError(
                    f"another {self.kind} named {name!r} is registered already: {taken}"
                )
            self._objects[name] = value
            return value

        return decorate

    def get(self, name: str) -> T:
        """The object of a name.

        Raises:
            KerasArchError: If there is none, with the closest names; or if the package that
                has it cannot be imported.
        """
        if name not in self._objects:
            if name in self._builtins:
                module, _, attribute = self._builtins[name].partition(":")
                self._objects[name] = getattr(importlib.import_module(module), attribute)
            elif point := self._entry_points().get(name):
                self._objects[name] = self._load(name, point)
            else:
                raise self.unknown(name)
        return self._objects[name]

    def names(self) -> tuple[str, ...]:
        """All names, sorted; nothing is imported."""
        return tuple(sorted({*self._objects, *self._builtins, *self._entry_points()}))

    def items(self) -> Iterator[tuple[str, T]]:
        """All names with their objects; an entry point that fails gives one warning instead."""
        for name in self.names():
            if name in self._failed and name not in self._objects:
                continue
            try:
                value = self.get(name)
            except self._error as error:
                self._failed[name] = str(error)
                warnings.warn(self._failed[name], stacklevel=2)
            else:
                yield name, value

    def __contains__(self, name: object) -> bool:
        return name in self._objects or name in self._builtins or name in self._entry_points()

    def package(self, name: str) -> str | None:
        """The package whose entry point has a name; `None` for built-in and decorated objects."""
        point = None if name in self._builtins else self._entry_points().get(name)
        return point.dist.name if point is not None and point.dist else None

    def unknown(self, name: str) -> KerasArchError:
        """The error for a name that is not registered."""
        names = self.names()
        close = difflib.get_close_matches(name, names, n=3)
        hint = f"did you mean {', '.join(close)}?" if close else f"there are {', '.join(names)}"
        return self._error(f"no {self.kind} named {name!r}; {hint}")

    def _entry_points(self) -> dict[str, Any]:
        """Entry points of the group by name; of several with one name, the first."""
        if self.group is None:
            return {}
        from importlib import metadata

        found: dict[str, Any] = {}
        for point in metadata.entry_points(group=self.group):
            found.setdefault(point.name, point)
        return found

    def _load(self, name: str, point: Any) -> T:
        """Import an entry point; the error for a failure names its package."""
        title = (
            f"{self.kind} {name!r} of the package {point.dist.name if point.dist else point.value}"
        )
        # Another package's import may raise anything; that must not stop what does not need it.
        try:
            value = point.load()
        except Exception as error:
            reason = f"{type(error).__name__}: {error}".partition("\n")[0]
            raise self._error(f"{title} cannot be imported: {reason}") from error
        value = self._objects.get(name, value)
        if isinstance(value, types.ModuleType):
            raise self._error(f"{title} is missing: the module {point.value} does not register it")
        return value


def _path_of(value: Any) -> str:
    """Where an object, or the builder of an architecture, is defined: `"module:attribute"`."""
    value = value.builder if isinstance(value, Entry) else value
    module = getattr(value, "__module__", type(value).__module__)
    return f"{module}:{getattr(value, '__qualname__', type(value).__qualname__)}"


# Data sources by the part of a source before its colon; see `keras_arch.data.register_source`.
SOURCES: Registry[Any] = Registry(
    kind="data source",
    group="keras_arch.sources",
    builtins={
        "cells": "keras_arch.data.sources.cells:Cells",
        "digits": "keras_arch.data.sources.digits:Digits",
        "folder": "keras_arch.data.sources.folder:Folder",
        "masks": "keras_arch.data.sources.masks:open_masks",
        "npz": "keras_arch.data.sources.npz:open_archive",
        "pairs": "keras_arch.data.sources.pairs:Pairs",
        "tfds": "keras_arch.data.sources.tfds:TFDSSource",
        "unpaired": "keras_arch.data.sources.unpaired:open_unpaired",
    },
    error=DataError,
)

# Tasks by name: those that configs train, and those of saved models. See `keras_arch.tasks`.
TASKS: Registry[Any] = Registry(
    kind="task",
    group="keras_arch.tasks",
    builtins={
        "image-classification": "keras_arch.tasks.classification:Classification",
        "fine-tuning": "keras_arch.tasks.finetuning:FineTuning",
        "segmentation-fine-tuning": (
            "keras_arch.tasks.segmentation_finetuning:SegmentationFineTuning"
        ),
        "image-segmentation": "keras_arch.tasks.segmentation:Segmentation",
        "unconditional-image-generation": "keras_arch.tasks.generation:Generation",
        "conditional-image-generation": "keras_arch.tasks.generation:ConditionalGeneration",
        "laplacian-pyramid-generation": "keras_arch.tasks.laplacian_pyramid:LaplacianPyramid",
        "image-to-image": "keras_arch.tasks.translation:Translation",
        "paired-image-translation": "keras_arch.tasks.translation:PairedTranslation",
        "unpaired-image-translation": "keras_arch.tasks.translation:UnpairedTranslation",
        "discriminator": "keras_arch.tasks.generation:Discrimination",
    },
)
# Distributions that a generator's latent is drawn from: N(0, 1), U(-1, 1) and U(0, 1).
LATENTS = ("normal", "uniform", "uniform01")
# Kinds of outputs of networks with classes, `linear` being logits.
ACTIVATIONS = ("softmax", "sigmoid", "linear")


@dataclasses.dataclass(frozen=True)
class Facts:
    """Facts of one architecture, from its paper.

    Attributes:
        name: The builder's name, for example `"CIFARResNet"`.
        task: One of `TASKS.names()`.
        paper: Authors, title and year.
        url: URL of the paper.
        default_input: Shape of the default input, without the batch.
        parameters: Trainable parameters known from the paper or its reference code, by arguments:
            `{"depth=20": 269722}`. Tests compare them with the built network.
        latent: For generators, the latent distribution of the source, by variant.
        summary: One line for listings.
    """

    name: str
    task: str
    paper: str
    url: str
    default_input: tuple[int, ...]
    parameters: dict[str, int]
    latent: dict[str, str]
    summary: str


@dataclasses.dataclass(frozen=True)
class Entry(Facts):
    """Record of one architecture: its facts, and the function that builds it."""

    builder: Callable[..., Any]

    @property
    def arguments(self) -> dict[str, inspect.Parameter]:
        """The builder's arguments by name."""
        return dict(inspect.signature(self.builder).parameters)


# Architectures by name. The entry points of other packages name builders with `@register`.
ARCHITECTURES: Registry[Entry] = Registry("architecture", group="keras_arch.models")


def register(
    *,
    task: str,
    paper: str,
    url: str,
    default_input: tuple[int, ...],
    parameters: dict[str, int],
    latent: dict[str, str] | None = None,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator that registers a builder under its own name.

    Args:
        task, paper, url, default_input, parameters, latent: As in `Facts`. The first line of the
            builder's docstring is the summary.

    Raises:
        ArgumentError: If the task is unknown, or another builder has the name.

    Example:
        >>> from keras_arch import registry
        >>> @registry.register(task="image-classification", paper="", url="",
        ...                    default_input=(8, 8, 1), parameters={})
        ... def Tiny(classes=10):
        ...     "A tiny network."
        >>> registry.entry("Tiny").summary
        'A tiny network.'
    """

    def decorate(builder: Callable[..., Any]) -> Callable[..., Any]:
        name = builder.__name__
        if task not in TASKS:
            raise ArgumentError(
                f"task of {name} must be one of {', '.join(TASKS.names())}, got {task!r}; a task "
                "of your own is registered first"
            )

        summary = (builder.__doc__ or "").strip().partition("\n")[0]
        ARCHITECTURES.register(name)(
            Entry(name, task, paper, url, default_input, parameters, latent or {}, summary, builder)
        )
        return builder

    return decorate


# `keras_arch.hub` is above this module in the order of imports, so the package sets its function.
_opener: Callable[[Any], tuple[Any, str | None, dict[str, Any]]] | None = None


def set_opener(opener: Callable[[Any], tuple[Any, str | None, dict[str, Any]]]) -> None:
    """Set the function that `open_model` calls.

    Args:
        opener: Takes a reference to a model; returns the model, the name of its architecture
            (`None` if unknown) and the arguments of its builder.
    """
    global _opener
    _opener = opener


def open_model(reference: Any) -> tuple[Any, str | None, dict[str, Any]]:
    """Open a model directory, a repository or a preset, for builders that take its weights.

    Args:
        reference: As in `keras_arch.hub.load`.

    Returns:
        The `keras.Model`, the name of its architecture or `None`, and its builder's arguments.

    Raises:
        KerasArchError: As `keras_arch.hub.load` does.
    """
    if _opener is None:
        raise ArgumentError(f"{reference!r} cannot be opened yet; import keras_arch first")
    return _opener(reference)


def entries(task: str | None = None) -> tuple[Entry, ...]:
    """The registered architectures by name, of one task or all; those of installed packages too."""
    return tuple(entry for _, entry in ARCHITECTURES.items() if task in (None, entry.task))


def entry(name: str) -> Entry:
    """The record of one architecture.

    Raises:
        ArgumentError: If there is none of that name; the message offers the closest ones.
    """
    if name not in ARCHITECTURES:
        raise unknown_architecture(name, ARCHITECTURES.names())
    return ARCHITECTURES.get(name)


def unknown_architecture(name: str, names: Sequence[str]) -> ArgumentError:
    """The error for an architecture that is not among `names`."""
    by_lower = {known.lower(): known for known in names}
    close = difflib.get_close_matches(name.lower(), by_lower, n=3, cutoff=0.5)
    # An unknown depth: offer all depths of the family.
    family = re.sub(r"\d+\w*$", "", name.lower())
    if family and family != name.lower():
        close = [known for known in by_lower if family in known] or close
    known = [by_lower[match] for match in close] or sorted(names)
    return ArgumentError(
        f"no architecture named {name!r}; {'did you mean' if close else 'there are'} "
        f"{', '.join(known)}{'?' if close else ''}"
    )
