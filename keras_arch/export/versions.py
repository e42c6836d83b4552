"""The folders that model servers watch: `DIRECTORY/NAME/1`, `DIRECTORY/NAME/2`, ..."""

import errno
import os
import re
from collections.abc import Callable
from pathlib import Path

from keras_arch.errors import ArgumentError, whole_number
from keras_arch.files import storage_errors, temporary_beside

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def next_version(folder: str | os.PathLike[str]) -> int:
    """The first number above all versions in `DIRECTORY/NAME`; 1 where there are none.

    Example:
        >>> next_version("absent")
        1
    """
    names = (path.name for path in Path(folder).glob("*"))
    return max((int(name) for name in names if name.isdecimal()), default=0) + 1


def publish(
    directory: str | os.PathLike[str], name: str, version: int | None, fill: Callable[[Path], None]
) -> Path:
    """Fill a folder and give it a version number when it is complete.

    A server that watches `DIRECTORY/NAME` never sees an unfinished version: the folder is filled
    under a name that is no number and then renamed.

    Args:
        directory: Folder of all models. Missing folders are made.
        name: Name of the model: letters, digits, `.`, `_`, `-`.
        version: The number, or `None` for the next free one.
        fill: Writes the content into the empty folder it is given.

    Returns:
        `DIRECTORY/NAME/VERSION`.

    Raises:
        ArgumentError: If the name or number cannot be used, or the version exists.
        StorageError: If something cannot be written. Nothing stays of it.

    Example:
        >>> publish("served", "digits", None, lambda new: (new / "model").touch()).name
        '1'
    """
    folder = Path(directory) / check_name(name)
    if version is not None:
        version = whole_number("version", version)
        if (folder / str(version)).exists():
            raise _taken(folder, version)
    blocking = next((p for p in (folder, *folder.parents) if p.exists() and not p.is_dir()), None)
    if blocking:
        raise ArgumentError(f"{blocking} is a file; give a folder to export to")

    # After a failure the folders made for it go too.
    with storage_errors(folder), temporary_beside(folder / "version", folder=True) as filling:
        fill(filling)
        return _settle(filling, folder, version)


def check_name(name: str) -> str:
    """The name itself if it can be a folder and a part of a URL; else an `ArgumentError`."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ArgumentError(
            f"name must be letters, digits, '.', '_' and '-', beginning with a letter or digit, "
            f"got {name!r}"
        )
    return name


def _settle(filled: Path, folder: Path, version: int | None) -> Path:
    """Rename to the number; another export may have taken it meanwhile."""
    while True:
        number = version or next_version(folder)
        try:
            os.rename(filled, folder / str(number))
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            if version is not None:
                raise _taken(folder, version) from None
        else:
            return folder / str(number)


def _taken(folder: Path, version: int) -> ArgumentError:
    return ArgumentError(
        f"{folder} has a version {version} already; the next free one is {next_version(folder)}"
    )
