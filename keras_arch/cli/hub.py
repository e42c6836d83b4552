"""Commands `push`, `pull` and `publish`."""

from pathlib import Path
from typing import Annotated

import typer

from keras_arch.cli import _checks, _completion
from keras_arch.cli._lazy import api, quiet_loading
from keras_arch.cli._options import Ref
from keras_arch.cli._output import table
from keras_arch.errors import ArgumentError


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


def publish(
    to: Annotated[
        str,
        typer.Option(
            metavar="ORG",
            help="User or organization of the Hub, or file://FOLDER.",
            show_default=False,
        ),
    ],
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME", help="Names of configs.", autocompletion=_completion.configs
        ),
    ] = None,
    all_configs: Annotated[
        bool, typer.Option("--all", help="All configs that have a trained model.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would be done; needs no token.")
    ] = False,
    private: Annotated[
        bool, typer.Option("--private", help="Create new repositories as private.")
    ] = False,
    no_collection: Annotated[
        bool, typer.Option("--no-collection", help="Put the models into no collection.")
    ] = False,
    record: Annotated[
        bool,
        typer.Option("--record", help="Write the repositories into the configs of a checkout."),
    ] = False,
) -> None:
    """Upload the trained models of configs: keras-arch publish --all --to ORG.

    The model of a config is that of its run in runs/NAME, else the one of the package. Each becomes
    the repository ORG/NAME, and all go into the collection keras_arch of ORG. What is there already
    is not sent again: after an error the same command goes on.
    """
    if all_configs == bool(names):
        raise ArgumentError("give names of configs, or --all for every config with a model")
    with quiet_loading():
        from keras_arch import presets
        from keras_arch.hub import publishing
    if record:
        publishing.check_recordable()
    done = publishing.publish(
        to,
        names or None,
        private=private,
        collection=not no_collection,
        dry_run=dry_run,
    )
    rows = []
    for model in done.models:
        metrics = ", ".join(f"{name} {value:.4g}" for name, value in model.metrics.items())
        place = model.repository if model.has_model else model.command
        rows.append((model.name, model.state, place, str(model.directory or ""), metrics))
    table(("config", "state", "where", "model", "metrics"), rows)
    if done.collection:
        print(f"collection: {done.collection}")
    for model in done.models:
        if not model.has_model or presets.read(model.name).get("repository") == model.repository:
            continue
        if record and not dry_run:
            publishing.record_repository(model.name, model.repository)
            print(f"recorded in {presets.path(model.name)}: repository: {model.repository}")
        else:
            print(f"{model.name}.yaml: repository: {model.repository}")
