"""Images with masks: a class for every pixel."""

import dataclasses
import functools
import urllib.parse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_arch.data import image_files
from keras_arch.data.border_weights import IGNORE
from keras_arch.data.sources import pairs
from keras_arch.data.sources.base import Source
from keras_arch.data.sources.tfds import TFDSSource
from keras_arch.errors import DataError

# What is not known, in a table of classes.
_IGNORED = "ignore"
_GREY, _COLOURED = ("1", "L", "LA", "I;16", "I"), ("RGB", "RGBA", "P")
_SHOWN = 10


@dataclasses.dataclass(frozen=True)
class Layout:
    """How masks are kept, from the options behind a `masks:PATH`.

    Attributes:
        images: Name of the folder of images.
        masks: Name of the folder of masks.
        table: Name and value in the masks of each class: a number, or a colour as `0xrrggbb`
            where `coloured`. `ignore` is no class.
        coloured: Whether the table tells colours.
    """

    images: str = "images"
    masks: str = "masks"
    table: tuple[tuple[str, int], ...] = ()
    coloured: bool = False


def layout_of(source: str, options: str) -> Layout:
    """Read `images=image&masks=label&classes=membrane:0,interior:255`.

    Raises:
        DataError: If an option is unknown or its value cannot be read.

    Example:
        >>> layout_of("masks:cells", "classes=background:0,cell:255").table
        (('background', 0), ('cell', 255))
    """
    found: dict[str, Any] = {}
    for option in filter(None, options.split("&")):
        key, _, text = option.partition("=")
        if key not in ("images", "masks", "classes") or not text or key in found:
            raise DataError(
                f"data source {source!r}: after ? come images=FOLDER, masks=FOLDER and "
                f"classes=NAME:VALUE,..., joined by &; got {option!r}"
            )
        # Names of classes one by one: there may be a comma in them.
        found[key] = text if key == "classes" else urllib.parse.unquote(text)
    folders = [found.get(key, key) for key in ("images", "masks")]
    if any(Path(name).name != name or name in (".", "..") for name in folders):
        raise DataError(f"data source {source!r}: images and masks are names of folders")
    return Layout(*folders, *_table(source, found.get("classes", "")))


def _table(source: str, text: str) -> tuple[tuple[tuple[str, int], ...], bool]:
    """The classes of `background:#000000,car:#ff00aa`, and whether they are colours."""
    table: dict[str, int] = {}
    coloured = set()
    for entry in filter(None, text.split(",")):
        name, _, value = map(urllib.parse.unquote, entry.rpartition(":"))
        coloured.add(value.startswith("#"))
        if len(coloured) > 1:
            raise DataError(f"data source {source!r}: classes have numbers or colours, not both")
        try:
            number = int(value[1:], 16) if value.startswith("#") else int(value)
            readable = name and name not in table and 0 <= number < 2**24
            readable &= not value.startswith("#") or len(value) == 7
        except ValueError:
            readable = False
        if not readable or number in table.values():
            raise DataError(
                f"data source {source!r}: classes are written NAME:VALUE, each once, with a number "
                f"or a colour such as #ff00aa as value; got {entry!r}"
            )
        table[name] = number
    named = sum(name != _IGNORED for name in table)
    if table and not 2 <= named <= IGNORE:
        raise DataError(f"data source {source!r} names {named} classes; give 2 to {IGNORE}")
    return tuple(table.items()), coloured == {True}


