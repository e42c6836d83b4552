"""Layout of a model directory: Keras' own three files, a record of hashes, and a README."""

import contextlib
import dataclasses
import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_arch import registry
from keras_arch._version import __version__
from keras_arch.errors import ArgumentError, HubError, IntegrityError
from keras_arch.files import atomic_directory, sha256
from keras_arch.hub.card import Card
from keras_arch.hub.network_checks import check_network
from keras_arch.hub.readme import readme
from keras_arch.hub.safety import check_config, check_names, check_objects, read_json_file

if TYPE_CHECKING:
    import keras

RECORD = "keras_arch.json"
README = "README.md"
SAMPLES = "samples.png"
TRAINING = "training"
CORE = ("config.json", "metadata.json", "model.weights.h5")
SCHEMA = 1
WEIGHTS_DTYPES = ("float32", "float16")

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Record:
    """Content of `keras_arch.json`.

    Attributes:
        card: The model's card.
        sha256: Of every file by its path, except this record and the README.
        readme: SHA-256 of the README that was generated from the card; another one was edited.
        remote_readme: SHA-256 of the README that the repository had at the last push or pull.
    """

    card: Card
    sha256: dict[str, str]
    readme: str
    remote_readme: str | None = None

    @property
    def training(self) -> list[str]:
        """Listed files that only resuming or fine-tuning needs."""
        return [name for name in self.sha256 if name.startswith(f"{TRAINING}/")]

    @property
    def needed(self) -> list[str]:
        """Listed files that the model itself needs."""
        return [name for name in self.sha256 if name in CORE or name.startswith("assets/")]

    def to_json(self) -> str:
        """Text of `keras_arch.json`."""
        # Of a task of another package: what a reader has to install.
        package = registry.TASKS.package(self.card.task)
        content = {
            "schema_version": SCHEMA,
            "written_by": f"keras_arch {__version__}",
            "card": self.card.to_dict(),
            "sha256": self.sha256,
            "readme_sha256": {"generated": self.readme, "published": self.remote_readme},
        } | ({"package": package} if package else {})
        return json.dumps(content, indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def parse(cls, content: bytes, where: str) -> "Record":
        """Read and check the content of a `keras_arch.json` of the model `where`.

        Raises:
            IntegrityError: If it is no such record.
            UnsafeContentError: If it lists files outside its folder, or pickled ones.
            HubError: If a later version of the package wrote it.
        """
        damaged = IntegrityError(
            f"keras_arch.json of {where} is damaged or not a record; get or save the model again"
        )
        try:
            fields = json.loads(content)
            schema, hashes, readmes = (
                fields[key] for key in ("schema_version", "sha256", "readme_sha256")
            )
            if type(schema) is not int or schema < 1 or not isinstance(hashes, dict):
                raise damaged
        except (ValueError, KeyError, TypeError, RecursionError):
            raise damaged from None
        if schema > SCHEMA:
            raise HubError(
                f"keras_arch.json of {where} has schema version {schema}, this keras_arch "
                f"({__version__}) reads up to {SCHEMA}; upgrade keras_arch"
            )
        check_names(hashes, where)
        absent = [name for name in CORE if name not in hashes]
        if absent:
            raise IntegrityError(
                f"keras_arch.json of {where} does not list {absent[0]}; get or save the model again"
            )
        try:
            digests = [*hashes.values(), readmes["generated"], readmes["published"] or "0" * 64]
            if not all(re.fullmatch(r"[0-9a-f]{64}", digest) for digest in digests):
                raise damaged
            card = fields["card"]
            if not isinstance(card, dict) or not isinstance(card.get("task"), str):
                raise damaged
            if card["task"] not in registry.TASKS:
                # The package's name comes with the model: it is shown only if it can be one.
                package = fields.get("package")
                known = isinstance(package, str)
                named = known and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", package)
                raise HubError(
                    f"{where} is a model of the task {card['task']!r}, which keras_arch does not "
                    f"have; install the package that has it{f', {package}' if named else ''}"
                )
            return cls(Card.from_dict(card), hashes, readmes["generated"], readmes["published"])
        except ArgumentError as error:
            raise IntegrityError(f"keras_arch.json of {where}: {error}") from None
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError):
            raise damaged from None


def read_record(file: Path, where: str) -> Record:
    """Read the `keras_arch.json` of a model `where`; errors are those of `Record.parse`."""
    return Record.parse(read_json_file(file, where), where)


