"""Reader of `.safetensors` files by the `safetensors` library, with errors that name the file.

Large networks are published in several files, the shards, beside an index that names the file of
each tensor, `model.safetensors.index.json`.
"""

import json
import os
import re
from pathlib import Path

import ml_dtypes  # noqa: F401  NumPy has "bfloat16" from here.
import numpy as np
from safetensors import SafetensorError, safe_open

from keras_arch.errors import ConvertError

INDEX = ".safetensors.index.json"
_LARGEST_INDEX = 100_000_000
_DTYPES = ("F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U8", "BOOL")


def read(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Read the tensors of a `.safetensors` file.

    Returns:
        NumPy arrays by name; BF16 tensors as float32, all others in the type they are stored in.

    Raises:
        ConvertError: If the file is missing, damaged or cut short, or holds another type.

    Example:
        >>> from safetensors.numpy import save_file
        >>> save_file({"bias": np.float32([0.5])}, "w.safetensors")
        >>> read("w.safetensors")
        {'bias': array([0.5], dtype=float32)}
    """
    where = repr(os.fspath(path))
    try:
        # The library's own error for a file that cannot be opened lacks the reason's number.
        open(path, "rb").close()
        arrays = {}
        with safe_open(path, framework="np") as file:
            for name in file.offset_keys():
                kind = file.get_slice(name).get_dtype()
                if kind not in _DTYPES:
                    readable = ", ".join(_DTYPES)
                    raise ConvertError(
                        f"{where} has tensor {name!r} of type {kind}; readable are {readable}"
                    )
                values = file.get_tensor(name)
                arrays[name] = values.astype(np.float32) if kind == "BF16" else values
        return arrays
    except OSError as error:
        raise ConvertError(f"{where} cannot be read: {error.strerror or error}") from error
    except SafetensorError as error:
        reason = str(error).removeprefix("Error while deserializing header: ")
        problem = "is damaged or cut short, or no .safetensors file"
        raise ConvertError(f"{where} {problem}: {reason}") from error


def shards(index: str | os.PathLike) -> list[str]:
    """The names of the files that an index of shards lists, which lie beside it.

    Raises:
        ConvertError: If it is missing or no such index, or names a file elsewhere.

    Example:
        >>> text = '{"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}'
        >>> _ = Path("model.safetensors.index.json").write_text(text)
        >>> shards("model.safetensors.index.json")
        ['model-1.safetensors', 'model-2.safetensors']
    """
    return sorted(set(_weight_map(index).values()))


def read_shards(index: str | os.PathLike) -> dict[str, np.ndarray]:
    """Read the tensors of all shards of an index; arrays and errors are those of `read`.

    Raises:
        ConvertError: If a shard lacks a tensor, or holds one that is not in the index; or as from
            `shards`.

    Example:
        >>> from safetensors.numpy import save_file
        >>> save_file({"bias": np.float32([0.5])}, "part.safetensors")
        >>> text = '{"weight_map": {"bias": "part.safetensors"}}'
        >>> _ = Path("model.safetensors.index.json").write_text(text)
        >>> read_shards("model.safetensors.index.json")
        {'bias': array([0.5], dtype=float32)}
    """
    places, arrays = _weight_map(index), {}
    for shard in shards(index):
        found = read(Path(index).with_name(shard))
        listed = {name for name, place in places.items() if place == shard}
        if wrong := sorted(listed ^ found.keys()):
            raise ConvertError(
                f"{shard!r} and {os.fspath(index)!r} do not belong together: only one of them has "
                f"{wrong[0]!r}"
            )
        arrays |= found
    return arrays


def _weight_map(index: str | os.PathLike) -> dict[str, str]:
    """The shard of each tensor."""
    where = repr(os.fspath(index))
    try:
        if os.path.getsize(index) > _LARGEST_INDEX:
            raise ValueError("it is too large")
        places = json.loads(Path(index).read_text(encoding="utf-8"))["weight_map"]
        if not isinstance(places, dict) or not places:
            raise ValueError("weight_map is no table")
    except OSError as error:
        raise ConvertError(f"{where} cannot be read: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ConvertError(f"{where} is no index of shards: {error}") from None
    for place in places.values():
        if not isinstance(place, str) or not re.fullmatch(r"[\w.-]+\.safetensors", place):
            raise ConvertError(
                f"{where} names {place!r}, which is no .safetensors file beside it, and is refused"
            )
    return places
