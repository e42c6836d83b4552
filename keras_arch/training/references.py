"""References to models: run directories, model directories, configs and repositories."""

from pathlib import Path
from typing import Any

from keras_arch import config, hub, presets
from keras_arch.errors import ArgumentError, RunError
from keras_arch.training.run_directory import RunDirectory


def model_uri(ref: str | Path) -> str | Path:
    """The location of the model of a reference, as `hub.load` takes it.

    Args:
        ref: A run directory, a model directory, the name of a config (its finished run in
            `runs/NAME`, else its repository), `hf://user/repo[@revision]` or `file://...`.

    Returns:
        A path or a URI.

    Raises:
        RunError: If it is a run that has not finished.

    Example:
        >>> model_uri("hf://user/repo@main")
        'hf://user/repo@main'
    """
    if "://" in str(ref):
        return str(ref)
    run = RunDirectory(ref)
    if _is_model(run.path):
        return run.path
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


def run_config(ref: str | Path) -> config.TaskConfig | None:
    """The config of a finished run, or `None` where the reference is no run on this machine."""
    if "://" in str(ref):
        return None
    for run in (RunDirectory(ref), RunDirectory(Path("runs") / str(ref))):
        if run.config.exists() and run.model.exists() and not _is_model(run.path):
            return config.load(run.config)
    return None


def _is_model(path: Path) -> bool:
    """Whether a folder is a model directory: its files may come from a repository."""
    return any((path / name).exists() for name in ("keras_arch.json", "config.json"))


def load_model(
    ref: str | Path, *, token: str | None = None, training: bool = False
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
    loaded = hub.load_with_card(model_uri(ref), token=token, training=training)
    if loaded.card is None:
        raise ArgumentError(
            f"{ref} was not saved by keras_arch, so its preprocessing and the meaning of its "
            "outputs are unknown; load it in Python with hub.load"
        )
    return loaded


def without_folders(source: str) -> str:
    """A data source with the last part of its path only.

    Example:
        >>> without_folders("npz:/home/user/cells.npz"), without_folders("digits")
        ('npz:cells.npz', 'digits')
    """
    scheme, colon, path = source.partition(":")
    return f"{scheme}:{Path(path).name}" if colon else scheme


def training_data(ref: str | Path, card: hub.Card) -> dict[str, Any]:
    """The data settings that a model was trained with.

    A run on this machine knows the paths, a card does not.
    """
    checked = run_config(ref)
    return checked.data.model_dump() if checked else card.recipe.get("data", {})
