"""Files that are either whole or not there.

Everything is written beside its destination under a temporary name and then renamed, so that a
full disk, a kill or an exception leaves what was there before.
"""

import contextlib
import ctypes
import errno
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from keras_arch.errors import ArgumentError, StorageError


def sha256(path: str | os.PathLike[str]) -> str:
    """The SHA-256 of a file's content.

    Args:
        path: A file of any size; it is read in pieces.

    Returns:
        64 hexadecimal digits.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from keras_arch.files import atomic_write, sha256
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     sha256(atomic_write(Path(folder) / "abc.txt", "abc"))[:16]
        'ba7816bf8f01cfea'
    """
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def atomic_write(path: str | os.PathLike[str], content: bytes | str) -> Path:
    """Write a file, or leave the one that is there as it was.

    Args:
        path: The file. Missing parent folders are made.
        content: Bytes, or text that is written as UTF-8.

    Returns:
        The path.

    Raises:
        StorageError: If it cannot be written (no space, no permission); the message names it.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from keras_arch.files import atomic_write
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     atomic_write(Path(folder) / "new" / "note.txt", "whole").read_text()
        'whole'
    """
    path = Path(path)
    data = content.encode() if isinstance(content, str) else content
    temporary = _sibling(path)
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(temporary, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    return path


@contextlib.contextmanager
def atomic_directory(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Fill a new folder that takes the place of `path` when the block ends without an error.

    Args:
        path: The folder to make or to replace as a whole. Missing parents are made.

    Yields:
        An empty folder beside it, to be filled. After an error it is removed and `path` is as
        it was.

    Raises:
        StorageError: If something cannot be written (no space, no permission).
        ArgumentError: If `path` is a file.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from keras_arch.files import atomic_directory
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     target = Path(folder) / "model"
        ...     with atomic_directory(target) as filling:
        ...         _ = (filling / "a.txt").write_text("a")
        ...         there_already = target.exists()
        ...     there_already, [file.name for file in target.iterdir()]
        (False, ['a.txt'])
    """
    # A link keeps pointing where it does; what it points to is replaced.
    path = Path(os.path.realpath(path))
    if path.exists() and not path.is_dir():
        raise ArgumentError(f"{path} is a file; give a folder")
    filling = _sibling(path)
    with storage_errors(path):
        filling.mkdir(parents=True)
        try:
            yield filling
            # Some disks tell only now that they are full.
            for file in filling.rglob("*"):
                if file.is_file() and not file.is_symlink():
                    _flush(file)
            _take_place(filling, path)
        finally:
            # After an exchange this is what was there before.
            shutil.rmtree(filling, ignore_errors=True)


_SPACE = "free some space or choose another disk"
_PERMISSION = "choose a folder that you may write to"
_REMEDIES = {
    errno.ENOSPC: _SPACE,
    errno.EDQUOT: _SPACE,
    errno.EFBIG: "the limit on file sizes (ulimit -f) is in the way",
    errno.EACCES: _PERMISSION,
    errno.EPERM: _PERMISSION,
    errno.EROFS: _PERMISSION,
    errno.EIO: "the disk reports a fault",
}


@contextlib.contextmanager
def storage_errors(path: str | os.PathLike[str]) -> Iterator[None]:
    """Tell a failed write of the block as one line that names `path`.

    Args:
        path: What the block writes.

    Raises:
        StorageError: In place of an `OSError` that says the disk is full, the place is read-only
            or the like. Others pass as they are.

    Example:
        >>> import errno
        >>> from keras_arch.files import storage_errors
        >>> with storage_errors("weights.h5"):
        ...     raise OSError(errno.ENOSPC, "full")
        Traceback (most recent call last):
        keras_arch.errors.StorageError: cannot write weights.h5: No space left on device; free ...
    """
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        # HDF5 puts the number into its text only.
        code = error.errno or next(
            (code for code in _REMEDIES if f"errno = {code}," in str(error)), None
        )
        if code not in _REMEDIES:
            raise
        told = StorageError(f"cannot write {path}: {os.strerror(code)}; {_REMEDIES[code]}")
        told.errno = code
        raise told from error


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sibling(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")


def _take_place(new: Path, old: Path) -> None:
    """Put `new` where `old` is; `old`, if there is one, ends up under the other name."""
    if not old.exists():
        os.rename(new, old)
    elif not _exchange(new, old):
        # Where the kernel cannot exchange names, there is a moment with neither.
        aside = _sibling(old)
        os.rename(old, aside)
        try:
            os.rename(new, old)
        except OSError:
            os.rename(aside, old)
            raise
        shutil.rmtree(aside, ignore_errors=True)


def _exchange(first: Path, second: Path) -> bool:
    """Swap two names in one step (Linux); false where that does not exist."""
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):
        return False
    at_cwd, exchange = -100, 2
    return not renameat2(
        at_cwd, os.fsencode(first), at_cwd, os.fsencode(second), ctypes.c_uint(exchange)
    )
