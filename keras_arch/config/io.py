"""Reading, checking and writing of configs.

A config is one YAML file for one published model: its architecture, data, preprocessing, recipe,
expected metrics and repository. Its `task` decides which keys it has; every error names the key,
the value and what is allowed.
"""

import importlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pydantic
import yaml

from keras_arch import presets, registry
from keras_arch.config import short_forms
from keras_arch.config.base import TaskConfig
from keras_arch.config.errors import explain
from keras_arch.errors import ArgumentError, ConfigError
from keras_arch.hub.layout import RECORD
from keras_arch.hub.references import RUN_CONFIG, is_run


def load(source: str | os.PathLike[str], overrides: Sequence[str] = ()) -> TaskConfig:
    """Read and check a config.

    Args:
        source: Name of a shipped config (`"resnet20-digits"`), path of a YAML file, or a run
            directory, whose config it is.
        overrides: Changes such as `"recipe.epochs=20"`; the value is read as YAML. Short forms are
            `"epochs=20"`, `"batch_size=64"` and `"lr=0.01"`. The last one sets the highest rate of
            the optimizer; of a schedule, all rates change by the same factor.

    Returns:
        The checked config, of the `Config` class of its task.

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


def parse(
    content: dict[str, Any], where: str = "config", overrides: Sequence[str] = ()
) -> TaskConfig:
    """Check a config that is already read.

    Args:
        content: The nested dictionaries of the YAML file.
        where: Its name in error messages.
        overrides: As for `load`.

    Returns:
        The checked config.

    Raises:
        ConfigError: As for `load`.

    Example:
        >>> from keras_arch import config, presets
        >>> config.parse(presets.read("dcgan-digits")).task
        'unconditional-image-generation'
    """
    changes, rate = short_forms.expand(overrides)
    for key, value in changes.items():
        content = _override(content, key, value)
    import_modules(content.get("imports") or (), where)
    task = content.get("task")
    schema = registry.TASKS.get(task).Config if task in registry.TASKS else None
    if schema is None:
        wanted = ", ".join(
            repr(name) for name, one in registry.TASKS.items() if one.Config is not None
        )
        got = f"got {task!r}" if "task" in content else "it is missing"
        hint = "install the package that has it, or name its module under imports"
        raise ConfigError(
            f"{where}: task must be one of {wanted}; {got}" + f"; {hint}" * ("task" in content)
        )
    try:
        checked = schema.model_validate(content)
        if rate is not None:
            for key, value in short_forms.learning_rates(checked, rate).items():
                content = _override(content, key, value)
            checked = schema.model_validate(content)
    except pydantic.ValidationError as error:
        raise ConfigError(f"{where}: {explain(error, content, schema)}") from None
    return checked


def dump(config: TaskConfig) -> str:
    """A config as YAML that `load` reads back.

    Example:
        >>> from keras_arch import config
        >>> digits = config.load("resnet20-digits")
        >>> config.parse(yaml.safe_load(config.dump(digits))) == digits
        True
    """
    content = config.model_dump(mode="json")
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


class _Dumper(yaml.SafeDumper):
    """YAML in which other line breaks than `\\n` are escaped: read back they would be spaces."""


def _text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    style = '"' if {"\x85", "\u2028", "\u2029"} & set(text) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def import_modules(names: Any, where: str = "config") -> None:
    """Import the modules that a local config names under `imports`.

    They are looked up as `import` does: installed, or in a folder on PYTHONPATH. The folder of the
    config is not searched, so that no file that came with a download is run.

    Args:
        names: Names of modules.
        where: The config's name in error messages.

    Raises:
        ConfigError: If a module cannot be imported.
    """
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise ConfigError(f"{where}: imports must be a list of modules, got {names!r}")
    for name in names:
        try:
            importlib.import_module(name)
        # Whatever a module does when it is imported can fail in any way.
        except Exception as error:
            raise ConfigError(
                f"{where}: imports names {name!r}, which cannot be imported ({error!r}); install "
                "it, or put its folder on PYTHONPATH"
            ) from error


def _read(source: str | os.PathLike[str]) -> tuple[dict[str, Any], str]:
    """A config's content and its name for messages."""
    name = str(source)
    is_path = isinstance(source, Path) or name.endswith((".yaml", ".yml")) or os.sep in name
    run = is_run(Path(source))
    if not is_path and not run:
        return presets.read(name), name
    path = Path(source) / RUN_CONFIG if run else Path(source)
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
    # What lies in the directory of a model may have come from a repository.
    folders = path.resolve().parents if content.get("imports") else ()
    if any((folder / RECORD).exists() for folder in folders):
        raise ConfigError(
            f"{name}: imports are not read from the directory of a model; copy the config to "
            "another folder, and import only what you know"
        )
    return content, name


def _override(content: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    """A copy of the content with one `a.b.c` set."""
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
