"""Command `weights`."""

from typing import Annotated, Any

import typer

from keras_arch import presets
from keras_arch.cli import _index
from keras_arch.cli._output import table

_CONVERTERS = {
    "keras.applications": "keras_arch.convert.from_keras_applications(MODEL)",
    "KerasHub": "keras_arch.convert.from_keras_hub(MODEL)",
}


def weights(
    filter: Annotated[
        str, typer.Argument(metavar="[FILTER]", help="Shell pattern or part of an architecture.")
    ] = "*",
) -> None:
    """List the weights of each architecture, and how they are loaded.

    A published model loads by the name of its config: ResNet50(weights="resnet50-imagenet").
    Weights of other libraries are converted. Repositories of timm and transformers on the Hugging
    Face Hub load by their URI too: ResNet50(weights="hf://timm/resnet50.a1_in1k").
    """
    known = _index.read()
    published: dict[str, list[tuple[str, str, str]]] = {}
    for config in presets.names():
        content = presets.read(config)
        network = content.get("model") or content.get("generator") or {}
        if "repository" in content:
            row = (config, f'weights="{config}"', _expected(content.get("expected", {})))
            published.setdefault(network.get("name", ""), []).append(row)
    rows = []
    for name in _index.matching(filter):
        rows += [(name, *row) for row in published.get(name, ())]
        for source in known[name].weights if name in known else ():
            default = f'keras_arch.convert.from_torch("{name}", FILE)'
            rows.append((name, source, _CONVERTERS.get(source, default), ""))
    table(("architecture", "weights", "how to load", "expected"), rows)


def _expected(metrics: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in metrics.items())
