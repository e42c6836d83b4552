"""Command `generate`."""

from pathlib import Path
from typing import Annotated

import typer

from keras_arch.cli._lazy import api
from keras_arch.cli._options import Ref


def generate(
    ref: Ref,
    count: Annotated[int, typer.Option(help="Number of images.")] = 64,
    seed: Annotated[int | None, typer.Option(help="The same seed gives the same images.")] = None,
    labels: Annotated[
        list[str] | None,
        typer.Option("--label", help="Class to generate, by number or name; repeatable."),
    ] = None,
    out: Annotated[Path, typer.Option(metavar="FILE.png")] = Path("samples.png"),
) -> None:
    """Generate images into one PNG file."""
    print(api().generate(ref, count, seed, out, labels=labels))
