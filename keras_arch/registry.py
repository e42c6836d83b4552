"""The record of every builder with the paper's facts beside it.

`@register(...)` is all it takes for a builder to be listed, shown, created by name from a
config and run through the shared model tester.
"""

import dataclasses
import difflib
import inspect
import re
from collections.abc import Callable
from typing import Any

from keras_arch.errors import ArgumentError

TASKS = (
    "image-classification",
    "image-segmentation",
    "unconditional-image-generation",
    "conditional-image-generation",
    "image-to-image",
    "discriminator",
)
# Distributions that a generator's latent is drawn from: N(0, 1), U(-1, 1) and U(0, 1).
LATENTS = ("normal", "uniform", "uniform01")


@dataclasses.dataclass(frozen=True)
class Entry:
    """What is known of one architecture.

    Attributes:
        name: The builder's name, for example `"CIFARResNet"`.
        builder: The function that returns a `keras.Model`.
        task: One of `TASKS`.
        paper: Authors, title and year.
        url: Where the paper is.
        default_input: Shape of the default input, without the batch.
        parameters: Parameter counts known from the paper or its reference code, as
            `{"arguments as written in a call": count}`. Tests hold the builder to them.
        latent: For generators, the distribution of the latent that the source draws from, by
            variant.
        summary: One line for listings.
    """

    name: str
    builder: Callable[..., Any]
    task: str
    paper: str
    url: str
    default_input: tuple[int, ...]
    parameters: dict[str, int]
    latent: dict[str, str]
    summary: str

    @property
    def arguments(self) -> dict[str, inspect.Parameter]:
        """The builder's arguments by name."""
        return dict(inspect.signature(self.builder).parameters)


_ENTRIES: dict[str, Entry] = {}


def register(
    *,
    task: str,
    paper: str,
    url: str,
    default_input: tuple[int, ...],
    parameters: dict[str, int],
    latent: dict[str, str] | None = None,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Record the decorated builder under its own name.

    Args:
        task: One of `TASKS`.
        paper: Authors, title and year.
        url: Address of the paper.
        default_input: Shape of the default input, without the batch.
        parameters: Trainable parameters for given arguments, `{"depth=20": 269722}`.
        latent: Latent distribution by variant, for generators.

    Returns:
        A decorator that returns the builder unchanged.

    Raises:
        ArgumentError: If the task is unknown or the name is taken.
    """

    def decorate(builder: Callable[..., Any]) -> Callable[..., Any]:
        name = builder.__name__
        if task not in TASKS:
            raise ArgumentError(f"task of {name} must be one of {', '.join(TASKS)}, got {task!r}")
        if name in _ENTRIES:
            raise ArgumentError(f"an architecture named {name!r} is registered already")
        summary = (builder.__doc__ or "").strip().partition("\n")[0]
        _ENTRIES[name] = Entry(
            name, builder, task, paper, url, default_input, parameters, latent or {}, summary
        )
        return builder

    return decorate


# How a model is opened by its name. The floor that knows hubs is above this one, so that the
# package puts it here when it is imported.
_opener: Callable[[Any], tuple[Any, str | None, dict[str, Any]]] | None = None


def set_opener(opener: Callable[[Any], tuple[Any, str | None, dict[str, Any]]]) -> None:
    """Say how `open_model` opens a model.

    Args:
        opener: From a reference to the model, the name of its architecture (`None` where it is not
            known) and the arguments that it was built with.
    """
    global _opener
    _opener = opener


def open_model(reference: Any) -> tuple[Any, str | None, dict[str, Any]]:
    """Open a model directory, a repository or a preset, for builders that take its weights.

    Args:
        reference: What `keras_arch.hub.load` takes.

    Returns:
        The `keras.Model`, the name of its architecture or `None`, and its builder's arguments.

    Raises:
        KerasArchError: As `keras_arch.hub.load` does.
    """
    if _opener is None:
        raise ArgumentError(f"nothing is there that opens {reference!r}; import keras_arch first")
    return _opener(reference)


def entries() -> tuple[Entry, ...]:
    """All registered architectures, by name."""
    return tuple(_ENTRIES[name] for name in sorted(_ENTRIES))


def entry(name: str) -> Entry:
    """The record of one architecture.

    Raises:
        ArgumentError: If there is none of that name; the message offers the closest ones.
    """
    if name not in _ENTRIES:
        by_lower = {known.lower(): known for known in _ENTRIES}
        close = difflib.get_close_matches(name.lower(), by_lower, n=3, cutoff=0.5)
        # A depth that there is not: all depths of the family, and its kin.
        family = re.sub(r"\d+\w*$", "", name.lower())
        if family and family != name.lower():
            close = [known for known in by_lower if family in known] or close
        known = [by_lower[match] for match in close] or sorted(_ENTRIES)
        raise ArgumentError(
            f"no architecture named {name!r}; {'did you mean' if close else 'there are'} "
            f"{', '.join(known)}{'?' if close else ''}"
        )
    return _ENTRIES[name]
