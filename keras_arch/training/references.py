"""Where a model is, and opening it."""

from pathlib import Path
from typing import Any

from keras_arch import config, hub, presets
from keras_arch.errors import ArgumentError, RunError
from keras_arch.training.run_directory import RunDirectory


def model_uri(ref: str | Path) -> str | Path:
    """Where the model of a reference is, in the terms of `hub.load_with_card`.

    Args:
        ref: A run directory, a model directory, the name of a config (its finished run in
            `runs/NAME`, else its repository), `hf://user/repo[@revision]` or `file://...`.

    Raises:
        RunError: If it is a run that has not finished.

    Example:
        >>> model_uri("hf://user/repo@main")
        'hf://user/repo@main'
    """
    if "://" in str(ref):
        return str(ref)
    run = RunDirectory(ref)
    if not run.path.exists() and str(ref) in presets.names():
        run = RunDirectory(Path("runs") / str(ref))
        if not run.model.exists():
            return str(ref)
    if run.model.exists():
        return run.model
    if run.config.exists():
        raise RunError(
            f"the run in {run.path} has not finished; go on with: keras-arch train {run.config} "
            f"--out {run.path} --resume"
        )
    return run.path if run.path.exists() else str(ref)


def open_model(ref: str | Path, *, token: str | None = None) -> "hub.LoadedModel":
    """Open a model with its card; `ref` is as in `model_uri`.

    Raises:
        HubError: If it is not there, cannot be reached or is not what its record says.
    """
    return hub.load_with_card(model_uri(ref), token=token)


def opened_with_card(
    ref: str | Path, *, token: str | None = None, training: bool = False
) -> "hub.LoadedModel":
    """Open a model that says what its inputs and outputs mean.

    Args:
        ref: As in `model_uri`.
        token: For a private repository.
        training: Whether what it was trained with is wanted too.

    Raises:
        ArgumentError: If it says nothing.
    """
    opened = hub.load_with_card(model_uri(ref), token=token, training=training)
    if opened.card is None:
        raise ArgumentError(
            f"{ref} was not saved by keras_arch, so nothing says how its pixels are prepared or "
            "what its outputs mean; open it in Python with hub.load"
        )
    return opened


def trained_on(ref: str | Path, card: "hub.Card") -> dict[str, Any]:
    """What the model was trained on: the run's own config knows the paths, a card does not."""
    for run in (RunDirectory(ref), RunDirectory(Path("runs") / str(ref))):
        if "://" not in str(ref) and run.config.exists() and run.model.exists():
            return config.load(run.config).data.model_dump()
    return card.recipe.get("data", {})
