"""What sources of files take of a folder, and what they say of the rest."""

import logging

import numpy as np
import pytest
from PIL import Image

from keras_arch import data
from keras_arch.data import image_listing
from keras_arch.tasks import finetuning_config
from tests.data.broken import refused


def write(path, value=0, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (6, 4), (value,) * 3).save(path, **options)


@pytest.fixture
def lines(caplog):
    """The lines that the opening of sources logs."""
    image_listing.log_once.cache_clear()
    caplog.set_level(logging.INFO, "keras_arch")
    return lambda: [record.getMessage() for record in caplog.records]


def test_a_folder_is_described_in_one_line(tmp_path, lines):
    for name in ("cat/1.JPG", "cat/2.webp", "cat/old/3.gif", "dog/4.tif", "dog/deep/er/5.jfif"):
        write(tmp_path / name, **({"format": "JPEG"} if name.endswith("jfif") else {}))
    exif = Image.Exif()
    exif[274] = 6
    Image.new("RGBA", (4, 6)).save(tmp_path / "dog/6.png", exif=exif)
    (tmp_path / "dog/notes.txt").write_text("no image")
    (tmp_path / "dog/.DS_Store").write_text("hidden")
    write(tmp_path / ".cache/7.png")
    source = data.describe(f"folder:{tmp_path}")
    data.describe(f"folder:{tmp_path}")
    assert lines() == [
        f"{tmp_path}: 6 images (cat 3, dog 3); 1 rotated by EXIF; 1 with an alpha channel, which is"
        " left out; left out: 1 that is no image (.txt), 2 hidden"
    ]
    assert source.splits == {"train": 6}
    assert source.image_shape == (4, 6, 3)
    labels = [int(label) for _, label in source.load("train")]
    assert sorted(labels) == [0, 0, 0, 1, 1, 1]


def test_links_to_folders_above_have_an_end(tmp_path):
    write(tmp_path / "pets/cat/1.png")
    write(tmp_path / "pets/dog/1.png")
    (tmp_path / "pets/dog/loop").symlink_to(tmp_path / "pets/dog")
    assert data.describe(f"folder:{tmp_path / 'pets'}").splits == {"train": 2}


def test_pairs_and_domains_are_described_too(tmp_path, lines):
    for side in "AB":
        for name in ("1.png", "night/1.tif"):
            write(tmp_path / "pairs" / side / name, value=len(name))
        write(tmp_path / "two" / f"train{side}" / "inner/1.webp")
    (tmp_path / "pairs/A/readme.md").write_text("text")
    write(tmp_path / "two/spare/1.png")
    pairs = data.load(f"pairs:{tmp_path / 'pairs'}")
    assert [int(image[0, 0, 0]) for image, _ in pairs] == [5, 11]
    data.load(f"unpaired:{tmp_path / 'two'}")
    assert lines() == [
        f"{tmp_path / 'pairs'}: 4 images (train 4); left out: 1 that is no image (.md)",
        f"{tmp_path / 'two'}: 2 images (trainA 1, trainB 1); left out: 1 image in other folders",
    ]


def test_images_with_masks_are_described_too(tmp_path, lines):
    write(tmp_path / "cells/images/1.png")
    write(tmp_path / "cells/images/2.tif")
    for name in ("1", "2"):
        mask = np.zeros((4, 6), np.uint8)
        mask[:2] = 255
        (tmp_path / "cells/masks").mkdir(exist_ok=True)
        Image.fromarray(mask).save(tmp_path / f"cells/masks/{name}.png")
    write(tmp_path / "cells/spare/3.png")
    data.load(f"masks:{tmp_path / 'cells'}")
    assert lines() == [
        f"{tmp_path / 'cells'}: 2 images (train 2) with 2 masks; left out: 1 image in other folders"
    ]


def test_floats_of_an_archive_that_are_rounded_are_logged(tmp_path, lines):
    labels = np.zeros(2, int)
    exact = np.array([0, 1, 128, 255], np.float32).reshape(1, 2, 2) / 255
    np.savez(tmp_path / "exact.npz", x_train=exact.repeat(2, 0), y_train=labels)
    rounded = np.array([0, 0.5, 1, 0.25], np.float32).reshape(1, 2, 2)
    np.savez(tmp_path / "rounded.npz", x_train=rounded.repeat(2, 0), y_train=labels)
    for name in ("exact", "rounded"):
        next(iter(data.load(f"npz:{tmp_path / name}.npz")))
    # 0.5 becomes 128 / 255, which is .00196 more.
    assert lines() == [
        f"array 'x_train' of {tmp_path / 'rounded.npz'} holds float32 in [0, 1], which is rounded "
        "to 256 levels: values change by up to 0.002"
    ]


def test_files_of_eight_and_sixteen_bits_together_are_floats(tmp_path, lines):
    ramp = np.arange(24, dtype=np.uint16).reshape(4, 6) * 1000
    Image.fromarray(ramp).save(tmp_path / "a.png")
    write(tmp_path / "b.png", value=200)
    deep, plain = data.load(f"folder:{tmp_path}")
    np.testing.assert_allclose(deep[..., 0], ramp / 257, rtol=1e-6)
    assert float(plain[0, 0, 0]) == 200
    assert "values: 1 of uint16, 1 of uint8" in lines()[0]
    np.save(tmp_path / "c.npy", np.zeros((4, 6, 3), np.float32))
    assert "have values of one kind; they have: " in refused(f"folder:{tmp_path}")
    np.save(tmp_path / "c.npy", np.zeros((4, 6, 5), np.uint8))
    assert "have as many channels; they have: " in refused(f"folder:{tmp_path}")


def test_files_that_need_more_say_so(tmp_path):
    for name, remedy in (("a.heic", "pip install pillow-heif"), ("b.tif", "save it as an array")):
        (tmp_path / name[0]).mkdir()
        (tmp_path / name[0] / name).write_bytes(b"unknown")
        assert remedy in refused(f"folder:{tmp_path / name[0]}")


def test_a_valid_split_is_one_for_fine_tuning(tmp_path):
    for split in ("train", "valid", "test"):
        for name in ("a", "b"):
            write(tmp_path / split / name / "1.png")
    found = finetuning_config._splits(data.describe(f"folder:{tmp_path}").splits)
    assert found == {"train": "train", "validation": "valid", "test": "test"}
