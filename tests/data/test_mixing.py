"""MixUp and CutMix by their definitions, and in the pipeline."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_arch import data
from keras_arch.data.augment.mixing import mix
from keras_arch.errors import ArgumentError
from keras_arch.preprocessing import Preprocessing

RAW = Preprocessing((6, 6), 1, scale=1.0)
CLASSES = 8


def coded(batch=CLASSES, size=12):
    """Images whose channels say which one they are, with the same for a label."""
    labels = np.eye(batch, dtype=np.float32)
    return np.broadcast_to(labels[:, None, None], (batch, size, size, batch)).copy(), labels


@pytest.mark.parametrize("seed", range(5))
def test_mixup_takes_the_same_mean_of_images_and_labels(seed):
    images, labels = coded()
    mixed, shares = data.MixUp(1.0)(tf.constant(images), tf.constant(labels), [seed, 7])
    mixed, shares = mixed.numpy(), shares.numpy()
    np.testing.assert_allclose(mixed, np.broadcast_to(shares[:, None, None], mixed.shape))
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-6)
    # Of itself and one other image.
    assert ((shares > 0).sum(axis=1) <= 2).all()
    # No image is the partner of two.
    partners = (shares > 0) & ~np.eye(CLASSES, dtype=bool)
    assert partners.any()
    assert (partners.sum(axis=0) <= 1).all()


@pytest.mark.parametrize("alpha", [0.2, 1.0])
def test_the_share_is_beta_distributed(alpha):
    images, labels = coded(batch=2, size=1)
    images, labels = np.tile(images, (5000, 1, 1, 1)), np.tile(labels, (5000, 1))
    _, shares = data.MixUp(alpha)(tf.constant(images), tf.constant(labels), [1, 2])
    own = (shares.numpy() * labels).sum(axis=1)
    # Half of the partners are of the same kind, which leaves a share of 1.
    own = own[own < 1]
    assert len(own) > 3000
    assert own.mean() == pytest.approx(0.5, abs=0.03)
    # The variance of Beta(a, a).
    assert own.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.06)


@pytest.mark.parametrize("seed", range(5))
def test_cutmix_replaces_a_rectangle_and_counts_its_pixels(seed):
    images, labels = coded()
    mixed, shares = data.CutMix(1.0)(tf.constant(images), tf.constant(labels), [seed, 7])
    mixed, shares = mixed.numpy(), shares.numpy()
    np.testing.assert_allclose(shares, mixed.mean(axis=(1, 2)), atol=1e-6)
    assert set(np.unique(mixed)) == {0.0, 1.0}
    for number, image in enumerate(mixed):
        own = image[..., number] == 1
        rows, columns = ~own.all(axis=1), ~own.all(axis=0)
        np.testing.assert_array_equal(~own, np.outer(rows, columns))
        for line in (rows, columns):
            inside = np.flatnonzero(line)
            assert len(inside) == 0 or inside[-1] - inside[0] + 1 == len(inside)


def test_a_rectangle_has_the_images_proportions():
    """Where it lies inside, its sides are sqrt(1 - share) of the image's."""
    images = np.zeros((400, 40, 80, 2), np.float32)
    images[:, :, :, 0] = 1
    images[::2] = images[::2, ..., ::-1]
    labels = images[:, 0, 0]
    mixed, _ = data.CutMix(1.0)(tf.constant(images), tf.constant(labels), [3, 4])
    changed = (mixed.numpy() != images).any(axis=-1)
    sides = [(c.any(axis=1), c.any(axis=0)) for c in changed if c.any()]
    # Not at an edge, where it was cut off.
    inner = [(r.sum(), c.sum()) for r, c in sides if not (r[0] or r[-1] or c[0] or c[-1])]
    assert len(inner) > 20
    for height, width in inner:
        assert abs(width - 2 * height) <= 4


