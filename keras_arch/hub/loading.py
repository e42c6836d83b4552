"""Opening and fetching models, wherever they are."""

import dataclasses
import logging
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from keras_arch.errors import ArgumentError, HubError, IntegrityError
from keras_arch.files import atomic_directory
from keras_arch.hub import layout, remote
from keras_arch.hub.card import Card
from keras_arch.hub.external import base, conversion
from keras_arch.hub.layout import CORE, README, RECORD, TRAINING, Record
from keras_arch.hub.references import Repository, parse

if TYPE_CHECKING:
    import keras

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class LoadedModel:
    """A model with what is known of it.

    Attributes:
        model: Not compiled.
        card: What is known of it, also of a converted one; `None` for another Keras model that
            keras_arch did not save.
        directory: Where its files are; read only, it may be a cache.
        training: The folder `training/` if it is there and was asked for, else `None`.
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
    the transformers library (`hf://microsoft/resnet-50`) are recognised by their `config.json`,
    and converted. The converted model is kept beside the Hub's cache, by commit.

    Args:
        reference: A model directory, `"hf://user/repo"` or `"hf://user/repo@revision"`,
            `"file:///folder/hub/user/repo"`, or the name of a shipped config.
        token: Access token of the Hub. Default: `HF_TOKEN`, or that of `hf auth login`.

    Returns:
        The model, not compiled.

    Raises:
        HubError: If it is missing, private, or unreachable without a cached copy.
        IntegrityError: If a file is not what its record says.
        UnsafeContentError: If it asks for code to be run.
        ArgumentError: If the reference cannot be right.

    Example:
        >>> import tempfile
        >>> import keras
        >>> from keras_arch import hub
        >>> from keras_arch.preprocessing import Preprocessing
        >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten()])
        >>> card = hub.Card("flat", "Flatten", {}, "image-classification",
        ...                 Preprocessing(size=(8, 8), channels=1))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     hub.load(hub.save(model, f"{folder}/flat", card)).output_shape
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
        The model, its card and where its files are.

    Raises:
        HubError, IntegrityError, UnsafeContentError, ArgumentError: As for `load`.

    Example:
        >>> import tempfile
        >>> import keras
        >>> from keras_arch import hub
        >>> from keras_arch.preprocessing import Preprocessing
        >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten()])
        >>> card = hub.Card("flat", "Flatten", {}, "image-classification",
        ...                 Preprocessing(size=(8, 8), channels=1))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     hub.load_with_card(hub.save(model, f"{folder}/flat", card)).card.preprocessing.size
        (8, 8)
    """
    source, record = _source_and_record(reference, token)
    names = _needed(source, record)
    with_training = training and record is not None and bool(record.training)
    if with_training:
        names = [*names, *record.training]
    directory = _fetch_all(source, names)
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
        _work_as_built(model, card)
    return LoadedModel(model, card, directory, directory / TRAINING if with_training else None)


def _work_as_built(model: "keras.Model", card: Card) -> None:
    """What our builders made computes again as they made it; other models do as Keras has it."""
    from keras_arch import models
    from keras_arch._tensorflow.fused_batch_norm import fuse_batch_norm

    if card.architecture in models.list_models():
        fuse_batch_norm(model)


def read_card(reference: str | os.PathLike[str], *, token: str | None = None) -> Card:
    """Read what is known of a model without fetching its weights.

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
        >>> import keras
        >>> from keras_arch import hub
        >>> from keras_arch.preprocessing import Preprocessing
        >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten()])
        >>> card = hub.Card("flat", "Flatten", {}, "image-classification",
        ...                 Preprocessing(size=(8, 8), channels=1))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     hub.read_card(hub.save(model, f"{folder}/flat", card)).name
        'flat'
    """
    source = _source(reference, token)
    record = read_record(source)
    if record is None:
        theirs = base.recognise(source.fetch, source.where)
        if theirs is not None:
            return theirs.card(conversion.name_of(source), source.where)
        _needed(source, record)
        raise HubError(no_record(source.where))
    return record.card


