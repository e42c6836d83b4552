"""Image files: listing those of a folder, their sizes, and decoding them in a pipeline."""

import contextlib
import functools
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from keras_arch._lazy import tf
from keras_arch.errors import DataError

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")
# Formats that the pipeline decodes, as Pillow names them.
FORMATS = ("JPEG", "PNG", "BMP")
SPLITS = ("train", "test", "val", "valid", "validation")
Shape = tuple[int | None, int | None, int]

_GREY = ("L", "1", "LA", "I;16")


def shape_of(files: Iterable[Path]) -> Shape:
    """The `(height, width, channels)` of all files; `None` where they differ, 1 when all are grey.

    Only the first bytes of each file are read.
    """
    heads = in_threads(head, files)
    sizes = {size for size, _ in heads}
    height, width = sizes.pop() if len(sizes) == 1 else (None, None)
    return height, width, 1 if all(mode in _GREY for _, mode in heads) else 3


def decode(file: Any, shape: Shape) -> Any:
    """Decode a named file to `uint8` pixels inside a pipeline; `shape` is that of `shape_of`."""
    # A BMP file is decoded to three channels only.
    return tf.ensure_shape(pixels_of(tf.io.read_file(file))[..., : shape[-1]], shape)


def pixels_of(encoded: Any) -> Any:
    """Decode the bytes of an image file inside a graph: the same pixels that Pillow gives.

    Args:
        encoded: A scalar string tensor: JPEG, PNG, BMP or the first picture of a GIF.

    Returns:
        `uint8` `(height, width, 3)`; grey images have three equal channels.
    """
    pixels = tf.cond(
        tf.io.is_jpeg(encoded),
        # TensorFlow's usual transform is faster, and up to ten levels away from libjpeg's own.
        lambda: tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE"),
        lambda: tf.io.decode_image(encoded, channels=3, expand_animations=False),
    )
    return tf.ensure_shape(pixels, (None, None, 3))


def decoded(files: Sequence[Path], shape: Shape, *columns: Any) -> Any:
    """A `tf.data.Dataset` of decoded images, with further columns where there are any.

    Every file is decoded once beforehand, so that a damaged one is an error now and not in the
    middle of a training.
    """
    in_threads(check, files)

    def read(file: Any, *values: Any) -> Any:
        image = decode(file, shape)
        return (image, *values) if values else image

    names = tf.data.Dataset.from_tensor_slices(([str(file) for file in files], *columns))
    return names.map(read, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)


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


def some_images(folder: Path) -> list[Path]:
    """The images of a folder, of which there must be at least one."""
    files = images(folder)
    if not files:
        raise DataError(f"{folder} holds no image ({', '.join(SUFFIXES)})")
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
    for (first, second), (size, _), (other, _) in zip(pairs, *heads, strict=True):
        if size != other:
            one, two = (f"{width}x{height}" for height, width in (size, other))
            raise DataError(error.format(first=first, size=one, second=second, other=two))


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


@contextlib.contextmanager
def opened(file: Path, formats: Sequence[str] = FORMATS) -> Iterator[Any]:
    """A file of some formats as a Pillow image; errors of reading it are `DataError`s."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(file, formats=formats) as image:
            yield image
    except UnidentifiedImageError:
        known = f"{', '.join(formats[:-1])} or {formats[-1]}" if len(formats) > 1 else formats[0]
        raise DataError(f"{file} is not a {known} image; repair or remove it") from None
    except DataError:
        raise
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = str(error).partition("\n")[0]
        raise DataError(f"{file} cannot be read: {reason}; repair or remove it") from None


def head(file: Path) -> tuple[tuple[int, int], str]:
    """An image's (height, width) and mode from the first bytes of the file."""
    with opened(file) as image:
        if image.format == "BMP" and image.mode in ("1", "P"):
            raise DataError(f"{file} is a BMP file with a palette; save it as a PNG file")
        return (image.height, image.width), image.mode


def check(file: Path) -> None:
    """Decode an image with the decoder that the pipeline uses."""
    try:
        status = file.stat()
        _check_version(file, status.st_mtime_ns, status.st_size)
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}") from None


@functools.cache
def _check_version(file: Path, _modified: int, _size: int) -> None:
    """`check` of one version of a file; a file that did not change is not decoded again."""
    try:
        with tf.device("CPU"):
            pixels_of(file.read_bytes())
    except tf.errors.InvalidArgumentError:
        raise DataError(f"{file} is damaged and cannot be decoded; repair or remove it") from None


def read_image(path: Path) -> np.ndarray:
    """An image file as `uint8` `(height, width, 1 or 3)`, of at most the pixels Pillow allows."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            deep = image.mode.startswith("I;16")
            grey = deep or image.mode in ("1", "L", "I")
            # Of 16 bits the upper half, as in training; Pillow would cut off what is over 255.
            pixels = np.asarray(image) >> 8 if deep else image.convert("L" if grey else "RGB")
            pixels = np.asarray(pixels, np.uint8)
    except FileNotFoundError:
        raise DataError(f"image {path} does not exist") from None
    except Image.DecompressionBombError:
        # Pillow refuses twice the number that it warns of.
        raise DataError(
            f"image {path} has more than {2 * Image.MAX_IMAGE_PIXELS:,} pixels, the most that a "
            "file is read with; predict it part by part with keras_arch.tiling.predict and "
            "np.memmap"
        ) from None
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise DataError(f"image {path} cannot be read: {reason}") from None
    return pixels[..., None] if grey else pixels
