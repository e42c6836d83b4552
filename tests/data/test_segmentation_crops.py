import itertools

import numpy as np
import pytest
import tensorflow as tf

from keras_arch import data
from keras_arch.errors import ArgumentError, DataError
from keras_arch.preprocessing import Preprocessing

RAW = {"channels": 1, "scale": 1.0}


def numbered(sizes=((40, 50), (30, 30))):
    """Images whose pixels tell where they are, with masks of the same."""
    made = []
    for height, width in sizes:
        place = (np.arange(height)[:, None] * 7 + np.arange(width) * 3) % 251
        made.append((place.astype(np.uint8)[..., None], (place % 5).astype(np.uint8)))
    return tf.data.Dataset.from_generator(
        lambda: iter(made),
        output_signature=(
            tf.TensorSpec([None, None, 1], tf.uint8),
            tf.TensorSpec([None, None], tf.uint8),
        ),
    )


def first(batches, count):
    return [[np.asarray(part) for part in batch] for batch in itertools.islice(batches, count)]


def mirrored_window(image, top, left, size):
    pad = 200
    padded = np.pad(image, [(pad, pad), (pad, pad)], mode="reflect")
    return padded[pad + top : pad + top + size, pad + left : pad + left + size]


def test_tiles_are_windows_with_mirrored_borders():
    batches = data.segmentation_train_batches(
        numbered(), Preprocessing((36, 36), **RAW), 2, seed=0, output=(20, 20), crops_per_image=6
    )
    images = [image.numpy()[..., 0] for image, _ in numbered()]
    assert (batches.steps_per_epoch, batches.examples) == (6, 12)
    places = set()
    for tiles, masks in first(batches.dataset, 12):
        for tile, mask in zip(tiles[..., 0], masks, strict=True):
            matches = [
                (number, top, left)
                for number, image in enumerate(images)
                for top in range(image.shape[0] - 19)
                for left in range(image.shape[1] - 19)
                if np.array_equal(image[top : top + 20, left : left + 20], tile[8:28, 8:28])
                and np.array_equal(mirrored_window(image, top - 8, left - 8, 36), tile)
            ]
            assert matches
            np.testing.assert_array_equal(mask, tile[8:28, 8:28].astype(int) % 5)
            places.add(matches[0])
    assert len(places) > 15
    assert {number for number, *_ in places} == {0, 1}


def test_images_smaller_than_a_tile_are_mirrored():
    small = numbered([(9, 60)])
    batches = data.segmentation_train_batches(
        small, Preprocessing((36, 36), **RAW), 1, seed=0, output=(20, 20), crops_per_image=3
    )
    image = next(iter(small))[0].numpy()[..., 0]
    for (tile, *_), _ in first(batches.dataset, 3):
        # The image is nine rows high, in the middle of the part that counts.
        tops = {-8 - 6 + shift for shift in (0, 1)}
        assert any(
            np.array_equal(mirrored_window(image, top, left, 36), tile[..., 0])
            for top in tops
            for left in range(-8, 60)
        )


def test_moved_tiles_stay_aligned():
    """The mask of a moved tile is that of its pixels."""
    cells = data.load("cells", "train[:3]")
    shown = cells.map(lambda image, mask: (255 * mask[..., None], mask))
    batches = data.segmentation_train_batches(
        shown,
        Preprocessing((124, 124), **RAW),
        3,
        seed=1,
        output=(84, 84),
        augment=["flip", "rotate:180", "elastic:10", "shift:10"],
        weights=data.WeightMap(balance=False),
    )
    for tiles, masks, weights in first(batches.dataset, 3):
        inner = tiles[:, 20:-20, 20:-20, 0]
        assert ((inner > 127.5) == masks).mean() > 0.98
        assert weights[masks == 1].max() == 1.0
        assert weights[masks == 0].max() > 5


