"""Folders of image files, one sub-folder a class."""

import functools
import os
import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from keras_arch.data.sources import Source
from keras_arch.errors import DataError

_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")
_FORMATS = ("JPEG", "PNG", "BMP")
_SPLITS = ("train", "test", "val", "valid", "validation")


class Folder:
    """JPEG, PNG and BMP files by class.

    The images of all classes are interleaved evenly, so that a slice such as `train[:90%]` holds
    every class in proportion.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_dir():
            raise DataError(f"{path} is not a folder; give one with a sub-folder for each class")
        inner = {folder.name: folder for folder in _subfolders(path)}
        if inner and set(inner) <= set(_SPLITS):
            folders = {name: inner[name] for name in _SPLITS if name in inner}
        else:
            folders = {"train": path}
        self._files: dict[str, list[Path]] = {}
        self._labels: dict[str, np.ndarray] = {}
        classes: tuple[str, ...] | None = None
        for position, (split, folder) in enumerate(folders.items()):
            by_class = _images_by_class(folder)
            if position == 0:
                classes = tuple(by_class) if by_class else None
            if by_class is None:
                if classes is not None:
                    raise DataError(f"{folder} has no class folders, unlike the other splits")
                self._files[split] = _images(folder)
                continue
            stray = sorted(set(by_class) - set(classes or ()), key=_natural)
            if stray:
                first = next(iter(folders.values()))
                raise DataError(f"{folder} has class {stray[0]!r}, which {first} does not have")
            self._files[split], self._labels[split] = _interleave(by_class, classes or ())
        heads = _in_threads(_head, [file for files in self._files.values() for file in files])
        sizes = {size for size, _ in heads}
        grey = all(mode in ("L", "1", "LA", "I;16") for _, mode in heads)
        height, width = sizes.pop() if len(sizes) == 1 else (None, None)
        self.source = Source(
            name=f"folder:{path}",
            classes=classes,
            splits={split: len(files) for split, files in self._files.items()},
            image_shape=(height, width, 1 if grey else 3),
            license="not stated",
        )

    def part(self, split: str, start: int, stop: int) -> Any:
        """Images `start` to `stop`, with their labels where there are class folders.

        Every file is decoded once beforehand, so that a damaged one is named now and not met in
        the middle of a training.
        """
        import tensorflow as tf

        files = self._files[split][start:stop]
        _in_threads(_check, files)
        shape = self.source.image_shape

        def decode(file: Any, *label: Any) -> Any:
            content = tf.io.read_file(file)
            # A BMP file knows no other number of channels.
            image = tf.io.decode_image(content, channels=3, expand_animations=False)
            image = tf.ensure_shape(image[..., : shape[-1]], shape)
            return (image, *label) if label else image

        columns: tuple[Any, ...] = (np.array([str(file) for file in files]),)
        if split in self._labels:
            columns += (self._labels[split][start:stop],)
        names = tf.data.Dataset.from_tensor_slices(columns)
        return names.map(decode, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)


def _images_by_class(folder: Path) -> dict[str, list[Path]] | None:
    """The images of each class folder; `None` when the images have no class."""
    classes = _subfolders(folder)
    loose = _images(folder)
    if classes and loose:
        raise DataError(
            f"{folder} holds both class folders and images such as {loose[0].name}; move the "
            "images into class folders"
        )
    if not classes:
        if not loose:
            raise DataError(f"{folder} holds no image ({', '.join(_SUFFIXES)}) and no class folder")
        return None
    by_class = {folder.name: _images(folder) for folder in classes}
    for name, files in by_class.items():
        if not files:
            raise DataError(f"class folder {folder / name} holds no image ({', '.join(_SUFFIXES)})")
    return by_class


def _interleave(
    by_class: dict[str, list[Path]], classes: tuple[str, ...]
) -> tuple[list[Path], np.ndarray]:
    """All images with their labels, each class spread evenly over the whole."""
    keyed = sorted(
        ((position + 0.5) / len(files), classes.index(name), file)
        for name, files in by_class.items()
        for position, file in enumerate(files)
    )
    return [file for *_, file in keyed], np.array([label for _, label, _ in keyed], np.int64)


def _subfolders(folder: Path) -> list[Path]:
    """Sub-folders in natural order, hidden ones left out."""
    return _sorted(entry for entry in _entries(folder) if entry.is_dir())


def _images(folder: Path) -> list[Path]:
    """Image files in natural order; files of other kinds and hidden ones are left alone."""
    return _sorted(
        entry
        for entry in _entries(folder)
        if entry.suffix.lower() in _SUFFIXES and not entry.is_dir()
    )


def _entries(folder: Path) -> list[Path]:
    try:
        return [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    except OSError as error:
        raise DataError(f"folder {folder} cannot be read: {error.strerror}") from None


def _sorted(entries: Iterable[Path]) -> list[Path]:
    return sorted(entries, key=lambda entry: _natural(entry.name))


def _natural(name: str) -> tuple[Any, ...]:
    """`image2` before `image10`; ties by the exact name."""
    parts = re.split(r"(\d+)", name.lower())
    return (*((int(p), "") if p.isdecimal() else (-1, p) for p in parts), (-1, name))


def _in_threads(function: Any, files: list[Path]) -> list[Any]:
    """Apply a function that waits for the disk or decodes, in order."""
    with ThreadPoolExecutor(max_workers=min(32, 2 * (os.cpu_count() or 1))) as pool:
        try:
            return list(pool.map(function, files))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _head(file: Path) -> tuple[tuple[int, int], str]:
    """An image's (height, width) and mode from the first bytes of the file."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(file, formats=_FORMATS) as image:
            if image.format == "BMP" and image.mode in ("1", "P"):
                raise DataError(f"{file} is a BMP file with a palette; save it as a PNG file")
            return (image.height, image.width), image.mode
    except UnidentifiedImageError:
        raise DataError(f"{file} is not a JPEG, PNG or BMP image; repair or remove it") from None
    except DataError:
        raise
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = str(error).partition("\n")[0]
        raise DataError(f"{file} cannot be read: {reason}; repair or remove it") from None


def _check(file: Path) -> None:
    """Decode an image with the decoder that the pipeline uses."""
    try:
        status = file.stat()
        _check_version(file, status.st_mtime_ns, status.st_size)
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}") from None


@functools.cache
def _check_version(file: Path, _modified: int, _size: int) -> None:
    """`_check` of a file as it is now; a file that did not change is not decoded again."""
    import tensorflow as tf

    try:
        with tf.device("CPU"):
            tf.io.decode_image(file.read_bytes(), channels=3, expand_animations=False)
    except tf.errors.InvalidArgumentError:
        raise DataError(f"{file} is damaged and cannot be decoded; repair or remove it") from None
