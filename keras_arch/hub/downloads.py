"""Download of single files by URL into a cache, whole or not at all, with their SHA-256 recorded.

The Hub's own files are downloaded by its client (`keras_arch.hub.remote`). This is for files of
other servers. A download that breaks off goes on where it was, if the server can; one of a killed
process begins anew. Beside each file `NAME.sha256` records the hash of its first download: where
the source states none, a later download that differs is refused.
"""

import contextlib
import dataclasses
import hashlib
import http.client
import logging
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from keras_arch._version import __version__
from keras_arch.errors import HubError, IntegrityError
from keras_arch.files import atomic_file, atomic_write, sha256, storage_errors

# Seconds without an answer, tries, and seconds before the second one, doubled for each further one.
TIMEOUT, TRIES, PAUSE = 20.0, 4, 1.0
_CHUNK = 1 << 20
_LOST = (urllib.error.URLError, TimeoutError, ConnectionError, http.client.HTTPException)

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class WebFile:
    """A file on a web server, and its place in the cache.

    Attributes:
        url: `http://` or `https://`.
        path: In the cache.
        sha256: The first digits of its SHA-256, or `None` if the source states none.
        md5: Its MD5, or `None`.
    """

    url: str
    path: Path
    sha256: str | None = None
    md5: str | None = None

    @property
    def record(self) -> Path:
        """The file with the SHA-256 of the first download, as `sha256sum` writes it."""
        return self.path.with_name(f"{self.path.name}.sha256")

    def recorded(self) -> str | None:
        """The SHA-256 of the first download, `None` before it."""
        try:
            return self.record.read_text(encoding="utf-8").split()[0]
        except (OSError, IndexError, UnicodeDecodeError):
            return None

    def fetch(self) -> Path:
        """Download the file, or take it from the cache.

        A file that somebody has put at `path` by hand is taken like a downloaded one.

        Raises:
            HubError: If it cannot be reached, is not there any more, or was cut short.
            IntegrityError: If its hash is not the one that the source states or that was recorded.
            StorageError: If it cannot be written.
        """
        if self.path.is_file():
            try:
                self._check(self.path)
                return self.path
            except IntegrityError as error:
                _log.warning("the cached file is replaced: %s", error)
        with storage_errors(self.path), atomic_file(self.path) as temporary:
            _log.info("downloading %s to %s", self.url, self.path.parent)
            with temporary.open("wb") as file:
                self._download(file)
            self._check(temporary)
        return self.path

    def _check(self, file: Path) -> None:
        """Compare a file with the hashes that are known, and record its own."""
        with file.open("rb") as content:
            begin = content.read(512).lstrip()
        if begin.startswith(b"<"):
            raise HubError(
                f"{self.url} answers with a web page and not with the file; open it in a browser "
                f"and save the file as {self.path}"
            )
        actual = sha256(file)
        for name, expected, found in (
            ("sha256", self.sha256, actual),
            ("md5", self.md5, self.md5 and _md5(file)),
        ):
            if expected and found and not found.startswith(expected):
                raise IntegrityError(
                    f"{self.url} is truncated or altered: expected {name} {expected}, actual "
                    f"{found}; try again, and do not use it if that stays"
                )
        before = self.recorded()
        if before is None:
            if not (self.sha256 or self.md5):
                _log.warning(
                    "%s: the source states no hash; its sha256 %s is recorded in %s, and another "
                    "file will be refused",
                    *(self.url, actual, self.record),
                )
            atomic_write(self.record, f"{actual}  {self.path.name}\n")
        elif before != actual:
            raise IntegrityError(
                f"{self.url} is another file than at the first download: recorded sha256 {before}, "
                f"actual {actual}; if its author has replaced it, delete {self.record}"
            )

    def _download(self, file: BinaryIO) -> None:
        """Write the answer into a file; what was lost is asked for again."""
        done, version = 0, None
        for attempt in range(1, TRIES + 1):
            try:
                with self._answer(done, version) as answer:
                    if answer.status != 206:
                        file.seek(0)
                        file.truncate()
                        done = 0
                    length = answer.headers.get("Content-Length")
                    total = None if length is None else done + int(length)
                    version = answer.headers.get("ETag") or answer.headers.get("Last-Modified")
                    with _progress(self.path.name, done, total) as bar:
                        while chunk := answer.read(_CHUNK):
                            file.write(chunk)
                            done += len(chunk)
                            bar.update(len(chunk))
                if total is None or done == total:
                    return
                reason = f"it ended at byte {done} of {total}"
            except urllib.error.HTTPError as error:
                error.close()
                if error.code < 500 and error.code != 429:
                    raise HubError(self._refused(error.code)) from None
                reason = f"the server answers with status {error.code}"
            except _LOST as error:
                reason = str(getattr(error, "reason", error)) or type(error).__name__
            if attempt < TRIES:
                time.sleep(PAUSE * 2 ** (attempt - 1))
        raise HubError(
            f"{self.url} cannot be reached and is not in the cache ({reason}); check the network, "
            f"or put the file at {self.path}"
        )

    @contextlib.contextmanager
    def _answer(self, done: int, version: str | None) -> Iterator[http.client.HTTPResponse]:
        from huggingface_hub import constants

        if constants.HF_HUB_OFFLINE:
            raise urllib.error.URLError("HF_HUB_OFFLINE is set")
        headers = {"User-Agent": f"keras_arch/{__version__}"}
        if done and version:
            # Of a file that was replaced meanwhile the whole comes.
            headers |= {"Range": f"bytes={done}-", "If-Range": version}
        request = urllib.request.Request(self.url, headers=headers)
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
            yield answer

    def _refused(self, status: int) -> str:
        if status in (404, 410):
            what = f"{self.url} is not there any more (status {status}): its source has moved it"
        else:
            what = f"{self.url} is refused by its server (status {status})"
        return f"{what}; get the file from there by hand and put it at {self.path}"


def _md5(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _progress(name: str, done: int, total: int | None):  # type: ignore[no-untyped-def]
    """One line of progress in a terminal, as the Hub's client draws it."""
    from huggingface_hub.utils import tqdm

    return tqdm(
        desc=name, initial=done, total=total, unit="B", unit_scale=True, disable=None, leave=False
    )
