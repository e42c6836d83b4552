"""Reading one image file: what it holds, and its values.

Each file has one decoder, wherever it is read: `image_bytes` has that of the kinds that a server
takes too, Pillow reads the others.
"""

import contextlib
import dataclasses
import functools
import logging
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_arch._lazy import tf
from keras_arch.data import image_bytes, tiff_files
from keras_arch.errors import DataError, naming

_log = logging.getLogger("keras_arch")

READABLE = "JPEG, PNG, BMP, GIF, TIFF, WebP and others that Pillow reads, or .npy"
_ALPHA = ("LA", "La", "PA", "RGBA", "RGBa")
_GREY = ("1", "L", "LA", "La")
# Decoded by TensorFlow. MPO is what phones write: a JPEG file with a second picture behind it.
_NATIVE = ("JPEG", "MPO", "PNG", "GIF", "WEBP")
# More channels than that in front, and the array is a batch or a volume.
_MOST_IN_FRONT = 32
# NumPy parses headers by Python's own syntax trees, which threads of Python 3.11 must not build at
# once (cpython issue 106905).
_HEADERS = threading.Lock()
_STACKS = ("AVIF", "DCX", "GIF", "PNG", "TIFF", "WEBP")


@dataclasses.dataclass(frozen=True)
class Head:
    """What an image file holds.

    Attributes:
        size: Height and width of the upright image.
        mode: Pillow's name of the kind of its pixels, or the dtype of an array.
        dtype: Of its values: `"uint8"`, `"uint16"`, `"int32"`, `"float32"`, or that of an array.
        channels: 1 for grey ones, 3 in colour, or those of an array.
        orientation: EXIF's, 1 to 8, for pixels that lie as in the file; else 1.
        is_turned: Whether the image does not lie in its file as it is seen.
        is_native: Whether `image_bytes` decodes it.
        has_alpha: Whether it has transparency, which is left out.
    """

    size: tuple[int, int]
    mode: str
    dtype: str
    channels: int
    orientation: int = 1
    is_turned: bool = False
    is_native: bool = False
    has_alpha: bool = False


def read_image(path: Path) -> np.ndarray:
    """The values of an image file, upright as its EXIF says.

    Returns:
        `(height, width, channels)`: 1 channel where it is grey, 3 in colour (alpha is left out), of
        an array as many as it has. `uint8`, `uint16` of files with 16 bits, `int32` or `float32` of
        TIFF files with such values, or the dtype of an array.

    Raises:
        DataError: If it is missing, no image or damaged, holds several pages or an animation, has
            more pixels than Pillow allows, or colours of 16 bits that Pillow would cut to 8.

    Example:
        >>> np.save("scan.npy", np.zeros((4, 6, 5), "uint16"))
        >>> read_image(Path("scan.npy")).shape
        (4, 6, 5)
    """
    path = Path(path)
    found = head(path)
    if path.suffix.lower() == ".npy":
        return _channels_last(load_array(path))
    if tiff_files.has_many_channels(path):
        return tiff_files.read(path)
    if found.is_native:
        try:
            with tf.device("CPU"):
                values = image_bytes.decode(path.read_bytes(), deep=found.dtype == "uint16")
                values = image_bytes.upright(values, found.orientation).numpy()
        except tf.errors.InvalidArgumentError:
            raise DataError(
                f"{path} is damaged and cannot be decoded; repair or remove it"
            ) from None
        return values[..., : found.channels]
    from PIL import ImageOps

    with opened(path) as image:
        upright = ImageOps.exif_transpose(image)
        if found.dtype == "uint8":
            upright = upright.convert("L" if found.channels == 1 else "RGB")
        values = np.asarray(upright).astype(found.dtype, copy=False)
    return values[..., None] if values.ndim == 2 else values


def read_prepared(paths: Sequence[Path], preprocessing: Callable[[Any], Any]) -> np.ndarray:
    """The images of files as a network takes them, one after the other in one array.

    Args:
        paths: The files, as for `read_image`; those with transparency are logged.
        preprocessing: That of the network.

    Raises:
        DataError: As from `read_image`.
        ArgumentError: As from `preprocessing`, with the name of the file.
    """
    prepared = []
    for path in paths:
        warn_of_alpha(path)
        with naming(path):
            prepared.append(np.asarray(preprocessing(read_image(path)[None])))
    return np.concatenate(prepared)


