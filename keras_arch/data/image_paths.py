"""Image files that a user names: single ones, folders and patterns."""

import glob
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from keras_arch.data import image_files
from keras_arch.errors import DataError

# A note in the pictures that predictions write, which tells them from a user's own.
PREDICTED = ("Software", "keras-arch predict")
_log = logging.getLogger("keras_arch")


def image_paths(named: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> list[Path]:
    """The image files that names stand for.

    Args:
        named: Files; folders, of which all images are taken, those in sub-folders too; and patterns
            such as `"photos/**/*.jpg"`, as Python's `glob` reads them. One name or several.

    Returns:
        Paths in the order of the names, and in natural order inside a folder. Pictures that
        predictions wrote are left out and counted in the log, except a file that is named alone.

    Raises:
        DataError: If a name stands for no image.

    Example:
        >>> from keras_arch import visualization
        >>> import numpy as np
        >>> for name in ("photos/a10.png", "photos/a9.png", "photos/old/b.png"):
        ...     _ = visualization.save_png(np.zeros((8, 8), np.uint8), name)
        >>> [str(path) for path in image_paths("photos")]
        ['photos/a9.png', 'photos/a10.png', 'photos/old/b.png']
    """
    names = [named] if isinstance(named, str | os.PathLike) else list(named)
    if len(names) == 1 and Path(names[0]).expanduser().is_file():
        return [Path(names[0]).expanduser()]
    found = [path for name in names for path in _expanded(str(name))]
    kept = [path for path in found if not is_predicted(path)]
    if len(kept) < len(found):
        _log.info(
            "%d of %d files are pictures of earlier predictions and left out",
            len(found) - len(kept),
            len(found),
        )
    if found and not kept:
        raise DataError(
            f"{_shown(names)}: all images are pictures of earlier predictions; name one alone to "
            "have it read"
        )
    return kept


def is_predicted(path: Path) -> bool:
    """Whether a file is a picture that a prediction wrote; only the head of PNG files is read."""
    from PIL import Image

    if path.suffix.lower() != ".png":
        return False
    name, value = PREDICTED
    try:
        with Image.open(path) as image:
            return image.info.get(name) == value
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return False


def _expanded(name: str) -> list[Path]:
    """The files of one name."""
    path = Path(name).expanduser()
    if path.is_dir():
        found = list(_below(path))
        if not found:
            raise DataError(f"folder {name} holds no image ({', '.join(image_files.SUFFIXES)})")
        return found
    if path.exists():
        return [path]
    if not glob.has_magic(name):
        raise DataError(f"image {name} does not exist")
    matches = map(Path, glob.glob(str(path), recursive=True))
    found = sorted(
        (match for match in matches if match.is_file()),
        key=lambda match: [image_files.natural(part) for part in match.parts],
    )
    if not found:
        raise DataError(f"no file matches the pattern {name}")
    return found


def _below(folder: Path) -> Iterator[Path]:
    """The images of a folder, then those of its sub-folders; links to folders are not followed."""
    yield from image_files.images(folder)
    for inner in image_files.subfolders(folder):
        if not inner.is_symlink():
            yield from _below(inner)


def _shown(names: Sequence[str | os.PathLike[str]]) -> str:
    return ", ".join(map(str, names[:3])) + (", ..." if len(names) > 3 else "")
