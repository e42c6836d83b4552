"""Loading of models from directories, the Hub and other libraries' repositories."""

import dataclasses
import logging
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from keras_arch.errors import ArgumentError, HubError
from keras_arch.files import atomic_directory
from keras_arch.hub import external, layout
from keras_arch.hub.card import Card
from keras_arch.hub.external import conversion
from keras_arch.hub.layout import README, RECORD, TRAINING, Record
from keras_arch.hub.sources import (
    FolderSource,
    Source,
    fetch_all,
    needed_files,
    no_record,
    open_source,
    read_record,
)

if TYPE_CHECKING:
    import keras

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class LoadedModel:
    """A model with its card and its files.

    Attributes:
        model: Not compiled.
        card: Its card, also of a converted model; `None` for another Keras model that keras_arch
            did not save.
        directory: Its files; read only, as it may be a cache.
        training: The folder `training/` if it exists and was asked for, else `None`.
    """

    model: "keras.Model"
    card: Card | None
    directory: Path
    training: Path | None


def load(reference: str | os.PathLike[str], *, token: str | None = None) -> "keras.Model":
    """Load a model.

    Only the files that are needed are downloaded, their hashes are compared with the record, and
    nothing that comes with a model is ever run: pickled data, Lambda layers and classes that are
    not Keras' own are refused. A Keras model that keras_arch did not save has no record of
    hashes; it is loaded with the same refusals and a warning.

    Repositories of timm (`hf://timm/resnet50.a1_in1k`: its `resnet` and `vgg`) and of ResNets of
    the transformers library (`hf://microsoft/resnet-50`) are recognized by their `config.json`,
    and converted. The converted model is cached beside the Hub's cache, by commit.

    Args:
        reference: A model directory, `"hf://user/repo"` or `"hf://user/repo@revision"`,
            `"file:///folder/hub/user/repo"`, or the name of a shipped config.
        token: Access token of the Hub. Default: `HF_TOKEN`, or that of `hf auth login`.

    Returns:
        The model, not compiled.

    Raises:
        HubError: If it is missing, private, or unreachable without a cached copy.
        IntegrityError: If a file's hash differs from its record.
        UnsafeContentError: If it asks for code to be run.
        ArgumentError: If the reference has no known form.

    Example:
        >>> import tempfile
        >>> from keras_arch import hub
        >>> from keras_arch.hub.example import save_example
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     hub.load(save_example(folder)).output_shape
        (None, 64)
    """
    return load_with_card(reference, token=token).model


def load_with_card(
    reference: str | os.PathLike[str], *, training: bool = False, token: str | None = None
) -> LoadedModel:
    """Load a model together with its card.

    Args:
        reference: As for `load`.
        training: Whether to fetch `training/` too, if there is one.
        token: As for `load`.

    Returns:
        The model, its card and the folder of its files.

    Raises:
        HubError, IntegrityError, UnsafeContentError, ArgumentError: As for `load`.

    Example:
        >>> import tempfile
        >>> from keras_arch import hub
        >>> from keras_arch.hub.example import save_example
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     hub.load_with_card(save_example(folder)).card.preprocessing.size
        (8, 8)
    """
    source, record = _open_converted(reference, token)
    names = needed_files(source, record)
    with_training = training and record is not None and bool(record.training)
    if with_training:
        names = [*names, *record.training]
    directory = fetch_all(source, names)
    if record:
        layout.verify(directory, record, names, source.where, source.remedy)
    else:
        _log.warning(
            "%s has no %s, so its files cannot be checked; it loads as a plain Keras model",
            source.where,
            RECORD,
        )
    model = layout.load_model(directory, source.where)
    card = record.card if record else None
    if card is not None:
        _restore_fast_paths(model, card)
    return LoadedModel(model, card, directory, directory / TRAINING if with_training else None)


def _restore_fast_paths(model: "keras.Model", card: Card) -> None:
    """Fuse the norms of our builders' networks as the builder does; leave other models alone."""
    from keras_arch import models
    from keras_arch._tensorflow.fused_batch_norm import fuse_batch_norm

    # Not those of other packages: their builders fuse nothing.
    if card.architecture in models.__all__:
        fuse_batch_norm(model)


