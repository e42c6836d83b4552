"""TIFF files with more channels than a picture has, which Pillow does not read, or not whole."""

from pathlib import Path
from typing import Any

import numpy as np

from keras_arch.errors import DataError

# Tags: samples of a pixel, and what those beyond the colours are; alpha is 1 or 2.
_SAMPLES, _EXTRA = 277, 338
_ALPHA = {1, 2}
# The first bytes of TIFF and BigTIFF, of either byte order.
_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def has_many_channels(path: Path) -> bool:
    """Whether a file is a TIFF file with two or more than three channels, alpha left aside.

    Pillow would drop some of them without a word, or calls the file no image.
    """
    from PIL import Image, UnidentifiedImageError

    if path.suffix.lower() not in (".tif", ".tiff"):
        return False
    try:
        with path.open("rb") as file:
            if file.read(4) not in _MAGIC:
                return False
        with Image.open(path, formats=("TIFF",)) as opened:
            image: Any = opened
            samples = int(image.tag_v2.get(_SAMPLES, 1))
            alpha = image.mode == "RGBA" and set(image.tag_v2.get(_EXTRA, ())) <= _ALPHA
            return samples not in (1, 3) and not alpha and image.mode not in ("LA", "CMYK", "P")
    except UnidentifiedImageError:
        return True
    except (OSError, SyntaxError, ValueError, TypeError, KeyError, Image.DecompressionBombError):
        # Those who read it tell what is wrong.
        return False


def read(path: Path) -> np.ndarray:
    """The values of such a file by tifffile, `(height, width, channels)`.

    Raises:
        DataError: If tifffile is not installed, or the file holds several pages or is damaged.
    """
    try:
        import tifffile
    except ModuleNotFoundError:
        raise DataError(
            f"{path} is a TIFF file with channels that Pillow does not read; install tifffile "
            "(pip install 'keras-arch[tiff]'), or save it as an array (.npy)"
        ) from None
    try:
        with tifffile.TiffFile(path) as file:
            pages, page = len(file.pages), file.pages[0]
            array = np.asarray(page.asarray())
            # Planes one after the other are channels in front.
            array = np.moveaxis(array, 0, -1) if page.axes.startswith("S") else array
    except (OSError, ValueError, IndexError, tifffile.TiffFileError) as error:
        reason = str(error).partition("\n")[0]
        raise DataError(f"{path} cannot be read: {reason}; repair or remove it") from None
    if pages > 1 or array.ndim not in (2, 3):
        raise DataError(
            f"{path} holds {pages} pages of shape {array.shape}; save each as a file of its own or "
            "their channels as one array (.npy)"
        )
    return array if array.ndim == 3 else array[..., None]
