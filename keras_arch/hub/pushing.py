"""Publishing models."""

import contextlib
import dataclasses
import logging
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Union

from keras_arch._version import __version__
from keras_arch.errors import ArgumentError, HubError, StorageError
from keras_arch.files import atomic_directory, atomic_write
from keras_arch.hub import layout, remote
from keras_arch.hub.card import Card
from keras_arch.hub.layout import README, RECORD, SAMPLES, TRAINING, Record
from keras_arch.hub.loading import FolderSource, Source, no_record, read_record
from keras_arch.hub.readme import readme
from keras_arch.hub.references import Folder, Repository, check_revision, parse, parse_uri

if TYPE_CHECKING:
    import keras

_log = logging.getLogger(__name__)


def push(
    model: Union["keras.Model", str, os.PathLike[str]],
    repo: str,
    *,
    card: Card | None = None,
    private: bool = False,
    revision: str | None = None,
    token: str | None = None,
) -> str:
    """Publish a model: all of its files in one commit.

    The repository and the branch are made when they are missing. A README that a person edited on
    the Hub is kept, unless you pulled that very one and edited it further; delete it there and
    push again to get a fresh one. Files that an earlier push left and that are no part of the
    model any more are removed; files that others added stay.

    Args:
        model: A model directory, or a `keras.Model` together with `card`.
        repo: `"user/repo"`, `"hf://user/repo"`, or `"file:///folder/hub/user/repo"` for a hub
            that is a folder: it keeps no revisions and asks for no token.
        card: What a user of the weights has to know; only with a `keras.Model`.
        private: Whether only the owner may see the repository. A public one is not pushed to.
        revision: Branch. Default: the main one.
        token: Access token of the Hub with write permission. Default: `HF_TOKEN`, or that of
            `hf auth login`.

    Returns:
        Address of the commit, or of the folder.

    Raises:
        HubError: If there is no token, no permission or no connection.
        IntegrityError: If a file of the directory is not what its record says.
        UnsafeContentError: If the model holds code or pickled data.
        ArgumentError: If the arguments do not fit together.

    Example:
        >>> import tempfile
        >>> import keras
        >>> from keras_arch import hub
        >>> from keras_arch.preprocessing import Preprocessing
        >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten()])
        >>> card = hub.Card("flat", "Flatten", {}, "image-classification",
        ...                 Preprocessing(size=(8, 8), channels=1))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     url = hub.push(model, f"file://{folder}/me/flat", card=card)
        ...     hub.load(url).output_shape
        (None, 64)
    """
    target = _target(repo, revision, private)
    with contextlib.ExitStack() as stack:
        if isinstance(model, str | os.PathLike):
            if card is not None:
                raise ArgumentError("a model directory has its card; pass card= with a keras.Model")
            folder = parse(model)
            if not isinstance(folder, Folder):
                raise ArgumentError(f"{folder} is on the Hub already; hub.pull it first")
            directory = folder.path
        elif card is None:
            raise ArgumentError("a keras.Model is pushed together with a card; pass card=")
        else:
            scratch = stack.enter_context(tempfile.TemporaryDirectory())
            directory = layout.save(model, Path(scratch) / "model", card)
        record = read_record(FolderSource(directory, str(directory)))
        if record is None:
            raise HubError(no_record(str(directory)))
        # What resuming needs may have been left on the Hub when this was pulled.
        has_training = (directory / TRAINING).is_dir()
        names = [n for n in record.sha256 if has_training or n not in record.training]
        layout.verify(directory, record, names, str(directory), "save it again")
        layout.check_config(directory / "config.json", str(directory))
        if isinstance(target, Folder):
            return _push_to_folder(directory, record, names, target)
        return _push_to_hub(directory, record, names, target, private, token)


