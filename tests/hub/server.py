"""A Hugging Face Hub on loopback, for its real client to talk to.

It keeps repositories in memory and speaks the part of the protocol that the client uses for model
repositories and collections: create, branch, preupload, LFS batch and upload, commit, revision
info, tree, resolve with ETag and commit headers, range requests, and answers for what is missing.
Large files are redirected to another host name (`localhost`), as the Hub redirects to its CDN; a
token that follows there is a leak and is recorded as one.
"""

import base64
import contextlib
import dataclasses
import hashlib
import json
import re
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

from tests.hub.hub_state import Collections, Repo

LARGE = 10_000  # Bytes from which a file goes through LFS, and those that are not text.


@dataclasses.dataclass(frozen=True)
class Seen:
    method: str
    path: str
    token: str | None
    range: str | None


class Hub:
    """The server with its state.

    Attributes:
        url: Address of the hub.
        users: Names by token; those in `readers` may not write.
        members: Names of the users that an organization has, by its name.
        repos: By `"user/name"`.
        collections: Of all accounts.
        requests: All that was asked, in order.
        leaks: Requests of the storage host that carried a token.
        cut: Names of files whose next download breaks off half way, once.
        failing: Status by `"METHOD path-part"` that is answered instead.
        drop: Says of each request whether its connection is closed without an answer: `"before"`
            or `"after"` it was acted on, or `None`.
        watch: Called with each request before it is answered.
    """

    def __init__(self) -> None:
        self.users = {"hf_alice": "alice", "hf_bob": "bob", "hf_reader": "alice"}
        self.readers = {"hf_reader"}
        self.members = {"classics": {"alice"}}
        self.repos: dict[str, Repo] = {}
        self.collections = Collections()
        self.blobs: dict[str, bytes] = {}
        self.requests: list[Seen] = []
        self.leaks: list[Seen] = []
        self.cut: set[str] = set()
        self.failing: dict[str, int] = {}
        self.watch: Callable[[Seen], None] = lambda seen: None
        self.drop: Callable[[Seen], str | None] = lambda seen: None
        hub = self

        class Handler(_Handler):
            state = hub

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def create(self, name: str, *, private: bool = False, files: dict | None = None) -> Repo:
        start = {".gitattributes": b"*.h5 filter=lfs diff=lfs merge=lfs -text\n"}
        repo = Repo(name.partition("/")[0], private, {}, {})
        repo.add("main", start | (files or {}), "initial commit")
        self.repos[name] = repo
        return repo

    def edit(self, name: str, path: str, content: bytes | None, branch: str = "main") -> None:
        """What a person does in the browser."""
        repo = self.repos[name]
        files = dict(repo.files(branch))
        if content is None:
            del files[path]
        else:
            files[path] = content
        repo.add(branch, files, f"Edit {path}")

    def asked_for(self, part: str) -> list[Seen]:
        return [seen for seen in self.requests if part in seen.path]


class _Answer(Exception):
    def __init__(self, status: int, body=None, **headers: str) -> None:
        self.status, self.body, self.headers = status, body, headers


def _error(status: int, code: str = "", message: str = "") -> _Answer:
    headers = {"X-Error-Message": message or code}
    if code:
        headers["X-Error-Code"] = code
    return _Answer(status, {"error": message or code}, **headers)


