"""Loading of models from directories, the Hub and other libraries' repositories."""

import dataclasses
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_arch import pretrained
from keras_arch.errors import ArgumentError, IntegrityError, NonFiniteError
from keras_arch.files import sha256
from keras_arch.hub import external, layout, published
from keras_arch.hub.card import Card
from keras_arch.hub.external import ExternalModel, conversion
from keras_arch.hub.layout import README, RECORD, TRAINING, Record
from keras_arch.hub.network_checks import check_finite, check_network
from keras_arch.hub.safety import check_inside
from keras_arch.hub.sources import (
    FolderSource,
    Source,
    fetch_all,
    needed_files,
    no_record,
    open_source,
    read_record,
)

if TYPE_CHECKING:
    import keras

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class LoadedModel:
    """A model with its card and its files.

    Attributes:
        model: Not compiled.
        card: Its card; `None` for a Keras model that keras_arch neither saved nor converted.
        directory: Its files; read only, as it may be a cache.
        training: The folder `training/` if it exists and was asked for, else `None`.
    """

    model: "keras.Model"
    card: Card | None
    directory: Path
    training: Path | None


def load(reference: str | os.PathLike[str], *, token: str | None = None) -> "keras.Model":
    """Load a model.

    Only the files that are needed are downloaded, their hashes are compared with the record, and
    nothing that comes with a model is ever run: pickled data, Lambda layers and classes that are
    not Keras' own are refused. A Keras model that keras_arch did not save has no record of hashes;
    it is loaded with the same refusals and a warning.

    Repositories of timm (`hf://timm/resnet50.a1_in1k`: its `resnet` and `vgg`) and of ResNets of
    the transformers library (`hf://microsoft/resnet-50`) are recognized by their `config.json`,
    and converted. The converted model is cached beside the Hub's cache, by commit. So are the
    weights of `keras_arch.models.list_weights` that are files by URL, or `keras.applications`'.

    Args:
        reference: A run directory, a model directory, `"hf://user/repo"` or
            `"hf://user/repo@revision"`, `"file:///folder/hub/user/repo"`,
            `"tag://ARCHITECTURE/TAG"`, or the name of a shipped config: its finished run in
            `runs/NAME`, else its repository.
        token: Access token of the Hub. Default: `HF_TOKEN`, or that of `hf auth login`.

    Returns:
        The model, not compiled.

    Raises:
        HubError: If it is missing, private, or unreachable without a cached copy.
        IntegrityError: If a file's hash differs from its record.
        UnsafeContentError: If it asks for code to be run.
        ArgumentError: If the reference has no known form.
        RunError: If it is a run that has not finished.

    Example:
        >>> from keras_arch import hub
        >>> from keras_arch.hub.example import saved_example
        >>> hub.load(saved_example()).output_shape
        (None, 64)
    """
    return load_with_card(reference, token=token).model


def load_with_card(
    reference: str | os.PathLike[str], *, training: bool = False, token: str | None = None
) -> LoadedModel:
    """Load a model, its card and the folder of its files; errors are those of `load`.

    Args:
        reference, token: As for `load`.
        training: Whether to fetch `training/` too, if there is one.

    Example:
        >>> from keras_arch import hub
        >>> from keras_arch.hub.example import saved_example
        >>> hub.load_with_card(saved_example()).card.preprocessing.size
        (8, 8)
    """
    from keras_arch import models
    from keras_arch._tensorflow.fused_batch_norm import fuse_batch_norm
    from keras_arch.models.common.saving import warn_of_h5

    source, record = _open_converted(reference, token)
    resume = record.training if record and training else []
    names = [*needed_files(source, record), *resume]
    directory = fetch_all(source, names)
    if record:
        layout.verify(directory, record, names, source.where, source.remedy)
    else:
        message = "%s has no %s, so its files cannot be checked; it loads as a plain Keras model"
        _log.warning(message, source.where, RECORD)
    model = layout.load_model(directory, source.where)
    # Norms are fused as our builders do; those of other packages fuse nothing.
    if record and record.card.architecture in models.__all__:
        fuse_batch_norm(model)
        warn_of_h5(model)
    card = _checked(model, record.card if record else None, source.where)
    if card and pretrained.is_non_commercial(card.license):
        _log.warning("%s: its licence, %s, forbids commercial use", source.where, card.license)
    return LoadedModel(model, card, directory, directory / TRAINING if resume else None)


def _checked(model: "keras.Model", card: Card | None, where: str) -> Card | None:
    """The card after the checks that saving makes, as an `IntegrityError` of the model `where`."""
    try:
        if card is None:
            check_finite(model)
            return None
        return check_network(model, card)
    except (ArgumentError, NonFiniteError) as error:
        raise IntegrityError(f"{where} does not fit its card: {error}") from None


