"""What is known of a model: the card that travels with its weights, and the README made of it."""

import dataclasses
import json
import math
import re
from pathlib import PurePath
from typing import Any

from keras_arch.errors import ArgumentError
from keras_arch.preprocessing import Preprocessing
from keras_arch.registry import LATENTS, TASKS, entry

# The Hub's tags by task. It has none for class-conditional generators, which stand there among
# those without a condition.
_PIPELINES = {
    "image-classification": "image-classification",
    "image-segmentation": "image-segmentation",
    "unconditional-image-generation": "unconditional-image-generation",
    "conditional-image-generation": "unconditional-image-generation",
    "image-to-image": "image-to-image",
}
# Draws from the distributions of `registry.LATENTS`.
_DRAWS = {
    "normal": "normal((16, {size}))",
    "uniform": "uniform((16, {size}), -1.0, 1.0)",
    "uniform01": "uniform((16, {size}), 0.0, 1.0)",
}
_LISTED_CLASSES = 20
_HUB_DATASET = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(?:/[A-Za-z0-9_][A-Za-z0-9_.-]*)?")


@dataclasses.dataclass(frozen=True)
class Card:
    """What a user of the weights has to know.

    Args:
        name: What the model is called, in one line.
        architecture: Name of the builder, for example `"CIFARResNet"`.
        arguments: The builder's arguments; values that JSON can hold.
        task: `"image-classification"`, `"image-segmentation"` (with labels),
            `"unconditional-image-generation"`, `"conditional-image-generation"` (with labels and
            latent), `"image-to-image"` (with neither) or `"discriminator"`.
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
        metrics: Figures by name, finite.
        paper: Authors, title, year, address.
        repository: `"user/repo"` where it is published, or `None`.
        target_preprocessing: For `"image-to-image"`, how the output becomes pixels. Default: as
            the input comes from them.
        base: What it was fine-tuned from: `"hf://user/repo"` or the name of a model; else `None`.

    Raises:
        ArgumentError: If a value cannot be right; the message names it.

    Example:
        >>> from keras_arch.hub import Card
        >>> from keras_arch.preprocessing import Preprocessing
        >>> card = Card("digits", "CIFARResNet", {"depth": 20}, "image-classification",
        ...             Preprocessing(size=(8, 8), channels=1), labels=[str(d) for d in range(10)])
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

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.strip() or "\n" in self.name:
            raise ArgumentError(f"a card's name must be one line of text, got {self.name!r}")
        if self.base is not None and (not isinstance(self.base, str) or not self.base.strip()):
            raise ArgumentError(
                f"a card's base must be hf://user/repo or a name, got {self.base!r}"
            )
        if self.task not in TASKS:
            raise ArgumentError(
                f"a card's task must be one of {', '.join(TASKS)}, got {self.task!r}"
            )
        if not isinstance(self.preprocessing, Preprocessing):
            raise ArgumentError(
                f"a card's preprocessing must be a Preprocessing, got {self.preprocessing!r}"
            )
        for field in ("labels", "datasets"):
            value = getattr(self, field)
            if value is None and field == "labels":
                continue
            if not isinstance(value, list | tuple) or any(not isinstance(v, str) for v in value):
                raise ArgumentError(f"a card's {field} must be a list of texts, got {value!r}")
            object.__setattr__(self, field, list(value))
        self._check_latent()
        self._check_task()
        self._check_colors()
        metrics = {name: _figure(name, value) for name, value in self.metrics.items()}
        object.__setattr__(self, "metrics", metrics)
        for field in ("arguments", "recipe"):
            # As JSON gives them back, so that a card read from disk equals the one written.
            object.__setattr__(self, field, _plain(field, getattr(self, field)))

    def _check_latent(self) -> None:
        if self.latent is None:
            return
        size = self.latent.get("size") if isinstance(self.latent, dict) else None
        if (
            not isinstance(size, int)
            or size < 1
            or set(self.latent) != {"size", "distribution"}
            or self.latent["distribution"] not in LATENTS
        ):
            raise ArgumentError(
                "a card's latent must be {'size': 100, 'distribution': one of "
                f"{', '.join(map(repr, LATENTS))}}}, got {self.latent!r}"
            )

    def _check_task(self) -> None:
        """Refuse what a task cannot do without, or cannot have."""
        given = {"labels": bool(self.labels), "latent": self.latent is not None}
        if self.task == "conditional-image-generation" and not all(given.values()):
            missing = " and ".join(name for name, there in given.items() if not there)
            raise ArgumentError(f"a card of a conditional generator needs {missing}")
        if self.task == "image-to-image" and any(given.values()):
            held = " and ".join(name for name, there in given.items() if there)
            raise ArgumentError(f"a card of an image translator has no {held}")
        target = self.target_preprocessing
        if target is None:
            return
        if self.task != "image-to-image":
            raise ArgumentError(
                f"a card's target_preprocessing is for image-to-image, the task is {self.task}"
            )
        if not isinstance(target, Preprocessing):
            raise ArgumentError(
                f"a card's target_preprocessing must be a Preprocessing, got {target!r}"
            )

    def _check_colors(self) -> None:
        """A segmentation network has a name for each class, and a colour for each or for none."""
        if self.task == "image-segmentation" and not self.labels:
            raise ArgumentError("a card of a segmentation network needs labels")
        if self.colors is None:
            return
        if self.task != "image-segmentation":
            raise ArgumentError(f"a card's colors are of image-segmentation, not of {self.task}")
        colors = [tuple(color) for color in self.colors]
        if len(colors) != len(self.labels) or any(
            len(color) != 3 or any(type(part) is not int or not 0 <= part <= 255 for part in color)
            for color in colors
        ):
            raise ArgumentError(
                f"a card's colors must be red, green and blue in 0 to 255 for each of "
                f"{len(self.labels)} classes, got {self.colors!r}"
            )
        object.__setattr__(self, "colors", colors)

    @property
    def output_preprocessing(self) -> Preprocessing:
        """What turns made images into pixels: `card.output_preprocessing.to_pixels(images)`."""
        return self.target_preprocessing or self.preprocessing

    def to_dict(self) -> dict[str, Any]:
        """A description that JSON can hold; `from_dict` reads it back."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        fields["preprocessing"] = self.preprocessing.to_dict()
        # Left out where they are not needed: versions that do not know them read the card all the
        # same.
        target, base = fields.pop("target_preprocessing"), fields.pop("base")
        colors = fields.pop("colors")
        fields |= {} if colors is None else {"colors": [list(color) for color in colors]}
        fields |= {} if target is None else {"target_preprocessing": target.to_dict()}
        return fields if base is None else fields | {"base": base}

    @classmethod
    def from_dict(cls, description: dict[str, Any]) -> "Card":
        """The inverse of `to_dict`.

        Raises:
            ArgumentError: If a key is unknown or missing, or a value cannot be right.
        """
        fields = {field.name: field for field in dataclasses.fields(cls)}
        unknown = sorted(set(description) - set(fields))
        if unknown:
            raise ArgumentError(f"a card has no {unknown[0]!r}; it has {', '.join(fields)}")
        preprocessing = description.get("preprocessing")
        if not isinstance(preprocessing, dict):
            raise ArgumentError(f"a card needs preprocessing, got {preprocessing!r}")
        read = {"preprocessing": Preprocessing.from_dict(preprocessing)}
        target = description.get("target_preprocessing")
        if target is not None:
            if not isinstance(target, dict):
                raise ArgumentError(f"a card's target_preprocessing is no description: {target!r}")
            read["target_preprocessing"] = Preprocessing.from_dict(target)
        try:
            return cls(**description | read)
        except (TypeError, KeyError, AttributeError) as error:
            raise ArgumentError(f"a card's fields do not fit: {error}") from None


