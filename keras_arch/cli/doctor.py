"""Command `doctor`."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from keras_arch.cli._lazy import quiet_loading
from keras_arch.cli._output import table

if TYPE_CHECKING:
    from keras_arch.environment import Check


def doctor(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object instead of tables.")
    ] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="Leave out what needs TensorFlow: devices, precision.")
    ] = False,
) -> None:
    """Check versions, machine, Hub, cluster and devices, and tell what will not work.

    Exit code 0: all is well. 1: something will not work; its lines say error, and what to do.
    """
    from keras_arch.environment import STATUSES

    found: list[Check] = []
    section: list[Check] = []
    for check in _checks(quick):
        if section and section[0].section != check.section:
            _print(section, as_json)
            section = []
        section.append(check)
        found.append(check)
    _print(section, as_json)
    counts = {status: sum(each.status == status for each in found) for status in STATUSES}
    if as_json:
        print(json.dumps({"checks": [vars(each) for each in found], "counts": counts}, indent=1))
    else:
        errors = [each for each in found if not each.works]
        for each in errors:
            print(f"will not work: {each.section}, {each.name}: {each.message}")
        if not errors:
            print("all is well")
    raise typer.Exit(1 if counts["error"] else 0)


def _checks(quick: bool) -> "Iterator[Check]":
    from keras_arch import environment

    yield from environment.quick_checks()
    if not quick:
        with quiet_loading():
            yield from environment.tensorflow_checks()


def _print(section: "list[Check]", as_json: bool) -> None:
    if section and not as_json:
        rows = [(each.section, each.name, each.status, each.message) for each in section]
        table(("section", "checked", "status", "found"), rows)
