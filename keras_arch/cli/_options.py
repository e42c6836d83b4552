"""What several commands take."""

from pathlib import Path
from typing import Annotated

import typer

REF = (
    r"A run directory, a model directory, the name of a config, hf://user/repo\[@revision] or "
    "file://FOLDER/user/repo."
)
Ref = Annotated[str, typer.Argument(metavar="REF", help=REF, show_default=False)]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a value; may be repeated."),
]
Strategy = Annotated[
    str, typer.Option(metavar="NAME", help="auto, none, mirrored, multi_worker or tpu.")
]
Source = Annotated[
    str | None, typer.Option(help="Data source.", show_default="what it was trained on")
]
DataDir = Annotated[str | None, typer.Option(help="Where the data is kept.")]
Split = Annotated[str | None, typer.Option(help="Part of the data, such as test.")]
RunDirectory = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Run directory.", show_default="runs/NAME")
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the run in DIR.")]
Images = Annotated[list[str], typer.Argument(metavar="IMAGE...", help="Image files.")]
