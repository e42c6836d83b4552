"""Data source `masks:PATH`: images with masks, a class for every pixel."""

import os
import urllib.parse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_arch._lazy import tf
from keras_arch.data import image_files, image_listing, image_reading
from keras_arch.data.border_weights import IGNORE, separate_instances
from keras_arch.data.sources import mask_files
from keras_arch.data.sources.base import Source, existing_path
from keras_arch.data.sources.tfds import TFDSSource
from keras_arch.errors import DataError

# Name of ignored pixels in a table of classes.
_IGNORED = "ignore"
_SHOWN = 10


def open_masks(
    path: str | Path,
    *,
    images: str = "images",
    masks: str = "masks",
    suffix: str = "",
    classes: str = "",
    instances: str = "false",
    data_dir: str | os.PathLike[str] | None = None,
    download: bool = False,
) -> Source:
    """Open images with masks.

    Args:
        path: A folder as for `Masks`, or `tfds:NAME` for a segmentation set of TensorFlow Datasets.
        images: Name of the folder of images.
        masks: Name of the folder of masks; or the pattern of their names, in which `{name}` is that
            of the image: `"{name}_mask.png"` beside the image, `"labels/{name}.tif"` in a folder.
        suffix: What masks are named behind the names of their images, such as `"_mask"`; in the
            folder of masks, or beside the images where there is none.
        classes: Name and value in the masks of each class, `"membrane:0,interior:255"` or
            `"road:#804080,ignore:#000000"`, where `ignore` is no class. In names, percent encoding
            stands for the characters `,:&%`. Default: read from the masks.
        instances: `"true"` where masks number objects, 0 for the background. The classes are then
            `background` and `object`, with a gap of one pixel between objects that touch, and an
            example has the numbers as a third column, for the weights of borders.
        data_dir: As for `keras_arch.data.load`.
        download: As for `keras_arch.data.describe`.

    Raises:
        DataError: If a file or option is missing or wrong.
    """
    if str(path).startswith("tfds:"):
        name = str(path).removeprefix("tfds:")
        return TFDSMasks(TFDSSource(name, data_dir=data_dir, download=download))
    return Masks(
        path, images=images, masks=masks, suffix=suffix, classes=classes, instances=instances
    )


def class_table(text: str) -> tuple[dict[str, int], bool]:
    """The values of `background:#000000,car:#ff00aa` by class, and whether they are colours.

    Example:
        >>> class_table("background:0,cell:255")
        ({'background': 0, 'cell': 255}, False)
    """
    table: dict[str, int] = {}
    coloured = set()
    for entry in filter(None, text.split(",")):
        name, _, value = map(urllib.parse.unquote, entry.rpartition(":"))
        coloured.add(value.startswith("#"))
        if len(coloured) > 1:
            raise DataError(f"classes have numbers or colours, not both, got {text!r}")
        try:
            number = int(value[1:], 16) if value.startswith("#") else int(value)
            readable = name and name not in table and 0 <= number < 2**24
            readable &= not value.startswith("#") or len(value) == 7
        except ValueError:
            readable = False
        if not readable or number in table.values():
            raise DataError(
                "classes are written NAME:VALUE, each once, with a number or a colour such as "
                f"#ff00aa as value; got {entry!r}"
            )
        table[name] = number
    named = sum(name != _IGNORED for name in table)
    if table and not 2 <= named <= IGNORE:
        raise DataError(f"{text!r} names {named} classes; give 2 to {IGNORE}")
    return table, coloured == {True}