def test_weights_are_those_of_the_whole_set():
    cells = data.load("cells", "train[:4]")
    batches = data.segmentation_train_batches(
        cells, Preprocessing((128, 128), **RAW), 4, seed=0, weights=data.WeightMap(w0=0.0)
    )
    ((_, masks, weights),) = first(batches.dataset, 1)
    one, other = weights[masks == 0], weights[masks == 1]
    assert len(np.unique(one)) == len(np.unique(other)) == 1
    assert one.sum() == pytest.approx(other.sum(), rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("start", [(0, 3), (0, 4), (1, 2)])
def test_a_restart_continues_exactly(start):
    def batches(epoch, step):
        made = data.segmentation_train_batches(
            data.load("cells", "train[:8]"),
            Preprocessing((64, 64), **RAW),
            2,
            seed=5,
            augment=["rotate:90", "elastic:5", "grey:0.1"],
            weights=data.WeightMap(),
            start_epoch=epoch,
            start_step=step,
        )
        assert made.steps_per_epoch == 4
        return made.dataset

    skipped = start[0] * 4 + start[1]
    whole = first(batches(0, 0), skipped + 3)[skipped:]
    for one, other in zip(whole, first(batches(*start), 3), strict=True):
        for part, same in zip(one, other, strict=True):
            np.testing.assert_array_equal(part, same)
    assert not np.array_equal(whole[0][0], whole[1][0])


def test_an_epoch_has_every_image_equally_often():
    marks = tf.data.Dataset.range(5).map(
        lambda n: (
            tf.fill([16, 16, 1], tf.cast(n, tf.uint8)),
            tf.fill([16, 16], tf.cast(n, tf.uint8)),
        )
    )
    batches = data.segmentation_train_batches(
        marks, Preprocessing((16, 16), **RAW), 5, seed=0, crops_per_image=3
    )
    seen = np.concatenate([masks[:, 0, 0] for _, masks in first(batches.dataset, 3)])
    assert sorted(seen) == sorted(3 * list(range(5)))


@pytest.mark.parametrize(("replicas", "count"), [(1, 9), (4, 12)])
def test_evaluation_tiles_cover_each_pixel_once(replicas, count):
    dataset = numbered([(40, 50), (9, 60)])
    how = Preprocessing((36, 36), **RAW)
    tiles = data.segmentation_eval_batches(dataset, how, 4, output=(20, 20), replicas=replicas)
    found = np.concatenate([masks for _, masks in first(tiles, 99)])
    assert len(found) == count
    pixels = np.concatenate([images[:, 8:28, 8:28, 0] for images, _ in first(tiles, 99)])
    counted = found != 255
    assert counted.sum() == 40 * 50 + 9 * 60
    np.testing.assert_array_equal(pixels[counted] % 5, found[counted])
    expected = np.concatenate([mask.numpy().ravel() for _, mask in dataset])
    np.testing.assert_array_equal(
        np.bincount(found[counted], minlength=5), np.bincount(expected, minlength=5)
    )


@pytest.mark.parametrize("resize", ["bilinear", "pad"])
def test_whole_images(resize):
    halves = np.repeat([[0, 0, 1, 1]], 4, axis=0).astype(np.uint8)
    dataset = tf.data.Dataset.from_tensors((255 * halves[..., None], halves))
    how = Preprocessing((8, 12), resize=resize, **RAW)
    ((image, mask),) = first(
        data.segmentation_train_batches(dataset, how, 1, seed=0, crop_mode="whole").dataset, 1
    )
    ((same, _),) = first(data.segmentation_eval_batches(dataset, how, 1, crop_mode="whole"), 1)
    np.testing.assert_array_equal(image, same)
    if resize == "pad":
        assert (mask[0] != 255).sum() == 16
        np.testing.assert_array_equal(mask[0, 2:6, 4:8], halves)
    else:
        np.testing.assert_array_equal(mask[0], np.repeat(np.repeat(halves, 2, 0), 3, 1))


def one(image, mask):
    return tf.data.Dataset.from_tensors((image, mask))


RAMP = np.linspace(0, 4095, 64).reshape(8, 8, 1)
PLAIN = np.arange(64).reshape(8, 8) % 2


@pytest.mark.parametrize(
    ("image", "crop_mode"),
    [
        pytest.param(RAMP.astype(np.uint16), "tiles", id="uint16-tiles"),
        pytest.param((RAMP / 16.5).astype(np.float32), "whole", id="float32-whole"),
        pytest.param(RAMP / 16.5, "tiles", id="float64-tiles", marks=pytest.mark.slow),
        pytest.param(np.uint8(RAMP / 16.5), "whole", id="uint8-whole", marks=pytest.mark.slow),
    ],
)
def test_training_sees_the_pixels_that_preprocessing_gives(image, crop_mode):
    how = Preprocessing((8, 8), **RAW)
    expected = np.asarray(how(image[None]))
    assert len(np.unique(expected)) > 50
    made = data.segmentation_train_batches(one(image, PLAIN), how, 1, seed=0, crop_mode=crop_mode)
    ((pixels, mask),) = first(made.dataset, 1)
    np.testing.assert_array_equal(pixels, expected)
    np.testing.assert_array_equal(mask[0], PLAIN)
    ((pixels, _),) = first(
        data.segmentation_eval_batches(one(image, PLAIN), how, 1, crop_mode=crop_mode), 1
    )
    np.testing.assert_array_equal(pixels, expected)


@pytest.mark.parametrize("kind", ["uint8", "uint16", "int64", "float32", "bool"])
def test_masks_of_any_type(kind):
    image = np.zeros((8, 8, 1), np.uint8)
    batches = data.segmentation_eval_batches(
        one(image, PLAIN.astype(kind)), Preprocessing((8, 8), **RAW), 1, classes=2
    )
    ((_, mask),) = first(batches, 1)
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask[0], PLAIN)


