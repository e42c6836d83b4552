"""Checks of Python and the installed packages, without importing them."""

import importlib.metadata
import platform
import sys
from collections.abc import Iterator

from packaging.requirements import Requirement

from keras_arch import __version__
from keras_arch.environment.check import Check

# Of the packages that results depend on, the versions that the tests ran with (constraints.txt).
TESTED = {
    "tensorflow": "2.21.0",
    "keras": "3.15.1",
    "numpy": "2.4.6",
    "tensorflow-datasets": "4.9.10",
    "huggingface_hub": "2.4.0",
    "ml_dtypes": "0.6.0",
    "safetensors": "0.8.0",
    "scipy": "1.17.1",
    "scikit-learn": "1.9.1",
    "pillow": "13.0.0",
    "pydantic": "2.14.3",
}
TESTED_PYTHON = (3, 11)
_OLDEST_PYTHON = (3, 11)
# Packages of the extras, and what they are for.
_EXTRAS = {
    "keras-cv": ("kerascv", "DeepLabV3+ and KerasCV's augmentations"),
    "tifffile": ("tiff", "TIFF files with more channels than a picture has"),
    "jax": ("jax", "trainers under KERAS_BACKEND=jax"),
    "torch": ("torch", "trainers under KERAS_BACKEND=torch"),
    "ray": ("ray", "training on a Ray cluster"),
}


def package_checks() -> Iterator[Check]:
    """Python, the packages that are needed, and those of the extras.

    Example:
        >>> next(package_checks()).name
        'python'
    """
    yield _python()
    yield Check("packages", "keras_arch", "ok", __version__)
    bounds = _bounds()
    for name, tested in TESTED.items():
        yield _needed(name, tested, bounds.get(_normal(name)))
    for name, (extra, purpose) in _EXTRAS.items():
        version = _version(name)
        if version is None:
            message = f"not installed; for {purpose}: pip install 'keras_arch[{extra}]'"
        else:
            message = f"{version}, for {purpose}"
        yield Check("packages", name, "info", message)


def _python() -> Check:
    version, own = platform.python_version(), sys.version_info[:2]
    if own < _OLDEST_PYTHON:
        least = ".".join(map(str, _OLDEST_PYTHON))
        return Check("packages", "python", "error", f"{version}; {least} or newer is needed")
    if own != TESTED_PYTHON:
        tested = ".".join(map(str, TESTED_PYTHON))
        return Check("packages", "python", "info", f"{version}; the tests ran with {tested}")
    return Check("packages", "python", "ok", version)


def _needed(name: str, tested: str, requirement: Requirement | None) -> Check:
    version = _version(name)
    if version is None:
        message = f"not installed: pip install '{name}=={tested}'"
        return Check("packages", name, "error", message)
    if requirement is not None and not requirement.specifier.contains(version, prereleases=True):
        message = f"{version} is outside of {requirement.specifier}: pip install '{name}=={tested}'"
        return Check("packages", name, "error", message)
    if version != tested:
        return Check("packages", name, "info", f"{version}; the tests ran with {tested}")
    return Check("packages", name, "ok", f"{version}, as tested")


def _bounds() -> dict[str, Requirement]:
    """The requirements of the package; none where it is used without being installed."""
    try:
        lines = importlib.metadata.requires("keras_arch") or []
    except importlib.metadata.PackageNotFoundError:
        return {}
    found = [Requirement(line) for line in lines]
    return {_normal(each.name): each for each in found if each.marker is None}


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _normal(name: str) -> str:
    return name.replace("_", "-").lower()
