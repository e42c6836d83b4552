"""Publishing of the models of shipped configs: all repositories of an owner, and a collection."""

import dataclasses
import logging
import re
from collections.abc import Sequence
from pathlib import Path

from keras_arch import presets
from keras_arch.errors import ArgumentError, HubError, IntegrityError, KerasArchError
from keras_arch.files import atomic_write
from keras_arch.hub import remote
from keras_arch.hub.layout import SAMPLES
from keras_arch.hub.pushing import checked_record, push_directory
from keras_arch.hub.references import (
    RUN_MODEL,
    RUNS,
    is_model,
    is_run,
    parse_uri,
    resume_command,
)
from keras_arch.hub.training_command import training_command

COLLECTION = "keras_arch"
_DESCRIPTION = "Classic vision architectures for Keras 3, trained by their shipped configs."
PUBLISHED, UP_TO_DATE, PLANNED = "published", "up to date", "would be published"
NOT_TRAINED, UNFINISHED = "not trained", "not finished"
_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Publication:
    """The model of one config and what became of it.

    Attributes:
        name: Of the config.
        state: `"published"`, `"up to date"` (all files were there already), `"would be
            published"` (of a dry run), `"not trained"` or `"not finished"`.
        repository: Where it is published, as the key `repository` of the config takes it:
            `"owner/name"` or `"file:///folder/name"`.
        directory: The model directory; `None` where there is none.
        metrics: Of its card.
        command: What trains it, or resumes its training; of a model what trained it.
    """

    name: str
    state: str
    repository: str
    directory: Path | None
    metrics: dict[str, float]
    command: str

    @property
    def has_model(self) -> bool:
        """Whether there is a model to publish."""
        return self.directory is not None


@dataclasses.dataclass(frozen=True)
class Publications:
    """What a publishing led to.

    Attributes:
        models: One entry for each config, those without a model too.
        collection: URL of the collection, or `None` where none was made.
    """

    models: list[Publication]
    collection: str | None = None


def publish(
    to: str,
    names: Sequence[str] | None = None,
    *,
    private: bool = False,
    collection: bool = True,
    dry_run: bool = False,
    token: str | None = None,
) -> Publications:
    """Publish the trained models of shipped configs, each as a repository of one owner.

    The model of a config is that of its finished run in `runs/NAME`, else the one that comes with
    the package or the checkout. All are checked before the first is pushed, as `hub.push` does
    it. What is there already is not sent again, so that a publishing that broke off goes on when
    it is called again, and a second one changes nothing. Then all are put into the owner's
    collection `keras_arch`, which is made where it is missing.

    Args:
        to: User or organization of the Hub, or `"file:///folder/hub/owner"` for a hub that is a
            folder, which has no collections.
        names: Names of configs. Default: all that have a model.
        private: Whether new repositories, and a new collection, are private.
        collection: Whether to put them into the collection.
        dry_run: Only tell what would be done: nothing is written, and the Hub is not asked.
        token: Access token of the Hub with write permission. Default: `HF_TOKEN`, or that of
            `hf auth login`.

    Returns:
        What became of each config, and the collection.

    Raises:
        HubError: If a named config has no model, or none has; if there is no token, no permission
            or no connection. The message names what was published so far.
        IntegrityError: If a model directory is damaged or holds another model.
        ArgumentError: If the owner or a name cannot be right.

    Example:
        >>> from keras_arch import hub
        >>> first = hub.publish("me", dry_run=True).models[0]
        >>> first.repository, first.state, first.command
        ('me/alexnet-imagenet', 'not trained', 'keras-arch train alexnet-imagenet')
    """
    owner = _owner(to, private)
    models = [_planned(name, owner) for name in _configs(names)]
    missing = [model for model in models if not model.has_model]
    if names is not None and missing:
        first = missing[0]
        raise HubError(f"{first.name} is {first.state}; first run: {first.command}")
    if dry_run:
        return Publications(models)
    if len(missing) == len(models):
        raise HubError(
            "no config has a trained model, in runs or with the package; train one with: "
            "keras-arch train NAME"
        )
    on_the_hub = not owner.startswith("file:")
    if on_the_hub:
        remote.require_token(f"publishing to {owner}", token)
    done = _push_all(models, private, token)
    if not (on_the_hub and collection):
        return Publications(done)
    repositories = [model.repository for model in done if model.has_model]
    try:
        url = remote.add_to_collection(
            COLLECTION,
            owner,
            repositories,
            description=_DESCRIPTION,
            private=private,
            token=token,
        )
    except HubError as error:
        raise _broken_off(error, repositories) from None
    return Publications(done, url)


