import subprocess
import sys
from pathlib import Path

import pytest

from keras_arch import presets
from keras_arch.errors import ArgumentError, ConfigError

ROOT = Path(__file__).parents[1]


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    monkeypatch.setattr(presets, "_folder", lambda: tmp_path)
    (tmp_path / "resnet20-digits.yaml").write_text("name: resnet20-digits\nseed: 3\n")
    (tmp_path / "dcgan-digits.yaml").write_text("name: dcgan-digits\n")
    (tmp_path / "notes.txt").write_text("not a config")
    return tmp_path


def test_names_paths_and_contents(shipped):
    assert presets.names() == ["dcgan-digits", "resnet20-digits"]
    assert presets.path("dcgan-digits") == shipped / "dcgan-digits.yaml"
    assert presets.read("resnet20-digits") == {"name": "resnet20-digits", "seed": 3}


@pytest.mark.usefixtures("shipped")
def test_a_wrong_name_gets_the_closest_ones():
    with pytest.raises(ArgumentError, match="'resnet-digits'; did you mean resnet20-digits"):
        presets.path("resnet-digits")
    with pytest.raises(ArgumentError, match="there are dcgan-digits, resnet20-digits"):
        presets.read("zzz")
    with pytest.raises(ArgumentError, match="no config named"):
        presets.path("../resnet20-digits")


def test_a_broken_file_is_named_in_one_line(shipped):
    for content in ("a: [", "- a list", ""):
        (shipped / "dcgan-digits.yaml").write_text(content)
        with pytest.raises(ConfigError, match=r"dcgan-digits\.yaml") as caught:
            presets.read("dcgan-digits")
        assert "\n" not in str(caught.value)


def test_yaml_is_data_only(shipped):
    (shipped / "dcgan-digits.yaml").write_text("x: !!python/object/apply:os.getcwd []\n")
    with pytest.raises(ConfigError):
        presets.read("dcgan-digits")


def test_configs_of_a_checkout_are_found():
    files = sorted(file.stem for file in (ROOT / "hub_configs").glob("*.yaml"))
    assert presets.names() == files


def test_configs_of_an_installed_package_are_found(tmp_path):
    package = tmp_path / "keras_arch"
    (package / "hub_configs").mkdir(parents=True)
    for name in ("presets", "errors"):
        (package / f"{name}.py").write_bytes((ROOT / "keras_arch" / f"{name}.py").read_bytes())
    (package / "__init__.py").touch()
    (package / "hub_configs" / "inside.yaml").write_text("a: 1\n")
    code = "from keras_arch import presets; print(presets.names(), presets.read('inside'))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout == "['inside'] {'a': 1}\n"
