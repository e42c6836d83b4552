"""Data source `npz:PATH`: NumPy archives of arrays, or of JPEG bytes with offsets."""

import contextlib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from keras_arch._lazy import tf
from keras_arch.data import image_bytes
from keras_arch.data.image_listing import log_once
from keras_arch.data.sources.base import Source, existing_path
from keras_arch.errors import DataError


def open_archive(path: str | Path) -> "JPEGArchive | ArrayArchive":
    """Open a `.npz` file of either layout."""
    path = existing_path(path)
    archive = Archive(path)
    if any(f"{split}_jpeg" in archive.keys for split in ("train", "test")):
        return JPEGArchive(archive)
    if any(f"x_{split}" in archive.keys for split in ("train", "test")):
        return ArrayArchive(archive)
    raise DataError(
        f"{path} holds {', '.join(sorted(archive.keys)) or 'nothing'}; an image archive holds "
        "x_train, y_train, x_test, y_test, or train_jpeg, train_offsets, train_labels, test_jpeg, "
        "test_offsets, test_labels"
    )


class Archive:
    """The arrays of one file, each read on access and never unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with zipfile.ZipFile(path) as file:
                names = file.namelist()
        except (OSError, zipfile.BadZipFile) as error:
            raise DataError(f"{path} cannot be read as a NumPy archive: {error}") from None
        self.keys = {name.removesuffix(".npy") for name in names}

    def __getitem__(self, key: str) -> np.ndarray:
        if key not in self.keys:
            raise DataError(f"{self.path} has no array {key!r}; it has {', '.join(self.keys)}")
        with self._errors(key), np.load(self.path, allow_pickle=False) as file:
            return file[key]

    def shape(self, key: str) -> tuple[int, ...]:
        """An array's shape from its header, without reading the array."""
        header = np.lib.format
        with self._errors(key), zipfile.ZipFile(self.path) as file:
            array = file.open(f"{key}.npy")
            first = header.read_magic(array) == (1, 0)
            read = header.read_array_header_1_0 if first else header.read_array_header_2_0
            return read(array)[0]

    @contextlib.contextmanager
    def _errors(self, key: str) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            reason = str(error).partition("\n")[0]
            raise DataError(f"array {key!r} of {self.path} cannot be read: {reason}") from None

    def labels(self, key: str, count: int) -> np.ndarray:
        """A vector of `count` non-negative whole numbers."""
        labels = self[key]
        if labels.ndim == 2 and labels.shape[1] == 1:
            labels = labels[:, 0]
        if labels.shape != (count,) or not np.issubdtype(labels.dtype, np.integer):
            raise DataError(
                f"array {key!r} of {self.path} must hold one whole number for each of {count} "
                f"images, it is {labels.dtype} of shape {labels.shape}"
            )
        if count and labels.min() < 0:
            index = int(np.argmax(labels < 0))
            raise DataError(
                f"label {labels[index]} of image {index} in {key!r} of {self.path} is negative; "
                "labels count from 0"
            )
        return labels.astype(np.int64)

    def classes(self, labels: dict[str, np.ndarray]) -> tuple[str, ...] | None:
        """Class names, written in the archive or counted in the first split's labels."""
        if not labels:
            return None
        first = next(iter(labels))
        if "class_names" in self.keys:
            names = tuple(map(str, self["class_names"].tolist()))
        else:
            names = tuple(map(str, range(int(labels[first].max(initial=-1)) + 1)))
        for split, values in labels.items():
            (beyond,) = np.nonzero(values >= len(names))
            if beyond.size:
                raise DataError(
                    f"label {values[beyond[0]]} of image {beyond[0]} in split {split!r} of "
                    f"{self.path} is out of range: there are {len(names)} classes"
                )
        return names


class _ArchiveSource(Source):
    """Base class of the two layouts; `labels` is the format of the labels' keys: `"y_{}"`."""

    def __init__(self, archive: Archive, sizes: dict[str, int], labels: str) -> None:
        self._archive, self.splits = archive, sizes
        if "license" in archive.keys:
            self.license = str(archive["license"])
        self._labels = {
            split: archive.labels(labels.format(split), size)
            for split, size in sizes.items()
            if labels.format(split) in archive.keys
        }
        self.classes = archive.classes(self._labels)


