"""Windows out of whole images: their distribution, their pixels, the pipeline that cuts them."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage, stats

from keras_arch import data
from keras_arch.data.augment.basic import RandomJitter
from keras_arch.data.augment.imagenet_crops import RandomResizedCrop, RandomScaleCrop
from keras_arch.errors import ArgumentError
from keras_arch.preprocessing import Preprocessing


def windows(crop, height, width, size, count):
    """`(count, 4)` windows of as many seeds."""

    @tf.function
    def draw(numbers):
        return tf.map_fn(
            lambda n: crop.window(tf.constant(height), tf.constant(width), size, tf.stack([7, n])),
            numbers,
        )

    return draw(tf.range(count)).numpy()


@pytest.mark.slow
@settings(deadline=None, max_examples=12)
@given(
    height=st.integers(1, 700),
    width=st.integers(1, 700),
    crop=st.sampled_from([RandomResizedCrop(), RandomResizedCrop(0.5, 0.6, 1.0)]),
)
def test_windows_lie_inside_images_of_any_size(height, width, crop):
    top, left, h, w = windows(crop, height, width, (32, 32), 20).T
    assert (h >= 1).all()
    assert (w >= 1).all()
    assert (top >= 0).all()
    assert (left >= 0).all()
    assert (top + h <= height).all()
    assert (left + w <= width).all()


def test_areas_are_even_and_aspects_even_on_a_logarithmic_scale():
    # Half of a square's area in a window of 4:3 is .82 of its side: every window fits.
    top, left, h, w = windows(RandomResizedCrop(0.1, 0.5), 3000, 3000, (32, 32), 1500).T
    area, aspect = h * w / 9e6, np.log(w / h)
    bound = np.log(4 / 3)
    assert stats.kstest(area, stats.uniform(0.1, 0.4).cdf).pvalue > 0.01
    assert stats.kstest(aspect, stats.uniform(-bound, 2 * bound).cdf).pvalue > 0.01
    for corner, side in ((top, h), (left, w)):
        assert stats.kstest(corner / (3000 - side), "uniform").pvalue > 0.01


@pytest.mark.parametrize(
    ("size", "window"),
    # No window of 8 % or more has an allowed aspect: the largest one in the middle.
    [((10, 1000), (0, 493, 10, 13)), ((1000, 12), (492, 0, 16, 12))],
)
def test_where_nothing_fits_the_middle_is_taken(size, window):
    found = windows(RandomResizedCrop(0.5, 1.0), *size, (32, 32), 5)
    np.testing.assert_array_equal(found, [window] * 5)


def test_lengths_of_the_shorter_side_are_even():
    crop = RandomScaleCrop(64, 127)
    top, left, h, w = windows(crop, 960, 1280, (64, 32), 1500).T
    # A window of height 64 in an image whose shorter side of 960 becomes S: 64 * 960 / S.
    lengths = 64 * 960 / h
    np.testing.assert_allclose(w, h / 2, atol=1)
    assert (lengths.min() > 63.5, lengths.max() < 127.5) == (True, True)
    assert stats.kstest(lengths, stats.uniform(63.5, 64).cdf).pvalue > 0.01
    assert stats.kstest(left / (1280 - w), "uniform").pvalue > 0.01
    inside = h < 960
    assert stats.kstest((top / np.maximum(960 - h, 1))[inside], "uniform").pvalue > 0.001


def test_a_scaled_crop_equals_resizing_first():
    y, x = np.mgrid[:90, :120] / 90
    image = np.stack([128 + 100 * np.sin(3 * x), 255 * y / y.max(), 60 * x + 80 * y], -1)
    image = image.astype(np.float32)
    for number in range(6):
        seed = tf.constant([3, number])
        crop = RandomScaleCrop(45, 45)
        got = crop(image, Preprocessing((32, 32)), seed).numpy()
        top, left, h, _ = crop.window(90, 120, (32, 32), seed).numpy()
        assert h == 64
        # Halved, and cut at half the place, which may lie between two pixels.
        whole = tf.image.resize(image, (45, 60), antialias=True).numpy()
        places = np.mgrid[:32, :32] + np.array([top, left])[:, None, None] / 2
        reference = [ndimage.map_coordinates(whole[..., c], places, order=1) for c in range(3)]
        inner = np.s_[2:-2, 2:-2]
        np.testing.assert_allclose(got[inner], np.stack(reference, -1)[inner], atol=0.5)


@pytest.mark.parametrize("name", ["scale_crop:32,48", "resized_crop:0.3,1", "resized_crop"])
def test_a_crop_has_the_networks_shape(name):
    (crop,) = data.augmentations([name])
    for image, channels in (((40, 60, 3), 1), ((33, 32, 1), 3)):
        pixels = np.full(image, 200, np.uint8)
        cut = crop(pixels, Preprocessing((32, 24), channels, crop=0.875), tf.constant([0, 1]))
        assert (cut.shape, cut.dtype) == ((32, 24, channels), tf.float32)
        np.testing.assert_allclose(cut, 200, atol=1e-3)


def test_alexnets_windows_are_cut_from_the_centre_of_scaled_images():
    """Section 4.1: 256 pixels on the shorter side, the central 256x256, windows in it."""
    how = Preprocessing((227, 227), crop=227 / 256)
    enlarged = RandomJitter(29).enlarged(how)
    assert (enlarged.size, enlarged.crop) == ((256, 256), 1.0)
    column = np.broadcast_to(np.arange(640, dtype=np.float32)[None, :, None], (512, 640, 3))
    image = np.clip((column - 192) * 1.0, 0, 255)  # bright where 256 columns of 640 are
    # 512x640 becomes 256x320, of which columns 32 to 288 are kept: from 64 of 640 on.
    np.testing.assert_allclose(enlarged.fit(image)[0, :, 0], image[0, 64:576, 0][::2], atol=1.1)
    # What evaluation sees is the middle of that.
    assert how.fit(image).shape == (227, 227, 3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two classes of pictures, each of a size and a colour of its own."""
    root = tmp_path_factory.mktemp("folder")
    rng = np.random.default_rng(0)
    for label in ("dark", "bright"):
        (root / label).mkdir()
        for number in range(7):
            size = rng.integers(40, 90, 2)
            pixels = rng.integers(0, 120, (*size, 3)) + (130 if label == "bright" else 0)
            Image.fromarray(pixels.astype(np.uint8)).save(root / label / f"{number}.png")
    return root