def _oid(content: bytes) -> str:
    """What Git calls this content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    state: Hub
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *args) -> None:
        pass

    def do_GET(self) -> None:
        self._handle()

    do_HEAD = do_POST = do_PUT = do_GET

    # -- plumbing ---------------------------------------------------------------------------

    def _handle(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        if self.headers.get("Transfer-Encoding", "") == "chunked":
            self.body = self._chunked()
        else:
            self.body = self.rfile.read(length) if length else b""
        split = urlsplit(self.path)
        self.query = parse_qs(split.query)
        authorization = self.headers.get("Authorization", "")
        self.token = authorization.removeprefix("Bearer ") or None
        path = unquote(split.path)
        seen = Seen(self.command, path, self.token, self.headers.get("Range"))
        self.state.requests.append(seen)
        self.state.watch(seen)
        when = self.state.drop(seen)
        if when == "before":
            self.close_connection = True
            return
        try:
            self._route(split.path, path)
        except _Answer as answer:
            if when == "after":
                self.close_connection = True
            else:
                self._reply(answer)

    def _chunked(self) -> bytes:
        content = b""
        while size := int(self.rfile.readline(), 16):
            content += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return content

    def _reply(self, answer: _Answer) -> None:
        body = answer.body
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        cut = answer.headers.pop("Cut", None)
        self.send_response(answer.status)
        headers = {"Content-Type": "application/json", "Content-Length": str(len(content))}
        for name, value in (headers | answer.headers).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                self.wfile.write(content[: len(content) // 2] if cut else content)
        if cut:
            self.close_connection = True

    def _route(self, quoted: str, path: str) -> None:
        for rule, status in self.state.failing.items():
            method, _, part = rule.partition(" ")
            if self.command == method and part in path:
                raise _error(status, message="told to fail")
        if path.startswith("/storage/"):
            self._storage(path.removeprefix("/storage/"))
        if path == "/api/repos/create":
            self._create()
        if match := re.fullmatch(r"/api/collections(?:/([^/]+/[^/]+)(/items)?)?", path):
            self._collections(match[1], bool(match[2]))
        if path == "/api/validate-yaml":
            self._validate_yaml()
        if path == "/api/whoami-v2":
            raise _Answer(200, {"name": self._user(), "type": "user"})
        if match := re.fullmatch(r"/([^/]+/[^/]+)\.git/info/lfs/objects/batch", path):
            self._lfs_batch(match[1])
        # The revision is quoted as one part: `refs%2Fpr%2F1`.
        if match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", quoted):
            self._resolve(match[1], unquote(match[2]), unquote(match[3]))
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/([^/]+)/([^/]+))?", quoted):
            name, what, revision = match[1], match[2] or "revision", unquote(match[3] or "main")
            act = getattr(self, f"_model_{what.replace('-', '_')}", None)
            if act:
                act(name, revision)
        raise _error(404, message="no such page")

    # -- who may do what --------------------------------------------------------------------

    def _user(self) -> str | None:
        if self.token is None:
            return None
        if self.token not in self.state.users:
            raise _error(401, message="Invalid credentials in Authorization header")
        return self.state.users[self.token]

    def _belongs(self, owner: str) -> bool:
        """Whether an account is the user's, or that of an organization with the user in it."""
        user = self._user()
        return user is not None and (owner == user or user in self.state.members.get(owner, ()))

    def _may_write(self, owner: str) -> bool:
        return self._belongs(owner) and self.token not in self.state.readers

    def _readable(self, name: str) -> Repo:
        user, repo = self._user(), self.state.repos.get(name)
        if repo is None or (repo.private and not self._belongs(repo.owner)):
            # As the Hub does: whoever is not logged in learns nothing.
            raise _error(404 if user else 401, "RepoNotFound", "Repository not found")
        return repo

    def _writable(self, name: str) -> Repo:
        if self.token is None:
            raise _error(401, message="Invalid username or password.")
        repo = self._readable(name)
        if not self._may_write(repo.owner):
            raise _error(403, message="you don't have the rights to write here")
        return repo

    def _commit_of(self, repo: Repo, revision: str) -> str:
        commit = repo.find(revision)
        if commit is None:
            raise _error(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return commit

    # -- making repositories ----------------------------------------------------------------

    def _create(self) -> None:
        wanted, user = json.loads(self.body), self._user()
        if user is None:
            raise _error(401, message="Invalid username or password.")
        owner = wanted["organization"] or user
        name = f"{owner}/{wanted['name']}"
        url = {"url": f"{self.state.url}/{name}"}
        if not self._may_write(owner):
            raise _error(403, message="you can't create a model under this namespace")
        if name in self.state.repos:
            raise _Answer(409, url | {"error": "You already created this model repo"})
        self.state.create(name, private=wanted.get("visibility") == "private")
        raise _Answer(200, url)

    def _collections(self, slug: str | None, items: bool) -> None:
        known = self.state.collections
        wanted = json.loads(self.body or b"{}")
        if slug is None and self.command == "GET":
            owner = self.query["owner"][0]
            raise _Answer(200, known.listed(owner, self._belongs(owner)))
        if slug is None:
            if not self._may_write(wanted["namespace"]):
                raise _error(403, message="you can't create a collection under this namespace")
            if len(wanted.get("description", "")) > 150:
                raise _error(400, message="the description is too long")
            raise _Answer(200, known.create(wanted))
        if slug not in known:
            raise _error(404, message="Collection not found")
        if items:
            if not self._may_write(known[slug]["owner"]["name"]):
                raise _error(403, message="you can't change this collection")
            if wanted["item"]["id"] not in self.state.repos:
                raise _error(404, message="Item not found")
            if not known.add(slug, wanted["item"]):
                raise _Answer(409, {"error": "already in this collection"})
        raise _Answer(200, known[slug])

    def _validate_yaml(self) -> None:
        content = json.loads(self.body)["content"]
        match = re.match(r"---\n(.*?)\n---\n", content, re.DOTALL)
        try:
            metadata = yaml.safe_load(match[1]) if match else {}
        except yaml.YAMLError as error:
            raise _Answer(400, {"errors": [{"message": f"not YAML: {error}"}]}) from None
        errors = [
            {"message": f"{key} must be a list of texts"}
            for key in ("datasets", "tags")
            if not all(isinstance(item, str) for item in metadata.get(key) or [])
        ]
        for model in metadata.get("model-index") or []:
            for result in model["results"]:
                if not {"task", "dataset", "metrics"} <= set(result):
                    errors.append({"message": "model-index lacks a field"})
        warnings = [] if metadata else [{"message": "empty or missing yaml metadata"}]
        raise _Answer(400 if errors else 200, {"errors": errors, "warnings": warnings})

    def _model_branch(self, name: str, branch: str) -> None:
        repo = self._writable(name)
        if branch in repo.branches:
            raise _Answer(409, {"error": "reference already exists"})
        start = json.loads(self.body or b"{}").get("startingPoint", "main")
        repo.branches[branch] = self._commit_of(repo, start)
        raise _Answer(200, {})

    # -- writing ----------------------------------------------------------------------------

    def _model_preupload(self, name: str, revision: str) -> None:
        repo = self._writable(name)
        there = repo.commits[self._commit_of(repo, revision)]
        answers = []
        for file in json.loads(self.body)["files"]:
            sample = base64.b64decode(file["sample"])
            large = file["size"] >= LARGE or b"\0" in sample
            old = there.get(file["path"])
            oid = None
            if old is not None:
                is_large = file["path"] in repo.large
                oid = hashlib.sha256(old).hexdigest() if is_large else _oid(old)
            answers.append(
                {
                    "path": file["path"],
                    "uploadMode": "lfs" if large else "regular",
                    "shouldIgnore": False,
                    "oid": oid,
                }
            )
        raise _Answer(200, {"files": answers})

    def _lfs_batch(self, name: str) -> None:
        self._writable(name)
        objects = []
        for wanted in json.loads(self.body)["objects"]:
            entry = {"oid": wanted["oid"], "size": wanted["size"]}
            if wanted["oid"] not in self.state.blobs:
                href = f"http://localhost:{self.state.port}/storage/{wanted['oid']}"
                entry["actions"] = {"upload": {"href": href}}
            objects.append(entry)
        raise _Answer(200, {"transfer": "basic", "objects": objects})

    def _storage(self, oid: str) -> None:
        """What lies outside of the Hub: links to it are signed, tokens have no business there."""
        if self.token is not None:
            self.state.leaks.append(self.state.requests[-1])
        if self.command == "PUT":
            if hashlib.sha256(self.body).hexdigest() != oid:
                raise _error(400, message="content does not have that hash")
            self.state.blobs[oid] = self.body
            raise _Answer(200, {}, ETag=f'"{oid}"')
        name = self.query["name"][0]
        self._send_file(name, self.state.blobs[oid], {"ETag": f'"{oid}"'})

    def _model_commit(self, name: str, branch: str) -> None:
        repo = self._writable(name)
        files = dict(repo.commits[self._commit_of(repo, branch)])
        lines = [json.loads(line) for line in self.body.splitlines()]
        header = lines[0]["value"]
        if header.get("parentCommit") not in (None, repo.find(branch)):
            raise _error(412, message="A commit has happened since. Please refresh and try again")
        for line in lines[1:]:
            value, path = line["value"], line["value"]["path"]
            if line["key"] == "file":
                files[path] = base64.b64decode(value["content"])
                repo.large.discard(path)
            elif line["key"] == "lfsFile":
                blob = self.state.blobs.get(value["oid"])
                if blob is None or len(blob) != value["size"]:
                    raise _error(400, message=f"{path} was not uploaded")
                files[path] = blob
                repo.large.add(path)
            elif line["key"] == "deletedFile" and files.pop(path, None) is None:
                raise _error(404, "EntryNotFound", "A file with this name doesn't exist")
        commit = repo.add(branch, files, header["summary"])
        url = f"{self.state.url}/{name}/commit/{commit}"
        raise _Answer(200, {"success": True, "commitOid": commit, "commitUrl": url})

    # -- reading ----------------------------------------------------------------------------

    def _model_revision(self, name: str, revision: str) -> None:
        repo = self._readable(name)
        commit = self._commit_of(repo, revision)
        raise _Answer(
            200,
            {
                "_id": name,
                "id": name,
                "modelId": name,
                "sha": commit,
                "private": repo.private,
                "tags": [],
                "siblings": [{"rfilename": path} for path in sorted(repo.commits[commit])],
            },
        )

    def _model_tree(self, name: str, revision: str) -> None:
        repo = self._readable(name)
        entries = []
        for path, content in sorted(repo.commits[self._commit_of(repo, revision)].items()):
            entry = {"type": "file", "path": path, "size": len(content), "oid": _oid(content)}
            if path in repo.large:
                oid = hashlib.sha256(content).hexdigest()
                entry["lfs"] = {"oid": oid, "size": len(content), "pointerSize": 130}
            entries.append(entry)
        raise _Answer(200, entries)

    def _resolve(self, name: str, revision: str, path: str) -> None:
        repo = self._readable(name)
        commit = self._commit_of(repo, revision)
        headers = {"X-Repo-Commit": commit}
        content = repo.commits[commit].get(path)
        if content is None:
            answer = _error(404, "EntryNotFound", "Entry not found")
            answer.headers |= headers
            raise answer
        if path not in repo.large:
            self._send_file(path, content, headers | {"ETag": f'"{_oid(content)}"'})
        oid = hashlib.sha256(content).hexdigest()
        self.state.blobs.setdefault(oid, content)
        raise _Answer(
            302,
            b"",
            Location=f"http://localhost:{self.state.port}/storage/{oid}?name={path}",
            ETag=f'"{oid}"',
            **headers,
            **{"X-Linked-Etag": f'"{oid}"', "X-Linked-Size": str(len(content))},
        )

    def _send_file(self, name: str, content: bytes, headers: dict[str, str]) -> None:
        headers = headers | {"Content-Type": "application/octet-stream", "Accept-Ranges": "bytes"}
        status, asked = 200, self.headers.get("Range")
        if asked:
            first, _, last = asked.removeprefix("bytes=").partition("-")
            start, end = int(first), int(last) if last else len(content) - 1
            headers["Content-Range"] = f"bytes {start}-{end}/{len(content)}"
            status, content = 206, content[start : end + 1]
        elif name in self.state.cut and self.command == "GET":
            self.state.cut.discard(name)
            headers["Cut"] = "half way"
        raise _Answer(status, content, **headers)
