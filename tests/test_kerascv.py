"""KerasCV's augmentation layers as functions of a seed, and KerasCV as an extra."""

import subprocess
import sys

import keras_cv
import numpy as np
import pytest
import tensorflow as tf

from keras_arch import data, kerascv
from keras_arch.errors import ArgumentError, KerasArchError
from keras_arch.preprocessing import Preprocessing

PIXELS = {"value_range": (0, 255)}
# One layer for each way in which KerasCV draws: its generator, its factors of both kinds, layers
# inside layers, branches of a graph.
RANDOM = {
    "RandomFlip": {},
    "RandomRotation": {"factor": 0.1},
    "RandomHue": {"factor": 0.2, **PIXELS},
    "RandomColorJitter": {
        **PIXELS,
        "brightness_factor": 0.2,
        "contrast_factor": 0.2,
        "saturation_factor": 0.2,
        "hue_factor": 0.2,
    },
    "RandomCutout": {"height_factor": 0.5, "width_factor": 0.5},
    "RandomCropAndResize": {
        "target_size": (12, 10),
        "crop_area_factor": (0.5, 1.0),
        "aspect_ratio_factor": (0.8, 1.25),
    },
    "GridMask": {},
    "RandAugment": {**PIXELS, "magnitude": 0.5, "augmentations_per_image": 1},
}


QUICK = ("RandomFlip", "RandomHue")


@pytest.fixture(autouse=True)
def global_generator():
    """KerasCV's layers need one where an earlier test has made operations deterministic."""
    tf.random.set_global_generator(tf.random.Generator.from_seed(0))


def pixels(count=6):
    return np.random.default_rng(0).uniform(0, 255, (count, 12, 10, 3)).astype("float32")


def layer(name, **arguments):
    return getattr(keras_cv.layers, name)(**arguments)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        each if each[0] in QUICK else pytest.param(*each, marks=pytest.mark.slow)
        for each in RANDOM.items()
    ],
)
def test_the_same_seed_gives_the_same_images(name, arguments):
    change = kerascv.augmentation(layer(name, **arguments))
    # Equal images show whether each has a draw of its own.
    images = np.repeat(pixels(1), 8, axis=0)
    first = change(images, [3, 4]).numpy()
    tf.random.set_seed(1)
    np.testing.assert_array_equal(change(images, [3, 4]), first)
    assert not np.array_equal(change(images, [3, 5]), first)
    assert len({image.tobytes() for image in first}) > 1
    # A copy of the layer has no state of its own either, and a batch's size changes nothing.
    again = kerascv.augmentation(layer(name, **arguments, seed=7))
    np.testing.assert_array_equal(again(images[:3], [3, 4]), first[:3])


def test_a_flip_mirrors_half_of_the_images():
    images = pixels(64)
    flipped = kerascv.augmentation(layer("RandomFlip", mode="horizontal"))(images, [0, 1]).numpy()
    mirrored = [np.array_equal(a, b[:, ::-1]) for a, b in zip(flipped, images, strict=True)]
    same = [np.array_equal(a, b) for a, b in zip(flipped, images, strict=True)]
    assert [a != b for a, b in zip(mirrored, same, strict=True)] == [True] * 64
    # 64 throws of a coin: 16 to 48 are four standard deviations.
    assert 16 < sum(mirrored) < 48


@pytest.mark.slow
def test_brightness_is_uniform_in_its_range():
    change = kerascv.augmentation(layer("RandomBrightness", factor=(-0.2, 0.2), **PIXELS))
    images = np.full((400, 2, 2, 3), 128, "float32")
    shifts = (change(images, [0, 1]).numpy() - 128) / 255
    assert np.ptp(shifts, axis=(1, 2, 3)).max() < 1e-5
    shifts = shifts[:, 0, 0, 0]
    assert -0.2 <= shifts.min() < -0.19
    assert 0.19 < shifts.max() <= 0.2
    # Uniform: the mean is 0 with a standard deviation of 0.2 / sqrt(3 * 400).
    assert abs(shifts.mean()) < 4 * 0.2 / np.sqrt(1200)


