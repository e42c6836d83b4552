"""The installed package is that of the repository."""

import configparser
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import keras_arch
from keras_arch import presets

ROOT = Path(__file__).parents[1]
EXTRAS = ("kerascv", "tests", "lint", "types", "jax", "torch", "ray", "manifests")


@pytest.fixture(scope="module")
def setup():
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


def listed(text):
    return [line for line in text.split("\n") if line.strip() and not line.startswith("#")]


def test_listed_packages_are_those_on_disk(setup):
    on_disk = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for path in (ROOT / "keras_arch").rglob("__init__.py")
    }
    assert set(listed(setup["options"]["packages"])) == on_disk | {"keras_arch.hub_configs"}


def test_every_requirement_has_one_exact_version(setup):
    pinned = {}
    for line in listed((ROOT / "constraints.txt").read_text()):
        name, version = line.split("==")
        pinned[re.sub(r"[-_.]+", "-", name).lower()] = version
    sections = [setup["options"]["install_requires"]]
    sections += [setup["options.extras_require"][extra] for extra in EXTRAS]
    for line in (line for section in sections for line in listed(section)):
        requirement = Requirement(line)
        version = pinned[re.sub(r"[-_.]+", "-", requirement.name).lower()]
        assert requirement.specifier.contains(version), line


def test_the_version_is_in_the_changelog():
    released = re.findall(r"^## \[(\d[^]]*)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert released[0] == keras_arch.__version__


def test_a_wheel_holds_the_configs_and_the_command(tmp_path):
    pytest.importorskip("setuptools")
    source = tmp_path / "source"
    # Copied, because a build leaves its folders beside the sources.
    source.mkdir()
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("keras_arch", "hub_configs"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index"]
    command += ["--no-build-isolation", "--wheel-dir", str(tmp_path), str(source)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("keras_arch-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (entry_points,) = [name for name in names if name.endswith("entry_points.txt")]
        assert "keras-arch = keras_arch.cli:main" in archive.read(entry_points).decode()
    assert {f"keras_arch/hub_configs/{name}.yaml" for name in presets.names()} <= names
    assert {"keras_arch/py.typed", "keras_arch/cli/architectures.json"} <= names
    assert "keras_arch/models/imagenet_classes.json" in names
    assert not [name for name in names if name.startswith(("tests", "hub_configs", "tutorials"))]
    assert any(name.endswith("/LICENSE") for name in names)