def save(
    model: "keras.Model",
    directory: str | os.PathLike[str],
    card: Card,
    *,
    samples: str | os.PathLike[str] | None = None,
    training: str | os.PathLike[str] | None = None,
    weights_dtype: str = "float32",
) -> Path:
    """Write a model directory, whole or not at all.

    The model is saved for inference, without optimizer. A directory that holds a model is
    replaced; files in it that are not part of the model stay, and so does a README that a person
    edited (delete it and save again to get a fresh one).

    Args:
        model: A functional or sequential `keras.Model` of stock layers.
        directory: Destination, which is returned; missing parents are created.
        card: The model's card; the activation of its output is added.
        samples: A PNG for the README, or `None`: the confusion matrix of a classifier, else
            outputs of the model.
        training: A folder with files for resuming or fine-tuning, or `None`. It is copied to
            `training/`.
        weights_dtype: How weights are stored: `"float32"`, or `"float16"` for half of the size.
            Keras reads both into the dtype that the model has. Weights that float16 cannot hold
            are left as they are.

    Raises:
        UnsafeContentError: If the model needs classes that are not part of Keras.
        ArgumentError: If the directory holds other files than a model's, the model cannot be
            saved, or the card does not fit it: labels, sizes, channels, latent.
        NonFiniteError: If a weight is NaN or infinite.
        StorageError: If the disk is full or read-only; the directory is then unchanged.

    Example:
        >>> import keras
        >>> from keras_arch import hub
        >>> from keras_arch.preprocessing import Preprocessing
        >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten()])
        >>> card = hub.Card("flat", "Flatten", {}, "image-classification",
        ...                 Preprocessing(size=(8, 8), channels=1))
        >>> path = hub.save(model, "flat", card)
        >>> sorted(file.name for file in path.iterdir())
        ['README.md', 'config.json', 'keras_arch.json', 'metadata.json', 'model.weights.h5']
    """
    directory = Path(directory).expanduser()
    _check_model(model)
    if not isinstance(card, Card):
        raise ArgumentError(f"hub.save needs a hub.Card, got {card!r}")
    for given, exists in ((samples, os.path.isfile), (training, os.path.isdir)):
        if given is not None and not exists(given):
            raise ArgumentError(f"{os.fspath(given)!r} is not there; it cannot go into {directory}")
    if weights_dtype not in WEIGHTS_DTYPES:
        raise ArgumentError(
            f"weights_dtype must be {' or '.join(map(repr, WEIGHTS_DTYPES))}, got {weights_dtype!r}"
        )
    card = check_network(model, card)
    before = before_replacing(directory)
    with _replaced(directory, before) as filling:
        _write_model(model, filling, weights_dtype == "float16")
        if samples is not None:
            shutil.copyfile(samples, filling / SAMPLES)
        if training is not None:
            shutil.copytree(training, filling / TRAINING)
        names = sorted(
            file.relative_to(filling).as_posix() for file in filling.rglob("*") if file.is_file()
        )
        check_names(names, str(directory))
        hashes = {name: sha256(filling / name) for name in names}
        text = readme(card, samples=samples is not None)
        published = before.remote_readme if before else None
        record = Record(card, hashes, text_sha256(text), published).to_json()
        (filling / RECORD).write_text(record, encoding="utf-8")
        if is_edited(directory, before):
            advice = "delete it and save again to get a fresh one"
            _log.warning("%s was edited and is not replaced; %s", directory / README, advice)
            shutil.copyfile(directory / README, filling / README)
        else:
            (filling / README).write_text(text, encoding="utf-8")
    return directory


def replace(directory: Path, contents: Mapping[str, Path | bytes], before: Record | None) -> None:
    """Write files, or the contents of files, as a model directory, whole or not at all.

    A person's own files in it stay; `before` is its present record, from `before_replacing`.
    """
    with _replaced(directory, before) as filling:
        for name, content in contents.items():
            (filling / name).parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, bytes):
                (filling / name).write_bytes(content)
            else:
                shutil.copyfile(content, filling / name)


