"""Commands that list: `models`, `weights`, `configs`."""

import json
from typing import Annotated

import typer

from keras_arch import presets, pretrained
from keras_arch.cli import _index
from keras_arch.cli._output import table

_CONVERTERS = {
    "keras.applications": "keras_arch.convert.from_keras_applications(MODEL)",
    "KerasHub": "keras_arch.convert.from_keras_hub(MODEL)",
}
# What is told of a model that is there, where its card has it.
_MEASURED = (
    "accuracy",
    "mean_iu",
    "instance_recall",
    "rand_error",
    "classifier_agreement",
    "fid",
    "parzen",
    "l1",
)
Filter = Annotated[
    str,
    typer.Argument(metavar="[FILTER]", help="Shell pattern or part of a name: 'dcgan*'."),
]


def models(filter: Filter = "*") -> None:
    """List the architectures."""
    known = _index.read()
    rows = []
    for name in _index.matching(filter):
        if facts := known.get(name):
            # Parameters with default arguments, else of the smallest known variant.
            smallest = min(facts.parameters.values(), default=None)
            count = facts.parameters.get("", smallest)
            rows.append((name, facts.task, "" if count is None else f"{count:,}", facts.paper))
        else:
            rows.append((name, "", "", f"from the package {_index.plugins()[name]}"))
    table(("name", "task", "parameters from", "paper"), rows)


def weights(filter: Filter = "*") -> None:
    """List the weights of each architecture, how they are loaded, and what is known of them.

    FILTER chooses architectures, configs of trained models, or tags: keras-arch weights digits.
    A trained model loads by the name of its config: keras_arch.hub.load("resnet20-digits").
    Published weights load by their tag: ResNet50(weights="tv2_in1k"). Other files are converted.
    Repositories of timm and transformers on the Hugging Face Hub load by their URI too:
    ResNet50(weights="hf://timm/resnet50.a1_in1k"). Input is the side in pixels, MB the download.
    """
    known = _index.read()
    trained: dict[str, list[tuple[str, str, str]]] = {}
    for config in presets.names():
        content = presets.read(config)
        how = f'keras_arch.hub.load("{config}")'
        if folder := presets.model_folder(config):
            card = json.loads((folder / "keras_arch.json").read_text(encoding="utf-8"))["card"]
            reached = {k: v for k, v in card["metrics"].items() if k in _MEASURED}
            expected = ", ".join(f"{k} {v:.4g}" for k, v in reached.items())
        else:
            wanted = content.get("expected", {}).items()
            expected = ", ".join(f"{k} {v} expected" for k, v in wanted)
            if not content.get("repository"):
                how += f" after: keras-arch train {config}"
        trained.setdefault(presets.architecture(config), []).append((config, how, expected))
    rows: list[tuple[str, ...]] = []
    nothing = ("",) * 5
    tags = {*_index.matches(filter, {tag for row in pretrained.table() for tag in _tags_of(row)})}
    names = [*_index.architectures(), *presets.names()]
    chosen = {*_index.matches(filter, names)}
    if not tags and not chosen:
        _index.select(filter, names, "architecture, config or tag")
    for name in _index.architectures():
        own = trained.get(name, ())
        rows += [(name, *row, *nothing) for row in own if chosen & {name, row[0]}]
        rows += [
            (name, *_facts_of(row))
            for row in pretrained.tags(name)
            if name in chosen or tags & _tags_of(row)
        ]
        for source in known[name].weights if name in chosen & known.keys() else ():
            default = f'keras_arch.convert.from_torch("{name}", FILE)'
            rows.append((name, source, _CONVERTERS.get(source, default), "", *nothing))
    columns = ("architecture", "weights", "how to load", "accuracy", "source", "licence")
    table((*columns, "input", "MB", "reported by"), rows)


def _tags_of(row: pretrained.Pretrained) -> set[str]:
    """What `weights=` takes for published weights: their tag, "imagenet" where it means them."""
    first = next(iter(pretrained.imagenet(row.architecture)), None)
    return {row.tag, pretrained.IMAGENET} if row == first else {row.tag}


def _facts_of(row: pretrained.Pretrained) -> tuple[str, ...]:
    """Cells of published weights, from the tag to the page that reports the accuracy."""
    # Of the others the builder finds out.
    needed = {k: v for k, v in row.settings.items() if k == "norm" and v is not None}
    how = "".join(
        [f'weights="{row.tag}"', *(f', {key}="{value}"' for key, value in needed.items())]
    )
    how += "".join(f' or weights="{tag}"' for tag in _tags_of(row) - {row.tag})
    accuracy = ""
    if row.accuracy is not None:
        at = f" at {row.evaluated_at}" if row.evaluated_at else ""
        accuracy = f"{row.metric} {row.accuracy:.1f} %{at}"
    facts = (row.source, row.license, row.input, row.megabytes, row.reported)
    return (row.tag, how, accuracy, *("" if fact is None else str(fact) for fact in facts))


def configs(filter: Filter = "*") -> None:
    """List the configs of the package: keras-arch configs unet."""
    rows = []
    for name in _index.select(filter, presets.names(), "config"):
        content = presets.read(name)
        description = " ".join(content.get("description", "").split())
        source = content.get("data", {}).get("source", "")
        rows.append((name, content.get("task", ""), source, description))
    table(("name", "task", "data", "description"), rows)