@pytest.mark.parametrize(
    ("mask", "classes", "message"),
    [
        (PLAIN * 257, 2, "found 257 in the mask of image 0; classes are 0 to 1"),
        (PLAIN * 2, 2, "found 2 in the mask"),
        (PLAIN * 0.5, None, "found 0.5 in the mask"),
        (np.where(PLAIN, np.nan, 0.0), 2, "found nan"),
        (-PLAIN, None, "found -1"),
        (PLAIN * 255, 2, "divide masks of 0 and 255 by 255"),
    ],
)
def test_masks_that_hold_no_classes(mask, classes, message):
    dataset, how = one(np.zeros((8, 8, 1), np.uint8), mask), Preprocessing((8, 8), **RAW)
    with pytest.raises(DataError, match=message):
        data.segmentation_train_batches(dataset, how, 1, seed=0, classes=classes)
    if "divide" not in message:
        with pytest.raises(DataError, match=message):
            data.segmentation_eval_batches(dataset, how, 1, classes=classes)


def test_images_of_nan_are_refused():
    image = np.full((8, 8, 1), np.nan, np.float32)
    for crop_mode in ("tiles", "whole"):
        # By the preprocessing, or by the batches where it does not look.
        with pytest.raises((ArgumentError, DataError), match="NaN"):
            data.segmentation_eval_batches(
                one(image, PLAIN), Preprocessing((8, 8), **RAW), 1, crop_mode=crop_mode
            )


def test_class_255_of_300():
    mask = np.arange(64).reshape(8, 8) + 240
    mask[0, 0] = 65535
    dataset, how = one(np.zeros((8, 8, 1), np.uint8), mask), Preprocessing((10, 10), **RAW)
    options = {"classes": 304, "ignore": 65535}
    made = data.segmentation_train_batches(
        dataset, Preprocessing((8, 8), **RAW), 1, seed=0, weights=data.WeightMap(w0=0), **options
    )
    ((_, found, weights),) = first(made.dataset, 1)
    np.testing.assert_array_equal(found[0], mask)
    assert (weights[0] > 0).sum() == 63
    padded = Preprocessing((10, 10), resize="pad", **RAW)
    for batches in (
        data.segmentation_eval_batches(dataset, how, 1, **options),
        data.segmentation_eval_batches(dataset, padded, 1, crop_mode="whole", **options),
    ):
        ((_, found),) = first(batches, 1)
        assert sorted(found[found != 65535]) == sorted(mask[mask != 65535])
        assert (found == 65535).sum() == 37
    with pytest.raises(ArgumentError, match="ignore=255 is one of 304 classes"):
        data.segmentation_eval_batches(dataset, how, 1, classes=304)


def test_a_padded_mask_is_shrunk_as_its_image():
    halves = np.repeat([[0, 1]], 24, axis=0).repeat(8, axis=1).astype(np.uint8)
    how = Preprocessing((8, 8), resize="pad", **RAW)
    mask = data.fit_mask(halves, how)
    # 24x16 become 8x5, from the second column on.
    assert (mask[:, 1:6] != 255).all()
    assert (mask[:, [0, 6, 7]] == 255).all()
    image = np.asarray(how.fit(255 * halves[..., None]))[..., 0]
    assert (np.abs(image[:, 1:6] - 255.0 * mask[:, 1:6]) <= 127.5).all()


def test_a_mask_is_cropped_as_its_image():
    how = Preprocessing((8, 8), crop=0.5, resize="nearest", **RAW)
    mask = (np.arange(256).reshape(16, 16) % 7).astype(np.uint8)
    np.testing.assert_array_equal(
        data.fit_mask(mask, how), np.asarray(how.fit(mask[..., None]))[..., 0]
    )


def test_mistakes():
    cells, how = data.load("cells", "train[:2]"), Preprocessing((64, 64), **RAW)
    for arguments, message in (
        ({"batch_size": 3}, "at most 2, or more crops_per_image"),
        ({"batch_size": 0}, "batch_size must be a positive whole number"),
        ({"output": (63, 64)}, "middle"),
        ({"output": (80, 80)}, "middle"),
        ({"crop_mode": "half"}, "tiles or whole"),
        ({"crop_mode": "whole", "output": (60, 60)}, "else take tiles"),
        ({"start_step": 3}, "step 3: an epoch has 2 steps"),
        ({"augment": ["crop:4"]}, "images with masks"),
        ({"seed": -1}, "seed"),
    ):
        with pytest.raises((ArgumentError, DataError), match=message):
            data.segmentation_train_batches(
                cells, how, **({"batch_size": 1, "seed": 0} | arguments)
            )
    with pytest.raises(DataError, match=r"must hold \(image, mask\)"):
        data.segmentation_train_batches(data.load("digits"), how, 1, seed=0)