def record_repository(name: str, repository: str) -> Path | None:
    """Write where a model is published into the YAML file of its config, in a checkout.

    A line `repository: ...` is replaced, or added at the end; all others stay as they are.

    Args:
        name: Name of the config.
        repository: `"owner/name"`, or the URI of a folder hub.

    Returns:
        The file, or `None` where it says so already.

    Raises:
        ArgumentError: If the configs are those of an installed package.
        StorageError: If the file cannot be written.
    """
    check_recordable()
    if presets.read(name).get("repository") == repository:
        return None
    file = presets.path(name)
    text, line = file.read_text(encoding="utf-8"), f"repository: {repository}"
    changed, count = re.subn(r"(?m)^repository:.*$", lambda _: line, text)
    return atomic_write(file, changed if count else f"{text.rstrip()}\n{line}\n")


def check_recordable() -> None:
    """Refuse (`ArgumentError`) to record repositories in the configs of an installed package."""
    if not presets.in_checkout():
        raise ArgumentError(
            "--record writes into hub_configs of a checkout, and this keras_arch is an installed "
            "package; run it in a checkout that is installed with pip install -e"
        )


def _owner(to: str, private: bool) -> str:
    """The owner as repositories begin with it: `"owner"` or `"file:///folder"`."""
    if isinstance(to, str) and to.startswith("file:"):
        if private:
            raise ArgumentError(f"{to} is a folder, which has no private; leave it out")
        return str(parse_uri(to)).rstrip("/")
    owner = to.removeprefix("hf://") if isinstance(to, str) else to
    try:
        if "/" in owner:
            raise ArgumentError("it names a repository")
        parse_uri(f"{owner}/name")
    except (ArgumentError, TypeError):
        raise ArgumentError(
            f"{to!r} is not an owner; give a user or an organization of the Hub, or "
            "file:///folder/hub/owner"
        ) from None
    return owner


def _configs(names: Sequence[str] | None) -> list[str]:
    if names is None:
        return presets.names()
    if isinstance(names, str) or not names:
        raise ArgumentError(f"names must be a list of configs, got {names!r}")
    for name in names:
        presets.path(name)
    return list(dict.fromkeys(names))


def _planned(name: str, owner: str) -> Publication:
    """The model of a config, checked, or what it lacks."""
    repository = f"{owner}/{name}"
    run = RUNS / name
    finished = is_model(run / RUN_MODEL)
    directory = run / RUN_MODEL if finished else presets.model_folder(name)
    if directory is None:
        begun = is_run(run)
        command = resume_command(run) if begun else f"keras-arch train {name}"
        return Publication(
            name, UNFINISHED if begun else NOT_TRAINED, repository, None, {}, command
        )
    card = checked_record(directory)[0].card
    if card.name != name:
        raise IntegrityError(
            f"{directory} holds the model {card.name!r}, not {name!r}; move it away, or train "
            f"{name} there"
        )
    command = training_command(card) or ""
    if " --set " in command:
        _log.info(
            "%s was trained with other settings than its config; its page says so: %s",
            directory,
            command,
        )
    if not (directory / SAMPLES).is_file():
        _log.warning("%s has no %s; its page shows no picture", directory, SAMPLES)
    return Publication(name, PLANNED, repository, directory, card.metrics, command)


def _push_all(models: list[Publication], private: bool, token: str | None) -> list[Publication]:
    done: list[Publication] = []
    total = sum(model.has_model for model in models)
    for model in models:
        if model.directory is None:
            done.append(model)
            continue
        there = [other.repository for other in done if other.has_model]
        _log.info("%d of %d: %s to %s", len(there) + 1, total, model.directory, model.repository)
        try:
            target = parse_uri(model.repository)
            pushed = push_directory(model.directory, target, private=private, token=token)
        except KerasArchError as error:
            raise _broken_off(error, there) from None
        state = PUBLISHED if pushed.changed else UP_TO_DATE
        done.append(dataclasses.replace(model, state=state))
        _log.info("%s: %s", state, pushed.url)
    return done


def _broken_off(error: KerasArchError, published: list[str]) -> HubError:
    """The error of a publishing that stops half-way."""
    so_far = ", ".join(published) or "nothing"
    return HubError(f"{error}; published so far: {so_far}; run the same again to go on")
