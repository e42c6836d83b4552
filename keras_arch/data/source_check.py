"""Check of a data source's text that opens no file and imports no TensorFlow."""

import os
import re
from pathlib import Path

from keras_arch.data.sources.base import existing_path, unknown_source
from keras_arch.errors import DataError
from keras_arch.registry import SOURCES

# Schemes of this package that read files, with those that may stand behind them.
_WITH_PATH = ("folder", "masks", "npz", "pairs", "unpaired")


def check_source(source: str, data_dir: str | os.PathLike[str] | None = None) -> None:
    """Refuse a source that cannot be there; `load` does so too, once it is imported.

    Args:
        source: As for `data.load`.
        data_dir: As for `data.load`.

    Raises:
        DataError: If the text names no source, or a path or a set that does not exist.

    Example:
        >>> check_source("digits")
    """
    if not source:
        raise unknown_source(source)
    scheme, _, path = source.partition(":")
    if scheme not in SOURCES:
        scheme, path = "tfds", source
    inner = path.partition(":")[0]
    if inner != path and inner in SOURCES and not Path(path).expanduser().exists():
        return check_source(path, data_dir)
    if scheme == "tfds":
        return _check_set(path.partition("?")[0], data_dir)
    if scheme in _WITH_PATH:
        if not path:
            raise DataError(f"data source {source!r} names no path; write {scheme}:PATH")
        if not Path(path).expanduser().exists():
            existing_path(path.rpartition("?")[0] or path)
    return None


def _check_set(name: str, data_dir: str | os.PathLike[str] | None) -> None:
    """Refuse a name that TensorFlow Datasets does not know; sets of other code lie in a folder."""
    from keras_arch.data.sources import tfds

    if not tfds.is_name(name):
        raise unknown_source(name)
    folder = data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    known = re.split("[/:]", name)[0]
    if not (Path(folder).expanduser() / known).exists() and known not in tfds.names():
        raise tfds.unknown_set(name)
