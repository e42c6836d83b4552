"""Command `pull`."""

from pathlib import Path
from typing import Annotated

import typer

from keras_arch.cli._lazy import quiet_loading
from keras_arch.cli._options import Ref


def pull(
    ref: Ref,
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="New folder.")],
) -> None:
    """Download a model into a folder."""
    with quiet_loading():
        from keras_arch import hub
    print(hub.pull(ref, directory))
