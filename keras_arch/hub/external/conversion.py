"""Conversion of other libraries' weights, with a cache.

A converted model is a model directory like any other, with its record of hashes. It lies beside
the cache of the Hub's client, by repository and commit.
"""

import contextlib
import logging
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from keras_arch.errors import ConvertError, HubError, IntegrityError, KerasArchError
from keras_arch.files import sha256
from keras_arch.hub import layout, published, remote
from keras_arch.hub.external.base import ExternalModel
from keras_arch.hub.layout import RECORD
from keras_arch.hub.sources import Source, not_cached

if TYPE_CHECKING:
    import keras

# Raised when conversions give another result, so that cached ones are not used.
CONVERTER = 2
WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin")

_log = logging.getLogger(__name__)


def convert_cached(source: Source, model: ExternalModel) -> Path:
    """Convert a repository of another library, or take its cached conversion.

    Returns:
        A directory that `layout.load_model` opens.

    Raises:
        HubError: If its weights are missing, unreachable or do not fit.
        IntegrityError: If the hash of its weights is not the Hub's.
        UnsafeContentError: If they are a pickle of more than tensors.
        StorageError: If the converted model cannot be written.
    """
    from huggingface_hub import constants

    if isinstance(source, published.PublishedSource):
        key = source.key()
    elif isinstance(source, remote.Snapshot):
        key = f"{source.repository.id.replace('/', '--')}/{source.commit}"
    else:
        # A folder has no commit; its key is its content.
        hashes = [sha256(file) for file in _weights(source)]
        key = f"folders/{layout.text_sha256(f'{model!r}{hashes}')[:40]}"
    root = Path(constants.HF_HUB_CACHE).parent / "keras_arch" / "converted"
    directory = root / f"{key}-{CONVERTER}"
    if not _is_whole(directory, source.where):
        # Under any policy, as the cache serves other processes too.
        with _float32():
            if isinstance(source, published.PublishedSource):
                network = published.build(source, model)
            else:
                network = _converted(_weights(source), source, model)
        layout.save(network, directory, model.card(source.name, source.where))
    return directory


def _is_whole(directory: Path, where: str) -> bool:
    """Whether a cached conversion exists and its hashes are right."""
    if not directory.exists():
        return False
    try:
        record = layout.read_record(directory / RECORD, str(directory))
        layout.verify(directory, record, record.needed, str(directory), "it was a copy")
        return True
    except (HubError, OSError) as error:
        _log.warning("the cached conversion of %s is replaced: %s", where, error)
        shutil.rmtree(directory, ignore_errors=True)
        return False


def _weights(source: Source) -> list[Path]:
    """Fetch the weights, or their index and then its shards.

    Safetensors come before pickles, as they can hold no code.
    """
    for name in WEIGHTS:
        if file := source.fetch(name):
            return [file, *_shards(file, source)] if name == WEIGHTS[1] else [file]
    raise not_cached(source, WEIGHTS[0]) or HubError(
        f"{source.where} has no weights that are read: no {' and no '.join(WEIGHTS[::2])}"
    )


def _shards(index: Path, source: Source) -> list[Path]:
    """Fetch the files of an index."""
    from keras_arch.convert import safetensors

    fetched = []
    try:
        for name in safetensors.shards(index):
            file = source.fetch(name)
            if file is None:
                raise not_cached(source, name) or IntegrityError(
                    f"{name} of {source.where} is missing; {source.remedy}"
                )
            fetched.append(file)
    except ConvertError as error:
        raise HubError(f"{source.where} cannot be converted: {error}") from None
    return fetched


def _converted(files: list[Path], source: Source, model: ExternalModel) -> "keras.Model":
    from keras_arch import convert

    weights = files[0]
    name = f"{weights.name} of {source.where}"
    for file in files:
        # The client keeps a file of the Hub's large storage under its SHA-256.
        expected = os.path.basename(os.path.realpath(file))
        if isinstance(source, remote.Snapshot) and re.fullmatch(r"[0-9a-f]{64}", expected):
            layout.check_hash(file, expected, f"{file.name} of {source.where}", source.remedy)
    try:
        return convert.from_torch(model.architecture, weights, **model.arguments)
    except KerasArchError as error:
        kind = type(error) if isinstance(error, HubError) else HubError
        raise kind(f"{name} cannot be converted: {error}") from None


@contextlib.contextmanager
def _float32() -> Iterator[None]:
    """Context manager with Keras' usual policy."""
    import keras

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
