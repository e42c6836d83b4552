"""The gallery of augmented images shows what training sees."""

import matplotlib.pyplot
import numpy as np
import pytest
from PIL import Image

from keras_arch import data, visualization
from keras_arch.errors import ArgumentError
from keras_arch.preprocessing import Preprocessing


@pytest.fixture
def shown(monkeypatch):
    """The images that KerasCV's gallery gets, as rows of the picture."""
    import keras_cv

    draw, found = keras_cv.visualization.plot_image_gallery, []

    def spy(images, rows, cols, **options):
        found.append(np.asarray(images).reshape(rows, cols, *images.shape[1:]))
        return draw(images, rows=rows, cols=cols, **options)

    monkeypatch.setattr(keras_cv.visualization, "plot_image_gallery", spy)
    return found


def grey(count=3, side=8):
    return np.random.default_rng(0).integers(0, 256, (count, side, side, 1), "uint8")


def test_a_row_for_each_image_and_a_column_for_each_draw(shown, tmp_path):
    images = grey()
    path = visualization.augmentation_gallery(images, ["flip"], tmp_path / "g.png", draws=6)
    assert Image.open(path).size == (7 * 150, 3 * 150)
    assert matplotlib.pyplot.get_fignums() == []
    (rows,) = shown
    assert rows.shape == (3, 7, 8, 8, 3)
    np.testing.assert_array_equal(rows[:, 0], images.repeat(3, axis=-1))
    flips = 0
    for row, image in zip(rows, images, strict=True):
        for drawn in row[1:]:
            # In its own row, whatever the order of the epoch.
            flipped = np.array_equal(drawn, image[:, ::-1].repeat(3, axis=-1))
            assert flipped or np.array_equal(drawn, image.repeat(3, axis=-1))
            flips += flipped
    assert 0 < flips < 18


def test_the_draws_are_those_of_training(shown, tmp_path):
    to_input = Preprocessing(
        (10, 10), 3, scale=1.0, mean=[104.0, 117.0, 123.0], channel_order="bgr"
    )
    digits = data.load("digits", "train[:50]")
    augment = ["jitter:2", "flip", "randaugment:1,5"]
    visualization.augmentation_gallery(
        digits, augment, tmp_path / "g.png", preprocessing=to_input, count=4, draws=2, seed=9
    )
    batches = data.train_batches(digits.take(4), to_input, 4, seed=9, augment=augment)
    for column, (images, _) in enumerate(batches.dataset.take(2), start=1):
        expected = {image.tobytes() for image in to_input.to_pixels(images)}
        assert {image.tobytes() for image in shown[0][:, column]} == expected


@pytest.mark.slow
def test_mixed_images_stand_in_the_row_of_the_first_one(shown, tmp_path):
    images = np.zeros((3, 8, 8, 3), "uint8")
    for number in range(3):
        images[number, ..., number] = 255
    visualization.augmentation_gallery(images, ["cutmix:1.0"], tmp_path / "g.png", draws=8)
    (rows,) = shown
    # A cut is a rectangle, so that some corner of the first image nearly always stays.
    own = [(rows[i, 1:] == images[i]).all(axis=-1).any(axis=(1, 2)).mean() for i in range(3)]
    assert min(own) > 0.6
    assert len({image.tobytes() for image in rows[:, 1:].reshape(-1, 8, 8, 3)}) > 3


@pytest.mark.slow
def test_crops_of_whole_images(shown, tmp_path):
    photos = np.random.default_rng(1).integers(0, 256, (2, 40, 30, 3), "uint8")
    visualization.augmentation_gallery(
        photos,
        ["resized_crop:0.3,1", "flip"],
        tmp_path / "g.png",
        preprocessing=Preprocessing((16, 16)),
        draws=1,
    )
    assert shown[0].shape == (2, 2, 16, 16, 3)


def test_one_image_is_a_gallery_too(tmp_path):
    path = visualization.augmentation_gallery(grey(1), [], tmp_path / "g.png", count=1, draws=1)
    assert Image.open(path).size == (300, 150)


def test_clear_errors(tmp_path):
    def gallery(images, augment=(), **options):
        return visualization.augmentation_gallery(images, augment, tmp_path / "g.png", **options)

    for arguments, word in (
        ((grey()[:0],), "at least one image"),
        ((grey().astype("float32"),), "uint8"),
        ((grey(), ["flop"]), "no augmentation named 'flop'"),
    ):
        with pytest.raises(ArgumentError, match=word):
            gallery(*arguments)
    for name in ("count", "draws"):
        with pytest.raises(ArgumentError, match=f"{name} must be a positive whole number, got 0"):
            gallery(grey(), **{name: 0})
    assert not (tmp_path / "g.png").exists()
