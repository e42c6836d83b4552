"""Data source `tfds:NAME`: image sets of TensorFlow Datasets."""

import difflib
import logging
import os
import re
import socket
import urllib.parse
import urllib.request
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_arch._lazy import tf
from keras_arch.data.sources.base import Source, unknown_source
from keras_arch.errors import DataError
from keras_arch.registry import SOURCES

# `name`, `name/config` and `name:1.0.0`.
_NAME = re.compile(r"\w+(/[\w.+-]+)?(:\d+\.\d+\.\d+)?")
# Where TensorFlow Datasets does not record a licence and the authors state one.
_LICENSES = {"fashion_mnist": "MIT"}
_ELSEWHERE = "or give npz:PATH or folder:PATH"


class TFDSSource(Source):
    """A set of TensorFlow Datasets: its images, and labels where it has them.

    Args:
        name: The set's name, optionally with a configuration and a version.
        data_dir: Folder of the prepared sets.
        download: Whether to download a set that is not prepared.
    """

    def __init__(
        self, name: str, *, data_dir: str | os.PathLike[str] | None = None, download: bool = False
    ) -> None:
        self._builder = _builder(name, data_dir)
        if not _is_prepared(self._builder):
            if not download:
                raise DataError(
                    f"data set {name!r} is not prepared in {self._builder.data_path}; load it once "
                    "to download it, or name the right folder by data_dir or TFDS_DATA_DIR"
                )
            _prepare(self._builder, name)
        info = self._builder.info
        self.set_name, self.features = self._builder.name, info.features
        self.image, self._label = _columns(info, name)
        self.name = name
        self.classes = tuple(info.features[self._label].names) if self._label else None
        self.splits = {split: int(part.num_examples) for split, part in info.splits.items()}
        self.image_shape = tuple(info.features[self.image].shape)
        redistribution = getattr(info.redistribution_info, "license", "") or ""
        self.license = redistribution or _LICENSES.get(self._builder.name, "not stated")

    def examples(self, split: str, start: int, stop: int) -> Any:
        """Images `start` to `stop` in the order of the files, with their labels."""
        image, label = self.image, self._label
        if label is None:
            return self.read(split, start, stop, [image]).map(lambda example: example[image])
        return self.read(split, start, stop, [image, label]).map(
            lambda example: (example[image], tf.cast(example[label], tf.int64))
        )

    def read(self, split: str, start: int, stop: int, keys: Sequence[str]) -> Any:
        """Examples `start` to `stop` in the order of the files, as dictionaries of features."""
        import tensorflow_datasets as tfds

        wanted = dict.fromkeys(keys, True)
        partial = len(wanted) < len(self._builder.info.features)
        return self._builder.as_dataset(
            split=f"{split}[{start}:{stop}]",
            shuffle_files=False,
            # The pipelines cache for themselves, after the images were brought to size.
            read_config=tfds.ReadConfig(try_autocache=False),
            decoders=tfds.decode.PartialDecoding(wanted) if partial else None,
        )


def is_name(text: str) -> bool:
    """Whether a text has the form of the name of a set."""
    return _NAME.fullmatch(text) is not None


def names() -> list[str]:
    """Names of the sets whose code is installed; TensorFlow is not imported for them."""
    import tensorflow_datasets as tfds

    return tfds.list_builders(with_community_datasets=False)


def unknown_set(name: str) -> DataError:
    """The error for the name of a set that does not exist, with the closest ones."""
    close = difflib.get_close_matches(name, [*SOURCES.names(), *names()], n=3)
    hint = f" (did you mean {', '.join(close)}?)" if close else ""
    return DataError(
        f"there is no data set named {name!r}{hint} in TensorFlow Datasets; the other data "
        f"sources are {', '.join(SOURCES.names())}"
    )


def _builder(name: str, data_dir: str | os.PathLike[str] | None) -> Any:
    if not is_name(name):
        raise unknown_source(name)
    import tensorflow_datasets as tfds

    try:
        return tfds.builder(name, data_dir=data_dir)
    except tfds.core.DatasetNotFoundError:
        raise unknown_set(name) from None
    except (AssertionError, ValueError, OSError) as error:
        raise DataError(f"data set {name!r} cannot be opened: {_line(error)}") from None


def _is_prepared(builder: Any) -> bool:
    """Whether a set is on this machine; TensorFlow Datasets warns of each that is not."""
    logger = logging.getLogger("absl")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        return builder.is_prepared()
    finally:
        logger.setLevel(before)


def _prepare(builder: Any, name: str) -> None:
    """Download a set; without a network fail at once."""
    where = (
        f"data set {name!r} is not prepared in {builder.data_path} (data_dir or TFDS_DATA_DIR "
        "names the folder)"
    )
    # TensorFlow Datasets repeats a failing request for minutes. A host name that does not resolve
    # shows it in a moment; behind a proxy host names need not resolve.
    hosts = {urllib.parse.urlsplit(url).hostname for url in builder.url_infos} - {None}
    if not urllib.request.getproxies():
        for host in sorted(hosts):
            try:
                socket.getaddrinfo(host, 443)
            except OSError:
                raise DataError(
                    f"{where} and {host} cannot be reached to download it; prepare it on a machine "
                    f"with a network, {_ELSEWHERE}"
                ) from None
    try:
        builder.download_and_prepare()
    # Whatever goes wrong inside a download (HTTP, checksums, manual steps, a full disk), the user
    # learns which set it is, where it should be and which other source would do.
    except Exception as error:
        raise DataError(
            f"{where} and could not be downloaded: {_line(error)}; {_ELSEWHERE}"
        ) from error


def _columns(info: Any, name: str) -> tuple[str, str | None]:
    import tensorflow_datasets as tfds

    features = dict(info.features.items()) if hasattr(info.features, "items") else {}
    images = [key for key, value in features.items() if type(value) is tfds.features.Image]
    labels = [key for key, value in features.items() if type(value) is tfds.features.ClassLabel]
    supervised = info.supervised_keys or ()
    image = _choose(images, "image", supervised)
    if image is None or np.dtype(features[image].np_dtype) != np.uint8:
        raise DataError(
            f"data set {name!r} has no 8-bit image; its features are {', '.join(features)}"
        )
    return image, _choose(labels, "label", supervised)


def _choose(keys: list[str], usual: str, supervised: Any) -> str | None:
    """One of several features: the supervised one, the one of the usual name, or the only one."""
    chosen = [key for key in keys if key in supervised] or [key for key in keys if key == usual]
    return next(iter(chosen), keys[0] if len(keys) == 1 else None)


def _line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".")
