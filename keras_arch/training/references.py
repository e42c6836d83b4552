"""Loading of models by reference, and the data that they were trained on."""

import os
from pathlib import Path
from typing import Any

from keras_arch import config, hub, presets
from keras_arch.errors import ArgumentError
from keras_arch.hub import references
from keras_arch.hub.training_command import without_folders


def model_uri(ref: str | os.PathLike[str]) -> str | Path:
    """The location of the model of a reference.

    Args:
        ref: As for `hub.load`: a run directory, a model directory, the name of a config (its
            finished run in `runs/NAME`, else its repository), `hf://user/repo[@revision]` or
            `file://...`.

    Returns:
        The path of a model directory, or a URI.

    Raises:
        ArgumentError, HubError: If there is no such model.
        RunError: If it is a run that has not finished.

    Example:
        >>> model_uri("hf://user/repo@main")
        'hf://user/repo@main'
    """
    place = references.parse(ref)
    if isinstance(place, references.Folder) and place.url is None:
        return place.path
    return str(place)


def run_config(ref: str | os.PathLike[str]) -> config.TaskConfig | None:
    """The config of a finished run, or `None` where the reference is no run on this machine."""
    place = references.parse(ref)
    if not isinstance(place, references.Folder) or place.url is not None:
        return None
    if place.path == Path(ref).expanduser():
        return None
    # Of a run, the model is in a folder of it.
    run = place.path.parent
    return config.load(run / references.RUN_CONFIG) if references.is_run(run) else None


def load_model(
    ref: str | os.PathLike[str], *, token: str | None = None, training: bool = False
) -> hub.LoadedModel:
    """Load a model whose card says what its inputs and outputs are.

    Args:
        ref: As in `model_uri`.
        token: For a private repository.
        training: Whether to load the networks of `training/` too.

    Raises:
        HubError: If it is not there, cannot be reached or is not what its record says.
        ArgumentError: If it has no card.
    """
    # A run of a task of another package names the modules that register it.
    run_config(ref)
    loaded = hub.load_with_card(ref, token=token, training=training)
    if loaded.card is None:
        raise ArgumentError(
            f"{ref} was not saved by keras_arch, so its preprocessing and the meaning of its "
            "outputs are unknown; load it in Python with hub.load"
        )
    return loaded


def training_data(ref: str | os.PathLike[str], card: hub.Card) -> dict[str, Any]:
    """The data settings that a model was trained with.

    A run on this machine knows the paths, a card only their last parts. The model of a shipped
    config learned from the data of that config where these are the same.
    """
    if checked := run_config(ref):
        return checked.data.model_dump()
    settings = card.recipe.get("data", {})
    if isinstance(ref, str) and ref in presets.names():
        source = presets.read(ref)["data"]["source"]
        if without_folders(source) == settings.get("source"):
            return settings | {"source": source}
    return settings
