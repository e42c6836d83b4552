"""Access to the Hugging Face Hub through its own client, with errors that name a remedy."""

import contextlib
import dataclasses
import hashlib
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from keras_arch.errors import ArgumentError, HubError, KerasArchError
from keras_arch.files import sha256, storage_errors
from keras_arch.hub.references import Repository

_log = logging.getLogger(__name__)
_LOG_IN = "set HF_TOKEN or run `hf auth login`"


def connect() -> str:
    """What a user can do where the Hub cannot be reached."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set; unset it to use the network"
    return "check the network and HF_ENDPOINT"


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """A repository at one commit, so that all of its files belong together.

    Attributes:
        repository: The repository and the revision asked for.
        commit: The commit of that revision.
        token: Access token, or `None` for the one of the environment.
        offline: Whether only the cache is used.
    """

    repository: Repository
    commit: str
    token: str | None = dataclasses.field(default=None, repr=False)
    offline: bool = False

    @property
    def where(self) -> str:
        """Name of the model in messages."""
        return str(self.repository)

    @property
    def name(self) -> str:
        """Name of the repository without its owner."""
        return self.repository.id.rpartition("/")[2]

    @property
    def remedy(self) -> str:
        """Advice for a file whose hash is wrong."""
        from huggingface_hub import constants

        folder = Path(constants.HF_HUB_CACHE, f"models--{self.repository.id.replace('/', '--')}")
        return f"delete {folder} and load again, or ask its author to push it again"

    def fetch(self, name: str) -> Path | None:
        """Download a file, or take it from the cache.

        Returns:
            Its path on disk; `None` if the commit, or when offline the cache, has no such file.

        Raises:
            HubError: If it cannot be downloaded.
        """
        from huggingface_hub import errors, hf_hub_download

        place = {"revision": self.commit, "token": self.token, "local_files_only": self.offline}
        with hub_errors(self.repository, self.token):
            try:
                return Path(hf_hub_download(self.repository.id, name, **place))
            except errors.RemoteEntryNotFoundError:
                return None
            except errors.LocalEntryNotFoundError:
                if self.offline:
                    return None
                raise


def resolve(repository: Repository, token: str | None = None) -> Snapshot:
    """Find the commit that a repository is at.

    When the Hub cannot be reached, this is that of the cached copy, with a warning to the log.

    Raises:
        HubError: If it is missing, private or unreachable without a cached copy.
    """
    from huggingface_hub import HfApi, constants, errors

    _check_token(token)
    api = HfApi(token=token)
    arguments = {"repo_id": repository.id, "revision": repository.revision}
    with hub_errors(repository, token):
        try:
            api.repo_info(**arguments, timeout=10)
            # A second request: only this one is cached for offline use, and only the first one
            # notices that the Hub cannot be reached.
            return Snapshot(repository, api.resolve_revision(**arguments).resolved, token)
        except Exception as error:
            if not _is_unreachable(error):
                raise
            try:
                cached = api.resolve_revision(**arguments, local_files_only=True).resolved
            except errors.RevisionResolutionError:
                raise error from None
    message = "%s cannot be reached; looking for a cached copy of %s (commit %s)"
    _log.warning(message, constants.ENDPOINT, repository, cached[:7])
    return Snapshot(repository, cached, token, offline=True)


def prepare(repository: Repository, private: bool, token: str | None) -> Snapshot:
    """Create a repository and its branch where missing, and check that they may be written to.

    The revision of the repository is a branch, `None` for the default one.

    Raises:
        HubError: If it cannot be created or written, or is public and `private` is asked for.
    """
    from huggingface_hub import HfApi

    _check_token(token)
    if re.fullmatch(r"[0-9a-f]{40}", repository.revision or ""):
        raise ArgumentError(
            f"{repository.revision!r} is a commit; push to a branch, such as revision='main'"
        )
    require_token(f"pushing to {repository}", token)
    with hub_errors(repository, token, pushing=True):
        api = HfApi(token=token)
        # None leaves the default of an organization, which may be private, as it is.
        api.create_repo(repository.id, private=private or None, exist_ok=True)
        if private and not api.repo_info(repository.id).private:
            raise HubError(
                f"hf://{repository.id} is public and stays so when pushed to; make it private "
                "in its settings on the Hub or choose another name"
            )
        if repository.revision not in (None, "main"):
            api.create_branch(repository.id, branch=repository.revision, exist_ok=True)
        info = api.repo_info(repository.id, revision=repository.revision)
        return Snapshot(repository, info.sha, token)


def require_token(purpose: str, token: str | None) -> None:
    """Refuse (`HubError`) what needs a token where there is none; `purpose` begins the message."""
    _check_token(token)
    if not _tokens(token):
        raise HubError(f"{purpose} needs a token; {_LOG_IN}")


@dataclasses.dataclass(frozen=True)
class Commit:
    """What a push led to.

    Attributes:
        url: Where the pushed files are.
        changed: Whether anything was written; not where all files were there already.
    """

    url: str
    changed: bool


def commit(
    snapshot: Snapshot, files: Mapping[str, Path | bytes], stale: list[str], message: str
) -> Commit:
    """Add files to a repository and remove others, all in one commit; none where nothing changes.

    Args:
        snapshot: The expected current commit of the branch.
        files: Paths in the repository, each with a local file or its content.
        stale: Paths to remove; missing ones are skipped.
        message: Commit message.

    Raises:
        HubError: If the branch has moved on since, or the Hub refuses.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, constants
    from huggingface_hub.hf_api import RepoFile

    repository = snapshot.repository
    api = HfApi(token=snapshot.token)
    with hub_errors(repository, snapshot.token, pushing=True):
        tree = api.list_repo_tree(repository.id, recursive=True, revision=snapshot.commit)
        there = {entry.path: entry for entry in tree if isinstance(entry, RepoFile)}
        stale = [name for name in stale if name in there]
        if not stale and all(_is_published(there.get(name), files[name]) for name in files):
            url = f"{constants.ENDPOINT}/{repository.id}/commit/{snapshot.commit}"
            return Commit(url, changed=False)
        operations = [CommitOperationAdd(name, content) for name, content in files.items()]
        operations += [CommitOperationDelete(name, is_folder=False) for name in stale]
        done = api.create_commit(
            repository.id,
            operations,
            commit_message=message,
            revision=repository.revision,
            parent_commit=snapshot.commit,
        )
    return Commit(str(done.commit_url), changed=True)


