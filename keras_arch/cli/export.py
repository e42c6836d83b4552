"""Command `export`; `keras_arch.export.savedmodel` writes the SavedModel."""

from pathlib import Path
from typing import Annotated

import typer

from keras_arch.cli import _checks
from keras_arch.cli._lazy import api
from keras_arch.cli._options import Ref
from keras_arch.files import check_folder


def export(
    ref: Ref,
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Parent of NAME/VERSION/.")],
    version: Annotated[
        int | None, typer.Option(min=1, help="Version number.", show_default="the next free one")
    ] = None,
    max_batch: Annotated[
        int | None,
        typer.Option(
            min=1, help="Most examples of a request.", show_default="256 MiB of inputs and outputs"
        ),
    ] = None,
    max_pixels: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Most pixels of an image of a request, before and after it is resized.",
            show_default="67108864",
        ),
    ] = None,
) -> None:
    """Export a model as a SavedModel for TF Serving."""
    _checks.check_model(ref, "signatures")
    check_folder(directory)
    print(
        api().export_model(
            ref, directory, version=version, max_batch=max_batch, max_pixels=max_pixels
        )
    )