def read_card(reference: str | os.PathLike[str], *, token: str | None = None) -> Card:
    """Read the card of a model without fetching its weights.

    Args:
        reference, token: As for `load`.

    Raises:
        HubError: If keras_arch did not save the model. Other errors are those of `load`.

    Example:
        >>> from keras_arch import hub
        >>> from keras_arch.hub.example import saved_example
        >>> hub.read_card(saved_example()).name
        'flat'
    """
    source = open_source(reference, token)
    if record := read_record(source):
        return record.card
    if found := _foreign(source):
        return found.card(source.name, source.where)
    needed_files(source, None)
    raise no_record(source.where)


def pretrained_card(
    architecture: str, tag: str = pretrained.IMAGENET, *, token: str | None = None, **settings: Any
) -> Card:
    """Read the card of published weights, without fetching them.

    It has the preprocessing, the labels and the arguments of the builder that go with the weights
    that `weights=tag` loads.

    Args:
        architecture: Name of the builder.
        tag: One of `keras_arch.models.list_weights`, or `"imagenet"`.
        token: As for `load`.
        **settings: Arguments that were given to the builder and that choose among the weights, such
            as `norm="batch"` of a VGG.

    Raises:
        ArgumentError: If there are no such weights. Other errors are those of `load`.

    Example:
        >>> from keras_arch import hub
        >>> prepare = hub.pretrained_card("GoogLeNet").preprocessing
        >>> prepare.size, prepare.mean
        ((224, 224), 0.5)
    """
    return read_card(pretrained.find(architecture, tag, **settings).reference, token=token)


def pull(
    reference: str | os.PathLike[str],
    directory: str | os.PathLike[str],
    *,
    training: bool = False,
    token: str | None = None,
) -> Path:
    """Download a model into a directory of your own.

    A directory that holds a model already is replaced, whole or not at all; files in it that are
    not part of the model stay, and so does a README that you edited (delete it and pull again to
    get that of the repository).

    Args:
        reference, token: As for `load`.
        directory: Destination, which is returned.
        training: Whether to fetch `training/` too, if there is one.

    Raises:
        ArgumentError: If the directory holds a model of another name, or other files than a
            model's.
        StorageError: If it cannot be written. Other errors are those of `load`.

    Example:
        >>> from keras_arch import hub
        >>> from keras_arch.hub.example import saved_example
        >>> hub.pull(f"file://{saved_example()}", "flat-copy").name
        'flat-copy'
    """
    directory = Path(directory).expanduser()
    before = layout.before_replacing(directory)
    source, record = _open_converted(reference, token)
    if before and record and before.card.name != record.card.name:
        raise ArgumentError(
            f"{directory} holds another model, {before.card.name}; give a new folder for "
            f"{record.card.name}"
        )
    names = needed_files(source, record)
    if record:
        names = [name for name in record.sha256 if training or name not in record.training]
    fetched = fetch_all(source, names)
    if os.path.realpath(fetched) == os.path.realpath(directory):
        raise ArgumentError(f"{directory} is where the model is already; give another folder")
    if record:
        layout.verify(fetched, record, names, source.where, source.remedy)
    layout.check_config(fetched / "config.json", source.where)
    contents: dict[str, Path | bytes] = {name: fetched / name for name in names}
    remote_readme = source.fetch(README)
    if readme := _own_readme(directory, before, remote_readme) or remote_readme:
        contents[README] = readme
    if record:
        seen = sha256(remote_readme) if remote_readme else None
        contents[RECORD] = dataclasses.replace(record, remote_readme=seen).to_json().encode()
    # What is known by its hash may be a link to elsewhere.
    for name in (README, *(() if record else names)):
        check_inside(fetched / name, fetched, source.where)
    layout.replace(directory, contents, before)
    return directory


def _open_converted(
    reference: str | os.PathLike[str], token: str | None
) -> tuple[Source, Record | None]:
    """Open a model's files and record; of another library's model, those of the converted copy."""
    source = open_source(reference, token)
    record = read_record(source)
    if record is None and (found := _foreign(source)):
        directory = conversion.convert_cached(source, found)
        source = FolderSource(directory, source.where, source.remedy)
        record = read_record(source)
    return source, record


def _foreign(source: Source) -> ExternalModel | None:
    """The description of another library's model, `None` for a model of ours or of Keras."""
    if isinstance(source, published.PublishedSource):
        return published.describe(source.row)
    return external.recognize(source.fetch, source.where)


def _own_readme(directory: Path, before: Record | None, remote_readme: Path | None) -> Path | None:
    """The README of a directory if a person edited it since it was last pushed or pulled."""
    mine = directory / README
    if not layout.is_edited(directory, before):
        return None
    if before and sha256(mine) == before.remote_readme:
        return None
    if remote_readme is not None and mine.read_bytes() != remote_readme.read_bytes():
        message = "%s was edited and is not replaced; delete it and pull again to replace it"
        _log.warning(message, mine)
    return mine