def warn_of_alpha(path: Path) -> None:
    """Log that an image file has transparency, which is left out."""
    if head(path).has_alpha:
        _log.warning("%s: its transparency is left out; save it on a background", path)


def as_dtype(values: Any, dtype: str) -> Any:
    """Values of a file, array or tensor, in the dtype of a source.

    Of files of 8 and 16 bits together, which are floats, those of 16 come to [0, 255] too.
    """
    deep = values.dtype == ("uint16" if isinstance(values, np.ndarray) else tf.uint16)
    convert = np.asarray if isinstance(values, np.ndarray) else tf.cast
    values = convert(values, dtype)
    return values / np.float32(image_bytes.DEEP) if deep and dtype == "float32" else values


def load_array(file: Path) -> np.ndarray:
    """The array of a `.npy` file.

    Raises:
        DataError: If it is missing or damaged, or holds Python objects.
    """
    return np.array(_mapped(file))


def _mapped(file: Path) -> np.ndarray:
    try:
        with _HEADERS:
            return np.load(file, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise DataError(f"image {file} does not exist") from None
    except (OSError, ValueError, EOFError) as error:
        reason = str(error).partition("\n")[0]
        if "pickle" in reason or "Python objects" in reason:
            raise DataError(
                f"{file} holds Python objects, which may run code, and no array; save the array "
                "alone (of a _seg.npy of Cellpose that of 'masks')"
            ) from None
        raise DataError(f"{file} cannot be read: {reason}; repair or remove it") from None


def _array_head(file: Path) -> Head:
    array = _mapped(file)
    if not isinstance(array, np.ndarray) or array.ndim not in (2, 3) or 0 in array.shape:
        raise DataError(
            f"{file} must hold an image, (height, width) or (height, width, channels), got shape "
            f"{getattr(array, 'shape', None)}"
        )
    if array.dtype.kind not in "uif" or array.dtype.itemsize > 4:
        raise DataError(
            f"{file} holds {array.dtype}; save it as uint8, uint16, int32 or float32, whichever "
            "holds its values"
        )
    height, *_, last = array.shape
    if array.ndim == 3 and height <= _MOST_IN_FRONT < min(array.shape[1], last):
        raise DataError(
            f"{file} holds shape {array.shape}, and channels come last: save it as "
            "np.moveaxis(array, 0, -1)"
        )
    dtype = array.dtype.newbyteorder("=").name
    return Head(array.shape[:2], dtype, dtype, (*array.shape, 1)[2])


def _channels_last(array: np.ndarray) -> np.ndarray:
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    return array if array.ndim == 3 else array[..., None]


def _image_head(file: Path, image: Any) -> Head:
    pages = _pages(image)
    if pages > 1:
        raise DataError(
            f"{file} holds {pages} pages or pictures; save each as a file of its own, or their "
            "channels as one array (.npy)"
        )
    is_native = image.format in _NATIVE
    dtype, channels = "uint8", 1 if image.mode in _GREY else 3
    if image.format == "PNG":
        # Pillow cuts colours of 16 bits to 8.
        with file.open("rb") as content:
            bits, color = content.read(26)[24:]
        dtype, channels = "uint16" if bits == 16 else "uint8", 1 if color in (0, 4) else 3
    elif image.mode.startswith("I;16"):
        dtype, channels = "uint16", 1
    elif image.mode in ("I", "F"):
        dtype, channels = {"I": "int32", "F": "float32"}[image.mode], 1
    elif image.format == "TIFF" and max(image.tag_v2.get(258, (8,))) > 8:
        raise DataError(
            f"{file} has {max(image.tag_v2[258])} bits a color channel, of which Pillow keeps 8; "
            "save it as a PNG file or as an array (.npy)"
        )
    orientation = _orientation(file, image)
    size = (image.height, image.width)
    # Pillow gives the size of a TIFF file as it is seen.
    if orientation > 4 and image.format != "TIFF":
        size = size[::-1]
    return Head(
        size,
        image.mode,
        dtype,
        channels,
        orientation if is_native else 1,
        orientation != 1,
        is_native,
        image.mode in _ALPHA or "transparency" in image.info,
    )


def _pages(image: Any) -> int:
    """The pages of a file, without the smaller copies of a page that a TIFF file may have."""
    count = getattr(image, "n_frames", 1)
    if image.format not in _STACKS or count == 1:
        return 1
    if image.format != "TIFF":
        return count
    pages = 0
    for number in range(count):
        image.seek(number)
        pages += not image.tag_v2.get(254, 0) & 1
    image.seek(0)
    return pages


def _orientation(file: Path, image: Any) -> int:
    """EXIF's orientation of an image, 1 to 8; 1 where there is none that can be read."""
    from PIL import Image

    try:
        if image.format == "PNG":
            exif = Image.Exif()
            exif.load(_png_exif(file))
        elif image.format in _NATIVE:
            exif = Image.Exif()
            exif.load(image.info.get("exif"))
        else:
            exif = image.getexif()
        found = exif.get(274, 1)
    # A block that is damaged, of which Pillow makes what it can.
    except (SyntaxError, ValueError, TypeError, KeyError, OSError, struct.error):
        return 1
    return found if found in range(1, 9) else 1


def _png_exif(file: Path) -> bytes:
    """The EXIF of a PNG file, which may lie behind the pixels, where Pillow does not look."""
    with file.open("rb") as content:
        content.seek(8)
        while len(start := content.read(8)) == 8:
            length, name = struct.unpack(">I4s", start)
            if name == b"eXIf":
                return content.read(length)
            content.seek(length + 4, 1)
    return b""


@contextlib.contextmanager
def opened(file: Path) -> Iterator[Any]:
    """An image file as a Pillow image; errors of reading it are `DataError`s."""
    from PIL import Image, UnidentifiedImageError

    _add_plugins()
    try:
        with Image.open(file) as image:
            if image.format == "EPS":
                raise DataError(f"{file} is a drawing and no image; save it as a PNG file")
            yield image
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"image {file} does not exist") from None
    except UnidentifiedImageError:
        raise DataError(f"{file} is no image that can be read{_remedy(file)}") from None
    except Image.DecompressionBombError:
        # Pillow refuses twice the number that it warns of.
        most = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        raise DataError(
            f"image {file} has more than {most:,} pixels, the most that a file is read with; "
            "predict it part by part with keras_arch.tiling.predict and np.memmap"
        ) from None
    # Pillow's readers raise whatever a damaged file makes of them.
    except (OSError, SyntaxError, ValueError, TypeError, KeyError, IndexError, EOFError) as error:
        reason = str(error).partition("\n")[0]
        raise DataError(f"{file} cannot be read: {reason}; repair or remove it") from None


