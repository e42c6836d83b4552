"""Reader of files of `torch.save` without PyTorch: `.pth`, `.pt`, `.th`, `.bin`, `.ckpt`.

There are three layouts, recognized by a file's first bytes. Since PyTorch 1.6 a checkpoint is a
zip archive with a pickle, `NAME/data.pkl`, and the numbers of each storage in `NAME/data/KEY`. From
0.2 on it was a sequence of pickles followed by the storages. Before, it was a tar archive, which is
refused. A file is not trusted: `keras_arch.convert.pickled` limits the names in a pickle, and every
length is checked against the file's before anything is read.
"""

import io
import math
import os
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from keras_arch.convert import pickled
from keras_arch.convert.pickled import DTYPES, Storage, Tensor
from keras_arch.errors import ConvertError, KerasArchError

_ZIP = b"PK\x03\x04"
# Protocol 2 and the magic number of ten bytes.
_ROW = b"\x80\x02\x8a\x0a" + (0x1950A86A20F9469CFC6C).to_bytes(10, "little") + b"."
_ROW_PROTOCOL = 1001
_MOST_PICKLE_BYTES = 100_000_000
# Keys of the weights in checkpoints of training scripts.
_INSIDE = ("state_dict", "model_state_dict", "model", "net", "network", "weights", "params")


def is_checkpoint(path: str | os.PathLike) -> bool:
    """Whether a file has the first bytes or the suffix of one of `torch.save`.

    Example:
        >>> is_checkpoint("resnet18-f37072fd.pth")
        True
    """
    path = Path(path)
    if path.suffix in (".pth", ".pt", ".th", ".bin", ".ckpt", ".tar"):
        return True
    try:
        with path.open("rb") as file:
            head = file.read(len(_ROW))
    except OSError:
        return False
    return head.startswith(_ZIP) or head == _ROW


