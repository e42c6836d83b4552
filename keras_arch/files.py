"""Atomic writes of files and directories.

Content is written under a temporary name beside the destination and then renamed. After a full
disk, a kill or an exception the previous content is still there. What a killed process was writing
is removed by the next one that writes into that folder: a process locks what it is writing.
"""

import contextlib
import ctypes
import errno
import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from keras_arch.errors import ArgumentError, StorageError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


def sha256(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file's content in 64 hexadecimal digits; the file is read in chunks.

    Example:
        >>> from keras_arch.files import sha256
        >>> sha256("/dev/null")[:16]
        'e3b0c44298fc1c14'
    """
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def atomic_write(path: str | os.PathLike[str], content: bytes | str) -> Path:
    """Write a file atomically: after an error the previous file is unchanged.

    Args:
        path: The file, which is returned. Missing parent folders are created.
        content: Bytes, or text, which is encoded as UTF-8.

    Raises:
        StorageError: If it cannot be written (no space, no permission); the message names it.

    Example:
        >>> from keras_arch.files import atomic_write
        >>> atomic_write("new/note.txt", "whole").read_text()
        'whole'
    """
    data = content.encode() if isinstance(content, str) else content
    with atomic_file(path) as temporary:
        temporary.write_bytes(data)
    return Path(path)


@contextlib.contextmanager
def atomic_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Context manager that writes a file atomically, piece by piece.

    Args:
        path: The file. Missing parent folders are created.

    Yields:
        A path to write to. The file gets its name when the block ends without an error; after an
        error it is removed and `path` is unchanged. A device or pipe is `path` itself.

    Raises:
        StorageError: If it cannot be written (no space, no permission); the message names it.
        ArgumentError: If `path` is a folder.

    Example:
        >>> from keras_arch.files import atomic_file
        >>> with atomic_file("new/note.txt") as temporary:
        ...     _ = temporary.write_text("whole")
    """
    path = Path(path)
    if _is_device(path):
        with storage_errors(path):
            yield path
        return
    _refuse_folder(path)
    # A link stays; its target is replaced.
    path = Path(os.path.realpath(path))
    with storage_errors(path), temporary_beside(path) as temporary:
        yield temporary
        # Some disks report only here that they are full.
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())
        os.replace(temporary, path)