@functools.cache
def _add_plugins() -> None:
    """Let Pillow read HEIC files where their plugin is installed."""
    with contextlib.suppress(ImportError):
        import pillow_heif

        pillow_heif.register_heif_opener()


def _remedy(file: Path) -> str:
    if file.suffix.lower() in (".heic", ".heif"):
        return "; HEIC needs a plugin: pip install pillow-heif"
    if file.suffix.lower() in (".tif", ".tiff"):
        return "; Pillow reads TIFF files of up to 4 channels: save it as an array (.npy)"
    return f"; repair or remove it (images are {READABLE})"


def head(file: Path) -> Head:
    """What an image file holds, from the first bytes of the file."""
    try:
        status = file.stat()
    except FileNotFoundError:
        raise DataError(f"image {file} does not exist") from None
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}") from None
    return _head_version(file, status.st_mtime_ns, status.st_size)


@functools.lru_cache(maxsize=1_000_000)
def _head_version(file: Path, _modified: int, _size: int) -> Head:
    if file.suffix.lower() == ".npy":
        return _array_head(file)
    if tiff_files.has_many_channels(file):
        array = tiff_files.read(file)
        return Head(array.shape[:2], array.dtype.name, array.dtype.name, array.shape[2])
    with opened(file) as image:
        return _image_head(file, image)


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
    read_image(file)
