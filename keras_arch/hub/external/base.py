"""Repositories of other libraries, recognised by their `config.json`: timm's and transformers'.

Their config says which network the weights are of and how images are prepared for it. That becomes
a builder's name and arguments, a `Preprocessing` and labels. A network that only resembles one of
ours is refused, with what is different about it.
"""

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from keras_arch.errors import ArgumentError, HubError, IntegrityError
from keras_arch.hub.card import Card
from keras_arch.preprocessing import Preprocessing

# From a file's name to where it is, `None` where there is none.
Fetch = Callable[[str], Path | None]
_LARGEST_CONFIG = 10_000_000


@dataclasses.dataclass(frozen=True)
class Foreign:
    """What a repository of another library holds.

    Attributes:
        library: `"timm"` or `"transformers"`.
        model: What the library calls the network.
        architecture: What it is here.
        arguments: Of the builder.
        preprocessing: How images become its input.
        labels: Names of the classes, where they are known.
        license: Identifier as the Hub knows it; `"unknown"` where the config does not say.
    """

    library: str
    model: str
    architecture: str
    arguments: dict[str, Any]
    preprocessing: Preprocessing
    labels: list[str] | None
    license: str

    def card(self, name: str, where: str) -> Card:
        """The card of the converted model.

        Args:
            name: What the model is called.
            where: The repository and its revision.
        """
        import keras_arch.models  # noqa: F401 (it registers them)
        from keras_arch import registry

        entry = registry.entry(self.architecture)
        return Card(
            name=name,
            architecture=self.architecture,
            arguments=self.arguments,
            task="image-classification",
            preprocessing=self.preprocessing,
            labels=self.labels,
            description=f"Converted from {where}, the {self.model} of {self.library}.",
            license=self.license,
            paper=f"{entry.paper}, {entry.url}",
        )


def recognise(fetch: Fetch, where: str) -> Foreign | None:
    """What a repository holds, if it is one of another library.

    Args:
        fetch: Gives its files.
        where: What to call it in messages.

    Returns:
        `None` if it has no config, or Keras' own.

    Raises:
        HubError: If it is of another library and cannot be converted; the message says why.
        IntegrityError: If its config is damaged.
    """
    from keras_arch.hub.external import timm, transformers

    config = read_json(fetch, "config.json", where)
    if config is None or "class_name" in config:
        return None
    for library in (timm, transformers):
        if library.is_config(config):
            try:
                return library.describe(config, fetch, where)
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                if not isinstance(error, ArgumentError):
                    name = library.__name__.rpartition(".")[2]
                    error = f"its config is not as {name} writes it ({error!r})"
                raise HubError(f"{where} cannot be converted: {error}") from None
    return None


def read_json(fetch: Fetch, name: str, where: str) -> dict[str, Any] | None:
    """A table in a file, `None` where there is no such file.

    Raises:
        IntegrityError: If it is no table.
    """
    file = fetch(name)
    if file is None:
        return None
    try:
        if file.stat().st_size > _LARGEST_CONFIG:
            raise ValueError("too large")
        content = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError("no table")
    except (ValueError, RecursionError) as error:
        raise IntegrityError(f"{name} of {where} is not a configuration: {error}") from None
    return content


def crop_of(size: int, edge: int) -> float | None:
    """The part of the shorter side that is kept where it is brought to `edge` pixels.

    Example:
        >>> crop_of(224, 256)
        0.875
    """
    crop = size / edge
    # The other way round it must give the edge again, which a rounded quotient may miss.
    return crop if math.floor(size / crop) == edge else size / (edge + 0.5)
