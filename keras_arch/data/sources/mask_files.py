"""Mask files: which mask belongs to which image, and the values in a mask."""

import functools
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_arch.data import image_files
from keras_arch.data.image_reading import load_array, opened
from keras_arch.errors import DataError

_IMAGES = image_files.SUFFIXES
# The lossless formats. The others are listed too, for an error that says why they are refused.
_MASKS = (".png", ".bmp", ".gif", ".tif", ".tiff", ".npy")
_LOSSY = tuple(suffix for suffix in _IMAGES if suffix not in _MASKS)
_LOSSLESS = ("PNG", "BMP", "GIF", "TIFF")
_GREY, _COLOURED = ("1", "L", "LA", "I;16", "I;16B", "I", "F"), ("RGB", "RGBA", "P")
_SHOWN = 10


def matched(folder: Path, images: str, masks: str, suffix: str) -> list[tuple[Path, Path]]:
    """Images of a folder with their masks, each of which must have its counterpart.

    Args:
        folder: That of one split.
        images: Name of the folder of images in it.
        masks: Name of the folder of masks in it; or a pattern such as `{name}_mask.png`, in which
            `{name}` is the image's name without its ending: beside the image, or with `/` from
            `folder` on.
        suffix: What the names of masks have behind those of their images, such as `_mask`. They lie
            in the folder of masks, or beside the images where there is none.

    Raises:
        DataError: If there are no images, or one has no mask or several, or a mask has no image.
    """
    if not suffix and "{name}" not in masks:
        return _two_folders(folder, images, masks)
    where = folder / images if (folder / images).is_dir() else folder
    if suffix:
        beside = (folder / masks) if (folder / masks).is_dir() else where
        pattern, home = "{name}" + suffix + ".*", beside
    else:
        pattern = masks
        home = folder / pattern.rpartition("/")[0] if "/" in pattern else where
        pattern = pattern.rpartition("/")[2]
    before, after = pattern.split("{name}")
    after, _, ending = after.rpartition(".") if "." in after else (after, "", "*")
    endings = (*_MASKS, *_LOSSY) if ending == "*" else (f".{ending.lower()}",)
    shape = re.compile(re.escape(before) + "(.+)" + re.escape(after), re.DOTALL)
    found: dict[str, Path] = {}
    for file in _files(home, endings):
        name = shape.fullmatch(file.stem)
        if name:
            _add(found, name[1], file)
    if not found:
        raise DataError(f"{home} holds no mask {pattern!r} ({{name}} is the name of an image)")
    taken = set(found.values())
    named: dict[str, Path] = {}
    for file in _files(where, _IMAGES):
        if file not in taken:
            _add(named, file.stem, file)
    _check_alone(named, found, where, home, f"mask {pattern}")
    return [(file, found[name]) for name, file in named.items()]


def _two_folders(folder: Path, images: str, masks: str) -> list[tuple[Path, Path]]:
    for name in (images, masks):
        if not (folder / name).is_dir():
            names = ", ".join(path.name for path in image_files.subfolders(folder)[:5]) or "none"
            raise DataError(
                f"{folder} must hold folders {images} and {masks} with files of "
                f"equal names; its folders are {names} (?images=FOLDER&masks=FOLDER names others, "
                "?suffix=_mask takes masks beside their images)"
            )
    first: dict[str, Path] = {}
    second: dict[str, Path] = {}
    for named, where, endings in (
        (first, folder / images, _IMAGES),
        (second, folder / masks, (*_MASKS, *_LOSSY)),
    ):
        for file in _files(where, endings):
            _add(named, file.stem, file)
        if not named:
            raise DataError(f"{where} holds no image ({', '.join(endings)})")
    hint = _suffix_between(first, second)
    _check_alone(first, second, folder / images, folder / masks, "image of the same name", hint)
    return [(file, second[name]) for name, file in first.items()]


def _suffix_between(images: dict[str, Path], masks: dict[str, Path]) -> str:
    """A hint where all masks have the same letters behind the names of their images."""
    name = next(iter(images))
    for mask in masks:
        end = mask.removeprefix(name)
        if end and end != mask and {image + end for image in images} == set(masks):
            return f"; the masks are named by ?suffix={end}"
    return ""


def _check_alone(
    images: dict[str, Path], masks: dict[str, Path], here: Path, there: Path, wanted: str,
    hint: str = "",
) -> None:  # fmt: skip
    sides = ((images, masks, here, there, wanted), (masks, images, there, here, "image"))
    for own, other, own_folder, other_folder, missing in sides:
        alone = [file for name, file in own.items() if name not in other]
        if alone:
            shown = ", ".join(map(str, alone[:3])) + (", ..." if len(alone) > 3 else "")
            raise DataError(
                f"{len(alone)} of the {len(own)} images in {own_folder} have no "
                f"{missing if own is images else 'image of the same name'} in {other_folder}: "
                f"{shown}{hint}"
            )


