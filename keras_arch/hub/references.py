"""Parsing of model references: runs, model directories, URIs and names of shipped configs."""

import dataclasses
import difflib
import functools
import logging
import os
import re
import shlex
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from keras_arch import presets, pretrained
from keras_arch.errors import ArgumentError, HubError, RunError

# Files of a run directory, and the folders of runs whose directory is not named.
RUN_CONFIG, RUN_MODEL, RUNS = "config.yaml", "model", Path("runs")

_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,94}[A-Za-z0-9_])?", re.ASCII)
# Git's own rules for names of branches and tags, on one line.
_REVISION = re.compile(
    r"(?![-/.])(?!.*(?:\.\.|//|@\{|/\.|\.lock(?:/|$)|[~^:?*\[\\]))[!-~]{1,200}(?<![/.])"
)
# In bytes, on Linux.
_LONGEST_NAME, _LONGEST_PATH = 255, 4096
_log = logging.getLogger("keras_arch")


@dataclasses.dataclass(frozen=True)
class Repository:
    """A repository of the Hugging Face Hub at one revision.

    Attributes:
        id: `"user/name"`.
        revision: Branch, tag or commit; `None` for the default branch.
    """

    id: str
    revision: str | None = None

    def __str__(self) -> str:
        return f"hf://{self.id}" + (f"@{self.revision}" if self.revision else "")


@dataclasses.dataclass(frozen=True)
class Folder:
    """A model directory, or a repository of a folder hub, which is one too.

    Attributes:
        path: Path of the folder.
        url: The `file:///` URI if it was given as one.
    """

    path: Path
    url: str | None = None

    def __str__(self) -> str:
        return self.url or str(self.path)


@dataclasses.dataclass(frozen=True)
class Published:
    """Published weights that are no repository: a file by URL, or those of `keras.applications`.

    Attributes:
        row: What is known of them.
    """

    row: pretrained.Pretrained

    def __str__(self) -> str:
        return self.row.reference


def parse(reference: str | os.PathLike[str]) -> Repository | Folder | Published:
    """Parse a reference to a model, the REF of all functions and commands; nothing is opened yet.

    Args:
        reference: A run directory, a model directory, `"hf://user/repo[@revision]"`,
            `"file://FOLDER/user/repo"`, `"tag://ARCHITECTURE/TAG"` for weights of
            `keras_arch.models.list_weights`, or the name of a shipped config: its finished run in
            `runs/NAME`, else the model that comes with the package, else its repository. A path
            object is a directory.

    Raises:
        ArgumentError: If it is none of these; the message suggests a correction.
        RunError: If it is a run that has not finished.
        HubError: If it is a shipped config whose model is nowhere: not trained here, not in the
            package, not published.

    Example:
        >>> parse("hf://user/repo@v1.0")
        Repository(id='user/repo', revision='v1.0')
    """
    if isinstance(reference, os.PathLike):
        return _directory(Path(reference))
    if not isinstance(reference, str) or not reference.strip():
        raise ArgumentError(f"a model's reference is a string or a path, got {reference!r}")
    if reference.startswith(("hf://", "file:")):
        return parse_uri(reference)
    if reference.startswith(pretrained.SCHEME):
        return _published(reference)
    if "://" in reference:
        places = "hf://user/repo, file:///folder, tag://ARCHITECTURE/TAG or a directory"
        raise ArgumentError(f"{reference!r} has an unknown scheme; write {places}")
    parts = [len(os.fsencode(part)) for part in reference.split("/")]
    if max(parts) > _LONGEST_NAME or sum(parts) + len(parts) > _LONGEST_PATH:
        raise ArgumentError(f"{reference[:40]!r}... is too long for the path of a model")
    # A folder may have the name of a config; it comes first only if it holds a model or a run.
    path = Path(reference).expanduser()
    if reference in presets.names() and not (is_model(path) or is_run(path)):
        return _shipped(reference)
    return _directory(path)


def is_model(path: Path) -> bool:
    """Whether a folder is a model directory: its files may come from a repository."""
    return any((path / name).exists() for name in ("keras_arch.json", "config.json"))


def is_run(path: Path) -> bool:
    """Whether a folder is a run directory, finished or not."""
    return (path / RUN_CONFIG).is_file() and not is_model(path)


def resume_command(run: str | os.PathLike[str]) -> str:
    """The command that resumes a run, quoted for a shell.

    Example:
        >>> resume_command("runs/my net")
        "keras-arch train --resume 'runs/my net'"
    """
    return shlex.join(["keras-arch", "train", "--resume", str(run)])


@functools.cache
def _log_once(level: int, message: str, *arguments: Any) -> None:
    """Log where the model of a config comes from, once in a process."""
    _log.log(level, message, *arguments)