AUGMENT = ["resized_crop:0.3,1", "color_jitter:0.2", "lighting", "flip"]


def batches_of(folder, count, augment=AUGMENT, **arguments):
    images = data.load(f"folder:{folder}")
    how = Preprocessing((32, 32), crop=0.875)
    found = data.train_batches(
        images, how, 4, augment=augment, cache=False, **({"seed": 5} | arguments)
    )
    return [tuple(column.numpy() for column in batch) for batch in found.dataset.take(count)]


@pytest.mark.slow
@pytest.mark.parametrize(
    "augment",
    [AUGMENT, ["scale_crop:32,40", "flip"]],
    ids=["area", "scale"],
)
def test_the_pipeline_goes_on_inside_an_epoch(folder, augment):
    tf.random.set_seed(1)
    whole = batches_of(folder, 6, augment)  # two epochs of three batches
    assert [images.shape for images, _ in whole] == [(4, 32, 32, 3)] * 6
    tf.random.set_seed(2)
    resumed = batches_of(folder, 2, augment, start_epoch=1, start_step=1)
    for (images, labels), (again, labels_again) in zip(whole[4:], resumed, strict=True):
        np.testing.assert_array_equal(images, again)
        np.testing.assert_array_equal(labels, labels_again)
    # Labels stay with their images through it all.
    for images, labels in whole:
        np.testing.assert_array_equal(images.mean(axis=(1, 2, 3)) > 0.5, labels == 0)
    # Another epoch and another seed cut other windows.
    assert not np.array_equal(whole[0][0], whole[3][0])
    assert not np.array_equal(whole[0][0], batches_of(folder, 1, augment, seed=6)[0][0])


def test_an_epoch_cuts_every_image_once_at_places_of_its_own(folder):
    images = data.load(f"folder:{folder}")
    # Seeds of two images never agree: equal pictures would be cut alike.
    same = images.map(lambda image, label: (tf.ones([80, 80, 3], tf.uint8) * _ramp(), label))
    how = Preprocessing((32, 32))
    batches = data.train_batches(same, how, 14, seed=0, augment=["resized_crop"], cache=False)
    one, two = (batch.numpy() for batch, _ in batches.dataset.take(2))
    cut = np.concatenate([one, two]).reshape(28, -1)
    assert len(np.unique(cut.round(4), axis=0)) == 28


def _ramp():
    return tf.cast(tf.range(80)[:, None, None] + 2 * tf.range(80)[None, :, None], tf.uint8)


def test_crops_that_do_not_fit_are_refused(folder):
    images = data.load(f"folder:{folder}")
    how = Preprocessing((32, 32))

    def start(augment, preprocessing=how, dataset=images, cache=False):
        data.train_batches(dataset, preprocessing, 4, seed=0, augment=augment, cache=cache)

    with pytest.raises(ArgumentError, match="set cache to false"):
        start(["resized_crop"], cache=True)
    with pytest.raises(ArgumentError, match="must begin with scale_crop or resized_crop"):
        start(["flip", "resized_crop"])
    with pytest.raises(
        ArgumentError, match=r"less than preprocessing.size \[32, 32\]; begin at 32"
    ):
        start(["scale_crop:31,40"])
    with pytest.raises(ArgumentError, match="another method than 'pad'"):
        start(["resized_crop"], Preprocessing((32, 32), resize="pad"))
    with pytest.raises(ArgumentError, match="for pairs and unpaired images there is jitter"):
        start(["resized_crop"], dataset=images.map(lambda image, _: (image, image)))
    for wrong, said in {
        "scale_crop:48,32": "got 48,32",
        "scale_crop:0,32": "shortest must be a positive whole number, got 0",
        "resized_crop:0,1": "least must be a number in .*, got 0.0",
        "resized_crop:0.5,0.4": "got 0.5,0.4",
        "resized_crop:0.5,1,0.5": "aspect must be a number in .1, inf., got 0.5",
        "scale_crop:a": "write scale_crop:256,480",
    }.items():
        with pytest.raises(ArgumentError, match=said):
            start([wrong])