def read(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Read the tensors of a checkpoint.

    Args:
        path: The file. If the state dict is inside other content (under `"state_dict"`, `"model"`,
            ...), only it is read.

    Returns:
        NumPy arrays by name; bfloat16 tensors as float32, all others in their stored type.

    Raises:
        UnsafeContentError: If the file holds anything but a state dict; the message names it.
        ConvertError: If the file is missing, damaged, cut short, in another layout, or
            holds no state dict.

    Example:
        >>> read("absent.pth")
        Traceback (most recent call last):
        keras_arch.errors.ConvertError: 'absent.pth' cannot be read: No such file or directory
    """
    where = repr(os.fspath(path))
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            head = file.read(len(_ROW))
            file.seek(0)
            if head.startswith(_ZIP):
                return _read_zip(file, size, where)
            if head == _ROW:
                return _read_row(file, size, where)
            if tarfile.is_tarfile(file):
                raise ConvertError(
                    f"{where} is a tar archive of PyTorch 0.1, which is not read; load it in "
                    "PyTorch and save it again"
                )
    except OSError as error:
        raise ConvertError(f"{where} cannot be read: {error.strerror or error}") from error
    begin = f"; it begins with {head[:8]!r}" if size else ": it is empty"
    raise ConvertError(f"{where} is no file of torch.save{begin}")


def unwrapped(content: Mapping[str, Any]) -> Mapping[str, Any]:
    """Extract the state dict of a mapping that has it under a usual name, or is it itself.

    Example:
        >>> unwrapped({"epoch": 90, "state_dict": {"fc.bias": 0.0}})
        {'fc.bias': 0.0}
    """
    for _ in range(3):
        found = (content.get(key) for key in _INSIDE)
        content = next((inner for inner in found if isinstance(inner, Mapping) and inner), content)
    return content


def _read_zip(file: BinaryIO, size: int, where: str) -> dict[str, np.ndarray]:
    try:
        with zipfile.ZipFile(file) as archive:
            members = {info.filename: info for info in archive.infolist()}
            pickles = [name for name in members if name.endswith("/data.pkl")]
            if len(pickles) != 1:
                raise ConvertError(f"{where} is a zip archive, but none of torch.save")
            folder = pickles[0].removesuffix("data.pkl")
            if f"{folder}constants.pkl" in members:
                raise ConvertError(
                    f"{where} is a TorchScript program; save the weights alone: "
                    "torch.save(model.state_dict(), ...)"
                )

            def bytes_of(name: str, most: int) -> bytes:
                info = members.get(f"{folder}{name}")
                if info is None:
                    raise ConvertError(f"{where} is damaged: it has no {name}")
                # PyTorch compresses nothing, and uncompressed data cannot grow when it is read.
                if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
                    raise ConvertError(f"{where} holds {name} compressed, which PyTorch never does")
                if info.file_size > min(most, size):
                    raise ConvertError(f"{where} is damaged: {name} is longer than it can be")
                return archive.read(info)

            content = pickled.load(io.BytesIO(bytes_of("data.pkl", _MOST_PICKLE_BYTES)), where)
            has_order = f"{folder}byteorder" in members
            order = bytes_of("byteorder", 16) if has_order else b"little"
            if order not in (b"little", b"big"):
                raise ConvertError(f"{where} is damaged: its byte order is {order!r}")
            left = size

            def numbers(storage: Storage) -> bytes:
                nonlocal left
                raw = bytes_of(f"data/{storage.key}", left)
                left -= len(raw)
                return raw

            return _arrays(content, numbers, "<" if order == b"little" else ">", where)
    except (KerasArchError, OSError):
        raise
    # zipfile raises errors of many kinds for damaged input.
    except Exception as error:
        raise ConvertError(f"{where} is damaged or cut short: {error}") from None


def _read_row(file: BinaryIO, size: int, where: str) -> dict[str, np.ndarray]:
    file.seek(len(_ROW))
    protocol, system = pickled.load(file, where), pickled.load(file, where)
    if protocol != _ROW_PROTOCOL or not isinstance(system, Mapping):
        raise ConvertError(f"{where} is of a version of torch.save that is not known")
    content = pickled.load(file, where)
    keys = pickled.load(file, where)
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise ConvertError(f"{where} is damaged: it does not list its storages")
    itemsizes = _itemsizes(content)
    places = {}
    for key in keys:
        # A storage without a type cannot be skipped.
        if key not in itemsizes or key in places:
            raise ConvertError(f"{where} is damaged: its storage {key!r} is not described once")
        count = int.from_bytes(file.read(8), "little")
        begin = file.tell()
        length = count * itemsizes[key]
        if begin + length > size:
            raise ConvertError(
                f"{where} is cut short: storage {key!r} ends at byte {begin + length} of {size}"
            )
        places[key] = begin, length
        file.seek(begin + length)

    def numbers(storage: Storage) -> bytes:
        if storage.key not in places:
            raise ConvertError(f"{where} is damaged: it has no storage {storage.key!r}")
        begin, length = places[storage.key]
        file.seek(begin)
        return file.read(length)

    return _arrays(content, numbers, "<" if system.get("little_endian", True) else ">", where)


def _itemsizes(content: Any) -> dict[str, int]:
    """Bytes per number of every storage in a checkpoint."""
    sizes, seen, waiting = {}, set(), [content]
    while waiting:
        part = waiting.pop()
        if isinstance(part, Tensor):
            dtype = part.storage.dtype if part.storage.dtype in DTYPES else "uint8"
            sizes[part.storage.key] = _dtype_of(dtype).itemsize
        elif isinstance(part, Mapping | list | tuple) and id(part) not in seen:
            seen.add(id(part))
            waiting.extend(part.values() if isinstance(part, Mapping) else part)
    return sizes


def _arrays(
    content: Any, numbers: Callable[[Storage], bytes], order: str, where: str
) -> dict[str, np.ndarray]:
    """Read the state dict of a checkpoint as arrays."""
    if not isinstance(content, Mapping):
        kind = type(content).__name__.lower()
        raise ConvertError(f"{where} holds something of type {kind} and no state dict")
    held: dict[str, bytes] = {}
    arrays = {}
    for name, value in unwrapped(content).items():
        if not isinstance(value, Tensor):
            raise ConvertError(
                f"{where} holds {name!r} of type {type(value).__name__.lower()} among its tensors; "
                "give the state dict alone"
            )
        if value.storage.key not in held:
            held[value.storage.key] = numbers(value.storage)
        arrays[name] = _array(value, held[value.storage.key], order, f"{name!r} of {where}")
    return arrays


def _array(tensor: Tensor, raw: bytes, order: str, where: str) -> np.ndarray:
    storage = tensor.storage
    dtype = _dtype_of(tensor.dtype).newbyteorder(order)
    # A storage of bytes counts bytes.
    unit = 1 if storage.dtype == "bytes" else dtype.itemsize
    count, elements = storage.count * unit // dtype.itemsize, math.prod(tensor.size)
    last = tensor.offset + sum(
        (side - 1) * step for side, step in zip(tensor.size, tensor.stride, strict=True)
    )
    if (
        len(raw) != storage.whole * unit
        or not 0 <= storage.start <= storage.whole - storage.count
        or elements > count
        or (elements and last >= count)
    ):
        raise ConvertError(
            f"{where} is damaged or cut short: shape {tensor.size} at {tensor.offset} of "
            f"{storage.count} {tensor.dtype} in {len(raw)} bytes"
        )
    if not elements:
        values = np.empty(tensor.size, dtype)
    else:
        flat = np.frombuffer(raw, dtype, count, storage.start * unit)[tensor.offset :]
        steps = [step * dtype.itemsize for step in tensor.stride]
        values = np.lib.stride_tricks.as_strided(flat, tensor.size, steps, writeable=False)
    if tensor.dtype == "bfloat16":
        values = (values.astype(np.uint32) << 16).view(np.float32)
    return values


def _dtype_of(name: str) -> np.dtype:
    """NumPy's type; bfloat16 is the upper half of a float32."""
    return np.dtype("uint16" if name == "bfloat16" else name)
