"""What there is: architectures and configs."""

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from keras_arch import presets
from keras_arch.cli._lazy import api, quiet_loading
from keras_arch.cli._options import Settings
from keras_arch.cli._output import table
from keras_arch.errors import ArgumentError


def models(
    filter: Annotated[
        str, typer.Argument(metavar="[FILTER]", help="A pattern as in a shell: 'dcgan*'.")
    ] = "*",
) -> None:
    """List the architectures."""
    with quiet_loading():
        from keras_arch import models as builders
    from keras_arch import registry

    pattern = filter if any(sign in filter for sign in "*?[") else f"*{filter}*"
    names = builders.list_models(pattern)
    if not names:
        raise ArgumentError(
            f"no architecture matches {filter!r}; there are {', '.join(builders.list_models())}"
        )
    rows = []
    for entry in map(registry.entry, names):
        # Of the builder without arguments, or the smallest that is known.
        smallest = min(entry.parameters.values(), default=None)
        known = entry.parameters.get("", smallest)
        count = "" if known is None else f"{known:,}"
        rows.append((entry.name, entry.task, count, entry.paper))
    table(("name", "task", "parameters from", "paper"), rows)


def show(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="An architecture, or a REF as elsewhere.")
    ],
    settings: Settings = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Draw the architecture.")
    ] = None,
) -> None:
    """Show what is known of an architecture, and its layers.

    With --set, arguments of the builder are changed: --set depth=56.
    """
    if plot is not None and plot.suffix.lower() != ".png":
        raise ArgumentError(f"--plot writes PNG; give a name that ends in .png, got {str(plot)!r}")
    with quiet_loading():
        from keras_arch import models as builders
    from keras_arch import registry

    if name not in builders.list_models() and _is_reference(name):
        if settings:
            raise ArgumentError(f"--set changes an architecture's arguments; {name} is built")
        opened = api().open_model(name)
        facts = _facts_of_card(opened.card) if opened.card else []
        model = opened.model
    else:
        entry = registry.entry(name)
        model = builders.create(name, **_values(settings))
        facts = _facts_of_entry(entry)
    facts.append(("trainable parameters", f"{builders.trainable_parameters(model):,}"))
    table(("", ""), facts, title=model.name)
    layers = [
        (layer.name, type(layer).__name__, _shape_text(layer.output), f"{layer.count_params():,}")
        for layer in model.layers
    ]
    table(("layer", "kind", "output", "weights"), layers, title="Layers")
    if plot is not None:
        from keras_arch.visualization import diagrams

        print(diagrams.draw(model, plot))


def configs() -> None:
    """List the configs that ship with the package."""
    rows = []
    for name in presets.names():
        content = presets.read(name)
        description = " ".join(content.get("description", "").split())
        source = content.get("data", {}).get("source", "")
        rows.append((name, content.get("task", ""), source, description))
    table(("name", "task", "data", "what it is"), rows)


def _is_reference(name: str) -> bool:
    return "://" in name or name in presets.names() or Path(name).exists()


def _facts_of_entry(entry: Any) -> list[tuple[str, str]]:
    facts = [
        ("architecture", entry.name),
        ("what it is", entry.summary),
        ("task", entry.task),
        ("paper", entry.paper),
        ("address", entry.url),
        ("default input", " x ".join(map(str, entry.default_input))),
    ]
    facts += [(f"latent ({variant})", name) for variant, name in entry.latent.items()]
    facts += [(f"parameters ({call})", f"{count:,}") for call, count in entry.parameters.items()]
    for argument in entry.arguments.values():
        default = "" if argument.default is inspect.Parameter.empty else repr(argument.default)
        facts.append((f"argument {argument.name}", default))
    return facts


def _facts_of_card(card: Any) -> list[tuple[str, str]]:
    facts = [
        ("model", card.name),
        ("what it is", " ".join(card.description.split())),
        ("architecture", card.architecture),
        ("task", card.task),
        ("license", card.license),
    ]
    facts += [(f"argument {name}", repr(value)) for name, value in card.arguments.items()]
    facts += [(name, f"{value:.4f}") for name, value in card.metrics.items()]
    if card.labels:
        facts.append(("labels", ", ".join(card.labels)))
    return facts


def _values(settings: Sequence[str] | None) -> dict[str, Any]:
    """`["depth=56"]` as `{"depth": 56}`; the values are YAML, as in `train --set`."""
    import yaml

    values = {}
    for setting in settings or ():
        key, equals, text = setting.partition("=")
        if not equals or not key:
            raise ArgumentError(f"--set takes key=value (depth=56), got {setting!r}")
        try:
            values[key] = yaml.safe_load(text)
        except yaml.YAMLError:
            raise ArgumentError(f"--set {setting!r}: the value is not YAML") from None
    return values


def _shape_text(output: Any) -> str:
    first = output[0] if isinstance(output, list | tuple) else output
    return " x ".join("?" if size is None else str(size) for size in first.shape[1:])