def _is_published(entry: Any, content: Path | bytes) -> bool:
    """Whether a file of a repository, `None` if it has none, has the content of a local one."""
    if entry is None:
        return False
    size = len(content) if isinstance(content, bytes) else content.stat().st_size
    if entry.size != size:
        return False
    if entry.lfs is None:
        data = content if isinstance(content, bytes) else content.read_bytes()
        # The name that Git gives to a content.
        return bool(entry.blob_id == hashlib.sha1(b"blob %d\0" % size + data).hexdigest())
    if isinstance(content, bytes):
        return bool(entry.lfs.sha256 == hashlib.sha256(content).hexdigest())
    return bool(entry.lfs.sha256 == sha256(content))


def add_to_collection(
    title: str,
    owner: str,
    repositories: Sequence[str],
    *,
    description: str,
    private: bool = False,
    token: str | None = None,
) -> str:
    """Add repositories to the collection of an owner, which is made where there is none.

    Args:
        title: Title of the collection.
        owner: User or organization.
        repositories: `"user/name"` of each; those that are in it already are skipped.
        description: For a new collection, at most 150 characters.
        private: Whether a new collection is private.
        token: Access token with write permission, or `None` for that of the environment.

    Returns:
        URL of the collection.

    Raises:
        HubError: If it cannot be made or changed.
    """
    from huggingface_hub import HfApi

    what = f"the collection {title!r} of {owner}"
    require_token(f"changing {what}", token)
    api = HfApi(token=token)
    with hub_errors(what, token, pushing=True):
        found = (each for each in api.list_collections(owner=owner) if each.title == title)
        # A listing holds the first few items of a collection only.
        if (first := next(found, None)) is not None:
            collection = api.get_collection(first.slug)
        else:
            collection = api.create_collection(
                title, namespace=owner, description=description, private=private, exists_ok=True
            )
        inside = {item.item_id for item in collection.items if item.item_type == "model"}
        for repository in repositories:
            if repository not in inside:
                api.add_collection_item(collection.slug, repository, "model", exists_ok=True)
    return str(collection.url)


