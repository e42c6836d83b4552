"""Damaged and forged model directories: the model as it was, or one clear error."""

import importlib.util
import json
import os
import sys
from pathlib import Path

import pytest

from keras_arch import hub
from keras_arch.errors import IntegrityError
from keras_arch.hub.layout import RECORD

_spec = importlib.util.spec_from_file_location(
    "keras_arch_tests_hub_damage", Path(__file__).parent / "damage.py"
)
damage = importlib.util.module_from_spec(_spec)
sys.modules[_spec.name] = damage
_spec.loader.exec_module(damage)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "model"
    return folder, *damage.make(folder)


def run(whole, scratch, seeds):
    folder, images, expected = whole
    wrong = []
    for seed in seeds:
        how = damage.damaged(folder, scratch / str(seed), seed)
        found = damage.outcome(scratch / str(seed), images, expected)
        if found not in ("equal", "refused"):
            wrong.append(f"{how}: {found}")
    return wrong


def test_forty_damaged_directories(whole, tmp_path):
    assert run(whole, tmp_path, range(40)) == []


@pytest.mark.slow
def test_five_hundred_damaged_directories(whole, tmp_path):
    assert run(whole, tmp_path, range(500)) == []


def change_card(folder, name, value):
    record = json.loads((folder / RECORD).read_text())
    if name is None:
        record["card"] = value
    else:
        record["card"][name] = value
    (folder / RECORD).write_text(json.dumps(record))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (None, []),
        (None, None),
        ("task", []),
        ("metrics", {"loss": 10**400}),
        ("metrics", []),
        ("preprocessing", {"size": [10**400, 8]}),
        ("preprocessing", {"size": [8, 8], "channels": 1, "mean": 10**400}),
        ("preprocessing", {"size": [8, 8], "channels": 1, "scale": 10**400}),
        ("latent", {"size": 10**400, "distribution": "normal"}),
        ("colors", 10**400),
        ("labels", [[]]),
    ],
)
def test_a_forged_card_is_one_error_of_one_line(name, value, folder):
    change_card(folder, name, value)
    with pytest.raises(IntegrityError, match=RECORD) as caught:
        hub.read_card(folder)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000


def forge_config(folder, change):
    config = json.loads((folder / "config.json").read_text())
    layers = {one["config"]["name"]: one["config"] for one in config["config"]["layers"]}
    changed = change(layers, config) or config
    (folder / "config.json").write_text(json.dumps(changed))
    damage.forge(folder)


def repeat(layers, config):
    config["config"]["layers"] *= 20


def nest(layers, config):
    for _ in range(34):
        inner = {"name": "s", "layers": [config]}
        config = {"module": "keras", "class_name": "Sequential", "config": inner}
    return config


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda layers, _: layers["dense"].update(units=10**10), "declares .* weights, more than"),
        (lambda layers, _: layers["conv2d"].update(filters=10**6), "cannot open"),
        (lambda layers, _: layers["batch_normalization"].update(axis=9), "cannot open"),
        (lambda layers, _: layers["dense"].update(units=10**400), "cannot open"),
        (repeat, "layers, more than the 100 that are built"),
        (nest, "models in models, 35 deep, more than the 32"),
    ],
)
def test_a_config_that_asks_for_more_than_there_is(
    change, words, tmp_path, model, card, monkeypatch
):
    monkeypatch.setattr("keras_arch.hub.safety.MOST_LAYERS", 100)
    folder = hub.save(damage.keras.models.clone_model(model), tmp_path / "m", card)
    names = {type(layer).__name__: layer.name for layer in model.layers}

    def by_kind(layers, config):
        kinds = {"Conv2D": "conv2d", "BatchNormalization": "batch_normalization", "Dense": "dense"}
        return change({kinds[k]: layers[names[k]] for k in kinds}, config)

    forge_config(folder, by_kind)
    with pytest.raises(IntegrityError, match=words) as caught:
        hub.load(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", [RECORD, "config.json", "model.weights.h5"])
@pytest.mark.parametrize("kind", ["a folder", "a pipe", "a link that leads to no file"])
def test_what_is_no_file_is_an_error(name, kind, folder):
    file = folder / name
    file.unlink()
    if kind == "a folder":
        file.mkdir()
    elif kind == "a pipe":
        os.mkfifo(file)
    else:
        file.symlink_to("nowhere")
    with pytest.raises(IntegrityError, match=f"{name} .* is {kind}"):
        hub.load(folder)


def test_files_that_are_links_are_read(folder, tmp_path, model, images):
    """As those in the cache of the Hub's client."""
    linked = tmp_path / "linked"
    linked.mkdir()
    for file in folder.iterdir():
        (linked / file.name).symlink_to(file)
    assert (hub.load(linked)(images) == model(images)).numpy().all()


def test_a_model_is_saved_over_a_record_that_is_none(folder, model, card):
    (folder / RECORD).unlink()
    os.mkfifo(folder / RECORD)
    hub.save(model, folder, card)
    assert hub.read_card(folder) == card