def _shipped(name: str) -> Repository | Folder:
    """The model of a shipped config: its run in `runs`, else the package's, else the published."""
    run, repository = RUNS / name, presets.read(name).get("repository")
    folder = presets.model_folder(name)
    elsewhere = folder or repository
    if is_run(run):
        if not elsewhere or is_model(run / RUN_MODEL):
            found = _directory(run)
            _log_once(logging.INFO, "%s: the model of the run %s", name, run)
            return found
        _log_once(
            logging.WARNING,
            "%s: the run %s has not finished; taking %s",
            name,
            run,
            str(elsewhere),
        )
    if folder:
        return Folder(folder)
    if repository:
        return parse_uri(repository)
    raise HubError(f"{name} is not published yet; train it with: keras-arch train {name}")


def parse_uri(uri: str) -> Repository | Folder:
    """Parse the URI of a repository or a folder, whether or not it exists.

    Args:
        uri: `"user/repo"`, `"hf://user/repo"`, either with `"@revision"`, or
            `"file:///folder/hub/user/repo"`.

    Raises:
        ArgumentError: If the URI has no such form.

    Example:
        >>> str(parse_uri("user/repo"))
        'hf://user/repo'
    """
    if not isinstance(uri, str):
        raise ArgumentError(f"a repository's URI is a string, got {uri!r}")
    if uri.startswith("file:"):
        return _folder_hub(uri)
    name, at, revision = uri.removeprefix("hf://").partition("@")
    parts = name.split("/")
    problem = None
    if len(parts) != 2:
        problem = "it needs a user and a name"
    elif not all(map(_NAME.fullmatch, parts)) or len(name) > 96:
        problem = "names are letters, digits, '-', '_' and '.', at most 96 in all"
    elif ".." in name or "--" in name or name.endswith(".git"):
        problem = "'..', '--' and a final '.git' are not allowed"
    if problem:
        forms = "hf://user/repo or hf://user/repo@revision"
        raise ArgumentError(f"{uri!r} is not a repository: {problem}; write {forms}")
    return Repository(name, check_revision(revision) if at else None)


def _published(uri: str) -> Repository | Published:
    architecture, _, tag = uri.removeprefix(pretrained.SCHEME).partition("/")
    if not architecture or not tag:
        names = pretrained.close_names(architecture) or ["ResNet50"]
        write = " or ".join(_first_tag(name) for name in names)
        raise ArgumentError(f"{uri!r} names no weights; write {write}")
    row = pretrained.find(architecture, tag)
    if not row.uri.startswith("hf://"):
        return Published(row)
    name, _, revision = row.reference.removeprefix("hf://").partition("@")
    return Repository(name, check_revision(revision) if revision else None)


def _first_tag(architecture: str) -> str:
    """The reference of the published weights that come first."""
    return f"{pretrained.SCHEME}{architecture}/{pretrained.tags(architecture)[0].tag}"


def check_revision(revision: str) -> str:
    """Return a revision; an `ArgumentError` if Git allows no branch, tag or commit of that name."""
    if not isinstance(revision, str) or not _REVISION.fullmatch(revision):
        raise ArgumentError(
            f"{revision!r} is not a revision; give a branch, a tag or a commit, such as main"
        )
    return revision


def _folder_hub(uri: str) -> Folder:
    split = urlsplit(uri)
    path = unquote(split.path)
    if not uri.startswith("file://") or split.netloc not in ("", "localhost"):
        raise ArgumentError(f"{uri!r} is not a folder; write file:///absolute/path")
    if ".." in path.split("/") or "\0" in path or split.query or split.fragment:
        raise ArgumentError(f"{uri!r} must be a plain absolute path without '..'")
    if not path.strip("/"):
        raise ArgumentError(f"{uri!r} names no folder; write file:///folder/hub/user/repo")
    return Folder(Path(path), f"file://{quote(path)}")


def _directory(path: Path) -> Folder:
    if not is_model(path) and is_model(path / RUN_MODEL):
        return Folder(path / RUN_MODEL)
    if is_run(path):
        raise RunError(f"the run in {path} has not finished; go on with: {resume_command(path)}")
    if path.is_dir():
        return Folder(path)
    if path.exists():
        raise ArgumentError(f"{path} is a file; a model is a directory with config.json in it")
    text, hint = str(path), ""
    exact = [name for name in pretrained.close_names(text) if name.lower() == text.lower()]
    if exact:
        hint = f"; for the published weights of {exact[0]} write {_first_tag(exact[0])}"
    elif close := difflib.get_close_matches(text.lower(), presets.names(), n=3):
        hint = f"; did you mean the config {', '.join(close)}?"
    elif len(parts := text.split("/")) == 2 and all(map(_NAME.fullmatch, parts)):
        hint = f"; for a repository of the Hub write hf://{text}"
    raise ArgumentError(f"there is no model directory {text!r}{hint}")
