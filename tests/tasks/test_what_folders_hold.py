"""Folders of every kind of task, right and wrong: a wrong one gives one line and leaves nothing."""

import numpy as np
import pytest
from PIL import Image

from keras_arch import api
from keras_arch.errors import ConfigError, DataError
from tests.tasks import games

CLASSES = ("ant", "bee", "cat")
SHORT = ["recipe.epochs=1", "recipe.batch_size=4"]


def picture(shape=(8, 8, 3), seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def write_classes(folder):
    for split, count in (("train", 4), ("val", 2), ("test", 2)):
        for place, name in enumerate(CLASSES):
            for number in range(count):
                games.save(picture(seed=place + number), folder / split / name, number)
    return folder


def write_masks(folder):
    for split in ("train", "val", "test"):
        for number in range(4):
            games.save(picture((16, 16), number), folder / split / "images", number)
            games.save(picture((16, 16), number) // 128, folder / split / "masks", number)
    return folder


@pytest.fixture
def folders(tmp_path):
    """Where each task's pictures lie."""
    games.write_pictures(tmp_path)
    return {
        "classifier": write_classes(tmp_path / "classes"),
        "gan": tmp_path / "classes",
        "cgan": tmp_path / "classes",
        "segmenter": write_masks(tmp_path / "cells"),
        "pix2pix": tmp_path / "pairs",
        "cyclegan": tmp_path / "domains",
    }


CONFIGS = {"classifier": "resnet20-digits", "segmenter": "unet-cells", **games.CONFIGS}
SETTINGS = {
    "classifier": lambda place: [
        "model.arguments.depth=8",
        "model.arguments.classes=3",
        "model.arguments.input_shape=[8,8,3]",
        "preprocessing.size=[8,8]",
        "preprocessing.channels=3",
        f"data.source=folder:{place}",
        "data.train=train",
        "data.test=test",
    ],
    "segmenter": lambda place: [
        "model.arguments={depth: 1, filters: 4, classes: 2, padding: same, "
        "input_shape: [16, 16, 1]}",
        "preprocessing.size=[16,16]",
        f"data.source=masks:{place}",
        "data.train=train",
        "data.validation=val",
        "data.test=test",
        "samples.every=100",
    ],
}


def settings(name, place):
    if name in SETTINGS:
        return [*SETTINGS[name](place), *SHORT]
    changed = list(games.SETTINGS[name])
    if name in ("gan", "cgan"):
        changed = [each for each in changed if each not in games.DIGITS]
        changed += [f"data.source=folder:{place}", "data.train=train", "generator_evaluation=null"]
    if name == "cgan":
        changed = [each.replace("classes: 10", "classes: 3") for each in changed]
        changed.append("samples.count=3")
    changed = [each.replace("PAIRS", str(place)).replace("DOMAINS", str(place)) for each in changed]
    if name in ("pix2pix", "cyclegan"):
        return [*changed, "recipe.epochs=1"]
    return [*changed, *SHORT]


def broken(folder):
    file = sorted(folder.rglob("train*/**/*.png"))[1]
    file.write_text("no picture")


def of_one_more_class(folder):
    games.save(picture(), folder / "train" / "dog", 0)


def of_a_class_beyond(folder):
    file = sorted(folder.rglob("train/masks/*.png"))[1]
    Image.fromarray(np.full((16, 16), 2, np.uint8)).save(file)


def of_no_pictures(folder):
    for file in folder.rglob("*.png"):
        file.unlink()


RANGE = ["preprocessing.scale=1.0", "preprocessing.mean=0.0"]
CHANNELS = ["preprocessing.channels=1"]
CASES = [
    *((name, broken, [], r"1\.png") for name in CONFIGS if name != "lapgan"),
    *((name, of_no_pictures, [], "holds no image") for name in CONFIGS if name != "lapgan"),
    *((name, None, RANGE, "range") for name in ("gan", "cgan", "pix2pix", "cyclegan")),
    *((name, None, CHANNELS, "shape") for name in ("classifier", "pix2pix", "cyclegan")),
    ("classifier", of_one_more_class, [], "classes"),
    ("cgan", of_one_more_class, [], "classes"),
    ("segmenter", of_a_class_beyond, [], "class|value"),
]


@pytest.mark.parametrize(
    ("name", "damage", "more", "words"),
    [
        pytest.param(*case, marks=pytest.mark.slow if case[0] in ("cgan", "cyclegan") else ())
        for case in CASES
    ],
)
def test_a_wrong_folder_is_refused(name, damage, more, words, folders, tmp_path):
    place = folders[name]
    if damage:
        damage(place)
    out = tmp_path / "run"
    with pytest.raises((DataError, ConfigError), match=words) as raised:
        api.train(CONFIGS[name], out, overrides=[*settings(name, place), *more], verbose=0)
    assert "\n" not in str(raised.value)
    assert not out.exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in CONFIGS if name != "lapgan"])
def test_a_right_folder_trains(name, folders, tmp_path):
    run = api.train(
        CONFIGS[name], tmp_path / "run", overrides=settings(name, folders[name]), verbose=0
    )
    assert run.model.exists()
