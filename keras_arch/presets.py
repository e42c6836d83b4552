"""Configs of the package: one YAML file for each published model."""

import difflib
from pathlib import Path
from typing import Any

from keras_arch.errors import ArgumentError, ConfigError


def names() -> list[str]:
    """Names of the configs, sorted.

    Example:
        >>> from keras_arch import presets
        >>> "resnet20-cifar10" in presets.names()
        True
    """
    return sorted(file.stem for file in _folder().glob("*.yaml"))


def path(name: str) -> Path:
    """Path of the YAML file of a config.

    Args:
        name: One of `names()`.

    Raises:
        ArgumentError: If there is none of that name; the message offers the closest ones.

    Example:
        >>> from keras_arch import presets
        >>> presets.path("resnet20-cifar10").name
        'resnet20-cifar10.yaml'
    """
    known = names()
    if name not in known:
        close = ", ".join(difflib.get_close_matches(str(name).lower(), known, n=3, cutoff=0.5))
        there = f"did you mean {close}?" if close else f"there are {', '.join(known) or 'none'}"
        raise ArgumentError(f"no config named {name!r}; {there}")
    return _folder() / f"{name}.yaml"


def read(name: str) -> dict[str, Any]:
    """A config as plain Python values, unchecked (`keras_arch.config.load` checks it).

    Args:
        name: One of `names()`.

    Raises:
        ArgumentError: If there is none of that name.
        ConfigError: If the file is not a YAML mapping.

    Example:
        >>> from keras_arch import presets
        >>> presets.read("resnet20-cifar10")["task"]
        'image-classification'
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


def architecture(name: str) -> str:
    """The architecture of a config's network, of an adversarial one its generator's.

    Args:
        name: One of `names()`.

    Example:
        >>> from keras_arch import presets
        >>> presets.architecture("vgg16-imagenet")
        'VGG16'
    """
    content = read(name)
    return (content.get("model") or content.get("generator") or {}).get("name", "")


def model_folder(name: str) -> Path | None:
    """The trained model of a config that comes with the package, or with a checkout of it.

    The package has the small ones (`hub_configs/models/NAME`), a checkout others too
    (`zoo/NAME`). Both are model directories, as `keras_arch.hub.save` writes them.

    Args:
        name: One of `names()`.

    Returns:
        The model directory, or `None` where there is none.

    Example:
        >>> from keras_arch import presets
        >>> presets.model_folder("vgg16-imagenet") is None
        True
    """
    folders = [_folder() / "models" / name]
    if in_checkout():
        folders.append(_folder().parent / "zoo" / name)
    return next((folder for folder in folders if (folder / "config.json").is_file()), None)


def in_checkout() -> bool:
    """Whether the configs are those of a checkout, which may be edited, and not of a package.

    Example:
        >>> from keras_arch import presets
        >>> isinstance(presets.in_checkout(), bool)
        True
    """
    return _folder().parent.name != "keras_arch"


def _folder() -> Path:
    """Folder `hub_configs`: in the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent
    installed = package / "hub_configs"
    return installed if installed.is_dir() else package.parent / "hub_configs"
