"""Publishing of models: push to a repository or to a folder."""

import contextlib
import dataclasses
import logging
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Union

from keras_arch._version import __version__
from keras_arch.errors import ArgumentError, HubError, StorageError
from keras_arch.files import atomic_write, sha256
from keras_arch.hub import layout, remote
from keras_arch.hub.card import Card
from keras_arch.hub.layout import README, RECORD, SAMPLES, TRAINING, Record
from keras_arch.hub.readme import readme
from keras_arch.hub.references import Folder, Repository, check_revision, parse, parse_uri
from keras_arch.hub.safety import check_inside
from keras_arch.hub.sources import FolderSource, Source, no_record, read_record

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

    A missing repository or branch is created. A README that a person edited on the Hub is not
    replaced, unless you pulled that very one and edited it further; delete it there and push again
    to get a fresh one. Files of an earlier push that are no part of the model any more are
    removed; files that others added stay.

    Args:
        model: A model directory, or a `keras.Model` together with `card`.
        repo: `"user/repo"`, `"hf://user/repo"`, or `"file:///folder/hub/user/repo"` for a hub
            that is a folder: it has no revisions and needs no token.
        card: The model's card; only with a `keras.Model`.
        private: Whether only the owner may see the repository. A public one is not pushed to.
        revision: Branch. Default: the main one.
        token: Access token of the Hub with write permission. Default: `HF_TOKEN`, or that of
            `hf auth login`.

    Returns:
        URL of the commit, or of the folder.

    Raises:
        HubError: If there is no token, no permission or no connection.
        IntegrityError: If a file's hash differs from the directory's record.
        UnsafeContentError: If the model holds code or pickled data.
        ArgumentError: If the arguments do not fit together.

    Example:
        >>> from keras_arch import hub
        >>> from keras_arch.hub.example import saved_example
        >>> saved = saved_example()
        >>> hub.load(hub.push(saved, f"file://{saved.parent}/me/flat")).output_shape
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
        return push_directory(directory, target, private=private, token=token).url


def push_directory(
    directory: Path, target: Repository | Folder, *, private: bool, token: str | None
) -> remote.Commit:
    """Publish a model directory; arguments and errors are those of `push`."""
    record, names = checked_record(directory)
    if isinstance(target, Folder):
        return _push_to_folder(directory, record, names, target)
    snapshot = remote.prepare(target, private, token)
    files, new, stale = _compose(directory, record, names, target.id, snapshot)
    message = f"Publish {record.card.name} with keras_arch {__version__}"
    done = remote.commit(snapshot, files, stale, message)
    _remember(directory, record, new)
    return done


def checked_record(directory: Path) -> tuple[Record, list[str]]:
    """Read the record of a model directory, and the listed files that it has; all are checked.

    Raises:
        HubError: If it has no record.
        IntegrityError: If a file is missing or differs from the record.
        UnsafeContentError: If the model holds code or pickled data.
    """
    record = read_record(FolderSource(directory, str(directory)))
    if record is None:
        raise no_record(str(directory))
    # A pulled directory may lack the files for resuming.
    has_training = (directory / TRAINING).is_dir()
    names = [n for n in record.sha256 if has_training or n not in record.training]
    # The other files are known by their hashes.
    check_inside(directory / README, directory, str(directory))
    layout.verify(directory, record, names, str(directory), "save it again")
    layout.check_config(directory / "config.json", str(directory))
    return record, names


def _target(repo: str, revision: str | None, private: bool) -> Repository | Folder:
    target = parse_uri(repo)
    if isinstance(target, Folder):
        for name, value in (("revision", revision), ("private", private)):
            if value:
                raise ArgumentError(f"{target} is a folder, which has no {name}; leave it out")
        return target
    if revision is None:
        return target
    if target.revision not in (None, revision):
        raise ArgumentError(f"{target} and revision={revision!r} name two revisions; give one")
    return Repository(target.id, check_revision(revision))


def _compose(
    directory: Path, record: Record, names: list[str], repository: str | None, target: Source
) -> tuple[dict[str, Path | bytes], Record, list[str]]:
    """Collect the files to publish, their new record, and the published files to remove.

    `names` are those listed files that the directory holds. The README names the `repository`;
    `target` is the published model.
    """
    try:
        published = read_record(target)
    except HubError:
        published = None  # A damaged record is replaced.
    theirs = target.fetch(README)
    # Where it came from is not where it is.
    card = dataclasses.replace(record.card, repository=repository)
    generated = readme(card, samples=SAMPLES in record.sha256)
    edited = layout.is_edited(directory, record)
    ours = (directory / README).read_bytes() if edited else generated.encode()
    files: dict[str, Path | bytes] = {name: directory / name for name in names}
    # Replaced are a README that was generated, and the one that a person edited further here.
    replaceable = [published.readme] if published else []
    if edited:
        replaceable.append(record.remote_readme)
    if theirs is None or sha256(theirs) in replaceable:
        files[README] = ours
        seen = layout.text_sha256(ours)
    else:
        seen = sha256(theirs)
        if theirs.read_bytes() != ours:
            advice = "delete it there and push again to replace it"
            _log.warning(
                "the README of %s was edited and is not replaced; %s", target.where, advice
            )
    # Training files that only the published model has stay listed if they belong to these weights.
    before = published.sha256 if published else {}
    hashes = {
        name: value
        for name, value in record.sha256.items()
        if name in names or before.get(name) == value
    }
    new = Record(card, hashes, layout.text_sha256(generated), seen)
    files[RECORD] = new.to_json().encode()
    return files, new, [name for name in before if name not in hashes]


def _push_to_folder(
    directory: Path, record: Record, names: list[str], target: Folder
) -> remote.Commit:
    if os.path.realpath(directory) == os.path.realpath(target.path):
        raise ArgumentError(f"{directory} is the folder to push to; give another one")
    before = layout.before_replacing(target.path)
    place = FolderSource(target.path, str(target))
    files, new, stale = _compose(directory, record, names, None, place)
    gone = not any((target.path / name).exists() for name in stale)
    changed = not (gone and all(_is_there(target.path / n, files[n]) for n in files))
    if changed:
        # Files that stay.
        for name in (README, *new.training):
            files.setdefault(name, target.path / name)
        layout.replace(target.path, files, before)
    _remember(directory, record, new)
    return remote.Commit(str(target), changed)


def _is_there(file: Path, content: Path | bytes) -> bool:
    """Whether a file exists with the content, or that of another file."""
    if not file.is_file():
        return False
    if isinstance(content, bytes):
        return file.read_bytes() == content
    return file.stat().st_size == content.stat().st_size and sha256(file) == sha256(content)


def _remember(directory: Path, record: Record, new: Record) -> None:
    """Note the published README's hash in the directory, so that it can be edited further here.

    A generated README needs no note: the published record has its hash.
    """
    if new.remote_readme == new.readme and record.remote_readme is None:
        return
    noted = dataclasses.replace(record, remote_readme=new.remote_readme)
    try:
        if noted != record:
            atomic_write(directory / RECORD, noted.to_json())
    except StorageError as error:
        _log.warning("pushed, but not noted in the directory: %s", error)
