"""Command `show`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from keras_arch import presets
from keras_arch.cli import _checks, _completion, _index
from keras_arch.cli._lazy import api, quiet_loading
from keras_arch.cli._options import Settings
from keras_arch.cli._output import table
from keras_arch.errors import ArgumentError

if TYPE_CHECKING:
    import keras

    from keras_arch.hub import Card


def show(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="An architecture, or a REF as in other commands.",
            autocompletion=_completion.shown,
        ),
    ],
    layers: Annotated[bool, typer.Option("--layers", help="Build it and list its layers.")] = False,
    settings: Settings = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Draw the architecture.")
    ] = None,
) -> None:
    """Show the facts of an architecture or a model; with --layers, its layers too.

    --set changes arguments of the builder: --set depth=56.
    """
    if plot is not None:
        _checks.check_png(plot, "--plot")
    build = layers or plot is not None or bool(settings)
    model: keras.Model | None = None
    is_reference = "://" in name or name in presets.names() or Path(name).exists()
    if name in _index.read() or name in _index.plugins() or not is_reference:
        facts = _architecture_facts(_index.facts(name))
        if build:
            with quiet_loading():
                from keras_arch import models
            model = models.create(name, **_values(settings))
    elif settings:
        raise ArgumentError(f"--set changes an architecture's arguments; {name} is a saved model")
    elif build:
        loaded = api().load_model(name)
        facts = _card_facts(loaded.card) if loaded.card else []
        model = loaded.model
    else:
        with quiet_loading():
            from keras_arch import hub

            facts = _card_facts(hub.read_card(name))
    if model is None:
        table(("", ""), facts, title=name)
        return
    from keras_arch import models

    facts.append(("trainable parameters", f"{models.trainable_parameters(model):,}"))
    table(("", ""), facts, title=model.name)
    if layers:
        rows = [
            (each.name, type(each).__name__, _shape_text(each.output), f"{each.count_params():,}")
            for each in model.layers
        ]
        table(("layer", "type", "output", "weights"), rows, title="Layers")
    if plot is not None:
        from keras_arch.visualization import diagrams

        print(diagrams.draw(model, plot))


def _architecture_facts(facts: _index.Facts) -> list[tuple[str, str]]:
    rows = [
        ("architecture", facts.name),
        ("summary", facts.summary),
        ("task", facts.task),
        ("paper", facts.paper),
        ("url", facts.url),
        ("default input", " x ".join(map(str, facts.default_input))),
    ]
    rows += [(f"latent ({variant})", name) for variant, name in facts.latent.items()]
    rows += [
        (f"parameters ({call or 'default'})", f"{count:,}")
        for call, count in facts.parameters.items()
    ]
    return rows + [(f"argument {name}", default) for name, default in facts.arguments.items()]


def _card_facts(card: "Card") -> list[tuple[str, str]]:
    rows = [
        ("model", card.name),
        ("summary", " ".join(card.description.split())),
        ("architecture", card.architecture),
        ("task", card.task),
        ("license", card.license),
    ]
    rows += [(f"argument {name}", repr(value)) for name, value in card.arguments.items()]
    rows += [(name, f"{value:.4f}") for name, value in card.metrics.items()]
    if card.labels:
        rows.append(("labels", ", ".join(card.labels)))
    return rows


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
