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

import h5py
import keras
import numpy as np
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


def save_model(model: keras.Model, directory: Path, *, float16: bool = False) -> None:
    """Write the files of `keras.saving.save_model(..., zipped=False)` into a folder.

    Args:
        model: A built model.
        directory: An empty folder.
        float16: Whether weights are stored as float16; see `halved`.

    Raises:
        OSError: If the disk is full.
    """
    config, metadata = saving_lib._serialize_model_as_json(model)
    (directory / "metadata.json").write_text(metadata, encoding="utf-8")
    (directory / "config.json").write_text(config, encoding="utf-8")
    assets = directory / "assets"
    store = saving_lib.DiskIOStore(str(assets), mode="w")
    try:
        _write_state(model, directory / WEIGHTS, store, float16=float16)
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


def halved(content: io.BytesIO) -> io.BytesIO:
    """The content of a weights file with float32 arrays stored as float16.

    Keras reads them into variables of float32. The rounding error is at most 2 ** -11 of an array's
    largest value. An array that float16 cannot hold so well stays float32: its largest value is
    above 65,504 or below 2 ** -14.

    Args:
        content: An HDF5 file.

    Example:
        >>> net = keras.Sequential([keras.Input((100,)), keras.layers.Dense(100)])
        >>> content = io.BytesIO(save_weights(net, "net.weights.h5").read_bytes())
        >>> len(halved(content).getbuffer()) < 0.7 * len(content.getbuffer())
        True
    """
    result = io.BytesIO()
    with h5py.File(content, "r") as before, h5py.File(result, "w") as after:
        after.attrs.update(before.attrs)

        def copy(name: str, entry: h5py.Group | h5py.Dataset) -> None:
            if isinstance(entry, h5py.Group):
                made = after.require_group(name)
            else:
                made = after.create_dataset(name, data=_half(entry[()]))
            made.attrs.update(entry.attrs)

        before.visititems(copy)
    return result


def _half(values: np.ndarray) -> np.ndarray:
    if values.dtype != np.float32 or not values.size:
        return values
    limits, largest = np.finfo(np.float16), np.abs(values).max()
    fits = largest == 0 or limits.smallest_normal <= largest <= limits.max
    return values.astype(np.float16) if fits else values


def _write_state(
    model: keras.Model,
    path: Path,
    assets: saving_lib.DiskIOStore | None,
    *,
    float16: bool = False,
) -> Path:
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
    path.write_bytes((halved(content) if float16 else content).getbuffer())
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