@contextlib.contextmanager
def hub_errors(
    repository: Repository | str, token: str | None, pushing: bool = False
) -> Iterator[None]:
    """Context manager that raises a `HubError` with a remedy for an error of the Hub's client.

    `repository` may be the name of something else on the Hub.
    """
    from huggingface_hub import constants, errors

    try:
        with storage_errors(constants.HF_HUB_CACHE):
            yield
    except (errors.HfHubHTTPError, errors.HTTPError, OSError, ValueError, RuntimeError) as error:
        if isinstance(error, KerasArchError):
            raise
        # Raised without its cause: requests carry tokens, and a traceback may show them.
        raise HubError(_explain(error, repository, token, pushing)) from None


def _explain(
    error: Exception, repository: Repository | str, token: str | None, pushing: bool
) -> str:
    from huggingface_hub import constants, errors

    cause = error
    while cause.__cause__ is not None and not isinstance(cause, errors.HfHubHTTPError):
        cause = cause.__cause__
    tokens = _tokens(token)
    if pushing and _is_broken_off(error):
        return (
            f"the connection to {constants.ENDPOINT} broke off and {repository} may have changed "
            "or not; push again"
        )
    if _is_unreachable(error) or _is_unreachable(cause):
        so = "nothing was pushed to" if pushing else "there is no cached copy of"
        return f"{constants.ENDPOINT} cannot be reached and {so} {repository}; {connect()}"
    if isinstance(cause, errors.GatedRepoError):
        return f"{repository} is gated; accept its terms on its page on the Hub, then {_LOG_IN}"
    if isinstance(cause, errors.RevisionNotFoundError) and isinstance(repository, Repository):
        return f"hf://{repository.id} has no branch, tag or commit {repository.revision!r}"
    status = cause.response.status_code if isinstance(cause, errors.HfHubHTTPError) else None
    if isinstance(cause, errors.RepositoryNotFoundError) or status == 404:
        if tokens:
            return f"{repository} does not exist, or the token in use may not see it; {_LOG_IN}"
        return f"{repository} does not exist, or it is private: then {_LOG_IN}"
    if status == 401:
        if tokens:
            return f"the Hub does not accept the token in use for {repository}; {_LOG_IN} anew"
        return f"{repository} needs a token; {_LOG_IN}"
    if status == 403:
        return (
            f"the token in use may not do this with {repository}; {_LOG_IN} with one that has "
            "write permission there"
        )
    if status in (409, 412):
        return f"{repository} has changed on the Hub in the meantime; push again"
    if status == 429:
        return f"the Hub asks to slow down for {repository}; try again in some minutes"
    # The client's own error describes a fault of a README.
    source = error if isinstance(error, ValueError) else cause
    reason = " ".join(str(source).split())[:300]
    for secret in tokens:
        reason = reason.replace(secret, "(token)")
    return f"the Hub's answer for {repository} is an error: {reason}"


def _is_unreachable(error: BaseException) -> bool:
    """Whether there was no answer, or one that says that the Hub is down."""
    from huggingface_hub import errors

    if isinstance(error, errors.HfHubHTTPError):
        return error.response.status_code >= 500
    no_answer = errors.HTTPError, errors.OfflineModeIsEnabled, errors.LocalEntryNotFoundError
    return isinstance(error, (*no_answer, ConnectionError))


def _is_broken_off(error: BaseException | None) -> bool:
    """Whether a connection was made, but no whole answer came."""
    from huggingface_hub import errors

    while error is not None and not isinstance(error, errors.HTTPError):
        error = error.__cause__
    # Versions of the client have their connection errors from different libraries.
    answered = isinstance(error, errors.HfHubHTTPError)
    return error is not None and not answered and "Connect" not in type(error).__name__


def _check_token(token: str | None) -> None:
    # A header cannot hold other characters; the client's own error would show the token.
    if token is not None and not (isinstance(token, str) and re.fullmatch(r"[!-~]+", token)):
        raise ArgumentError("the token is empty or holds characters that no token has")


def _tokens(token: str | None) -> list[str]:
    """The given token and that of the environment, as far as there are any."""
    from huggingface_hub import get_token

    return [secret for secret in (token, get_token()) if secret]