@contextlib.contextmanager
def atomic_directory(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Context manager that creates or replaces a folder atomically.

    Args:
        path: The folder. Missing parent folders are created.

    Yields:
        An empty folder, to be filled. It replaces `path` when the block ends without an error;
        after an error it is removed and `path` is unchanged.

    Raises:
        StorageError: If something cannot be written (no space, no permission).
        ArgumentError: If `path` is a file.

    Example:
        >>> import os
        >>> from keras_arch.files import atomic_directory
        >>> with atomic_directory("model") as new:
        ...     _ = (new / "a.txt").write_text("a")
        >>> os.listdir("model")
        ['a.txt']
    """
    # A link stays; its target is replaced.
    path = Path(os.path.realpath(path))
    if path.exists() and not path.is_dir():
        raise ArgumentError(f"{path} is a file; give a folder")
    # After an exchange of names the temporary one is the previous folder.
    with storage_errors(path), temporary_beside(path, folder=True) as new:
        yield new
        # Some disks report only here that they are full.
        for file in new.rglob("*"):
            if file.is_file() and not file.is_symlink():
                with file.open("rb") as written:
                    os.fsync(written.fileno())
        _replace(new, path)


@contextlib.contextmanager
def temporary_beside(path: Path, *, folder: bool = False) -> Iterator[Path]:
    """Context manager with a new hidden file or folder beside a path; afterwards it is gone.

    It is locked meanwhile. Those of killed processes, which nobody locks, are removed here: once a
    process and parent folder, so that writing many files costs no time.

    Args:
        path: The file or folder that it is to become. Missing parent folders are created, and go
            again after an error.
        folder: Whether it is a folder.

    Yields:
        Its path.

    Example:
        >>> from pathlib import Path
        >>> with temporary_beside(Path("new/model"), folder=True) as new:
        ...     new.is_dir()
        True
    """
    made = [parent for parent in path.parents if not parent.exists()]
    temporary, lock = _sibling(path), None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Nobody sweeps between the moments when it is made and when it is locked.
        with _locked(path.parent):
            _sweep(path.parent)
            if folder:
                temporary.mkdir()
            else:
                temporary.touch()
            lock = _lock(temporary)
        yield temporary
    except BaseException:
        _remove(temporary)
        with contextlib.suppress(OSError):
            for parent in made:
                parent.rmdir()
        raise
    finally:
        _remove(temporary)
        if lock is not None:
            os.close(lock)


def _is_device(path: Path) -> bool:
    """Whether a path is no file that could be replaced: a device, a pipe, `/dev/stdout`, ..."""
    # Those may be names of a redirected file, which is open already.
    is_open = str(path).startswith(("/dev/std", "/dev/fd/", "/proc/"))
    return is_open or (path.exists() and not path.is_file() and not path.is_dir())


_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{8}\.keras_arch\.tmp")
_swept: set[Path] = set()


def is_temporary(path: Path) -> bool:
    """Whether a file or folder is one that is being written, or that a killed process was writing.

    Example:
        >>> from pathlib import Path
        >>> is_temporary(Path("config.yaml"))
        False
    """
    return _TEMPORARY.fullmatch(path.name) is not None


def _sibling(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.keras_arch.tmp")


def _sweep(parent: Path) -> None:
    """Remove the temporary files and folders in a folder that no process has locked."""
    parent = parent.resolve()
    if fcntl is None or parent in _swept:
        return
    _swept.add(parent)
    with os.scandir(parent) as entries:
        found = [Path(entry.path) for entry in entries if is_temporary(Path(entry.name))]
    for path in found:
        if (lock := _lock(path)) is not None:
            _remove(path)
            os.close(lock)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


def _lock(path: Path, wait: bool = False) -> int | None:
    """Lock a file or folder, until the number that is returned is closed or the process ends.

    Returns `None` where another process has it, or the file system has no locks.
    """
    if fcntl is None:
        return None
    number = None
    try:
        number = os.open(path, os.O_RDONLY)
        fcntl.flock(number, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        if number is not None:
            os.close(number)
        return None
    return number


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Context manager that waits for other processes which begin to write into a folder."""
    lock = _lock(folder, wait=True)
    try:
        yield
    finally:
        if lock is not None:
            os.close(lock)


def check_file(path: str | os.PathLike[str]) -> None:
    """Refuse a file that could not be written, before hours of work want to.

    Args:
        path: The file, which need not exist.

    Raises:
        ArgumentError: If it is a folder, or something above it is a file.
        StorageError: If its folder may not be written to.

    Example:
        >>> from keras_arch.files import check_file
        >>> check_file("new.csv")
    """
    path = Path(path)
    if not _is_device(path):
        _refuse_folder(path)
        check_folder(Path(os.path.realpath(path)).parent)


def _refuse_folder(path: Path) -> None:
    if path.is_dir():
        raise ArgumentError(f"{path} is a folder; give a file")


def check_png(path: str | os.PathLike[str], argument: str = "path") -> None:
    """Refuse the name of a picture that is no PNG file's: pictures are written as PNG.

    Args:
        path: The file, which need not exist.
        argument: The argument or option that named it, for the message.

    Raises:
        ArgumentError: If its name does not end in `.png`.

    Example:
        >>> from keras_arch.files import check_png
        >>> check_png("samples.png")
    """
    if Path(path).suffix.lower() != ".png":
        raise ArgumentError(
            f"{argument} takes the name of a PNG file, which ends in .png, got {str(path)!r}"
        )


def check_folder(path: str | os.PathLike[str]) -> None:
    """Refuse a folder that nothing could be written to, before hours of work want to.

    Args:
        path: The folder, which need not exist.

    Raises:
        ArgumentError: If it, or a folder above it, is a file.
        StorageError: If it may not be written to.

    Example:
        >>> from keras_arch.files import check_folder
        >>> check_folder("runs/new")
    """
    path = Path(path).absolute()
    existing = next(each for each in (path, *path.parents) if os.path.lexists(each))
    if not existing.is_dir():
        raise ArgumentError(f"{existing} is a file; give a folder")
    with storage_errors(path):
        if not os.access(existing, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, "no permission")


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
    """Context manager that turns a failed write of the file or folder `path` into a `StorageError`.

    Raises:
        StorageError: For an `OSError` such as a full disk or a missing permission. Others pass
            unchanged.

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
        found = storage_error(path, error)
        if found is None:
            raise
        raise found from error


def storage_error(path: str | os.PathLike[str], error: Exception) -> StorageError | None:
    """The error of a disk in plain words, with its remedy, or `None` for another error.

    Args:
        path: What could not be written.
        error: What was raised. HDF5 gives the number of the error in its text only, TensorFlow the
            name only.

    Example:
        >>> from keras_arch.files import storage_error
        >>> storage_error("model", RuntimeError("SaveV2; No space left on device [Op:SaveV2]"))
        StorageError('cannot write model: No space left on device; free some space or ...')
    """
    text = str(error)
    if isinstance(error, OSError):
        # Errors of HTTP are such, too; a server's "Permission denied" is not the disk's.
        code = error.errno or next((code for code in _REMEDIES if f"errno = {code}," in text), None)
    else:
        code = next((code for code in _REMEDIES if os.strerror(code) in text), None)
    if code not in _REMEDIES:
        return None
    found = StorageError(f"cannot write {path}: {os.strerror(code)}; {_REMEDIES[code]}")
    found.errno = code
    return found


def _replace(new: Path, old: Path) -> None:
    """Rename `new` to `old`; an existing `old` is renamed to `new` or removed."""
    if not old.exists():
        os.rename(new, old)
    elif not _exchange(new, old):
        # Two renames where the kernel has no exchange; between them `old` does not exist.
        # Its name is no temporary one: until then it is the only copy.
        aside = old.with_name(f".{old.name}.{secrets.token_hex(4)}.previous")
        os.rename(old, aside)
        try:
            os.rename(new, old)
        except OSError:
            os.rename(aside, old)
            raise
        shutil.rmtree(aside, ignore_errors=True)


def _exchange(first: Path, second: Path) -> bool:
    """Exchange two names atomically (Linux); returns whether the system can."""
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):
        return False
    at_cwd, exchange = -100, 2
    return not renameat2(
        at_cwd, os.fsencode(first), at_cwd, os.fsencode(second), ctypes.c_uint(exchange)
    )
