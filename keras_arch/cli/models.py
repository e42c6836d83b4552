"""Command `models`."""

from typing import Annotated

import typer

from keras_arch.cli import _index
from keras_arch.cli._output import table


def models(
    filter: Annotated[
        str, typer.Argument(metavar="[FILTER]", help="Shell pattern or part of a name: 'dcgan*'.")
    ] = "*",
) -> None:
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
