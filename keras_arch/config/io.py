"""What a hub config may say, checked before anything is loaded or trained.

A config is one YAML file for one published model: its builders, data, preprocessing, recipe,
expected figures and repository. Every error names the key, the value and what is allowed.
"""

import difflib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, get_args

import pydantic
import yaml

from keras_arch import presets
from keras_arch.config.base import Section
from keras_arch.config.optimizers import (
    SGD,
    Adam,
    AdamW,
    Cosine,
    Decay,
    LinearDecay,
    Ramp,
    RMSprop,
    Schedule,
)
from keras_arch.config.sections import ClassifierConfig
from keras_arch.config.segmentation import Config
from keras_arch.errors import ArgumentError, ConfigError

_CONFIG = pydantic.TypeAdapter(Annotated[Config, pydantic.Field(discriminator="task")])


def load(source: str | os.PathLike[str], overrides: Sequence[str] = ()) -> Config:
    """Read and check a config.

    Args:
        source: Name of a shipped config (`"resnet20-digits"`) or path of a YAML file.
        overrides: Changes such as `"recipe.epochs=20"`; the value is read as YAML.

    Returns:
        The checked config.

    Raises:
        ConfigError: If a key is unknown or a value is wrong: the message names the key, the value
            and what is allowed.
        ArgumentError: If there is no such config.

    Example:
        >>> from keras_arch import config
        >>> config.load("resnet20-digits", ["recipe.epochs=3"]).recipe.epochs
        3
    """
    return parse(*_read(source), overrides)


def parse(content: dict[str, Any], where: str = "config", overrides: Sequence[str] = ()) -> Config:
    """Check a config that is already read.

    Args:
        content: The nested dictionaries of the YAML file.
        where: What errors call it.
        overrides: As for `load`.

    Raises:
        ConfigError: As for `load`.

    Example:
        >>> from keras_arch import config, presets
        >>> config.parse(presets.read("dcgan-digits")).task
        'unconditional-image-generation'
    """
    for override in overrides:
        content = _override(content, override)
    try:
        return _CONFIG.validate_python(content)
    except pydantic.ValidationError as error:
        raise ConfigError(f"{where}: {_explain(error, content)}") from None


def dump(config: Config) -> str:
    """A config as YAML that `load` reads back.

    Example:
        >>> from keras_arch import config
        >>> digits = config.load("resnet20-digits")
        >>> config.parse(yaml.safe_load(config.dump(digits))) == digits
        True
    """
    content = config.model_dump(mode="json")
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100)


def _read(source: str | os.PathLike[str]) -> tuple[dict[str, Any], str]:
    """A config's content and its name for messages."""
    name = str(source)
    is_path = isinstance(source, Path) or name.endswith((".yaml", ".yml")) or os.sep in name
    if not is_path:
        return presets.read(name), name
    path = Path(source)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise ArgumentError(f"cannot read config {name}: {reason}") from None
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{name} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{name} must hold a mapping of keys to values")
    return content, name


def _override(content: dict[str, Any], override: str) -> dict[str, Any]:
    """A copy of the content with one `a.b.c=value` set."""
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"--set takes key=value (recipe.epochs=20), got {override!r}")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise ConfigError(f"--set {override!r}: the value is not YAML") from None
    changed = dict(content)
    inner = changed
    *parents, last = key.split(".")
    for parent in parents:
        below = inner.get(parent, {})
        if not isinstance(below, dict):
            raise ConfigError(f"--set {key}: {parent} is {below!r} and has no keys below it")
        inner[parent] = inner = dict(below)
    inner[last] = value
    return changed


def _explain(error: pydantic.ValidationError, content: dict[str, Any]) -> str:
    """The first thing that is wrong, in one line."""
    problems = error.errors(include_url=False)
    problem = problems[0]
    if problem["type"] == "missing":
        # A key that is missing was often only misspelt.
        unknown = (each for each in problems if each["type"] == "extra_forbidden")
        problem = next(
            (each for each in unknown if each["loc"][:-1] == problem["loc"][:-1]), problem
        )
    # Pydantic puts the chosen member of a union into the path; users know only their own keys.
    absent = problem["type"] in ("extra_forbidden", "missing")
    path = _users_path(problem["loc"], content, keep_last=absent)
    key = ".".join(map(str, path)) or "config"
    value = problem.get("input")
    if problem["type"] == "extra_forbidden":
        known = _keys_beside(problem["loc"])
        close = difflib.get_close_matches(str(path[-1]), known, n=2, cutoff=0.5)
        hint = f"did you mean {' or '.join(close)}?" if close else f"known are {', '.join(known)}"
        return f"unknown key {key!r} with value {_short(value)}; {hint}"
    if problem["type"] == "missing":
        return f"key {key!r} is missing"
    if problem["type"].startswith("union_tag"):
        expected = problem.get("ctx", {}).get("expected_tags", "")
        tag = problem.get("ctx", {}).get("discriminator", "'task'").strip("'")
        got = value.get(tag) if isinstance(value, dict) else value
        place = f"{key}.{tag}" if path else tag
        allowed = f"must be one of {expected}" if expected else "is missing"
        return f"{place} {allowed}, got {_short(got)}"
    message = problem["msg"].removeprefix("Value error, ")
    message = _IN_YAML.get(problem["type"], message[0].lower() + message[1:])
    # Our own messages name the one value of a section that is wrong.
    said = problem["type"] == "value_error" and ", got " in message
    if said and not path:
        return message
    return f"{key}: {message}" + ("" if said else f", got {_short(value)}")


def _users_path(location: tuple[Any, ...], content: Any, keep_last: bool) -> list[Any]:
    """The part of pydantic's path that exists in what the user wrote, and an absent last key."""
    path: list[Any] = []
    for position, key in enumerate(location):
        last = keep_last and position == len(location) - 1
        if isinstance(content, dict) and (key in content or last):
            path.append(key)
            content = content.get(key)
        elif isinstance(content, list | tuple) and isinstance(key, int) and key < len(content):
            path.append(key)
            content = content[key]
    return path


def _keys_beside(location: tuple[Any, ...]) -> list[str]:
    """The keys that the section of an unknown key has."""
    sections: list[Any] = list(Config.__args__)
    tags = {section.model_fields["task"].annotation.__args__[0]: section for section in sections}
    section: Any = tags.get(location[0], ClassifierConfig)
    for key in location[1:-1]:
        if key in section.model_fields:
            members = _sections(section.model_fields[key].annotation)
            section = members[0] if members else section
        else:
            # What chose the member of a union, such as the optimizer's name.
            section = _MEMBERS.get(key, section)
    return sorted(section.model_fields)


def _sections(annotation: Any) -> list[Any]:
    """The sections among what a key may hold."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation]
    return [section for part in get_args(annotation) for section in _sections(part)]


# Pydantic speaks of Python's types.
_IN_YAML = {
    "model_type": "must be a mapping of keys to values",
    "model_attributes_type": "must be a mapping of keys to values",
    "tuple_type": "must be a list",
    "list_type": "must be a list",
    "too_short": "must not be empty",
}
_MEMBERS = {
    "sgd": SGD,
    "adam": Adam,
    "adamw": AdamW,
    "rmsprop": RMSprop,
    "schedule": Schedule,
    "decay": Decay,
    "linear": LinearDecay,
    "cosine": Cosine,
    "ramp": Ramp,
}


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