def _add(named: dict[str, Path], name: str, file: Path) -> None:
    if name in named:
        raise DataError(f"{named[name]} and {file} have one name; a pair has two images")
    named[name] = file


def _files(folder: Path, endings: Sequence[str]) -> list[Path]:
    """Files of a folder with one of these endings, in natural order."""
    try:
        entries = [x for x in folder.iterdir() if not x.name.startswith(".") and x.is_file()]
    except OSError as error:
        raise DataError(f"folder {folder} cannot be read: {error.strerror}") from None
    chosen = [entry for entry in entries if entry.suffix.lower() in endings]
    return sorted(chosen, key=lambda entry: image_files.natural(entry.name))


def raw_mask(file: Path, coloured: bool) -> np.ndarray:
    """The values of a mask as they are in its file, `int64`: numbers, or colours as `0xrrggbb`.

    Args:
        file: A lossless file: PNG, BMP, GIF, TIFF or `.npy`. A palette gives numbers, but in a GIF
            file, whose palette is that of the file alone: there its colours count.
        coloured: Whether the values are colours.

    Raises:
        DataError: If it cannot be read, is lossy, has several pages or no whole numbers.
    """
    if file.suffix.lower() == ".npy":
        values = load_array(file)
        if values.ndim != 2:
            raise DataError(
                f"{file} holds an array of shape {values.shape}, a mask is (height, width)"
            )
        return _whole(file, values)
    with opened(file) as image:
        if image.format not in _LOSSLESS:
            blurs = "blurs values" if image.format in ("JPEG", "MPO") else "may blur values"
            raise DataError(f"{file} is a {image.format} file, which {blurs}; save masks as PNG")
        pages = getattr(image, "n_frames", 1)
        if pages > 1:
            raise DataError(f"{file} holds {pages} pages; a mask is one: save each by itself")
        if image.format == "GIF":
            image = image.convert("RGB")
        if image.mode not in (*_GREY, *_COLOURED):
            raise DataError(f"{file} has pixels of kind {image.mode}; save masks as PNG")
        if not coloured and image.mode not in ("RGB", "RGBA"):
            grey = image.convert("L") if image.mode in ("1", "LA") else image
            return _whole(file, np.asarray(grey))
        pixels = np.asarray(image.convert("RGB")).astype(np.int64)
    if coloured:
        return pixels[..., 0] << 16 | pixels[..., 1] << 8 | pixels[..., 2]
    if (pixels != pixels[..., :1]).any():
        found = np.unique(pixels.reshape(-1, 3), axis=0)[:_SHOWN]
        shown = ", ".join(written(r << 16 | g << 8 | b, True) for r, g, b in found.tolist())
        raise DataError(
            f"{file} is in colour ({shown}); name the classes: ?classes=background:#000000,"
            "NAME:#rrggbb, or data.classes in a config"
        )
    return pixels[..., 0]


def _whole(file: Path, values: np.ndarray) -> np.ndarray:
    """Values as `int64`, which must be whole numbers from 0."""
    whole = values.astype(np.int64) if values.dtype.kind in "buif" else None
    if whole is None or (values.dtype.kind == "f" and not np.array_equal(whole, values)):
        raise DataError(
            f"{file} holds {values.dtype.name} that are no whole numbers; a mask has a number for "
            "each class or object"
        )
    if whole.size and whole.min() < 0:
        raise DataError(f"{file} holds the value {whole.min()}; a mask has numbers from 0")
    return whole


def values_in(file: Path, coloured: bool) -> frozenset[int]:
    """The values that occur in a mask."""
    try:
        status = file.stat()
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}") from None
    return _values_of_version(file, coloured, status.st_mtime_ns, status.st_size)


@functools.lru_cache(maxsize=100_000)
def _values_of_version(file: Path, coloured: bool, _modified: int, _size: int) -> frozenset[int]:
    """The values in one version of a mask; a file that did not change is not read again."""
    return frozenset(np.unique(raw_mask(file, coloured)).tolist())


def palette_of(file: Path) -> np.ndarray | None:
    """`(colours, 3)`, of an image whose numbers are places in a palette."""
    if file.suffix.lower() == ".npy":
        return None
    with opened(file) as image:
        numbered = image.mode == "P" and image.format != "GIF"
        colours = image.getpalette("RGB") if numbered else None
    return None if colours is None else np.array(colours).reshape(-1, 3)


def size_of(file: Path) -> tuple[int, int]:
    """Height and width of a mask file."""
    if file.suffix.lower() == ".npy":
        return load_array(file).shape[:2]
    with opened(file) as image:
        return image.height, image.width


def written(value: int, coloured: bool) -> str:
    """A value as in a table of classes."""
    return f"#{value:06x}" if coloured else str(value)
