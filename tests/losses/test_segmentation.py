import functools

import keras
import numpy as np
import pytest

from keras_arch import distribute, losses
from keras_arch.errors import ArgumentError
from keras_arch.losses.segmentation import pixel_loss

PixelCrossEntropy, PixelDice, PixelFocal, PixelTversky = (
    functools.partial(loss, ignore=255)
    for loss in (
        losses.PixelCrossEntropy,
        losses.PixelDice,
        losses.PixelFocal,
        losses.PixelTversky,
    )
)
RNG = np.random.default_rng(0)
LOGITS = RNG.normal(0, 2, (2, 4, 5, 3)).astype("float32")
TRUTH = RNG.integers(0, 3, (2, 4, 5))
TRUTH[0, :2] = 255
WEIGHTS = RNG.uniform(0.5, 3, (2, 4, 5)).astype("float32")
PROBABILITIES = np.exp(LOGITS.astype("float64"))
PROBABILITIES /= PROBABILITIES.sum(-1, keepdims=True)


def each_pixel(function):
    """`function(p of the true class)` of every pixel that counts, with its weight."""
    places = np.argwhere(TRUTH != 255)
    found = [function(PROBABILITIES[(*place, TRUTH[tuple(place)])]) for place in places]
    return np.array(found), np.array([WEIGHTS[tuple(place)] for place in places])


def test_cross_entropy_is_the_mean_over_pixels_that_count():
    found, weights = each_pixel(lambda p: -np.log(p))
    loss = PixelCrossEntropy()
    assert float(loss(TRUTH, LOGITS)) == pytest.approx(found.mean(), rel=1e-5)
    weighted = (found * weights).sum() / len(found)
    assert float(loss(TRUTH, LOGITS, WEIGHTS)) == pytest.approx(weighted, rel=1e-5)
    by_probabilities = PixelCrossEntropy(from_logits=False)(TRUTH[..., None], PROBABILITIES)
    assert float(by_probabilities) == pytest.approx(found.mean(), rel=1e-5)


def test_the_sum_of_the_heavy_recipe():
    found, _ = each_pixel(lambda p: -np.log(p))
    loss = PixelCrossEntropy(normalize=False)
    assert float(loss(TRUTH, LOGITS)) == pytest.approx(found.sum(), rel=1e-5)


def test_focal_has_less_of_easy_pixels():
    found, weights = each_pixel(lambda p: -0.25 * (1 - p) ** 2 * np.log(p))
    assert float(PixelFocal()(TRUTH, LOGITS)) == pytest.approx(found.mean(), rel=1e-4)
    weighted = (found * weights).sum() / len(found)
    assert float(PixelFocal()(TRUTH, LOGITS, WEIGHTS)) == pytest.approx(weighted, rel=1e-4)
    plain = PixelFocal(alpha=1.0, gamma=0.0)(TRUTH, LOGITS)
    assert float(plain) == pytest.approx(float(PixelCrossEntropy()(TRUTH, LOGITS)), rel=1e-4)


@pytest.mark.parametrize(("alpha", "beta"), [(0.5, 0.5), (0.3, 0.7)])
def test_overlaps(alpha, beta):
    images = []
    for truth, predicted in zip(TRUTH, PROBABILITIES, strict=True):
        here = truth != 255
        classes = []
        for number in set(truth[here].tolist()):
            t, p = truth[here] == number, predicted[here][:, number]
            both = (t * p).sum()
            wrong = alpha * ((1 - t) * p).sum() + beta * (t * (1 - p)).sum()
            classes.append(1 - both / (both + wrong))
        images.append(np.mean(classes))
    loss = PixelTversky(alpha, beta, ignore=255)
    assert float(loss(TRUTH, LOGITS)) == pytest.approx(np.mean(images), rel=1e-5)
    if alpha == 0.5:
        assert float(PixelDice()(TRUTH, LOGITS)) == pytest.approx(np.mean(images), rel=1e-5)


@pytest.mark.parametrize("name", losses.PIXEL_LOSSES)
def test_ignored_pixels_count_nowhere(name):
    loss = pixel_loss(name, ignore=255)
    other = np.where((TRUTH == 255)[..., None], 100 * LOGITS[:, ::-1], LOGITS)
    assert float(loss(TRUTH, other)) == pytest.approx(float(loss(TRUTH, LOGITS)), rel=1e-6)
    nothing = np.full_like(TRUTH, 255)
    assert float(loss(nothing, LOGITS)) == 0.0
    one_class = loss(np.ones_like(TRUTH), LOGITS)
    assert 0 < float(one_class) < np.inf


@pytest.mark.parametrize("name", losses.PIXEL_LOSSES)
def test_saved_and_in_half_precision(name):
    loss = pixel_loss(name, ignore=7)
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert again.get_config() == loss.get_config()
    assert again.ignore == 7
    half = loss(TRUTH % 3, LOGITS.astype("float16"))
    assert keras.backend.standardize_dtype(half.dtype) == "float32"


@pytest.mark.parametrize(
    ("name", "whole"),
    [
        ("cross_entropy", True),
        *(pytest.param(n, False, marks=pytest.mark.slow) for n in ("cross_entropy", "dice")),
    ],
)
def test_replicas_learn_the_mean_of_the_global_batch(two_replicas, name, whole):
    """The ignored pixels lie in one replica's half, so that the mean of means is another one."""
    images = RNG.normal(size=(2, 4, 5, 2)).astype("float32")
    weights = None if name == "dice" else WEIGHTS

    def trained(scope):
        with scope:
            layers = [keras.Input((4, 5, 2)), keras.layers.Conv2D(3, 1, kernel_initializer="ones")]
            model = keras.Sequential(layers)
            total = distribute.sum_over_replicas if whole else None
            model.compile(keras.optimizers.SGD(0.1), pixel_loss(name, ignore=255, total=total))
        found = model.fit(images, TRUTH, sample_weight=weights, batch_size=2, verbose=0)
        return found.history["loss"][0], np.array(model.layers[0].kernel)

    loss, kernel = trained(distribute.strategy("none").scope())
    loss_of_two, kernel_of_two = trained(two_replicas.scope())
    same = np.allclose(kernel, kernel_of_two, atol=1e-5) and abs(loss - loss_of_two) < 1e-5
    # Of images of equal size, only losses over pixels tell the two means apart.
    assert same == (whole or name == "dice")


@pytest.mark.parametrize(
    ("truth", "predicted", "message"),
    [
        (TRUTH, LOGITS[0], "height, width, classes"),
        (TRUTH, LOGITS[..., :1], "classes=2"),
        (TRUTH, LOGITS[:, 1:], r"\(4, 5\).*\(3, 5\)"),
    ],
)
def test_mistakes(truth, predicted, message):
    with pytest.raises(ArgumentError, match=message):
        PixelCrossEntropy()(truth, predicted)


def test_overlaps_take_no_weight_maps():
    with pytest.raises(ArgumentError, match="weight map"):
        PixelDice()(TRUTH, LOGITS, WEIGHTS)
    with pytest.raises(ArgumentError, match="cross_entropy, dice, focal, jaccard, tversky"):
        pixel_loss("lovasz")
