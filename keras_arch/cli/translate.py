"""Command `translate`."""

from pathlib import Path
from typing import Annotated

import typer

from keras_arch.cli._lazy import api
from keras_arch.cli._options import Images, Ref


def translate(
    ref: Ref,
    images: Images,
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder of the results, NAME.png each.")
    ] = Path("translated"),
) -> None:
    """Translate image files with a pix2pix or CycleGAN generator."""
    for path in api().translate(ref, images, out):
        print(path)
