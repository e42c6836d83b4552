"""Repositories and collections of the Hub on loopback."""

import dataclasses
import hashlib
import re


@dataclasses.dataclass
class Repo:
    owner: str
    private: bool
    commits: dict[str, dict[str, bytes]]
    branches: dict[str, str]
    large: set[str] = dataclasses.field(default_factory=set)
    messages: list[str] = dataclasses.field(default_factory=list)

    def find(self, revision: str) -> str | None:
        return self.branches.get(revision, revision if revision in self.commits else None)

    def files(self, revision: str = "main") -> dict[str, bytes]:
        return self.commits[self.find(revision)]

    def add(self, branch: str, files: dict[str, bytes], message: str) -> str:
        """A person's or a client's commit."""
        contents = sorted((name, hashlib.sha1(file).digest()) for name, file in files.items())
        seed = repr((self.branches.get(branch), contents, len(self.commits)))
        commit = hashlib.sha1(seed.encode()).hexdigest()
        self.commits[commit] = files
        self.branches[branch] = commit
        self.messages.append(message)
        return commit


class Collections:
    """The collections of all accounts, by slug, as the Hub describes them."""

    def __init__(self) -> None:
        self.known: dict[str, dict] = {}

    def __getitem__(self, slug: str) -> dict:
        return self.known[slug]

    def __contains__(self, slug: str) -> bool:
        return slug in self.known

    def titles(self) -> list[str]:
        return [each["title"] for each in self.known.values()]

    def items(self, owner: str) -> list[str]:
        """Names of the models in all collections of an account."""
        found = (each for each in self.known.values() if each["owner"]["name"] == owner)
        return [item["id"] for each in found for item in each["items"]]

    def listed(self, owner: str, with_private: bool) -> list[dict]:
        """A listing has four items of each at most, and no positions."""
        return [
            {key: value for key, value in each.items() if key != "position"}
            | {"items": each["items"][:4]}
            for each in self.known.values()
            if each["owner"]["name"] == owner and (with_private or not each["private"])
        ]

    def create(self, wanted: dict) -> dict:
        owner, title = wanted["namespace"], wanted["title"]
        number = len(self.known)
        slug = f"{owner}/{re.sub(r'[^a-z0-9]+', '-', title.lower())}-{number:024x}"
        self.known[slug] = {
            "slug": slug,
            "title": title,
            "owner": {"name": owner, "type": "org"},
            "description": wanted.get("description"),
            "items": [],
            "lastUpdated": "2026-01-01T00:00:00.000Z",
            "position": number,
            "private": wanted["private"],
            "theme": "green",
            "upvotes": 0,
        }
        return self.known[slug]

    def add(self, slug: str, item: dict) -> bool:
        """Add an item; returns whether it was not there yet."""
        inside = self.known[slug]["items"]
        if item["id"] in (each["id"] for each in inside):
            return False
        inside.append(item | {"_id": f"{len(inside):024x}", "position": len(inside)})
        return True
