"""`predict` and `translate` on folders, patterns and large images."""

import csv
import json
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import keras_arch
from keras_arch import cli, hub, models, tiling
from keras_arch.data.image_files import read_image
from keras_arch.errors import ArgumentError
from keras_arch.preprocessing import Preprocessing
from keras_arch.tasks import segmentation_predictions


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Model directories of an untrained classifier, a segmenter and a translator."""
    folder = tmp_path_factory.mktemp("saved")
    tanh = {"scale": 1 / 127.5, "mean": 1.0}
    cards = [
        hub.Card(
            "classifier",
            "CIFARResNet",
            {"depth": 8, "input_shape": [8, 8, 1], "classes": 3},
            "image-classification",
            Preprocessing((8, 8), 1),
            labels=["cat", "dog", "고양이"],
        ),
        hub.Card(
            "segmenter",
            "UNet",
            {
                "input_shape": [None, None, 3],
                "classes": 2,
                "depth": 1,
                "filters": 2,
                "padding": "same",
            },
            "image-segmentation",
            Preprocessing((16, 16), 3, mean=[0.1, 0.2, 0.3], channel_order="bgr"),
            labels=["ground", "cell"],
        ),
        hub.Card(
            "translator",
            "CycleGANGenerator",
            {"blocks": 1, "image_shape": [8, 8, 3], "filters": 2},
            "image-to-image",
            Preprocessing((8, 8), 3, **tanh),
        ),
    ]
    for card in cards:
        hub.save(models.create(card.architecture, **card.arguments), folder / card.name, card)
    return folder


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """A folder of three photos, one of them in a sub-folder."""
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(("a.png", "b.png", "more/c.png")):
        pixels = np.random.default_rng(number).integers(0, 256, (21, 30, 3), np.uint8)
        path = Path("photos", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)


@pytest.mark.usefixtures("photos")
def test_a_folder_becomes_tables(saved, capfd):
    ref = str(saved / "classifier")
    written = ("--csv", "out/t.csv", "--json", "t.json", "--top", "2", "--batch-size", "2")
    assert cli.main(["predict", ref, "photos", *written]) == 0
    assert capfd.readouterr().out == "csv: out/t.csv\njson: t.json\n"
    with open("out/t.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    found = json.loads(Path("t.json").read_text(encoding="utf-8"))
    paths = ["photos/a.png", "photos/b.png", "photos/more/c.png"]
    assert [each["image"] for each in found] == paths
    assert [row["image"] for row in rows] == [path for path in paths for _ in range(2)]
    # Numbers in full, and those of one image at a time.
    alone = [keras_arch.predict(ref, path, top=2)[0] for path in paths]
    assert [row["label"] for row in rows] == [label for one in alone for label in one.labels]
    for each, one in zip(found, alone, strict=True):
        values = [record["probability"] for record in each["predictions"]]
        np.testing.assert_allclose(values, one.probabilities, rtol=1e-5)
    assert [float(row["probability"]) for row in rows] == [
        record["probability"] for each in found for record in each["predictions"]
    ]


@pytest.mark.usefixtures("photos")
def test_a_second_prediction_leaves_the_first_one_out(saved, capfd):
    for model, option in (("classifier", "--explain"), ("segmenter", "--overlay")):
        arguments = ["predict", str(saved / model), "photos", option]
        assert cli.main(arguments) == 0
        first = capfd.readouterr().out
        assert cli.main(arguments) == 0
        again = capfd.readouterr()
        assert again.out == first
        assert "left out" in again.err
    assert len(list(Path("photos").rglob("*.png"))) == 3 * 4
    # A shell gives the names of all of them.
    assert (
        cli.main(["predict", str(saved / "classifier"), *map(str, Path("photos").glob("*"))]) == 0
    )
    assert "_mask" not in capfd.readouterr().out


@pytest.mark.usefixtures("photos")
@pytest.mark.parametrize("kind", ["mask", "overlay"])
def test_a_picture_of_the_user_is_not_replaced(saved, kind):
    mine = Path(f"photos/a_{kind}.png")
    Image.new("L", (30, 21)).save(mine)
    before = mine.read_bytes()
    with pytest.raises(ArgumentError, match=rf"a_{kind}\.png is there already and is no predict"):
        keras_arch.predict(saved / "segmenter", "photos/a.png", overlay=True)
    assert mine.read_bytes() == before


@pytest.mark.usefixtures("photos")
def test_probabilities_are_written(saved, capfd):
    ref = str(saved / "segmenter")
    tiles = ("--probabilities", "--tile", "8x12", "--batch-size", "3")
    assert cli.main(["predict", ref, "photos/*.png", "--out", "maps", *tiles]) == 0
    assert "probabilities: maps/b_probabilities.npy" in capfd.readouterr().out.splitlines()
    maps = np.load("maps/a_probabilities.npy")
    loaded = hub.load_with_card(ref)
    # The whole image preprocessed at once, and cut afterwards.
    image = read_image(Path("photos/a.png"))
    native = Preprocessing((21, 30), 3, mean=[0.1, 0.2, 0.3], channel_order="bgr")
    expected = tiling.predict(
        loaded.model, np.asarray(native(image)), tile=(8, 12), batch_size=3, progress=False
    )
    assert maps.dtype == np.float32
    np.testing.assert_allclose(maps, expected, rtol=1e-6, atol=1e-7)
    mask = np.asarray(Image.open("maps/a_mask.png"))
    np.testing.assert_array_equal(mask, maps.argmax(-1))
    assert sorted(path.name for path in Path("maps").iterdir()) == [
        f"{name}_{kind}" for name in "ab" for kind in ("mask.png", "probabilities.npy")
    ]


@pytest.mark.usefixtures("photos")
def test_probabilities_on_a_full_disk(saved, capfd):
    """A file is mapped into memory: a page that has no place on the disk would end the process."""
    Path("disk").mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", "disk"]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk needs root")
    try:
        ref = str(saved / "segmenter")
        assert cli.main(["predict", ref, "photos/a.png", "--out", "disk", "--probabilities"]) == 2
        error = capfd.readouterr().err.strip().splitlines()[-1]
        assert re.match(r"error: cannot write .*a_probabilities\.npy: No space left", error)
        assert list(Path("disk").iterdir()) == []
    finally:
        subprocess.run(["umount", "disk"], check=True)


@pytest.mark.usefixtures("photos")
def test_a_large_image_is_not_preprocessed_as_a_whole(saved, monkeypatch):
    seen = []

    def normalize(self, images, original=Preprocessing.normalize):
        seen.append(np.shape(images))
        return original(self, images)

    monkeypatch.setattr(Preprocessing, "normalize", normalize)
    # What does not fit in memory lies on the disk; here nothing fits.
    monkeypatch.setattr(segmentation_predictions, "_IN_MEMORY", 0)
    monkeypatch.setattr(segmentation_predictions, "_BLOCK", 64)
    Image.new("L", (100, 70), 9).save("grey.png")
    (found,) = keras_arch.predict(saved / "segmenter", "grey.png")
    assert set(seen) == {(1, 16, 16, 3)}
    assert np.asarray(Image.open(found.mask)).shape == (70, 100)
    assert sum(found.shares.values()) == pytest.approx(1)
    assert not list(Path().glob("*.tmp"))


@pytest.mark.usefixtures("photos")
def test_translate_takes_folders(saved, capfd):
    arguments = ["translate", str(saved / "translator"), "photos", "--out", "made"]
    assert cli.main(arguments) == 0
    assert capfd.readouterr().out == "made/a.png\nmade/b.png\nmade/c.png\n"
    one = Path("made/c.png").read_bytes()
    assert cli.main([*arguments, "--batch-size", "2"]) == 0
    assert Path("made/c.png").read_bytes() == one


@pytest.mark.usefixtures("photos")
def test_options_that_do_not_fit_are_refused(saved):
    segmenter = hub.load_with_card(saved / "segmenter")
    common = (segmenter, [Path("photos/a.png")], None, False, [(0, 0, 0)] * 2)
    with pytest.raises(ArgumentError, match="sees whole images of 16x16 pixels, one at a time"):
        segmentation_predictions.predict(*common, "whole", tile=8)
    with pytest.raises(ArgumentError, match="does not take a tile of 7x7"):
        keras_arch.predict(saved / "segmenter", "photos/a.png", tile=7)
    with pytest.raises(ArgumentError, match="tile is no option of classifier"):
        keras_arch.predict(saved / "classifier", "photos/a.png", tile=8)
    Image.new("L", (8, 8)).save("a.png")
    with pytest.raises(ArgumentError, match=r"would both become maps/a_mask\.png"):
        keras_arch.predict(saved / "segmenter", ["a.png", "photos/a.png"], out="maps")
