"""Command `diagnose`."""

from pathlib import Path
from typing import Annotated

import typer

from keras_arch.cli._lazy import api
from keras_arch.cli._options import TRAINED_ON, DataDir, Ref


def diagnose(
    ref: Ref,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the figures.")] = Path(
        "diagnosis"
    ),
    network: Annotated[
        str | None, typer.Option(help="A classifier (REF) that counts the generated classes.")
    ] = None,
    source: Annotated[
        str | None, typer.Option(help="Training images.", show_default=TRAINED_ON)
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Draw a generator's latent interpolation, latent arithmetic, nearest neighbors and modes.

    The figures show the common faults of GANs: jumps between images, memorised training images
    and missing classes (mode collapse).
    """
    for path in api().diagnose(ref, out, network=network, source=source, data_dir=data_dir):
        print(path)