def before_replacing(directory: Path) -> Record | None:
    """Read the record of a directory that is about to be replaced, if it has one.

    Raises:
        ArgumentError: If it holds other files than a model's: they would be lost.
    """
    if not directory.exists():
        return None
    if not directory.is_dir():
        raise ArgumentError(f"{directory} is a file; give a new folder")
    names = {entry.name for entry in directory.iterdir() if not entry.name.startswith(".")}
    if RECORD in names:
        try:
            return read_record(directory / RECORD, str(directory))
        except HubError:
            return None
    if names - {README} and not names.issuperset(CORE):
        raise ArgumentError(
            f"{directory} holds files that are not a model's ({min(names - {README})}); "
            "give a new or empty folder"
        )
    return None


@contextlib.contextmanager
def _replaced(directory: Path, before: Record | None) -> Iterator[Path]:
    """`atomic_directory` that also keeps a person's own files in a model directory."""
    ours = {RECORD, README, SAMPLES, TRAINING, "assets", *CORE}
    ours |= {name.partition("/")[0] for name in (before.sha256 if before else ())}
    with atomic_directory(directory) as filling:
        yield filling
        for entry in directory.iterdir() if directory.is_dir() else ():
            if entry.name in ours:
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.copytree(entry, filling / entry.name, symlinks=True)
            else:
                shutil.copy2(entry, filling / entry.name, follow_symlinks=False)


def is_edited(directory: Path, record: Record | None) -> bool:
    """Whether a person wrote or edited the README of a directory."""
    file = directory / README
    return file.is_file() and (record is None or sha256(file) != record.readme)


def text_sha256(text: str | bytes) -> str:
    """SHA-256 of a text, of a string in UTF-8."""
    return hashlib.sha256(text.encode() if isinstance(text, str) else text).hexdigest()


def verify(directory: Path, record: Record, names: Iterable[str], where: str, remedy: str) -> None:
    """Compare files of a record with their hashes.

    Raises:
        IntegrityError: Naming a file of the model `where` that is missing or differs, and a remedy.
    """
    for name in names:
        if not (directory / name).is_file():
            raise IntegrityError(f"{name} of {where} is missing; {remedy}")
        check_hash(directory / name, record.sha256[name], f"{name} of {where}", remedy)


def check_hash(file: Path, expected: str, name: str, remedy: str) -> None:
    """Compare a file with its SHA-256; `name` and `remedy` are for the `IntegrityError`."""
    actual = sha256(file)
    if actual != expected:
        raise IntegrityError(
            f"{name} is truncated or altered: expected sha256 {expected}, actual {actual}; {remedy}"
        )


def load_model(directory: Path, where: str) -> "keras.Model":
    """Open the checked directory of a model `where` with Keras.

    Raises:
        UnsafeContentError: If it needs other classes than Keras' own.
        IntegrityError: If Keras cannot open it.
    """
    from keras_arch._tensorflow import model_files
    from keras_arch.layers import recursion_limit

    check_config(directory / "config.json", where)
    try:
        # A trained model is compiled by whoever trains it on; the optimizer is in training/.
        with recursion_limit():
            return model_files.load_model(directory)
    # Whatever Keras raises for files that others wrote: an IndexError for an axis, for example.
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise IntegrityError(
            f"Keras cannot open {where}: {reason[:300]}{'...' if len(reason) > 300 else ''}"
        ) from error


def _check_model(model: Any) -> None:
    import keras

    if not isinstance(model, keras.Model):
        raise ArgumentError(f"hub.save needs a keras.Model, got {type(model).__name__}")
    if isinstance(getattr(model, "generator", None), keras.Model):
        raise ArgumentError(
            f"{type(model).__name__} is a trainer; save the network for inference, its .generator"
        )
    try:
        config = keras.saving.serialize_keras_object(model)
    except NotImplementedError:
        raise ArgumentError(
            f"the model {model.name} cannot be described; build it with the functional API"
        ) from None
    check_objects(config | {"compile_config": None}, f"the model {model.name}")
    if not model.built:
        raise ArgumentError(f"the model {model.name} has no weights yet; call it on a batch first")


def _write_model(model: "keras.Model", directory: Path, float16: bool) -> None:
    from keras_arch._tensorflow import model_files
    from keras_arch.layers import recursion_limit

    if model.compiled:
        # Keras has no switch for leaving out the optimizer, which is twice the weights for Adam.
        with recursion_limit():
            bare = type(model).from_config(model.get_config())
        bare.set_weights(model.get_weights())
        model = bare
    model_files.save_model(model, directory, float16=float16)
