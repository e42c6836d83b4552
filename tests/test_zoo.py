"""The trained models that come with the package (`hub_configs/models`) and the checkout (`zoo`)."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

import keras_arch
from keras_arch import hub, presets
from keras_arch.hub import layout
from keras_arch.hub.readme import readme

ROOT = Path(__file__).parents[1]
NAMES = [name for name in presets.names() if presets.model_folder(name)]


@pytest.fixture(scope="module")
def zoo():
    spec = importlib.util.spec_from_file_location("zoo", ROOT / "benchmarks" / "zoo.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def size(folder):
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6


def test_the_page_is_what_the_script_writes(zoo):
    assert (ROOT / "docs" / "zoo.md").read_text(encoding="utf-8") == zoo.page()
    for file in zoo.READMES:
        text = file.read_text(encoding="utf-8")
        assert text == zoo.with_table(text)


def test_every_model_is_that_of_a_config_with_figures(zoo):
    assert {name for name, _ in zoo.models()} == set(NAMES)
    for name, folder in zoo.models():
        metrics = json.loads((folder / "keras_arch.json").read_text())["card"]["metrics"]
        first = json.loads((ROOT / "zoo" / "results" / f"{name}.json").read_text())[0]
        assert metrics.items() <= first["metrics"].items()
        assert first["command"].startswith(f"keras-arch train {name}")


def test_no_page_of_a_model_counts_as_edited_by_a_person():
    """An edited one is kept when the model is published, with figures that may be old."""
    for name in NAMES:
        directory = presets.model_folder(name)
        record = layout.read_record(directory / "keras_arch.json", name)
        assert not layout.is_edited(directory, record)
        text = readme(record.card, samples=layout.SAMPLES in record.sha256)
        assert (directory / "README.md").read_text(encoding="utf-8") == text


def test_sizes():
    """12 MB in the wheel, 60 MB beside it."""
    assert size(ROOT / "hub_configs" / "models") < 12
    assert size(ROOT / "zoo") < 60


@pytest.mark.parametrize("name", NAMES)
def test_it_loads_and_runs_by_its_name(name, tmp_path):
    loaded = hub.load_with_card(name)
    card = loaded.card
    assert card.name == name
    if card.labels and card.latent is None:
        shape = card.preprocessing.input_shape
        pixels = np.random.default_rng(0).integers(0, 256, (2, *shape)).astype("uint8")
        outputs = np.asarray(loaded.model(card.preprocessing(pixels)))
        np.testing.assert_allclose(outputs.sum(-1), 1.0, rtol=1e-5)
    elif card.latent is not None:
        grid = keras_arch.generate(name, count=4, out=tmp_path / "grid.png")
        assert (tmp_path / "grid.png").is_file(), grid
