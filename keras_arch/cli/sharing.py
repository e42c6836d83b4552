"""Commands that hand models on, and the demo."""

from pathlib import Path
from typing import Annotated

import typer

from keras_arch.cli._lazy import api, quiet_loading
from keras_arch.cli._options import Ref


def push(
    ref: Ref,
    repository: Annotated[
        str, typer.Argument(metavar="REPO", help="user/repo, or file://FOLDER/user/repo.")
    ],
    private: Annotated[
        bool, typer.Option("--private", help="A new repository is private.")
    ] = False,
    revision: Annotated[str | None, typer.Option(help="Branch.", show_default="main")] = None,
) -> None:
    """Publish a run's model."""
    print(api().push(ref, repository, private=private, revision=revision))


def pull(
    ref: Ref,
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to make.")],
) -> None:
    """Download a model directory."""
    with quiet_loading():
        from keras_arch import hub
    print(hub.pull(ref, directory))


def export(
    ref: Ref,
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Gets NAME/VERSION/.")],
    version: Annotated[
        int | None, typer.Option(min=1, help="Version number.", show_default="the next free one")
    ] = None,
) -> None:
    """Write a SavedModel for TF Serving."""
    print(api().export_model(ref, directory, version=version))


def demo(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where everything goes.")] = Path("demo"),
) -> None:
    """Train, publish, load back and export a GAN and a classifier on embedded digits."""
    with quiet_loading():
        from keras_arch import demo as demonstration
    demonstration.run(out)
