"""Command group `experiment`: experiments of the papers, repeated."""

from pathlib import Path
from typing import Annotated, Any

import typer

from keras_arch.cli._lazy import quiet_loading
from keras_arch.cli._options import (
    DATA,
    SOURCE,
    TRAINED_ON,
    DataDir,
    Limit,
    Ref,
    Resume,
    Settings,
    Split,
    Strategy,
)
from keras_arch.cli._output import table
from keras_arch.errors import ArgumentError

experiment = typer.Typer(
    help="Repeat experiments of the papers: measure, plot, write a table.", no_args_is_help=True
)


@experiment.command()
def degradation(
    budget: Annotated[
        int, typer.Option(metavar="EPOCHS", min=1, help="Epochs of each network; paper: 164.")
    ],
    source: Annotated[str, typer.Option(DATA, SOURCE, metavar="SOURCE", help="Data source.")] = (
        "cifar10"
    ),
    depths: Annotated[str, typer.Option(metavar="NUMBERS", help="Depths, 6n+2.")] = ("20,56"),
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder of the runs, the figure and the table.")
    ] = Path("degradation"),
    limit: Limit = None,
    test_limit: Limit = None,
    data_dir: DataDir = None,
    settings: Settings = None,
    strategy: Strategy = "auto",
    resume: Resume = False,
) -> None:
    """Train plain and residual networks of several depths, and plot their errors."""
    try:
        numbers = [int(depth) for depth in depths.split(",")]
    except ValueError:
        raise ArgumentError(f"--depths takes numbers such as 20,56, got {depths!r}") from None
    done = _experiments().degradation(
        budget,
        source=source,
        depths=numbers,
        out=out,
        limit=limit,
        test_limit=test_limit,
        data_dir=data_dir,
        overrides=settings or (),
        strategy=strategy,
        resume=resume,
    )
    rows = []
    for net in done.nets:
        errors = (f"{100 * part[-1]:.2f}" for part in (net.training_error, net.test_error))
        rows.append((net.name, f"{net.parameters:,}", *errors))
    table(("network", "parameters", "training error %", "test error %"), rows)
    _print_files(done)


@experiment.command()
def blocks(
    ref: Ref,
    source: Annotated[
        str | None,
        typer.Option(DATA, SOURCE, metavar="SOURCE", help="Data source.", show_default=TRAINED_ON),
    ] = None,
    split: Split = None,
    data_dir: DataDir = None,
    limit: Limit = None,
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder of the figure and the table.")
    ] = Path("residual_blocks"),
) -> None:
    """Measure how much each residual block changes its input, and the accuracy without it."""
    done = _experiments().blocks(
        ref, source=source, split=split, data_dir=data_dir, limit=limit, out=out
    )
    rows = []
    for block in done.blocks:
        numbers = (f"{block.change:.3f}", f"{block.cosine:.3f}", f"{block.accuracy:.4f}")
        rows.append((block.name, block.shortcut, *numbers))
    rows.append(("(whole network)", "", "", "", f"{done.accuracy:.4f}"))
    table(("block", "shortcut", "change", "cosine", "accuracy without it"), rows)
    _print_files(done)


def _print_files(done: Any) -> None:
    print(f"figure: {done.figure}\ntable: {done.table}")


def _experiments() -> Any:
    with quiet_loading():
        from keras_arch import experiments
    return experiments