class JPEGArchive(_ArchiveSource):
    """JPEG files one after the other, with offsets: small on disk, decoded as they are read."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        names = [split for split in ("train", "test") if f"{split}_jpeg" in archive.keys]
        self._offsets = {split: self._checked_offsets(split) for split in names}
        sizes = {split: len(offsets) - 1 for split, offsets in self._offsets.items()}
        super().__init__(archive, sizes, "{}_labels")
        with tf.device("CPU"):
            first = self._files(names[0], 0, 1)[0]
            try:
                channels = tf.io.decode_jpeg(first).shape[-1]
                self.image_shape = tuple(image_bytes.jpeg_pixels(first, channels).shape)
            except tf.errors.InvalidArgumentError:
                raise DataError(
                    f"image 0 of split {names[0]!r} in {archive.path} is not a JPEG file"
                ) from None

    def examples(self, split: str, start: int, stop: int) -> Any:
        """Images `start` to `stop`, with their labels where there are any."""
        shape, encoded = self.image_shape, self._files(split, start, stop)
        # Data sets without it, of small images, are read faster if nobody looks for it.
        has_exif = any(b"Exif\0\0" in file for file in encoded)

        def decode(file: Any, *label: Any) -> Any:
            if has_exif:
                image = image_bytes.jpeg_pixels(file, shape[-1])
            else:
                # The accurate transform gives the same pixels as other libraries.
                image = tf.io.decode_jpeg(file, channels=shape[-1], dct_method="INTEGER_ACCURATE")
            # An image of another size stops the reading here, with both sizes in the message.
            image = tf.ensure_shape(image, shape)
            return (image, *label) if label else image

        labels = [self._labels[split][start:stop]] if split in self._labels else []
        files = tf.data.Dataset.from_tensor_slices((encoded, *labels))
        return files.map(decode, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)

    def _checked_offsets(self, split: str) -> np.ndarray:
        key = f"{split}_offsets"
        offsets = self._archive[key]
        (size,) = self._archive.shape(f"{split}_jpeg")
        if (
            offsets.ndim != 1
            or len(offsets) < 2
            or not np.issubdtype(offsets.dtype, np.integer)
            or offsets[0] != 0
            or offsets[-1] != size
            or (np.diff(offsets.astype(np.int64)) <= 0).any()
        ):
            raise DataError(
                f"array {key!r} of {self._archive.path} must rise from 0 to {size}, the number of "
                f"bytes in {split}_jpeg"
            )
        return offsets.astype(np.int64)

    def _files(self, split: str, start: int, stop: int) -> np.ndarray:
        """The JPEG files of some images; each must begin and end as a JPEG file does."""
        content = self._archive[f"{split}_jpeg"]
        begin, end = self._offsets[split][start:stop], self._offsets[split][start + 1 : stop + 1]
        whole = (end - begin > 4) & (content[begin] == 0xFF) & (content[begin + 1] == 0xD8)
        whole &= (content[end - 2] == 0xFF) & (content[end - 1] == 0xD9)
        if not whole.all():
            raise DataError(
                f"image {start + int(np.argmin(whole))} of split {split!r} in "
                f"{self._archive.path} is not a whole JPEG file"
            )
        data = content.tobytes()
        return np.array([data[a:b] for a, b in zip(begin, end, strict=True)], dtype=object)


class ArrayArchive(_ArchiveSource):
    """Images as arrays: `uint8`, or numbers in [0, 255] or [0, 1], which are rounded to `uint8`."""

    def __init__(self, archive: Archive) -> None:
        names = [split for split in ("train", "test") if f"x_{split}" in archive.keys]
        shapes = {split: archive.shape(f"x_{split}") for split in names}
        for split, shape in shapes.items():
            images = f"array 'x_{split}' of {archive.path}"
            if len(shape) not in (3, 4) or (len(shape) == 4 and shape[-1] not in (1, 3)):
                raise DataError(
                    f"{images} must be of shape (n, height, width) or (n, height, width, 1 or 3), "
                    f"it is {shape}"
                )
            if shape[0] == 0:
                raise DataError(f"{images} holds no image")
            if shape[1:] != shapes[names[0]][1:]:
                raise DataError(
                    f"{images} holds images of shape {shape[1:]}, those of 'x_{names[0]}' are "
                    f"{shapes[names[0]][1:]}"
                )
        super().__init__(archive, {split: shapes[split][0] for split in names}, "y_{}")
        shape = shapes[names[0]]
        self.image_shape = (*shape[1:3], shape[3] if len(shape) == 4 else 1)

    def examples(self, split: str, start: int, stop: int) -> Any:
        """Images `start` to `stop`, with their labels where there are any."""
        key = f"x_{split}"
        images = as_pixels(self._archive[key], f"array {key!r} of {self._archive.path}")
        images = images.reshape(len(images), *self.image_shape)[start:stop]
        if split in self._labels:
            return images, self._labels[split][start:stop]
        return images


def as_pixels(images: np.ndarray, name: str) -> np.ndarray:
    """Bring images of any shape to `uint8` in [0, 255].

    They are `uint8`, other numbers in [0, 255], or floats in [0, 1] (none of them above 1). Where
    rounding changes a value, that is logged. A `DataError` names the array and the image of a value
    that is not finite or out of range.

    Example:
        >>> as_pixels(np.array([[[0.0, 0.5, 1.0]]]), "x").tolist()
        [[[0, 128, 255]]]
    """
    if images.dtype == np.uint8:
        return images
    if not np.issubdtype(images.dtype, np.integer) and not np.issubdtype(images.dtype, np.floating):
        raise DataError(f"{name} must hold numbers, it holds {images.dtype}")
    flat = images.reshape(len(images), -1)
    low, high = flat.min(axis=1), flat.max(axis=1)
    (bad,) = np.nonzero(~(np.isfinite(low) & np.isfinite(high)))
    if bad.size:
        raise DataError(f"image {bad[0]} of {name} holds values that are not finite (NaN or inf)")
    (bad,) = np.nonzero((low < 0) | (high > 255))
    if bad.size:
        raise DataError(
            f"image {bad[0]} of {name} has values from {low[bad[0]]} to {high[bad[0]]}; pixels are "
            "in [0, 255], or floats in [0, 1]"
        )
    unit = np.issubdtype(images.dtype, np.floating) and high.max() <= 1
    scaled = images * 255.0 if unit else images
    pixels = np.rint(scaled).astype(np.uint8)
    change = float(np.abs(scaled - pixels.astype(scaled.dtype)).max()) / (255 if unit else 1)
    # What a float32 in [0, 1] loses by itself is no rounding.
    if change > 1e-6:
        log_once(
            f"{name} holds {images.dtype} in [0, {1 if unit else 255}], which is rounded to 256 "
            f"levels: values change by up to {change:.2g}"
        )
    return pixels
