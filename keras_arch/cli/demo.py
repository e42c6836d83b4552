"""Command `demo`."""

from pathlib import Path
from typing import Annotated

import typer

from keras_arch.cli._lazy import quiet_loading


def demo(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of all results.")] = Path("demo"),
) -> None:
    """Train, push, load and export a GAN and a classifier on embedded digits."""
    with quiet_loading():
        from keras_arch import demo as demonstration
    demonstration.run(out)
