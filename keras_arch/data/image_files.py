"""Image files: listing those of a folder, their sizes, and decoding them in a pipeline."""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from keras_arch._lazy import tf
from keras_arch.data import image_bytes
from keras_arch.data.image_reading import READABLE, as_dtype, check, head, read_image
from keras_arch.errors import DataError

# Files that Pillow reads as pixels, those with a plugin among them, and arrays of NumPy.
SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".bmp", ".dib", ".gif"),
    *(".tif", ".tiff", ".webp", ".avif", ".heic", ".heif", ".jp2", ".j2k", ".jpx", ".qoi"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".pfm", ".tga", ".pcx", ".psd", ".ico", ".sgi", ".ras"),
    ".npy",
)
SPLITS = ("train", "test", "val", "valid", "validation")
Shape = tuple[int | None, int | None, int]


def shape_of(files: Iterable[Path]) -> Shape:
    """The `(height, width, channels)` of all files; `None` where they differ, 1 when all are grey.

    Only the first bytes of each file are read.
    """
    files = list(files)
    heads = in_threads(head, files)
    sizes = {found.size for found in heads}
    height, width = sizes.pop() if len(sizes) == 1 else (None, None)
    channels = {found.channels for found in heads}
    if channels - {1, 3} and len(channels) > 1:
        shown = {found.channels: file for file, found in zip(files, heads, strict=True)}
        several = ", ".join(f"{shown[number]} {number}" for number in sorted(shown))
        raise DataError(f"images of one source have as many channels; they have: {several}")
    return height, width, max(channels)


def dtype_of(files: Iterable[Path]) -> str:
    """The dtype in which a source gives its images.

    Files of 8 and of 16 bits together are floats in [0, 255].

    Raises:
        DataError: If files with other values, such as floats, are among them.
    """
    files = list(files)
    heads = in_threads(head, files)
    found = {each.dtype: file for file, each in zip(files, heads, strict=True)}
    if len(found) == 1:
        return next(iter(found))
    if set(found) <= {"uint8", "uint16"}:
        return "float32"
    several = ", ".join(f"{file} {dtype}" for dtype, file in found.items())
    raise DataError(f"images of one source have values of one kind; they have: {several}")


def decode(file: Any, found: Any, shape: Shape, dtype: str) -> Any:
    """Decode a named file inside a pipeline.

    Args:
        file: Its path.
        found: `[orientation, is deep, is native]`, as `decoded` has them of its `Head`.
        shape: That of `shape_of`.
        dtype: That of `dtype_of`.
    """

    def native() -> Any:
        encoded = tf.io.read_file(file)
        pixels = tf.cond(
            found[1] > 0,
            lambda: as_dtype(image_bytes.decode(encoded, deep=True), dtype),
            lambda: as_dtype(image_bytes.decode(encoded), dtype),
        )
        return image_bytes.upright(pixels, found[0])[..., : shape[-1]]

    def other() -> Any:
        def read(name: bytes) -> np.ndarray:
            image = read_image(Path(name.decode()))
            if image.shape[-1] < shape[-1]:
                image = np.repeat(image, shape[-1], axis=-1)
            return np.ascontiguousarray(as_dtype(image, dtype))

        return tf.numpy_function(read, [file], dtype, stateful=False)

    if shape[-1] > 3:
        return tf.ensure_shape(other(), shape)
    return tf.ensure_shape(tf.cond(found[2] > 0, native, other), shape)


def decoded(files: Sequence[Path], shape: Shape, *columns: Any, dtype: str | None = None) -> Any:
    """A `tf.data.Dataset` of decoded images, with further columns where there are any.

    Every file is decoded once beforehand, so that a damaged one is an error now and not in the
    middle of a training.

    Args:
        files: Image files.
        shape: That of `shape_of` of all files of the source.
        columns: Values for each file.
        dtype: That of `dtype_of` of all files of the source. Default: of these.
    """
    in_threads(check, files)
    dtype = dtype or dtype_of(files)
    heads = in_threads(head, files)
    found = [[each.orientation, int(each.dtype == "uint16"), int(each.is_native)] for each in heads]

    def read(file: Any, found: Any, *values: Any) -> Any:
        image = decode(file, found, shape, dtype)
        return (image, *values) if values else image

    names = [str(file) for file in files]
    rows = tf.data.Dataset.from_tensor_slices((names, np.array(found, np.int64), *columns))
    return rows.map(read, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)


def subfolders(folder: Path) -> list[Path]:
    """Sub-folders in natural order, hidden ones left out."""
    return [entry for entry in _entries(folder) if entry.is_dir()]


def images(folder: Path) -> list[Path]:
    """Image files in natural order; files of other kinds and hidden ones are left alone."""
    return [
        entry
        for entry in _entries(folder)
        if entry.suffix.lower() in SUFFIXES and not entry.is_dir()
    ]


def images_below(folder: Path) -> list[Path]:
    """The image files of a folder and of all folders in it, in natural order."""

    def below(folder: Path, above: frozenset[Path]) -> Iterator[Path]:
        yield from images(folder)
        for inner in subfolders(folder):
            real = inner.resolve()
            # A link to a folder that holds it has no end.
            if real not in above:
                yield from below(inner, above | {real})

    return list(below(folder, frozenset([folder.resolve()])))


def some_images(folder: Path) -> list[Path]:
    """The images of a folder and of those in it, of which there must be at least one."""
    files = images_below(folder)
    if not files:
        raise DataError(f"{folder} holds no image ({READABLE})")
    return files


def split_folders(path: Path) -> dict[str, Path]:
    """The sub-folders that are named like splits, by name and in the order of `SPLITS`."""
    inner = {folder.name: folder for folder in subfolders(path)}
    return {split: inner[split] for split in SPLITS if split in inner}


def same_sizes(pairs: Sequence[tuple[Path, ...]], error: str) -> None:
    """Check that the two images of each pair are of one size.

    `error` is a message with the fields `{first}`, `{size}`, `{second}` and `{other}`.
    """
    heads = (in_threads(head, column) for column in zip(*pairs, strict=True))
    for (first, second), one, two in zip(pairs, *heads, strict=True):
        if one.size != two.size:
            size, other = (f"{width}x{height}" for height, width in (one.size, two.size))
            raise DataError(error.format(first=first, size=size, second=second, other=other))


def _entries(folder: Path) -> list[Path]:
    try:
        entries = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    except OSError as error:
        raise DataError(f"folder {folder} cannot be read: {error.strerror}") from None
    return sorted(entries, key=lambda entry: natural(entry.name))


def natural(name: str) -> tuple[Any, ...]:
    """Sort key for natural order: `image2` before `image10`; ties by the exact name."""
    parts = re.split(r"(\d+)", name.lower())
    return (*((int(p), "") if p.isdecimal() else (-1, p) for p in parts), (-1, name))


def in_threads(function: Any, files: Iterable[Path]) -> list[Any]:
    """Results of a function for each file, in order, computed in threads."""
    with ThreadPoolExecutor(max_workers=min(32, 2 * (os.cpu_count() or 1))) as pool:
        try:
            return list(pool.map(function, files))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
