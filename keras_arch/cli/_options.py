"""Arguments and options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

from keras_arch.cli import _completion

REF = (
    r"A run directory, a model directory, the name of a config (its run in runs/NAME, else the "
    r"model that comes with the package, else the published one), hf://user/repo\[@revision] or "
    "file://FOLDER/user/repo."
)
TRAINED_ON = "the data it was trained on"
Ref = Annotated[
    str,
    typer.Argument(
        metavar="REF", help=REF, show_default=False, autocompletion=_completion.references
    ),
]
Images = Annotated[
    list[str],
    typer.Argument(metavar="IMAGE...", help="Image files, folders of them, or patterns: '*.png'."),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a value of the config; repeatable."),
]
Epochs = Annotated[
    int | None, typer.Option(min=1, help="Number of epochs.", show_default="the config's")
]
BatchSize = Annotated[
    int | None,
    typer.Option(min=1, help="Images in a step, over all devices.", show_default="the config's"),
]
LearningRate = Annotated[
    float | None,
    typer.Option(
        "--lr",
        metavar="RATE",
        help="Highest learning rate; a schedule keeps its form.",
        show_default="the config's",
    ),
]
Strategy = Annotated[
    str, typer.Option(metavar="NAME", help="auto, none, mirrored, multi_worker or tpu.")
]
HostTimeout = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS",
        help="Over several hosts, how long to wait for one that is silent or has not come.",
        show_default="KERAS_ARCH_HOST_TIMEOUT, else 120",
    ),
]
# Both names wherever there is one of them.
SOURCE, DATA = "--source", "--data"
Source = Annotated[
    str | None, typer.Option(SOURCE, DATA, help="Data source.", show_default=TRAINED_ON)
]
DataDir = Annotated[str | None, typer.Option(help="Directory of the prepared data sets.")]
Split = Annotated[str | None, typer.Option(help="Split of the data, such as test.")]
RunDirectory = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Run directory.", show_default="runs/NAME")
]
Resume = Annotated[bool, typer.Option("--resume", help="Continue what is in the run directory.")]
Limit = Annotated[
    int | None, typer.Option(min=1, help="Number of images used.", show_default="all")
]