def _target(repo: str, revision: str | None, private: bool) -> Repository | Folder:
    target = parse_uri(repo)
    if isinstance(target, Folder):
        for name, value in (("revision", revision), ("private", private)):
            if value:
                raise ArgumentError(f"{target} is a folder, which knows no {name}; leave it out")
        return target
    if revision is None:
        return target
    if target.revision not in (None, revision):
        raise ArgumentError(f"{target} and revision={revision!r} name two revisions; give one")
    return Repository(target.id, check_revision(revision))


def _compose(
    directory: Path, record: Record, names: list[str], repository: str | None, there: Source
) -> tuple[dict[str, Path | bytes], Record, Record | None]:
    """The files to publish, the record among them, and the record of what is there now.

    Args:
        directory: The model.
        record: Its record.
        names: Those listed files that it holds.
        repository: The repository's id, which the README then names.
        there: What is published now.
    """
    try:
        published = read_record(there)
    except HubError:
        published = None  # What somebody broke there is replaced.
    theirs = there.fetch(README)
    card = dataclasses.replace(record.card, repository=repository or record.card.repository)
    generated = readme(card, samples=SAMPLES in record.sha256)
    edited = layout.is_edited(directory, record)
    ours = (directory / README).read_bytes() if edited else generated.encode()
    files: dict[str, Path | bytes] = {name: directory / name for name in names}
    if _may_replace(theirs, published, record, edited):
        files[README] = ours
        seen = layout.text_sha256(ours)
    else:
        seen = layout.text_sha256(theirs.read_bytes()) if theirs else None
        if theirs and theirs.read_bytes() != ours:
            _log.warning(
                "the README of %s was edited there and is kept; delete it there and push again "
                "to replace it",
                there.where,
            )
    # Of training files that are only there, those stay listed that belong to these weights.
    kept = published.sha256 if published else {}
    hashes = {
        name: value
        for name, value in record.sha256.items()
        if name in names or kept.get(name) == value
    }
    new = Record(card, hashes, layout.text_sha256(generated), seen)
    files[RECORD] = new.to_json().encode()
    return files, new, published


def _may_replace(
    theirs: Path | None, published: Record | None, record: Record, edited: bool
) -> bool:
    """Whether the README that is there was made by us, or was seen by whoever edited ours."""
    if theirs is None:
        return True
    digest = layout.text_sha256(theirs.read_bytes())
    return (published is not None and digest == published.readme) or (
        edited and digest == record.published
    )


def _push_to_hub(
    directory: Path,
    record: Record,
    names: list[str],
    target: Repository,
    private: bool,
    token: str | None,
) -> str:
    snapshot = remote.prepare(target, private, token)
    files, new, published = _compose(directory, record, names, target.id, snapshot)
    stale = [name for name in (published.sha256 if published else ()) if name not in new.sha256]
    message = f"Publish {record.card.name} with keras_arch {__version__}"
    url = remote.commit(snapshot, files, stale, message)
    _remember(directory, record, new)
    return url


def _push_to_folder(directory: Path, record: Record, names: list[str], target: Folder) -> str:
    if os.path.realpath(directory) == os.path.realpath(target.path):
        raise ArgumentError(f"{directory} is the folder to push to; give another one")
    before = layout.before_replacing(target.path)
    there = FolderSource(target.path, str(target))
    files, new, _ = _compose(directory, record, names, None, there)
    # What stays as it is there.
    for name in (README, *new.training):
        files.setdefault(name, target.path / name)
    with atomic_directory(target.path) as filling:
        for name, content in files.items():
            (filling / name).parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, bytes):
                (filling / name).write_bytes(content)
            else:
                shutil.copyfile(content, filling / name)
        layout.carry_over(target.path, filling, before)
    _remember(directory, record, new)
    return str(target)


def _remember(directory: Path, record: Record, new: Record) -> None:
    """Note which README was published, so that one edited further here can follow it."""
    if new.published == record.published:
        return
    noted = dataclasses.replace(record, published=new.published)
    try:
        atomic_write(directory / RECORD, noted.to_json())
    except StorageError as error:
        _log.warning("pushed, but not noted in the directory: %s", error)
