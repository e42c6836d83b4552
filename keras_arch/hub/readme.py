"""The README of a model directory, written from its card."""

import math
import re
from typing import Any

from keras_arch import registry
from keras_arch.hub.card import Card
from keras_arch.hub.training_command import training_command, without_folders
from keras_arch.preprocessing import Preprocessing

_OWN_DATA = "`data.source` names a file or folder of your own; write its whole path."
_HUB_DATASET = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(?:/[A-Za-z0-9_][A-Za-z0-9_.-]*)?")


def readme(card: Card, *, samples: bool = False) -> str:
    """The README of a model directory: metadata for the Hub, then text for people.

    Args:
        card: The model's card.
        samples: Whether `samples.png` is beside it.

    Returns:
        Markdown with a YAML head. The code in it runs: from the Hub when the card names a
        repository, else from inside the directory.

    Example:
        >>> card = Card("digits", "CIFARResNet", {"depth": 20}, "image-classification",
        ...             Preprocessing(size=(8, 8), channels=1), repository="user/digits")
        >>> 'load_with_card("hf://user/digits")' in readme(card)
        True
    """
    import yaml

    task = registry.TASKS.get(card.task)
    place = f"hf://{card.repository}" if card.repository else "."
    arguments = ", ".join(f"{name}={value!r}" for name, value in card.arguments.items())
    metrics = "\n".join(f"| {name} | {value:.6g} |" for name, value in card.metrics.items())
    recipe = yaml.safe_dump(card.recipe, sort_keys=False, allow_unicode=True).strip()
    command = training_command(card)
    note = "" if card.repository else "  # from inside this folder"
    load = f'loaded = keras_arch.hub.load_with_card("{place}"){note}'
    example = ["```python", "import keras", "import keras_arch", "", load]
    example += [*task.readme_example(card), "```"]
    sections = [
        f"---\n{_metadata(card, task.pipeline_tag)}\n---",
        f"# {card.name}",
        f"![{task.picture}](samples.png)\n\n*{task.picture}*" if samples else "",
        card.description.strip(),
        f"Fine-tuned from `{card.base}`." if card.base else "",
        f"`{card.architecture}({arguments})`, saved with keras_arch. "
        "It consists of stock Keras layers and opens in plain Keras too.",
        "## Use",
        "\n".join(example),
        "Without keras_arch:",
        f'```python\nimport keras\n\nmodel = keras.saving.load_model("{place}")\n```',
        *task.readme_sections(card),
        "## Pixels",
        task.readme_pixels(card),
        f"## Metrics\n\n| Metric | Value |\n|---|---|\n{metrics}" if metrics else "",
        _measured_on(card),
        _data(card),
        "## Training" if card.recipe else "",
        f"```shell\n{command}\n```" if command else "",
        _OWN_DATA if command and "data.source=" in command else "",
        f"```yaml\n{recipe}\n```" if card.recipe else "",
        f"## Paper\n\n{card.paper}" if card.paper else "",
        f"## License\n\n{_license(card)}",
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _split(card: Card) -> str | None:
    """The split that the metrics were measured on, as far as the recipe names it."""
    settings = card.recipe.get("data")
    # Generators are compared with the images that they learnt from.
    split = "train" if card.latent else "test"
    found = settings.get(split) if isinstance(settings, dict) else None
    return found if isinstance(found, str) else None


def _measured_on(card: Card) -> str:
    split = _split(card)
    if not card.metrics or not card.datasets or split is None:
        return ""
    return f"Measured on `{split}` of `{without_folders(card.datasets[0])}`."


def _data(card: Card) -> str:
    """The data sets, their splits and the augmentation."""
    if not card.datasets:
        return ""
    names = ", ".join(without_folders(name) for name in card.datasets)
    settings = card.recipe.get("data")
    settings = settings if isinstance(settings, dict) else {}
    # Generators may learn from a test split too; it is then no other part.
    uses = {"train": "Training", "validation": "Validation", "test": "Test"}
    rows = [
        f"| {use} | `{settings[split]}` |"
        for split, use in uses.items()
        if settings.get(split) and not (card.latent and split != "train")
    ]
    augment = settings.get("augment")
    if rows and augment and isinstance(augment, list):
        rows.append(f"| Augmentation | {', '.join(f'`{name}`' for name in augment)} |")
    table = "\n".join(["| Use | Split |", "|---|---|", *rows]) if rows else ""
    pixels = "All images are preprocessed as described under Pixels." if rows else ""
    return "\n\n".join(part for part in ("## Data", names, table, pixels) if part)


def _license(card: Card) -> str:
    if card.license != "other":
        return f"`{card.license}`"
    return "No standard license: the terms of the data apply. The description names them."


def _metadata(card: Card, pipeline: str | None) -> str:
    from huggingface_hub import EvalResult, ModelCardData

    datasets = [name for name in card.datasets if _HUB_DATASET.fullmatch(name)]
    more = [card.task] if pipeline not in (None, card.task) else []
    results = [
        EvalResult(
            task_type=card.task,
            dataset_type=datasets[0] if datasets else "other",
            dataset_name=without_folders(card.datasets[0]) if card.datasets else "unnamed",
            dataset_split=_split(card),
            metric_type=name,
            metric_value=value,
        )
        for name, value in card.metrics.items()
    ]
    # The repository that a model was fine-tuned from, if it is on the Hub.
    base = card.base and re.match("hf://([^@]*)", card.base)
    data = ModelCardData(
        library_name="keras",
        license=card.license,
        pipeline_tag=pipeline,
        datasets=datasets or None,
        tags=["keras_arch", card.architecture, *more],
        model_name=card.name,
        base_model=base[1] if base else None,
        eval_results=results or None,
    )
    return data.to_yaml()


def describe_input(preprocessing: Preprocessing) -> str:
    """How pixels become the input of a model, in one sentence.

    Example:
        >>> describe_input(Preprocessing((8, 8), 1))
        'The model sees 8x8 grey images (`bilinear` brings others there): `input = pixel * ...
    """
    p = preprocessing
    way = f"`{p.resize}` brings others there"
    if p.crop is not None:
        sides = sorted({math.floor(side / p.crop) for side in p.size})
        way = f"the centre of others, whose shorter side `{p.resize}` brings to "
        way += " or ".join(map(str, sides))
    return f"The model sees {_images(p)} ({way}): {_formula('input', p)}."


def describe_output(preprocessing: Preprocessing, subject: str = "The model") -> str:
    """How the images that a model generates become pixels, in one sentence.

    Example:
        >>> describe_output(Preprocessing((8, 8), 1))
        'The model makes 8x8 grey images y: `y = pixel * 0.003921568627` for pixels in [0, 255].'
    """
    return f"{subject} makes {_images(preprocessing)} y: {_formula('y', preprocessing)}."


def _images(p: Preprocessing) -> str:
    height, width, channels = p.input_shape
    colour = {1: "grey images", 3: f"colour ({p.channel_order.upper()}) images"}
    return f"{height}x{width} {colour.get(channels, f'images of {channels} channels')}"


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