class Masks:
    """Folders of images and of masks with files of equal names.

    Args:
        name: The source as it was asked for.
        path: A folder of the two, or of folders train, test and val of these.
        layout: How the masks are kept.
    """

    def __init__(self, name: str, path: Path, layout: Layout) -> None:
        if not path.is_dir():
            raise DataError(f"{path} is not a folder; give one with folders of images and masks")
        inner = {folder.name: folder for folder in image_files.subfolders(path)}
        splits = {split: inner[split] for split in image_files.SPLITS if split in inner}
        if {layout.images, layout.masks} & set(inner) or not splits:
            splits = {"train": path}
        self._files = {split: _matched(folder, layout) for split, folder in splits.items()}
        images, masks = zip(
            *(both for files in self._files.values() for both in files), strict=True
        )
        _check_sizes(images, masks)
        self._layout = layout
        self._shape = image_files.shape_of(images)
        self._check(masks)
        self.source = Source(
            name=name,
            classes=self._names,
            splits={split: len(files) for split, files in self._files.items()},
            image_shape=self._shape,
            license="not stated",
            kind="masks",
            colors=self._colors,
        )

    def part(self, split: str, start: int, stop: int) -> Any:
        """Images `start` to `stop` with their masks."""
        import tensorflow as tf

        images, masks = zip(*self._files[split][start:stop], strict=True)
        values, classes = self._values, self._classes

        def read(file: bytes) -> np.ndarray:
            raw = _raw(Path(file.decode()), self._layout.coloured)
            return classes[np.searchsorted(values, raw)]

        def load(image: Any, file: Any) -> tuple[Any, Any]:
            mask = tf.numpy_function(read, [file], tf.uint8, stateful=False)
            return image, tf.ensure_shape(mask, self._shape[:2])

        decoded = image_files.decoded(images, self._shape, [str(file) for file in masks])
        return decoded.map(load, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)

    def _check(self, files: Sequence[Path]) -> None:
        """Read all masks, and find out which value is which class."""
        coloured = self._layout.coloured
        held = image_files.in_threads(lambda file: _values_in(file, coloured), files)
        everything = sorted(set().union(*(found for found in held)))
        table = dict(self._layout.table)
        if not table:
            table = _guessed(files, held, everything)
        known = {value: name for name, value in table.items()}
        if not self._layout.coloured:
            known.setdefault(IGNORE, _IGNORED)
        for file, found in zip(files, held, strict=True):
            unknown = sorted(found - set(known))
            if unknown:
                shown = ", ".join(_written(value, coloured) for value in unknown[:_SHOWN])
                told = ", ".join(
                    f"{name} {_written(value, coloured)}" for name, value in table.items()
                )
                raise DataError(
                    f"{file} holds the unknown value{'s' * (len(unknown) > 1)} {shown}"
                    f"{', ...' * (len(unknown) > _SHOWN)}; the classes are {told}"
                )
            if {known[value] for value in found} == {_IGNORED}:
                raise DataError(
                    f"all pixels of {file} are ignored, so that nothing can be learnt from it; "
                    "remove it and its image"
                )
        self._names = tuple(name for name in table if name != _IGNORED)
        numbers = {name: number for number, name in enumerate(self._names)} | {_IGNORED: IGNORE}
        self._values = np.array(sorted(known))
        self._classes = np.array([numbers[known[value]] for value in sorted(known)], np.uint8)
        self._colors = self._coloured(table, files)

    def _coloured(
        self, table: dict[str, int], files: Sequence[Path]
    ) -> tuple[tuple[int, int, int], ...] | None:
        """A colour for each class, where the table or a palette tells."""
        values = [table[name] for name in self._names]
        if self._layout.coloured:
            return tuple(_rgb(value) for value in values)
        palette = _palette(files[0])
        if palette is None or max(values) >= len(palette):
            return None
        return tuple(tuple(map(int, palette[value])) for value in values)


class TFDSMasks:
    """A segmentation set of TensorFlow Datasets: its images and masks.

    Args:
        name: The source as it was asked for.
        catalog: The set.
    """

    def __init__(self, name: str, catalog: TFDSSource) -> None:
        self._catalog = catalog
        self._key, self._first, classes = _mask_feature(catalog)
        self.source = dataclasses.replace(
            catalog.source, name=name, classes=classes, kind="masks", colors=None
        )

    def part(self, split: str, start: int, stop: int) -> Any:
        """Images `start` to `stop` in the order of the files, with their masks."""
        import tensorflow as tf

        first, count = self._first, len(self.source.classes)

        def classes(example: Any) -> tuple[Any, Any]:
            mask = tf.cast(example[self._key], tf.int32)[..., 0] - first
            # What is no class is not known.
            mask = tf.where((mask >= 0) & (mask < count), mask, IGNORE)
            return example[self._catalog.image], tf.cast(mask, tf.uint8)

        return self._catalog.examples(split, start, stop, [self._catalog.image, self._key]).map(
            classes, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
        )


# Sets whose masks are pictures without a table: key, value of the first class, classes.
_KNOWN = {"oxford_iiit_pet": ("segmentation_mask", 1, ("pet", "background", "border"))}


def _mask_feature(catalog: TFDSSource) -> tuple[str, int, tuple[str, ...]]:
    """The key of the masks, the value of the first class and the names of the classes."""
    import tensorflow_datasets as tfds

    if catalog.set_name in _KNOWN:
        return _KNOWN[catalog.set_name]
    features = dict(catalog.features.items())
    for key, feature in features.items():
        if isinstance(feature, tfds.features.LabeledImage) and feature.names:
            return key, 0, tuple(feature.names)
    raise DataError(
        f"data set {catalog.set_name!r} tells no masks with classes; of TensorFlow Datasets give "
        f"masks:tfds:{', '.join(_KNOWN)} or a set with a LabeledImage, or give masks:PATH"
    )