def read_card(reference: str | os.PathLike[str], *, token: str | None = None) -> Card:
    """Read the card of a model without fetching its weights.

    Args:
        reference: As for `load`.
        token: As for `load`.

    Returns:
        The card.

    Raises:
        HubError: As for `load`, or if keras_arch did not save the model.
        IntegrityError, UnsafeContentError, ArgumentError: As for `load`.

    Example:
        >>> import tempfile
        >>> from keras_arch import hub
        >>> from keras_arch.hub.example import save_example
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     hub.read_card(save_example(folder)).name
        'flat'
    """
    source = open_source(reference, token)
    record = read_record(source)
    if record is None:
        found = external.recognize(source.fetch, source.where)
        if found is not None:
            return found.card(source.name, source.where)
        needed_files(source, record)
        raise HubError(no_record(source.where))
    return record.card


def pull(
    reference: str | os.PathLike[str],
    directory: str | os.PathLike[str],
    *,
    training: bool = False,
    token: str | None = None,
) -> Path:
    """Download a model into a directory of your own.

    A directory that holds a model already is replaced, whole or not at all; files in it that are
    not part of the model stay, and so does a README that you edited (delete it and pull again to
    get that of the repository).

    Args:
        reference: As for `load`.
        directory: Destination.
        training: Whether to fetch `training/` too, if there is one.
        token: As for `load`.

    Returns:
        The directory.

    Raises:
        HubError, IntegrityError, UnsafeContentError: As for `load`.
        ArgumentError: Also if the directory holds other files than a model's.
        StorageError: If it cannot be written.

    Example:
        >>> import tempfile
        >>> from keras_arch import hub
        >>> from keras_arch.hub.example import save_example
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     hub.pull(f"file://{save_example(folder)}", f"{folder}/copy").name
        'copy'
    """
    directory = Path(directory).expanduser()
    before = layout.before_replacing(directory)
    source, record = _open_converted(reference, token)
    names = needed_files(source, record)
    if record:
        names = [name for name in record.sha256 if training or name not in record.training]
    fetched = fetch_all(source, names)
    if os.path.realpath(fetched) == os.path.realpath(directory):
        raise ArgumentError(f"{directory} is where the model is already; give another folder")
    if record:
        layout.verify(fetched, record, names, source.where, source.remedy)
    layout.check_config(fetched / "config.json", source.where)
    remote_readme = source.fetch(README)
    with atomic_directory(directory) as filling:
        for name in names:
            (filling / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(fetched / name, filling / name)
        own_readme = _own_readme(directory, before, remote_readme)
        if own_readme is not None or remote_readme is not None:
            shutil.copyfile(own_readme or remote_readme, filling / README)
        if record:
            seen = layout.text_sha256(remote_readme.read_bytes()) if remote_readme else None
            text = dataclasses.replace(record, remote_readme=seen).to_json()
            (filling / RECORD).write_text(text, encoding="utf-8")
        layout.carry_over(directory, filling, before)
    return directory


def _open_converted(
    reference: str | os.PathLike[str], token: str | None
) -> tuple[Source, Record | None]:
    """Open a model's files and record; of another library's model, those of the converted copy."""
    source = open_source(reference, token)
    record = read_record(source)
    if record is None and (found := external.recognize(source.fetch, source.where)) is not None:
        directory = conversion.convert_cached(source, found)
        source = FolderSource(directory, source.where, source.remedy)
        record = read_record(source)
    return source, record


def _own_readme(directory: Path, before: Record | None, remote_readme: Path | None) -> Path | None:
    """The README of a directory if a person edited it since it was last pushed or pulled."""
    mine = directory / README
    if not layout.is_edited(directory, before):
        return None
    content = mine.read_bytes()
    if before and layout.text_sha256(content) == before.remote_readme:
        return None
    if remote_readme is not None and content != remote_readme.read_bytes():
        _log.warning(
            "%s was edited and is not replaced; delete it and pull again to replace it", mine
        )
    return mine
