"""Reads `.safetensors` files: a header in JSON, then the tensors' bytes. Nothing in them runs.

The format's own description: eight bytes with the header's length (little-endian), the header
`{"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [begin, end]}, ...}`, and the buffer
that the offsets point into. A file is not trusted: every length and offset is checked against the
file's size before anything is read.
"""

import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np

from keras_arch.errors import ConvertError

# BF16 is the upper half of a float32, which NumPy has no type for.
_DTYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "<u2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "i1",
    "U8": "u1",
    "BOOL": "?",
}
# The format's own bound for the header.
_MOST_HEADER_BYTES = 100_000_000


def read(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """The tensors of a `.safetensors` file by name.

    Args:
        path: The file.

    Returns:
        NumPy arrays; BF16 tensors as float32, all others in the type they are stored in.

    Raises:
        ConvertError: If the file is missing, or is not what the format says.

    Example:
        >>> import pathlib, tempfile
        >>> header = b'{"bias": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}'
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = pathlib.Path(folder) / "w.safetensors"
        ...     length = len(header).to_bytes(8, "little")
        ...     _ = file.write_bytes(length + header + np.float32(0.5).tobytes())
        ...     read(file)
        {'bias': array([0.5], dtype=float32)}
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            header, start = _header(file, size, path)
            return {
                name: _tensor(file, name, facts, start, size - start, path)
                for name, facts in header.items()
            }
    except OSError as error:
        raise ConvertError(f"{str(path)!r} cannot be read: {error.strerror or error}") from error


def _header(file: Any, size: int, path: Path) -> tuple[dict[str, Any], int]:
    """The header without its metadata, and where the tensors' bytes begin."""
    length = int.from_bytes(file.read(8), "little")
    if size < 8 or length > min(size - 8, _MOST_HEADER_BYTES):
        raise ConvertError(
            f"{str(path)!r} is no whole .safetensors file: its header of {length} bytes is "
            f"longer than the file of {size}"
        )
    try:
        header = json.loads(file.read(length), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise ConvertError(f"{str(path)!r} has a header that is no JSON: {error}") from error
    if not isinstance(header, dict):
        raise ConvertError(f"{str(path)!r} has a header that is no table of tensors")
    header.pop("__metadata__", None)
    return header, 8 + length


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a name occurs twice")
    return table


def _tensor(file: Any, name: str, facts: Any, start: int, available: int, path: Path) -> np.ndarray:
    facts = facts if isinstance(facts, dict) else {}
    kind, shape, offsets = (facts.get(key) for key in ("dtype", "shape", "data_offsets"))
    if kind not in _DTYPES:
        raise ConvertError(
            f"{str(path)!r} has tensor {name!r} of type {kind!r}; readable are {', '.join(_DTYPES)}"
        )
    if not _counts(shape) or not _counts(offsets) or len(offsets) != 2:
        raise ConvertError(f"{str(path)!r} has tensor {name!r} without a shape and two offsets")
    begin, end = offsets
    dtype = np.dtype(_DTYPES[kind])
    if not begin <= end <= available or end - begin != math.prod(shape) * dtype.itemsize:
        raise ConvertError(
            f"{str(path)!r} has tensor {name!r} of shape {tuple(shape)} and type {kind} at bytes "
            f"{begin} to {end} of {available}, which do not fit; the file may be cut short"
        )
    file.seek(start + begin)
    values = np.frombuffer(file.read(end - begin), dtype).reshape(shape)
    if kind == "BF16":
        values = (values.astype(np.uint32) << 16).view(np.float32)
    return values


def _counts(values: Any) -> bool:
    return isinstance(values, list) and all(type(v) is int and v >= 0 for v in values)
