"""The card of a model: labels, preprocessing, metrics and origin, saved beside its weights."""

import dataclasses
import json
import math
import reprlib
from typing import Any

from keras_arch import registry
from keras_arch.errors import ArgumentError
from keras_arch.preprocessing import Preprocessing

# Of a latent; larger ones are mistakes.
_LARGEST_LATENT = 1_000_000


@dataclasses.dataclass(frozen=True)
class Card:
    """The card of a model: what a user of the weights has to know.

    Args:
        name: What the model is called, in one line.
        architecture: Name of the builder, for example `"CIFARResNet"`.
        arguments: The builder's arguments; values that JSON can hold.
        task: `"image-classification"`, `"image-segmentation"` (with labels),
            `"unconditional-image-generation"`, `"conditional-image-generation"` (with labels and
            latent), `"image-to-image"` (with neither), `"discriminator"`, or a task of another
            package.
        preprocessing: How pixels become the input (or, for a generator, how its output becomes
            pixels: `card.preprocessing.to_pixels(images)`).
        colors: For `"image-segmentation"`, red, green and blue of each class in pictures, or
            `None` for those of PASCAL VOC.
        labels: Names of the classes in the order of the outputs, or of the labels that a
            conditional generator takes, or `None`.
        latent: For a generator `{"size": 100, "distribution": "normal", "uniform" or "uniform01"}`.
        description: Some sentences for the README.
        license: Identifier as the Hub knows it. Default `"apache-2.0"`.
        datasets: What it was trained on.
        recipe: How it was trained; nested dictionaries and lists that JSON can hold.
        metrics: Metrics by name, finite.
        paper: Authors, title, year, address.
        repository: `"user/repo"` where it is published, or `None`.
        target_preprocessing: For `"image-to-image"`, how the output becomes pixels. Default: as
            the input comes from them.
        activation: Of the output of a network with classes: `"softmax"`, `"sigmoid"` or `"linear"`
            (logits). `hub.save` finds it in the network.
        base: What it was fine-tuned from: `"hf://user/repo"` or the name of a model; else `None`.

    Raises:
        ArgumentError: If a value cannot be right; the message names it.

    Example:
        >>> from keras_arch.hub import Card
        >>> from keras_arch.preprocessing import Preprocessing
        >>> card = Card("digits", "CIFARResNet", {"depth": 20}, "image-classification",
        ...             Preprocessing(size=(8, 8), channels=1), labels=list("0123456789"))
        >>> Card.from_dict(card.to_dict()) == card
        True
    """

    name: str
    architecture: str
    arguments: dict[str, Any]
    task: str
    preprocessing: Preprocessing
    labels: list[str] | None = None
    latent: dict[str, Any] | None = None
    description: str = ""
    license: str = "apache-2.0"
    datasets: list[str] = dataclasses.field(default_factory=list)
    recipe: dict[str, Any] = dataclasses.field(default_factory=dict)
    metrics: dict[str, float] = dataclasses.field(default_factory=dict)
    paper: str = ""
    repository: str | None = None
    target_preprocessing: Preprocessing | None = None
    colors: list[tuple[int, int, int]] | None = None
    base: str | None = None
    activation: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.strip() or "\n" in self.name:
            raise ArgumentError(f"a card's name must be one line of text, got {self.name!r}")
        if self.base is not None and (not isinstance(self.base, str) or not self.base.strip()):
            raise ArgumentError(
                f"a card's base must be hf://user/repo or a name, got {self.base!r}"
            )
        if self.task not in registry.TASKS:
            raise ArgumentError(
                f"a card's task must be one of {', '.join(registry.TASKS.names())}, got "
                f"{self.task!r}; a task of another package needs that package installed"
            )
        if self.activation not in (*registry.ACTIVATIONS, None):
            raise ArgumentError(
                f"a card's activation must be {', '.join(registry.ACTIVATIONS)} or None, got "
                f"{self.activation!r}"
            )
        for field in ("preprocessing", "target_preprocessing"):
            value = getattr(self, field)
            if value is None and field == "target_preprocessing":
                continue
            if not isinstance(value, Preprocessing):
                raise ArgumentError(f"a card's {field} must be a Preprocessing, got {value!r}")
        for field in ("labels", "datasets"):
            value = getattr(self, field)
            if value is None and field == "labels":
                continue
            if not isinstance(value, list | tuple) or any(not isinstance(v, str) for v in value):
                raise ArgumentError(f"a card's {field} must be a list of texts, got {value!r}")
            object.__setattr__(self, field, list(value))
        self._check_latent()
        metrics = {name: _finite(name, value) for name, value in self.metrics.items()}
        object.__setattr__(self, "metrics", metrics)
        for field in ("arguments", "recipe"):
            # As JSON gives them back, so that a card read from disk equals the one written.
            object.__setattr__(self, field, _plain(field, getattr(self, field)))
        if self.colors is not None:
            object.__setattr__(self, "colors", [tuple(color) for color in self.colors])
        registry.TASKS.get(self.task).check_card(self)

    def _check_latent(self) -> None:
        if self.latent is None:
            return
        size = self.latent.get("size") if isinstance(self.latent, dict) else None
        if (
            not isinstance(size, int)
            or not 1 <= size <= _LARGEST_LATENT
            or set(self.latent) != {"size", "distribution"}
            or self.latent["distribution"] not in registry.LATENTS
        ):
            raise ArgumentError(
                "a card's latent must be {'size': 100, 'distribution': one of "
                f"{', '.join(map(repr, registry.LATENTS))}}}, got {reprlib.repr(self.latent)}"
            )

    @property
    def output_preprocessing(self) -> Preprocessing:
        """Preprocessing of generated images: `card.output_preprocessing.to_pixels(images)`."""
        return self.target_preprocessing or self.preprocessing

    def with_activation(self, found: str) -> "Card":
        """The card with the activation of its network.

        Raises:
            ArgumentError: If the card has another one.
        """
        if self.activation not in (found, None):
            raise ArgumentError(
                f"the card's activation is {self.activation}, that of the network {found}; leave "
                "it out of the card"
            )
        return dataclasses.replace(self, activation=found)

    def to_dict(self) -> dict[str, Any]:
        """A description that JSON can hold; `from_dict` reads it back."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        fields["preprocessing"] = self.preprocessing.to_dict()
        # Left out where not needed: versions that do not know them read the card all the same.
        for name in ("target_preprocessing", "colors", "base", "activation"):
            if fields[name] is None:
                del fields[name]
        if self.target_preprocessing:
            fields["target_preprocessing"] = self.target_preprocessing.to_dict()
        return fields

    @classmethod
    def from_dict(cls, description: dict[str, Any]) -> "Card":
        """The inverse of `to_dict`.

        Raises:
            ArgumentError: If a key is unknown or missing, or a value cannot be right.
        """
        if not isinstance(description, dict):
            raise ArgumentError(f"a card must be a dictionary, got {reprlib.repr(description)}")
        fields = {field.name: field for field in dataclasses.fields(cls)}
        if unknown := sorted(set(map(str, description)) - set(fields)):
            raise ArgumentError(f"a card has no {unknown[0]!r}; it has {', '.join(fields)}")
        read: dict[str, Any] = {"preprocessing": None} | description
        for name in ("preprocessing", "target_preprocessing"):
            value = read.get(name)
            if isinstance(value, dict):
                read[name] = Preprocessing.from_dict(value)
            elif name == "preprocessing" or value is not None:
                raise ArgumentError(f"a card's {name} must be a dictionary, got {value!r}")
        try:
            return cls(**read)
        except (TypeError, KeyError, AttributeError, OverflowError) as error:
            raise ArgumentError(f"a card's fields do not fit: {error}") from None


def _finite(name: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise ArgumentError(
            f"the metric {name} must be a number, got {reprlib.repr(value)}"
        ) from None
    if not math.isfinite(number):
        raise ArgumentError(f"the metric {name} must be finite, got {number}")
    return number


def _plain(field: str, value: Any) -> dict[str, Any]:
    try:
        plain = json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"a card's {field} must be plain values: {error}") from None
    if not isinstance(plain, dict):
        raise ArgumentError(f"a card's {field} must be a dictionary, got {value!r}")
    return plain