@pytest.mark.parametrize(
    "mixer", [pytest.param(data.MixUp(0.4), marks=pytest.mark.slow), data.CutMix()]
)
def test_the_seed_alone_decides(mixer):
    images, labels = map(tf.constant, coded())
    first = mixer(images, labels, [5, 6])
    tf.random.set_seed(123)
    for again in (mixer(images, labels, [5, 6]), tf.function(mixer)(images, labels, [5, 6])):
        np.testing.assert_allclose(again[0], first[0], atol=1e-6)
        np.testing.assert_allclose(again[1], first[1], atol=1e-6)
    assert not np.allclose(mixer(images, labels, [5, 7])[0], first[0])


@pytest.mark.slow
def test_of_several_each_batch_draws_one():
    images, labels = map(tf.constant, coded())
    whole = []
    for seed in range(40):
        mixed, _ = mix((data.MixUp(1.0), data.CutMix(1.0)), images, labels, [seed, 0])
        whole.append(bool(np.isin(mixed.numpy(), (0, 1)).all()))
    # 20 expected, standard deviation 3.2.
    assert 8 <= sum(whole) <= 32


def numbered(count=24):
    images = np.zeros((count, 6, 6, 1), np.uint8)
    images[:] = np.arange(count)[:, None, None, None] % CLASSES
    return tf.data.Dataset.from_tensor_slices((images, np.arange(count) % CLASSES))


@pytest.mark.slow
def test_in_the_pipeline_a_restart_repeats_the_batches():
    options = {"seed": 2, "augment": ["mixup:1", "flip", "cutmix:1"], "classes": CLASSES}
    whole = [
        tuple(map(np.array, b))
        for b in data.train_batches(numbered(), RAW, 8, **options).dataset.take(5)
    ]
    rest = data.train_batches(
        numbered(), RAW, 8, start_epoch=1, start_step=1, **options
    ).dataset.take(1)
    for got, wanted in zip(next(iter(rest)), whole[4], strict=True):
        np.testing.assert_array_equal(got, wanted)
    images, labels = whole[0]
    # A pixel is the number of its class, so that its mean follows from the label's shares.
    np.testing.assert_allclose(
        images.mean(axis=(1, 2, 3)), labels @ np.arange(CLASSES), rtol=1e-4, atol=1e-4
    )
    assert labels.dtype == np.float32
    assert (labels.max(axis=1) < 1).any()


def test_labels_as_shares_without_mixing():
    plain = data.train_batches(numbered(), RAW, 8, seed=2)
    shares = data.train_batches(numbered(), RAW, 8, seed=2, classes=CLASSES)
    for (_, numbers), (_, given) in zip(plain.dataset.take(2), shares.dataset.take(2), strict=True):
        np.testing.assert_array_equal(np.eye(CLASSES)[numbers], given)
    (_, given), *_ = data.eval_batches(numbered(), RAW, 24, classes=CLASSES)
    np.testing.assert_array_equal(np.eye(CLASSES)[np.arange(24) % CLASSES], given)


def test_mixing_is_refused_without_class_labels():
    with pytest.raises(ArgumentError, match="give classes"):
        data.train_batches(numbered(), RAW, 8, seed=0, augment=["mixup"])
    images = numbered().map(lambda image, label: image)
    with pytest.raises(ArgumentError, match="has none"):
        data.train_batches(images, RAW, 8, seed=0, augment=["cutmix"], classes=3)
    with pytest.raises(ArgumentError, match="has none"):
        data.eval_batches(images, RAW, 8, classes=3)


def test_why_the_layers_of_keras_do_not_serve():
    """They draw from a state that changes with every call; CutMix draws its alpha too.

    When this fails, our own may be two classes too many.
    """
    images, labels = coded()
    for layer in (keras.layers.MixUp(1.0, seed=0), keras.layers.CutMix(1.0, seed=0)):
        first, second = (layer({"images": images, "labels": labels})["labels"] for _ in range(2))
        assert not np.allclose(first, second)
    assert keras.layers.CutMix(1.0).factor == (0, 1.0)