def _matched(folder: Path, layout: Layout) -> list[tuple[Path, Path]]:
    """Images and masks of one split."""
    for name in (layout.images, layout.masks):
        if not (folder / name).is_dir():
            names = ", ".join(path.name for path in image_files.subfolders(folder)[:5]) or "none"
            raise DataError(
                f"{folder} must hold folders {layout.images} and {layout.masks} with files of "
                f"equal names; its folders are {names} (?images=FOLDER&masks=FOLDER names others)"
            )
    return pairs.matched(folder / layout.images, folder / layout.masks)


def _check_sizes(images: Sequence[Path], masks: Sequence[Path]) -> None:
    """An image and its mask are of one size."""
    heads = (image_files.in_threads(image_files.head, files) for files in (images, masks))
    for image, mask, (size, _), (other, _) in zip(images, masks, *heads, strict=True):
        if size != other:
            raise DataError(
                f"{image} has {size[1]}x{size[0]} pixels and its mask {mask} has "
                f"{other[1]}x{other[0]}; they must be of one size"
            )


def _raw(file: Path, coloured: bool) -> np.ndarray:
    """The values of a mask as they are in its file: numbers, or colours as `0xrrggbb`."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(file) as image:
            if image.format == "JPEG":
                raise DataError(f"{file} is a JPEG file, which blurs values; save masks as PNG")
            if image.mode not in (*_GREY, *_COLOURED):
                raise DataError(f"{file} has pixels of kind {image.mode}; save masks as PNG")
            if coloured or image.mode in ("RGB", "RGBA"):
                pixels = np.asarray(image.convert("RGB")).astype(np.int64)
            else:
                grey = image.convert("L") if image.mode in ("1", "LA") else image
                return np.asarray(grey).astype(np.int64)
    except DataError:
        raise
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise DataError(f"{file} cannot be read: {reason}; repair or remove it") from None
    if coloured:
        return pixels[..., 0] << 16 | pixels[..., 1] << 8 | pixels[..., 2]
    if (pixels != pixels[..., :1]).any():
        found = np.unique(pixels.reshape(-1, 3), axis=0)[:_SHOWN]
        shown = ", ".join(_written(r << 16 | g << 8 | b, True) for r, g, b in found.tolist())
        raise DataError(
            f"{file} is in colour ({shown}); name the classes: ?classes=background:#000000,"
            "NAME:#rrggbb, or data.classes in a config"
        )
    return pixels[..., 0]


def _values_in(file: Path, coloured: bool) -> frozenset[int]:
    try:
        status = file.stat()
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}") from None
    return _values_of_version(file, coloured, status.st_mtime_ns, status.st_size)


@functools.lru_cache(maxsize=100_000)
def _values_of_version(file: Path, coloured: bool, _modified: int, _size: int) -> frozenset[int]:
    """The values in a mask as it is now; a file that did not change is not read again."""
    return frozenset(np.unique(_raw(file, coloured)).tolist())


def _guessed(
    files: Sequence[Path], held: Sequence[frozenset[int]], values: list[int]
) -> dict[str, int]:
    """The classes of masks without a table."""
    classes = [value for value in values if value != IGNORE]
    if set(values) == {0, IGNORE} and _palette(files[0]) is None:
        return {"background": 0, "foreground": 255}
    if classes and classes != list(range(len(classes))):
        shown = ", ".join(map(str, classes[:_SHOWN])) + ", ..." * (len(classes) > _SHOWN)
        example = next(f for f, found in zip(files, held, strict=True) if max(classes) in found)
        raise DataError(
            f"the masks hold the values {shown} ({example} for one); without a table they must be "
            "0 to n-1 with none left out, and 255 where nothing is known: name them by "
            "?classes=NAME:VALUE,..., or data.classes in a config"
        )
    if len(classes) < 2:
        only = f"the one class {classes[0]}" if classes else "no class"
        raise DataError(
            f"the masks beside {files[0]} hold {only}; segmentation needs two, and a table where "
            "some do not occur: ?classes=NAME:VALUE,..., or data.classes in a config"
        )
    return {str(value): value for value in classes}


def _palette(file: Path) -> np.ndarray | None:
    """`(colours, 3)`, of an image that has a palette."""
    from PIL import Image

    with Image.open(file) as image:
        colours = image.getpalette("RGB") if image.mode == "P" else None
    return None if colours is None else np.array(colours).reshape(-1, 3)


def _rgb(value: int) -> tuple[int, int, int]:
    return value >> 16, value >> 8 & 255, value & 255


def _written(value: int, coloured: bool) -> str:
    return f"#{value:06x}" if coloured else str(value)
