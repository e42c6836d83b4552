"""Keras' model files, read and written so that neither a file nor a disk can end the process.

Keras writes weights through HDF5, which crashes the process when the disk is full; and it creates
the variables that a config asks for before it looks at the weights, also a terabyte of them. Here
the same functions of Keras write to memory first, and build a model without values first. They are
not public; a test compares the files with those of Keras' own functions.
"""

import io
import math
import os
from pathlib import Path

import keras
from keras.src.backend.common import global_state
from keras.src.backend.common.variables import initialize_all_variables
from keras.src.saving import saving_lib

WEIGHTS = "model.weights.h5"


def save_weights(model: keras.Model, path: str | os.PathLike[str]) -> Path:
    """Write the file that `model.save_weights` writes; a full disk is an `OSError`.

    Args:
        model: A built model.
        path: The file, which is returned.

    Example:
        >>> net = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
        >>> net.load_weights(save_weights(net, "net.weights.h5"))
    """
    return _write_state(model, Path(path), None)


def save_model(model: keras.Model, directory: Path) -> None:
    """Write the files of `keras.saving.save_model(..., zipped=False)` into a folder.

    Args:
        model: A built model.
        directory: An empty folder.

    Raises:
        OSError: If the disk is full.
    """
    config, metadata = saving_lib._serialize_model_as_json(model)
    (directory / "metadata.json").write_text(metadata, encoding="utf-8")
    (directory / "config.json").write_text(config, encoding="utf-8")
    assets = directory / "assets"
    store = saving_lib.DiskIOStore(str(assets), mode="w")
    try:
        _write_state(model, directory / WEIGHTS, store)
    finally:
        store.close()
    if assets.is_dir() and not any(assets.iterdir()):
        assets.rmdir()


def load_model(directory: Path) -> keras.Model:
    """Open the folder of a model, not compiled; its weights are no larger than their file.

    Raises:
        ValueError: If its config declares more; nothing was allocated then. Others are Keras' own.
    """
    config = (directory / "config.json").read_text(encoding="utf-8")
    try:
        # Variables get their values only when their sizes are known.
        with keras.StatelessScope(initialize_variables=False):
            model = saving_lib._model_from_config(config, None, compile=False, safe_mode=True)
        _check_size(model, directory / WEIGHTS)
        initialize_all_variables()
    finally:
        global_state.set_global_attribute("uninitialized_variables", [])
    if (directory / "assets").is_dir():
        return keras.saving.load_model(str(directory), compile=False, safe_mode=True)
    model.load_weights(directory / WEIGHTS)
    return model


def _write_state(model: keras.Model, path: Path, assets: saving_lib.DiskIOStore | None) -> Path:
    content = io.BytesIO()
    weights = saving_lib.H5IOStore(content, mode="w")
    try:
        saving_lib._save_state(
            model,
            weights_store=weights,
            assets_store=assets,
            inner_path="",
            visited_saveables=set(),
        )
    finally:
        weights.close()
    path.write_bytes(content.getbuffer())
    return path


def _check_size(model: keras.Model, file: Path) -> None:
    # A weight takes a byte at least.
    declared = sum(math.prod(variable.shape) for variable in model.variables)
    stored = file.stat().st_size
    if declared > stored:
        raise ValueError(
            f"config.json declares {declared:,} weights, more than the {stored:,} bytes of "
            f"{file.name} can hold"
        )
