"""Description of another library's repository, and the interface of its reader.

A config says which network the weights are of and how images are prepared for it. A reader turns
it into a builder's name and arguments, a `Preprocessing` and labels. It refuses a network that
only resembles one of ours, and names the difference.
"""

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from keras_arch.errors import IntegrityError
from keras_arch.hub.card import Card
from keras_arch.preprocessing import Preprocessing

# From a file's name to its path, `None` if there is no such file.
Fetch = Callable[[str], Path | None]
_LARGEST_CONFIG = 10_000_000


@dataclasses.dataclass(frozen=True)
class ExternalModel:
    """A pretrained model of another library, described for its conversion.

    Attributes:
        library: Name of the library, such as `"timm"`.
        model: Name of the network in that library.
        architecture, arguments: Name and arguments of our builder.
        preprocessing: How images become its input.
        labels: Names of the classes, or `None` if they are not known.
        license: Identifier as the Hub knows it; `"unknown"` where the config does not say.
        task: Of the card.
        note: A sentence for the end of the card's description.
    """

    library: str
    model: str
    architecture: str
    arguments: dict[str, Any]
    preprocessing: Preprocessing
    labels: list[str] | None
    license: str
    task: str = "image-classification"
    note: str = ""

    def card(self, name: str, where: str) -> Card:
        """The card of the converted model `name`; `where` is the repository and its revision."""
        import keras_arch.models  # noqa: F401 (it registers them)
        from keras_arch import registry

        entry = registry.entry(self.architecture)
        return Card(
            name=name,
            architecture=self.architecture,
            arguments=self.arguments,
            task=self.task,
            preprocessing=self.preprocessing,
            labels=self.labels,
            description=(
                f"Converted from {where}, the {self.model} of {self.library}. {self.note}".strip()
            ),
            license=self.license,
            paper=f"{entry.paper}, {entry.url}",
        )


@runtime_checkable
class Reader(Protocol):
    """Interface of a reader of the repositories of a `LIBRARY`; a module can be one."""

    LIBRARY: str

    def is_config(self, config: dict[str, Any]) -> bool:
        """Whether the content of a `config.json` is of this library."""
        ...

    def describe(self, config: dict[str, Any], fetch: Fetch, where: str) -> ExternalModel:
        """Describe a model by its `config.json` and other files.

        Raises:
            HubError: If there is no such network here, or its preprocessing is not known.
        """
        ...


def read_json(fetch: Fetch, name: str, where: str) -> dict[str, Any] | None:
    """Read a JSON object from a file, `None` without one; an `IntegrityError` if it is damaged."""
    file = fetch(name)
    if file is None:
        return None
    try:
        if file.stat().st_size > _LARGEST_CONFIG:
            raise ValueError("too large")
        content = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError("it is no JSON object")
    except (ValueError, RecursionError) as error:
        raise IntegrityError(f"{name} of {where} is not a configuration: {error}") from None
    return content


def crop_of(size: int, edge: int) -> float | None:
    """Fraction of the shorter side that is cropped after it is resized to `edge` pixels.

    Example:
        >>> crop_of(224, 256)
        0.875
    """
    crop = size / edge
    # The other way round it must give the edge again, which a rounded quotient may miss.
    return crop if math.floor(size / crop) == edge else size / (edge + 0.5)
