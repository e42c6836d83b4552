"""Index of the architectures, which listings read instead of importing the networks.

`architectures.json` is written from the live registry by `make index`; a test compares the two.
Architectures of other packages are not in it: they are listed by the name of their entry point.
"""

import dataclasses
import difflib
import fnmatch
import functools
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from keras_arch import presets, registry
from keras_arch.cli._lazy import quiet_loading
from keras_arch.errors import ArgumentError
from keras_arch.files import atomic_write

PATH = Path(__file__).with_name("architectures.json")


@dataclasses.dataclass(frozen=True)
class Facts(registry.Facts):
    """Facts of one architecture, with its arguments and weights.

    Attributes:
        arguments: Defaults of the builder's arguments, as Python writes them; `""` if required.
        weights: As in `convert.all_mappings.weight_sources`.
    """

    arguments: dict[str, str]
    weights: tuple[str, ...]


@functools.cache
def read() -> dict[str, Facts]:
    """Facts of this package's architectures by name."""
    found = json.loads(PATH.read_text(encoding="utf-8"))
    for content in found.values():
        content |= {key: tuple(content[key]) for key in ("default_input", "weights")}
    return {name: Facts(name=name, **content) for name, content in found.items()}


def plugins() -> dict[str, str]:
    """Architectures of other packages by name, each with the name of its package."""
    from importlib import metadata

    points = metadata.entry_points(group="keras_arch.models")
    return {point.name: point.dist.name if point.dist else point.value for point in points}


def matching(filter: str) -> list[str]:
    """Names of architectures that match a shell pattern, or contain a text, in any case.

    Raises:
        ArgumentError: If there are none.
    """
    return select(filter, architectures(), "architecture")


def architectures() -> list[str]:
    """Names of all architectures, those of other packages too."""
    return sorted({*read(), *plugins()})


def select(filter: str, names: Sequence[str], kind: str) -> list[str]:
    """Names that match a shell pattern, or contain a text, in any case.

    Args:
        filter: The pattern or text.
        names: All names.
        kind: Of what they are the names, for the message.

    Raises:
        ArgumentError: If none does.
    """
    if not (found := matches(filter, names)):
        raise ArgumentError(f"no {kind} matches {filter!r}; there are {', '.join(names)}")
    return found


def matches(filter: str, names: Iterable[str]) -> list[str]:
    """Names that match a shell pattern, or contain a text, in any case; it may be none."""
    pattern = filter if any(sign in filter for sign in "*?[") else f"*{filter}*"
    return [name for name in names if fnmatch.fnmatchcase(name.lower(), pattern.lower())]


def facts(name: str) -> Facts:
    """The facts of one architecture; that of another package is imported.

    Raises:
        ArgumentError: If there is none of that name, or its package cannot be imported.
    """
    if name in read():
        return read()[name]
    if name not in plugins():
        # `show` takes the names of configs too.
        if close := difflib.get_close_matches(name, presets.names(), cutoff=0.8):
            raise ArgumentError(f"no config named {name!r}; did you mean {', '.join(close)}?")
        raise registry.unknown_architecture(name, architectures())
    with quiet_loading():
        return _facts_of(registry.entry(name))


def current() -> str:
    """Text of the index as the live registry has it: one architecture a line."""
    from keras_arch import models  # noqa: F401 (registers the architectures)

    lines = []
    for entry in registry.entries():
        if entry.builder.__module__.startswith("keras_arch.models."):
            content = dataclasses.asdict(_facts_of(entry))
            lines.append(f"{json.dumps(content.pop('name'))}: {json.dumps(content)}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def write() -> Path:
    """Write the index, after a change to a builder or its facts."""
    return atomic_write(PATH, current())


def _facts_of(entry: registry.Entry) -> Facts:
    from keras_arch.convert.all_mappings import weight_sources

    shared = {
        field.name: getattr(entry, field.name) for field in dataclasses.fields(registry.Facts)
    }
    arguments = {
        name: "" if argument.default is argument.empty else repr(argument.default)
        for name, argument in entry.arguments.items()
    }
    return Facts(**shared, arguments=arguments, weights=weight_sources(entry.name))