def pull(
    reference: str | os.PathLike[str],
    directory: str | os.PathLike[str],
    *,
    training: bool = False,
    token: str | None = None,
) -> Path:
    """Fetch a model into a directory of your own.

    A directory that holds a model already is replaced, whole or not at all; files in it that are
    not part of the model stay, and so does a README that you edited (delete it and pull again to
    get that of the repository).

    Args:
        reference: As for `load`.
        directory: Where to.
        training: Whether to fetch `training/` too, if there is one.
        token: As for `load`.

    Returns:
        The directory.

    Raises:
        HubError, IntegrityError, UnsafeContentError: As for `load`.
        ArgumentError: Also if the directory holds something else than a model.
        StorageError: If it cannot be written.

    Example:
        >>> import tempfile
        >>> import keras
        >>> from keras_arch import hub
        >>> from keras_arch.preprocessing import Preprocessing
        >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten()])
        >>> card = hub.Card("flat", "Flatten", {}, "image-classification",
        ...                 Preprocessing(size=(8, 8), channels=1))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     saved = hub.save(model, f"{folder}/flat", card)
        ...     hub.pull(f"file://{saved}", f"{folder}/copy").name
        'copy'
    """
    directory = Path(directory).expanduser()
    before = layout.before_replacing(directory)
    source, record = _source_and_record(reference, token)
    names = _needed(source, record)
    if record:
        names = [name for name in record.sha256 if training or name not in record.training]
    fetched = _fetch_all(source, names)
    if os.path.realpath(fetched) == os.path.realpath(directory):
        raise ArgumentError(f"{directory} is where the model is already; give another folder")
    if record:
        layout.verify(fetched, record, names, source.where, source.remedy)
    layout.check_config(fetched / "config.json", source.where)
    theirs = source.fetch(README)
    with atomic_directory(directory) as filling:
        for name in names:
            (filling / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(fetched / name, filling / name)
        mine = _own_readme(directory, before, theirs)
        if mine is not None or theirs is not None:
            shutil.copyfile(mine or theirs, filling / README)
        if record:
            seen = layout.text_sha256(theirs.read_bytes()) if theirs else None
            text = dataclasses.replace(record, published=seen).to_json()
            (filling / RECORD).write_text(text, encoding="utf-8")
        layout.carry_over(directory, filling, before)
    return directory


@dataclasses.dataclass(frozen=True)
class FolderSource:
    """A model directory, seen like a repository."""

    directory: Path
    where: str
    remedy: str = "get or save the model again"
    offline: bool = False

    def fetch(self, name: str) -> Path | None:
        """Where a file is, `None` if there is no such file."""
        file = self.directory / name
        return file if file.is_file() else None


Source = FolderSource | remote.Snapshot


def _source(reference: str | os.PathLike[str], token: str | None) -> Source:
    place = parse(reference)
    if isinstance(place, Repository):
        return remote.resolve(place, token)
    if not place.path.is_dir():
        raise HubError(f"there is no model at {place}; check the address")
    return FolderSource(place.path, str(place))


def _source_and_record(
    reference: str | os.PathLike[str], token: str | None
) -> tuple[Source, Record | None]:
    """Where a model is and its record; of another library's, those of the converted copy."""
    source = _source(reference, token)
    record = read_record(source)
    if record is None and (theirs := base.recognise(source.fetch, source.where)) is not None:
        directory = conversion.converted(source, theirs)
        source = FolderSource(directory, source.where, source.remedy)
        record = read_record(source)
    return source, record


def read_record(source: Source) -> Record | None:
    """The record of a model, `None` if it has none.

    Raises:
        HubError: If there is one that cannot be trusted.
    """
    file = source.fetch(RECORD)
    return Record.parse(file.read_bytes(), source.where) if file else None


def _needed(source: Source, record: Record | None) -> list[str]:
    """What loading takes; of a model without a record, Keras' three files."""
    if record:
        return record.needed
    if source.fetch(CORE[0]) is None:
        if source.offline:
            raise HubError(
                f"the Hub cannot be reached and there is no cached copy of {source.where}; "
                f"{remote.CONNECT}"
            )
        raise HubError(f"{source.where} holds no Keras model: it has no {CORE[0]}")
    return list(CORE)


def _fetch_all(source: Source, names: list[str]) -> Path:
    """Fetch files of one model and return the folder that they are in."""
    for name in names:
        file = source.fetch(name)
        if file is None and source.offline:
            raise HubError(
                f"the Hub cannot be reached and the cached copy of {source.where} lacks {name}; "
                f"{remote.CONNECT}"
            )
        if file is None:
            raise IntegrityError(f"{name} of {source.where} is missing; {source.remedy}")
    return Path(str(file).removesuffix(name))


def _own_readme(directory: Path, before: Record | None, theirs: Path | None) -> Path | None:
    """The README of a directory if a person edited it since it was last pushed or pulled."""
    mine = directory / README
    if not layout.is_edited(directory, before):
        return None
    content = mine.read_bytes()
    if before and layout.text_sha256(content) == before.published:
        return None
    if theirs is not None and content != theirs.read_bytes():
        _log.warning("%s was edited and is kept; delete it and pull again to replace it", mine)
    return mine


def no_record(where: str) -> str:
    """What to say of a model that keras_arch did not save."""
    return (
        f"{where} has no {RECORD}: it is a plain Keras model. hub.load opens it; hub.save it "
        "with a card to publish it or to keep its labels and preprocessing"
    )