class Masks(Source):
    """Folders of images and of masks, whose names say which belong together.

    `path` is a folder of the two, or of folders train, test and val of these; the other arguments
    are those of `open_masks`.
    """

    kind = "masks"

    def __init__(
        self,
        path: str | Path,
        *,
        images: str = "images",
        masks: str = "masks",
        suffix: str = "",
        classes: str = "",
        instances: str = "false",
    ) -> None:
        images, masks, suffix = map(urllib.parse.unquote, (images, masks, suffix))
        _check_names(images, masks, suffix)
        if instances not in ("true", "false"):
            raise DataError(f"instances is true or false, got 'instances={instances}'")
        self._instances = instances == "true"
        table, self._coloured = class_table(classes)
        if self._instances and table:
            raise DataError(
                f"instances are of the classes background and object; leave classes={classes} out"
            )
        path = existing_path(path, "folders of images and masks")
        splits = image_files.split_folders(path)
        if any((path / name).is_dir() for name in (images, masks)) or not splits:
            splits = {"train": path}
        self._files = {
            split: mask_files.matched(folder, images, masks, suffix)
            for split, folder in splits.items()
        }
        everything = [files for both in self._files.values() for files in both]
        self.splits = {split: len(files) for split, files in self._files.items()}
        files, found = zip(*everything, strict=True)
        self.image_shape = image_files.shape_of(files)
        self._dtype = image_files.dtype_of(files)
        _check_sizes(files, found)
        images_of = {split: [image for image, _ in both] for split, both in self._files.items()}
        image_listing.log_opened(path, images_of, masks=found)
        if self._instances:
            self.classes = ("background", "object")
        else:
            self._read_classes(found, table)

    def examples(self, split: str, start: int, stop: int) -> Any:
        """Images `start` to `stop` with their masks, and with their instances where asked for."""
        images, masks = zip(*self._files[split][start:stop], strict=True)
        shape = self.image_shape[:2]

        def load(image: Any, file: Any) -> tuple[Any, ...]:
            if self._instances:
                numbers = tf.numpy_function(_read_instances, [file], tf.int32, stateful=False)
                numbers = tf.ensure_shape(numbers, shape)
                return image, tf.cast(numbers > 0, tf.uint8), numbers
            mask = tf.numpy_function(self._read_mask, [file], tf.uint8, stateful=False)
            return image, tf.ensure_shape(mask, shape)

        names = [str(file) for file in masks]
        files = image_files.decoded(images, self.image_shape, names, dtype=self._dtype)
        return files.map(load, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)

    def _read_mask(self, file: bytes) -> np.ndarray:
        raw = mask_files.raw_mask(Path(file.decode()), self._coloured)
        return self._numbers[np.searchsorted(self._values, raw)]

    def _read_classes(self, files: Sequence[Path], table: dict[str, int]) -> None:
        coloured = self._coloured
        values = image_files.in_threads(lambda file: mask_files.values_in(file, coloured), files)
        table = table or _guessed(files, values)
        known = {value: name for name, value in table.items()}
        if not coloured:
            known.setdefault(IGNORE, _IGNORED)
        for file, found in zip(files, values, strict=True):
            unknown = sorted(found - set(known))
            if unknown:
                written = mask_files.written
                shown = ", ".join(written(value, coloured) for value in unknown[:_SHOWN])
                names = [f"{name} {written(value, coloured)}" for name, value in table.items()]
                raise DataError(
                    f"{file} holds the unknown value{'s' * (len(unknown) > 1)} {shown}"
                    f"{', ...' * (len(unknown) > _SHOWN)}; the classes are {', '.join(names)}"
                )
            if {known[value] for value in found} == {_IGNORED}:
                raise DataError(
                    f"all pixels of {file} are ignored, so that nothing can be learnt from it; "
                    "remove it and its image"
                )
        self.classes = tuple(name for name in table if name != _IGNORED)
        numbers = {name: number for number, name in enumerate(self.classes)} | {_IGNORED: IGNORE}
        self._values = np.array(sorted(known))
        self._numbers = np.array([numbers[known[value]] for value in sorted(known)], np.uint8)
        shown = [table[name] for name in self.classes]
        palette = mask_files.palette_of(files[0])
        if coloured:
            self.colors = tuple((value >> 16, value >> 8 & 255, value & 255) for value in shown)
        elif palette is not None and max(shown) < len(palette):
            self.colors = tuple(tuple(palette[value].tolist()) for value in shown)