@pytest.mark.slow
def test_a_normal_factor_is_drawn_and_clipped():
    factor = keras_cv.core.NormalFactorSampler(0.5, 0.1, min_value=0.4, max_value=0.6)
    change = kerascv.augmentation(layer("RandomBrightness", factor=factor, **PIXELS))
    shifts = change(np.zeros((400, 1, 1, 3), "float32"), [0, 1]).numpy()[:, 0, 0, 0] / 255
    assert shifts.min() == pytest.approx(0.4)
    assert shifts.max() == pytest.approx(0.6)
    # A normal draw is within one standard deviation of the mean with probability 0.683.
    inside = np.mean((shifts > 0.4001) & (shifts < 0.5999))
    assert abs(inside - 0.683) < 4 * np.sqrt(0.683 * 0.317 / 400)


@pytest.mark.parametrize(
    ("name", "arguments"),
    {
        "Solarization": PIXELS,
        "Posterization": {**PIXELS, "bits": 3},
        "Grayscale": {"output_channels": 3},
        "AutoContrast": PIXELS,
        "Equalization": PIXELS,
    }.items(),
)
def test_layers_without_draws_equal_kerascv(name, arguments):
    expected = layer(name, **arguments)(pixels())
    found = kerascv.augmentation(layer(name, **arguments))(pixels(), [0, 1])
    # One image at a time and a batch at once: the same operations, up to rounding.
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-3)


def test_in_a_training_pipeline_a_resumed_run_repeats_its_batches():
    to_input = Preprocessing((8, 8), 1, mean=0.5, std=0.5)
    hue = kerascv.augmentation(layer("RandomBrightness", factor=0.3, **PIXELS))
    turn = kerascv.augmentation(layer("RandomRotation", factor=0.2), on_pixels=False)

    def batches(**start):
        return data.train_batches(
            data.load("digits", "train[:40]"),
            to_input,
            16,
            seed=5,
            augment=["crop:1", turn, hue],
            **start,
        ).dataset

    whole = [images.numpy() for images, _ in batches().take(5)]
    resumed = [images.numpy() for images, _ in batches(start_epoch=1, start_step=1).take(2)]
    np.testing.assert_array_equal(resumed, whole[3:])
    plain = data.train_batches(data.load("digits", "train[:40]"), to_input, 16, seed=5).dataset
    assert not np.array_equal(next(iter(plain))[0], whole[0])


@pytest.mark.slow
def test_layers_with_other_randomness_are_refused():
    images = pixels()
    for refused, word in (
        (layer("AugMix", **PIXELS), "RandomGamma.*'randaugment:2,9'"),
        (layer("RandomCutout", height_factor=0.5, width_factor=0.5, fill_mode="gaussian_noise"),
         "RandomStandardNormal"),
        (layer("MixUp"), "MixUp cannot change images one by one; there is 'mixup:0.2'"),
        (layer("CutMix"), "'cutmix:1.0'"),
        (layer("RandomCrop", height=6, width=6), r"changes the size of images of shape \(12, 10"),
        (layer("RandomAspectRatio", factor=(0.5, 0.9)), "changes the size"),
    ):  # fmt: skip
        with pytest.raises(ArgumentError, match=word) as caught:
            kerascv.augmentation(refused)(images, [0, 1])
        assert "\n" not in str(caught.value)
    for wrong in (tf.keras.layers.RandomFlip(), keras_cv.layers.Augmenter([]), "flip"):
        with pytest.raises(ArgumentError, match="must be an image augmentation layer of KerasCV"):
            kerascv.augmentation(wrong)


def test_the_user_s_layer_stays_as_it_is():
    flip = layer("RandomFlip")
    before = flip._random_generator
    kerascv.augmentation(flip)(pixels(), [0, 1])
    assert flip._random_generator is before


def test_a_missing_or_old_kerascv_is_named_with_the_remedy(monkeypatch):
    import importlib.metadata

    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    for version, word in ((missing, "is not installed"), (lambda name: "0.8.2", "0.8.2 is too")):
        monkeypatch.setattr(importlib.metadata, "version", version)
        with pytest.raises(KerasArchError, match=rf"{word}.*pip install .*keras_arch\[kerascv\]"):
            kerascv.package()


@pytest.mark.slow
def test_the_package_is_imported_only_where_it_is_used():
    code = (
        "import sys; sys.modules['keras_cv'] = None\n"
        "from keras_arch import kerascv, models, visualization, errors\n"
        "assert 'DeepLabV3Plus' in models.list_models()\n"
        "try: models.DeepLabV3Plus(input_shape=(32, 32, 3), backbone='ResNet18')\n"
        "except errors.KerasArchError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "cannot be imported" in done.stdout
    assert "keras_arch[kerascv]" in done.stdout
