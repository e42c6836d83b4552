"""Files, folders and patterns of images."""

from pathlib import Path

import numpy as np
import pytest

from keras_arch import visualization
from keras_arch.data.image_paths import PREDICTED, image_paths
from keras_arch.errors import DataError

NAMES = ("a/b10.png", "a/b9.png", "a/inner/c.png", "a/.hidden/d.png", "e.png")


@pytest.fixture(autouse=True)
def pictures(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in NAMES:
        visualization.save_png(np.zeros((4, 4), np.uint8), name)
    Path("a/notes.txt").write_text("no image")


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        ("e.png", ["e.png"]),
        (Path("a"), ["a/b9.png", "a/b10.png", "a/inner/c.png"]),
        (["a/*.png", "e.png"], ["a/b9.png", "a/b10.png", "e.png"]),
        ("a/**/*.png", ["a/b9.png", "a/b10.png", "a/inner/c.png"]),
        (["e.png", "e.png"], ["e.png", "e.png"]),
        ([], []),
    ],
)
def test_names_stand_for_files(named, expected):
    assert [path.as_posix() for path in image_paths(named)] == expected


def test_signs_of_patterns_in_the_name_of_a_file_are_no_pattern():
    Path("e.png").rename("e[1].png")
    assert image_paths(["e[1].png", "a/b9.png"]) == [Path("e[1].png"), Path("a/b9.png")]


def test_what_predictions_wrote_is_left_out(caplog):
    caplog.set_level("INFO", "keras_arch")
    visualization.save_png(np.zeros((4, 4), np.uint8), "a/b9_mask.png", note=PREDICTED)
    # Drawn by hand, under such a name.
    visualization.save_png(np.zeros((4, 4), np.uint8), "a/b10_mask.png")
    assert [path.name for path in image_paths("a/*.png")] == ["b9.png", "b10.png", "b10_mask.png"]
    assert "1 of 4 files are pictures of earlier predictions" in caplog.text
    assert image_paths("a/b9_mask.png") == [Path("a/b9_mask.png")]
    with pytest.raises(DataError, match="name one alone"):
        image_paths(["a/b9_mask.png", "a/b9_mask.png"])


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ("x.png", r"image x\.png does not exist"),
        ("x*.png", r"no file matches the pattern x\*\.png"),
        ("empty", "folder empty holds no image"),
    ],
)
def test_names_of_nothing_are_refused(named, message):
    Path("empty").mkdir()
    with pytest.raises(DataError, match=message):
        image_paths(named)
