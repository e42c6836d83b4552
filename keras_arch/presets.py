"""Configs of the package: one YAML file for each published model."""

import difflib
from pathlib import Path
from typing import Any

from keras_arch.errors import ArgumentError, ConfigError


def names() -> list[str]:
    """Names of the configs, sorted.

    Example:
        >>> from keras_arch import presets
        >>> isinstance(presets.names(), list)
        True
    """
    return sorted(file.stem for file in _folder().glob("*.yaml"))


def path(name: str) -> Path:
    """Path of a config.

    Args:
        name: One of `names()`, for example `"resnet20-cifar10"`.

    Returns:
        Path of the YAML file.

    Raises:
        ArgumentError: If there is none of that name; the message offers the closest ones.

    Example:
        >>> from keras_arch import presets
        >>> all(presets.path(name).is_file() for name in presets.names())
        True
    """
    known = names()
    if name not in known:
        close = difflib.get_close_matches(str(name).lower(), known, n=3, cutoff=0.5)
        raise ArgumentError(
            f"no config named {name!r}; {'did you mean' if close else 'there are'} "
            f"{', '.join(close or known) or 'none'}{'?' if close else ''}"
        )
    return _folder() / f"{name}.yaml"


def read(name: str) -> dict[str, Any]:
    """A config as plain Python values.

    Args:
        name: One of `names()`.

    Returns:
        The mapping of the YAML file, unchecked (`keras_arch.config.load` checks it).

    Raises:
        ArgumentError: If there is none of that name.
        ConfigError: If the file is not a YAML mapping.

    Example:
        >>> from keras_arch import presets
        >>> all(isinstance(presets.read(name), dict) for name in presets.names())
        True
    """
    import yaml

    file = path(name)
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ConfigError(f"{file} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{file} must hold a mapping of keys to values")
    return content


def _folder() -> Path:
    """Folder `hub_configs`: in the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent
    installed = package / "hub_configs"
    return installed if installed.is_dir() else package.parent / "hub_configs"
