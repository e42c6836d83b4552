"""The shares of hosts, joined, are the batches of a single process."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from keras_arch import data
from keras_arch.data import Share
from keras_arch.errors import ArgumentError
from keras_arch.preprocessing import Preprocessing

SMALL = Preprocessing((8, 8), 1, scale=1 / 16)
HOSTS = 3


def images(count=50):
    return data.load("digits", f"train[:{count}]")


def own_noise(batch, seed):
    return batch + tf.random.stateless_normal(tf.shape(batch), seed)


def assert_joined(make, steps=99):
    """`make(share)` gives batches."""

    def batches(share):
        taken = itertools.islice(make(share), steps)
        return [[np.asarray(part) for part in tf.nest.flatten(batch)] for batch in taken]

    whole, parts = batches(Share()), [batches(Share(number, HOSTS)) for number in range(HOSTS)]
    assert whole
    assert {len(part) for part in parts} == {len(whole)}
    for batch, *shares in zip(whole, *parts, strict=True):
        for column, *pieces in zip(batch, *shares, strict=True):
            # The same numbers, which kernels for other sizes of batches may round differently.
            np.testing.assert_allclose(np.concatenate(pieces), column, rtol=1e-6, atol=1e-6)


SLOW = pytest.mark.slow
ROWS = {"augment": ["crop:2", "flip"]}
MIXED = {"augment": ["jitter:3", "mixup:0.4", "cutmix"], "classes": 10}
NOISE = {"augment": [own_noise]}
BALANCED = {"balanced": True, "start_step": 3}


@pytest.mark.parametrize(
    ("options", "cache"),
    [
        pytest.param(ROWS, True, marks=SLOW),
        pytest.param(ROWS, False, id="rows-streamed"),
        pytest.param(MIXED, True, marks=SLOW),
        pytest.param(MIXED, False, marks=SLOW),
        *(pytest.param(NOISE, cache, marks=SLOW) for cache in (True, False)),
        *(pytest.param(BALANCED, cache, marks=SLOW) for cache in (True, False)),
    ],
)
def test_training(options, cache):
    """Over the end of an epoch, whose last partial batch is left out."""

    def make(share):
        return data.train_batches(
            images(), SMALL, 12, seed=3, cache=cache, share=share, **options
        ).dataset

    assert_joined(make, steps=6)


@pytest.mark.slow
@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("domains", ["pairs", "unpaired"])
def test_two_images(domains, cache):
    alone = images(30).map(lambda image, label: image)
    both = data.Unpaired(alone.take(20), alone.skip(20))
    if domains == "pairs":
        both = tf.data.Dataset.zip((alone, alone))

    def make(share):
        return data.train_batches(
            both, SMALL, 6, seed=3, augment=["jitter:2", "flip"], cache=cache, share=share
        ).dataset

    assert_joined(make, steps=8)
    assert_joined(lambda share: data.eval_batches(both, SMALL, 6, cache, share=share))


@pytest.mark.slow
@pytest.mark.parametrize(
    "augment", [["randaugment:2,9"], ["color_jitter:0.5", "lighting:0.1"], ["resized_crop:0.2,1"]]
)
def test_colours_and_windows(augment):
    coloured = images().map(lambda image, label: (tf.image.grayscale_to_rgb(image), label))
    cache = "resized_crop" not in augment[0]

    def make(share):
        return data.train_batches(
            coloured,
            Preprocessing((8, 8), 3),
            6,
            seed=3,
            augment=augment,
            cache=cache,
            share=share,
        ).dataset

    assert_joined(make, steps=5)


@pytest.mark.parametrize(
    ("count", "cache"),
    [(25, True), (2, False), *(pytest.param(26, cache, marks=SLOW) for cache in (True, False))],
)
def test_evaluation(count, cache):
    """The last batch leaves a host or two without an image; the hosts take as many steps."""
    assert_joined(
        lambda share: data.eval_batches(
            images(count), SMALL, min(12, count), cache=cache, share=share
        )
    )


@pytest.mark.slow
@pytest.mark.parametrize("crop_mode", ["tiles", "whole"])
def test_segmentation(crop_mode):
    cells, to_input = data.load("cells", "train[:4]"), Preprocessing((64, 64), 1)

    def train(share):
        return data.segmentation_train_batches(
            cells,
            to_input,
            6,
            seed=1,
            crop_mode=crop_mode,
            augment=["elastic:4"],
            crops_per_image=4,
            share=share,
        ).dataset

    def evaluate(share):
        return data.segmentation_eval_batches(
            cells, to_input, 6, crop_mode=crop_mode, replicas=HOSTS, share=share
        )

    assert_joined(train, steps=4)
    assert_joined(evaluate)


def test_a_host_decodes_its_own_images_only():
    decoded = []

    def noted(image, label):
        def note(number):
            decoded.append(int(number))
            return number

        number = tf.numpy_function(note, [label], tf.int64)
        return image, tf.ensure_shape(number, [])

    arrays = np.zeros((40, 8, 8, 1), np.uint8), np.arange(40)
    counted = tf.data.Dataset.from_tensor_slices(arrays).map(noted)
    batches = data.train_batches(counted, SMALL, 8, seed=1, cache=False, share=Share(1, 2))
    decoded.clear()
    labels = np.concatenate([label for _, label in batches.dataset.take(5)])
    assert len(set(labels.tolist())) == 20
    # It reads ahead, over the end of the epoch too.
    expected = data.train_batches(counted, SMALL, 8, seed=1, cache=False).dataset.take(10)
    own = np.concatenate([label[4:] for _, label in expected])
    assert set(decoded[:20]) == set(own[:20].tolist())


def test_a_batch_that_hosts_cannot_divide_is_refused():
    with pytest.raises(ArgumentError, match=r"batch_size 8 .* divide by their number, 3"):
        data.train_batches(images(), SMALL, 8, seed=0, share=Share(0, 3))
    with pytest.raises(ArgumentError, match="no host 3"):
        Share(3, 3)
