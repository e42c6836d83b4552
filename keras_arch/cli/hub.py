"""Commands `push` and `pull`."""

from pathlib import Path
from typing import Annotated

import typer

from keras_arch.cli import _checks
from keras_arch.cli._lazy import api, quiet_loading
from keras_arch.cli._options import Ref


def push(
    ref: Ref,
    repository: Annotated[
        str, typer.Argument(metavar="REPO", help="user/repo, or file://FOLDER/user/repo.")
    ],
    private: Annotated[
        bool, typer.Option("--private", help="Create a new repository as private.")
    ] = False,
    revision: Annotated[str | None, typer.Option(help="Branch.", show_default="main")] = None,
) -> None:
    """Upload the model of a run to the Hugging Face Hub."""
    _checks.check_model(ref)
    print(api().push(ref, repository, private=private, revision=revision))


def pull(
    ref: Ref, directory: Annotated[Path, typer.Argument(metavar="DIR", help="New folder.")]
) -> None:
    """Download a model into a folder."""
    with quiet_loading():
        from keras_arch import hub
    print(hub.pull(ref, directory))
