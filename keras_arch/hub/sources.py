"""Source of a model's files: a model directory or one commit of a Hub repository."""

import dataclasses
import os
from pathlib import Path

from keras_arch.errors import HubError, IntegrityError
from keras_arch.hub import layout, remote
from keras_arch.hub.layout import CORE, RECORD, Record
from keras_arch.hub.published import PublishedSource
from keras_arch.hub.references import Published, Repository, parse
from keras_arch.hub.safety import check_is_file


@dataclasses.dataclass(frozen=True)
class FolderSource:
    """A model directory with the interface of `remote.Snapshot`."""

    directory: Path
    where: str
    remedy: str = "get or save the model again"
    offline: bool = False

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.directory.resolve().name

    def fetch(self, name: str) -> Path | None:
        """Path of a file, `None` if nothing has its name; an `IntegrityError` if it is none."""
        file = self.directory / name
        if not os.path.lexists(file):
            return None
        check_is_file(file, self.where)
        return file


Source = FolderSource | remote.Snapshot | PublishedSource


def open_source(reference: str | os.PathLike[str], token: str | None) -> Source:
    """Find the files of a model; arguments and errors are those of `hub.load`."""
    place = parse(reference)
    if isinstance(place, Repository):
        return remote.resolve(place, token)
    if isinstance(place, Published):
        return PublishedSource(place.row)
    if not place.path.is_dir():
        raise HubError(f"there is no model at {place}; check the path")
    return FolderSource(place.path, str(place))


def read_record(source: Source) -> Record | None:
    """Read a model's `keras_arch.json`, `None` if it has none; a `HubError` for a damaged one."""
    file = source.fetch(RECORD)
    return layout.read_record(file, source.where) if file else None


def needed_files(source: Source, record: Record | None) -> list[str]:
    """List the files that loading takes; without a record, Keras' three."""
    if record:
        return record.needed
    if source.fetch(CORE[0]):
        return list(CORE)
    if source.offline:
        what = f"the Hub cannot be reached and there is no cached copy of {source.where}"
        raise HubError(f"{what}; {remote.connect()}")
    raise HubError(f"{source.where} holds no Keras model: it has no {CORE[0]}")


def fetch_all(source: Source, names: list[str]) -> Path:
    """Fetch files of one model and return the folder that they are in."""
    for name in names:
        file = source.fetch(name)
        if file is None:
            raise not_cached(source, name) or IntegrityError(
                f"{name} of {source.where} is missing; {source.remedy}"
            )
    return Path(str(file).removesuffix(name))


def not_cached(source: Source, name: str) -> HubError | None:
    """Error for a file that neither the Hub nor the cache gives; `None` if the Hub answers."""
    what = f"the Hub cannot be reached and the cached copy of {source.where} lacks {name}"
    return HubError(f"{what}; {remote.connect()}") if source.offline else None


def no_record(where: str) -> HubError:
    """Error for a model that keras_arch did not save."""
    return HubError(
        f"{where} has no {RECORD}: it is a plain Keras model. hub.load opens it; hub.save it "
        "with a card to publish it or to keep its labels and preprocessing"
    )