def _figure(name: str, value: Any) -> float:
    try:
        figure = float(value)
    except (TypeError, ValueError):
        raise ArgumentError(f"the metric {name} must be a number, got {value!r}") from None
    if not math.isfinite(figure):
        raise ArgumentError(f"the metric {name} must be finite, got {figure}")
    return figure


def _plain(field: str, value: Any) -> dict[str, Any]:
    try:
        plain = json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"a card's {field} must be plain values: {error}") from None
    if not isinstance(plain, dict):
        raise ArgumentError(f"a card's {field} must be a dictionary, got {value!r}")
    return plain


def readme(card: Card, *, samples: bool = False) -> str:
    """The README of a model directory: metadata for the Hub, then what a reader wants to know.

    Args:
        card: What is known of the model.
        samples: Whether `samples.png` is beside it.

    Returns:
        Markdown with a YAML head. The code in it runs: from the Hub when the card names a
        repository, else from inside the directory.

    Example:
        >>> from keras_arch.hub import Card
        >>> from keras_arch.hub.card import readme
        >>> from keras_arch.preprocessing import Preprocessing
        >>> card = Card("digits", "CIFARResNet", {"depth": 20}, "image-classification",
        ...             Preprocessing(size=(8, 8), channels=1), repository="user/digits")
        >>> 'keras_arch.hub.load_with_card("hf://user/digits")' in readme(card)
        True
    """
    sections = [
        f"---\n{_metadata(card)}\n---",
        f"# {card.name}",
        "![Samples](samples.png)" if samples else "",
        card.description.strip(),
        f"Fine-tuned from `{card.base}`." if card.base else "",
        f"`{card.architecture}({_arguments(card.arguments)})`, saved with keras_arch. "
        "It is made of stock Keras layers and opens in plain Keras too.",
        "## Use",
        _usage(card),
        _plain_keras(card),
        _inference(card),
        _classes(card),
        "## Pixels",
        _pixels(card),
        _table("Figures", card.metrics),
        _datasets(card),
        f"## Training\n\n```yaml\n{_yaml(card.recipe)}\n```" if card.recipe else "",
        f"## Paper\n\n{card.paper}" if card.paper else "",
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _metadata(card: Card) -> str:
    from huggingface_hub import EvalResult, ModelCardData

    datasets = [name for name in card.datasets if _HUB_DATASET.fullmatch(name)]
    pipeline = _PIPELINES.get(card.task)
    more = [card.task] if pipeline not in (None, card.task) else []
    results = [
        EvalResult(
            task_type=card.task,
            dataset_type=datasets[0] if datasets else "other",
            dataset_name=_shown(card.datasets[0]) if card.datasets else "unnamed",
            metric_type=name,
            metric_value=value,
        )
        for name, value in card.metrics.items()
    ]
    data = ModelCardData(
        library_name="keras",
        license=card.license,
        pipeline_tag=pipeline,
        datasets=datasets or None,
        tags=["keras_arch", card.architecture, *more],
        model_name=card.name,
        base_model=_repository(card.base),
        eval_results=results or None,
    )
    return data.to_yaml()


def _repository(base: str | None) -> str | None:
    """The Hub's name of what a model was fine-tuned from, if it is there."""
    if base is None or not base.startswith("hf://"):
        return None
    return base.removeprefix("hf://").partition("@")[0]


def _usage(card: Card) -> str:
    place = f"hf://{card.repository}" if card.repository else "."
    note = "" if card.repository else "  # from inside this folder"
    lines = [
        "import keras",
        "import keras_arch",
        "",
        f'opened = keras_arch.hub.load_with_card("{place}"){note}',
    ]
    if card.latent:
        draw = _DRAWS[card.latent["distribution"]].format(**card.latent)
        inputs = "latent"
        lines.append(f"latent = keras.random.{draw}")
        if card.task == "conditional-image-generation":
            inputs = "[latent, label]"
            lines.append(
                f"label = keras.ops.arange(16) % {len(card.labels)}  # Of opened.card.labels"
            )
        lines.append(
            f"images = opened.card.preprocessing.to_pixels(opened.model({inputs}))  # uint8"
        )
    else:
        height, width, channels = card.preprocessing.input_shape
        lines.append(
            f'images = keras.ops.zeros((1, {height}, {width}, {channels}), "uint8")'
            "  # yours, of any size"
        )
        if card.task == "image-to-image":
            lines += [
                "inputs = opened.card.preprocessing(images)",
                "outputs = keras_arch.trainers.translate(opened.model, inputs)",
                "pixels = opened.card.output_preprocessing.to_pixels(outputs)  # uint8",
            ]
        else:
            lines.append("outputs = opened.model(opened.card.preprocessing(images))")
        if card.task == "image-segmentation":
            lines.append("classes = keras.ops.argmax(outputs, -1)  # numbers of opened.card.labels")
        elif card.labels:
            lines.append("labels = [opened.card.labels[i] for i in keras.ops.argmax(outputs, -1)]")
    return "```python\n" + "\n".join(lines) + "\n```"


def _plain_keras(card: Card) -> str:
    place = f"hf://{card.repository}" if card.repository else "."
    return (
        "Without keras_arch:\n\n```python\nimport keras\n\n"
        f'model = keras.saving.load_model("{place}")\n```'
    )


def _inference(card: Card) -> str:
    """What an image translator keeps of training when it is used, if its builder lets choose."""
    if card.task != "image-to-image":
        return ""
    norm = _argument(card, "inference_norm")
    dropout = _argument(card, "inference_dropout")
    statistics = {
        "batch": "the statistics of the batch at hand",
        "moving": "the moving averages of training",
        "instance": "the statistics of each image",
    }.get(norm)
    if statistics is None:
        return ""
    text = (
        f"At inference it normalises with {statistics} and "
        f"{'keeps dropout' if dropout else 'has no dropout'} (`inference_norm={norm!r}`, "
        f"`inference_dropout={bool(dropout)}`)."
    )
    if norm != "batch" and not dropout:
        return text
    return (
        f"{text} In plain Keras call it as `model(inputs)` inside `with keras.StatelessScope():`, "
        "one image at a time: `model.predict` and `training=False` would switch that off, and a "
        "call outside the scope changes what the next one gives."
    )


def _argument(card: Card, name: str) -> Any:
    """An argument of the builder, or its default; `None` where there is no such argument."""
    from keras_arch import models

    if name in card.arguments:
        return card.arguments[name]
    if card.architecture not in models.list_models():
        return None
    parameter = entry(card.architecture).arguments.get(name)
    return parameter.default if parameter else None


def _classes(card: Card) -> str:
    if card.task == "image-segmentation":
        return _painted_classes(card)
    if card.task != "conditional-image-generation":
        return ""
    listed = [f"{i} {label}" for i, label in enumerate(card.labels[:_LISTED_CLASSES])]
    more = len(card.labels) - len(listed)
    return f"Labels: {', '.join(listed)}{f' and {more} more' if more else ''}."


def _painted_classes(card: Card) -> str:
    """A table of the classes of pixels and their colours."""
    colors = card.colors or [None] * len(card.labels)
    rows = [
        f"| {number} | {label} | {'#{:02x}{:02x}{:02x}'.format(*color) if color else ''} |"
        for number, (label, color) in enumerate(zip(card.labels, colors, strict=True))
    ]
    return "| Class | Name | Colour |\n|---|---|---|\n" + "\n".join(rows)


def _pixels(card: Card) -> str:
    """How pixels and numbers belong together, at either end."""
    if card.latent:
        return (
            f"The model makes {_images(card.preprocessing)} y: {_formula('y', card.preprocessing)}."
        )
    p = card.preprocessing
    way = f"`{p.resize}` brings others there"
    if p.crop is not None:
        sides = sorted({math.floor(side / p.crop) for side in p.size})
        way = f"the centre of others, whose shorter side `{p.resize}` brings to "
        way += " or ".join(map(str, sides))
    seen = f"The model sees {_images(p)} ({way}): "
    seen += f"{_formula('input', p)}."
    if card.task != "image-to-image":
        return seen
    if card.target_preprocessing is None:
        return f"{seen} What it makes is scaled alike."
    made = card.target_preprocessing
    return f"{seen} It makes {_images(made)} y: {_formula('y', made)}."


def _images(p: Preprocessing) -> str:
    height, width, channels = p.input_shape
    colour = "grey" if channels == 1 else f"colour ({p.channel_order.upper()})"
    return f"{height}x{width} {colour} images"


def _formula(name: str, p: Preprocessing) -> str:
    formula = f"pixel * {p.scale:.10g}"
    if p.mean != 0:
        formula = f"{formula} - {_constant(p.mean, 'mean')}"
    if p.std != 1:
        formula = f"({formula}) / {_constant(p.std, 'std')}"
    return f"`{name} = {formula}` for pixels in [0, 255]"


def _constant(value: Any, name: str) -> str:
    """A number or a few; a whole mean image is only pointed to."""
    if isinstance(value, float):
        return f"{value:.10g}"
    if value and isinstance(value[0], float):
        return "[" + ", ".join(f"{number:.10g}" for number in value) + "]"
    return f"the {name} image in keras_arch.json"


def _datasets(card: Card) -> str:
    if not card.datasets:
        return ""
    return "## Data\n\n" + ", ".join(_shown(name) for name in card.datasets)


def _shown(dataset: str) -> str:
    """A dataset's name without the folders of the machine it lay on."""
    kind, colon, path = dataset.partition(":")
    return f"{kind}:{PurePath(path).name}" if colon else dataset


def _table(title: str, figures: dict[str, float]) -> str:
    if not figures:
        return ""
    rows = [f"| {name} | {value:.6g} |" for name, value in figures.items()]
    return f"## {title}\n\n| Metric | Value |\n|---|---|\n" + "\n".join(rows)


def _arguments(arguments: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in arguments.items())


def _yaml(values: dict[str, Any]) -> str:
    import yaml

    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True).strip()