def _check_names(images: str, masks: str, suffix: str) -> None:
    """Refuse names of folders and patterns of masks that are none."""
    pattern = "{name}" in masks
    parts = masks.split("/") if pattern else [masks]
    for name in (images, *parts):
        if Path(name).name != name or name in ("", ".", ".."):
            raise DataError(f"images and masks are names of folders, got {images!r} and {masks!r}")
    if pattern and (masks.count("{name}") > 1 or "{name}" not in parts[-1]):
        raise DataError(
            f"a pattern of masks has {{name}} once, in the name of the file, got {masks!r}"
        )
    if pattern and suffix:
        raise DataError(f"masks={masks} and suffix={suffix} both name the masks; give one")
    if masks in ("{name}", "{name}.*"):
        raise DataError(f"masks={masks} names the images themselves; name what is added to them")
    if any(letter in suffix for letter in "/*{}"):
        raise DataError(f"suffix is the end of a name such as _mask, got {suffix!r}")


def _check_sizes(files: Sequence[Path], masks: Sequence[Path]) -> None:
    """Refuse a mask of another size than its image."""
    heads = image_files.in_threads(image_reading.head, files)
    sizes = image_files.in_threads(mask_files.size_of, masks)
    for file, mask, found, other in zip(files, masks, heads, sizes, strict=True):
        if found.size != other:
            height, width = found.size
            raise DataError(
                f"{file} has {width}x{height} pixels and its mask {mask} has "
                f"{other[1]}x{other[0]}; they must be of one size"
            )


def _read_instances(file: bytes) -> np.ndarray:
    return separate_instances(mask_files.raw_mask(Path(file.decode()), False))


class TFDSMasks(Source):
    """A segmentation set of TensorFlow Datasets: its images and masks."""

    kind = "masks"

    def __init__(self, inner: TFDSSource) -> None:
        self._inner = inner
        self._key, self._first, self.classes = _mask_feature(inner)
        self.splits, self.image_shape, self.license = inner.splits, inner.image_shape, inner.license

    def examples(self, split: str, start: int, stop: int) -> Any:
        """Images `start` to `stop` in the order of the files, with their masks."""
        first, count, image = self._first, len(self.classes), self._inner.image

        def convert(example: Any) -> tuple[Any, Any]:
            mask = tf.cast(example[self._key], tf.int32)[..., 0] - first
            # A value that is no class is ignored.
            mask = tf.where((mask >= 0) & (mask < count), mask, IGNORE)
            return example[image], tf.cast(mask, tf.uint8)

        return self._inner.read(split, start, stop, [image, self._key]).map(
            convert, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
        )


# Sets whose masks are pictures without a table: key, value of the first class, classes.
_KNOWN = {"oxford_iiit_pet": ("segmentation_mask", 1, ("pet", "background", "border"))}


def _mask_feature(inner: TFDSSource) -> tuple[str, int, tuple[str, ...]]:
    """The key of the masks, the value of the first class and the names of the classes."""
    import tensorflow_datasets as tfds

    if inner.set_name in _KNOWN:
        return _KNOWN[inner.set_name]
    for key, feature in inner.features.items():
        if isinstance(feature, tfds.features.LabeledImage) and feature.names:
            return key, 0, tuple(feature.names)
    raise DataError(
        f"data set {inner.set_name!r} has no masks with named classes; of TensorFlow Datasets give "
        f"masks:tfds:{', '.join(_KNOWN)} or a set with a LabeledImage, or give masks:PATH"
    )


def _guessed(files: Sequence[Path], held: Sequence[frozenset[int]]) -> dict[str, int]:
    values = set().union(*held)
    classes = sorted(values - {IGNORE})
    if values == {0, IGNORE} and mask_files.palette_of(files[0]) is None:
        return {"background": 0, "foreground": 255}
    if classes and classes != list(range(len(classes))):
        shown = ", ".join(map(str, classes[:_SHOWN])) + ", ..." * (len(classes) > _SHOWN)
        example = next(f for f, found in zip(files, held, strict=True) if max(classes) in found)
        raise DataError(
            f"the masks hold the values {shown} ({example} for one); without a table they must be "
            "0 to n-1 with none left out, and 255 for ignored pixels: name them by "
            "?classes=NAME:VALUE,..., or data.classes in a config"
        )
    if len(classes) < 2:
        only = f"the one class {classes[0]}" if classes else "no class"
        raise DataError(
            f"the masks beside {files[0]} hold {only}; segmentation needs two, and a table where "
            "some do not occur: ?classes=NAME:VALUE,..., or data.classes in a config"
        )
    return {str(value): value for value in classes}
