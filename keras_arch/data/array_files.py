"""Image files with any number of channels and their own value range: TIFF and `.npy`.

TensorFlow decodes neither. Values of arrays and of TIFF files with more channels than a picture has
stay what they are, and `Preprocessing` scales them.
"""

import threading
from pathlib import Path
from typing import Any

import numpy as np

from keras_arch.data import image_files
from keras_arch.errors import DataError

SUFFIXES = (".npy", ".tif", ".tiff")
# Types of pixels that a pipeline carries.
_DTYPES = ("uint8", "uint16", "float32")
# NumPy parses headers by Python's own syntax trees, which threads of Python 3.11 must not build at
# once (cpython issue 106905).
_HEADERS = threading.Lock()
# More channels than that in front, and the array is a batch or a volume.
_MOST_IN_FRONT = 32
# Tags of TIFF: samples of a pixel, and what those beyond the colours are.
_SAMPLES, _EXTRA = 277, 338
_ALPHA = {1, 2}
# The first bytes of TIFF and BigTIFF, of either byte order.
_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def is_array_file(path: Path) -> bool:
    """Whether a file is a TIFF or `.npy` file, by its name."""
    return path.suffix.lower() in SUFFIXES


def read_pixels(path: Path) -> np.ndarray:
    """The pixels of an image file of any kind.

    Args:
        path: A `.npy` file, a TIFF file of one page, or another image that
            `image_files.read_image` reads, as it reads grey and coloured TIFF files.

    Returns:
        `(height, width, channels)`; of a `.npy` file, and of a TIFF file of two or more than three
        channels, the values of the file as `uint8`, `uint16` or `float32`.

    Raises:
        DataError: If it cannot be read, or is no image of such a type.
    """
    if not is_array_file(path):
        return image_files.read_image(path)
    array = read_npy(path) if path.suffix.lower() == ".npy" else _read_tiff(path)
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or not array.size:
        raise DataError(
            f"{path} holds an array of shape {array.shape}; an image is (height, width, channels) "
            "or (height, width)"
        )
    height, width, channels = array.shape
    if height <= _MOST_IN_FRONT < min(width, channels):
        raise DataError(
            f"{path} holds an array of shape {array.shape}; channels come last: save it as "
            "np.moveaxis(array, 0, -1)"
        )
    if array.dtype.name not in _DTYPES:
        raise DataError(
            f"{path} holds {array.dtype.name}; save it as "
            f"{', '.join(_DTYPES[:-1])} or {_DTYPES[-1]}"
        )
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise DataError(f"{path} holds NaN or infinite values; repair or remove it")
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def facts_of(path: Path) -> tuple[tuple[int, int], int, str]:
    """An image's (height, width), its channels and the type of its values."""
    array = read_pixels(path)
    return array.shape[:2], array.shape[2], array.dtype.name


def read_npy(path: Path) -> np.ndarray:
    """The array of a `.npy` file; one of Python objects is refused."""
    try:
        with _HEADERS:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        return np.array(array)
    except FileNotFoundError:
        raise DataError(f"image {path} does not exist") from None
    except ValueError as error:
        if any(word in str(error) for word in ("pickle", "Python objects")):
            raise DataError(
                f"{path} holds Python objects, which may run code, and no array; save the array "
                "alone (of a _seg.npy of Cellpose that of 'masks')"
            ) from None
        raise DataError(f"{path} cannot be read: {error}") from None
    except (OSError, EOFError) as error:
        raise DataError(f"{path} cannot be read: {error}") from None


def _read_tiff(path: Path) -> np.ndarray:
    """By Pillow what it reads whole, else by tifffile."""
    from PIL import Image, UnidentifiedImageError

    try:
        with open(path, "rb") as file:
            if file.read(4) not in _MAGIC:
                raise DataError(f"{path} is not a TIFF image; repair or remove it")
        with Image.open(path, formats=("TIFF",)) as opened:
            image: Any = opened
            pages = getattr(image, "n_frames", 1)
            if pages > 1:
                raise DataError(
                    f"{path} holds {pages} pages; save each as an image of its own, or as one "
                    "array (height, width, channels) in a .npy file"
                )
            samples = int(image.tag_v2.get(_SAMPLES, 1))
            extra = set(image.tag_v2.get(_EXTRA, ()))
            # Of more channels Pillow would drop some without a word.
            few = samples in (1, 3) or (image.mode == "RGBA" and extra <= _ALPHA)
    except UnidentifiedImageError:
        few = False
    except FileNotFoundError:
        raise DataError(f"image {path} does not exist") from None
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        reason = str(error).partition("\n")[0]
        raise DataError(f"{path} cannot be read: {reason}; repair or remove it") from None
    return image_files.read_image(path) if few else _read_by_tifffile(path)


def _read_by_tifffile(path: Path) -> np.ndarray:
    try:
        import tifffile
    except ModuleNotFoundError:
        raise DataError(
            f"{path} is a TIFF file with channels that Pillow does not read; install tifffile "
            "(pip install 'keras-arch[tiff]'), or save a .npy file"
        ) from None
    try:
        with tifffile.TiffFile(path) as file:
            if len(file.pages) > 1:
                raise ValueError(f"it holds {len(file.pages)} pages")
            page: Any = file.pages[0]
            array = page.asarray()
            # Planes one after the other are channels in front.
            return np.moveaxis(array, 0, -1) if page.axes.startswith("S") else array
    except (OSError, ValueError, tifffile.TiffFileError) as error:
        reason = str(error).partition("\n")[0]
        raise DataError(f"{path} cannot be read: {reason}") from None
