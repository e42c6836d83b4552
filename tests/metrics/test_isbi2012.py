import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage
from sklearn.metrics import cluster

from keras_arch import metrics
from keras_arch.errors import ArgumentError

SMALL = arrays.arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9)))


def topology(interior):
    """Cells, and pieces of membrane where what is beyond the image is membrane."""
    membranes = np.pad(~interior, 1, constant_values=True)
    return ndimage.label(interior)[1], ndimage.label(membranes, np.ones((3, 3)))[1]


def blobs(seed, size=64):
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(size, size)), 3)
    return noise < np.quantile(noise, 0.75)


def test_pixel_error_is_the_squared_distance():
    truth = np.array([[0, 1, 1, 0]])
    assert metrics.pixel_error(truth, [[0, 0.5, 1, 0]]) == 0.0625
    assert metrics.pixel_error(truth, 1 - truth) == 1.0


def test_ignored_pixels():
    truth = np.ones((6, 9), int)
    truth[:, 4] = 0
    truth[2:5, 2:6] = 255
    perfect = (truth == 1).astype(float)
    for metric in (metrics.pixel_error, metrics.rand_error, metrics.warping_error):
        # The files of the challenge hold 0 and 255.
        with pytest.raises(ArgumentError, match="divide masks of 0 and 255 by 255"):
            metric(truth, perfect)
        assert metric(truth, perfect, ignore=255) == 0
        # Whatever is predicted there.
        assert metric(truth, np.where(truth == 255, 0.7, perfect), ignore=255) == 0
    assert metrics.pixel_error([[1, 0, 255, 255]], [[0.0, 0.0, 1.0, 0.0]], ignore=255) == 0.5
    nothing = [[255]], [[0.3]]
    assert metrics.pixel_error(*nothing, ignore=255) == 0
    assert metrics.warping_error(*nothing, ignore=255) == 0


@given(truth=SMALL, data=st.data())
@settings(max_examples=20, deadline=None)
def test_rand_error_against_all_pairs(truth, data):
    found = data.draw(arrays.arrays(bool, truth.shape))
    known, cells = ndimage.label(truth)[0].ravel(), ndimage.label(found)[0].ravel()
    # A pixel of a predicted membrane is a cell of its own.
    cells = np.where(cells > 0, cells, 1000 + np.arange(cells.size))[known > 0]
    known = known[known > 0]
    pairs = list(itertools.product(range(len(known)), repeat=2))
    both = sum(known[i] == known[j] and cells[i] == cells[j] for i, j in pairs)
    total = sum(int(known[i] == known[j]) + int(cells[i] == cells[j]) for i, j in pairs)
    expected = 1 - 2 * both / total if total else 0.0
    error = metrics.rand_error(truth, found, thresholds=[0.5], thin=False)
    assert error == pytest.approx(expected, abs=1e-12)


def test_rand_error_against_scikit_learn():
    truth, found = blobs(0), blobs(1)
    known, cells = ndimage.label(truth)[0].ravel(), ndimage.label(found)[0].ravel()
    cells = np.where(cells > 0, cells, 10_000 + np.arange(cells.size))[known > 0]
    (_, false), (missed, right) = cluster.pair_confusion_matrix(known[known > 0], cells)
    # scikit-learn leaves out the pairs of a pixel with itself.
    pixels = int(truth.sum())
    both = right + pixels
    expected = 1 - 2 * both / ((both + missed) + (both + false))
    error = metrics.rand_error(truth, found, thresholds=[0.5], thin=False)
    assert error == pytest.approx(expected, rel=1e-9)


def test_rand_error_takes_the_best_threshold_and_thin_borders():
    truth = np.ones((20, 21), bool)
    truth[:, 10] = False
    thick = np.ones((20, 21))
    thick[:, 7:14] = 0.35
    assert metrics.rand_error(truth, thick) == 0.0
    assert metrics.rand_error(truth, thick, thin=False) > 0.2
    assert metrics.rand_error(truth, thick, thresholds=[0.3]) == pytest.approx(1 / 3, abs=0.01)


@given(truth=SMALL, data=st.data())
@settings(max_examples=80, deadline=None)
def test_warping_keeps_the_topology(truth, data):
    target = data.draw(arrays.arrays(bool, truth.shape))
    moved = metrics.warp_towards(truth, target)
    assert topology(moved) == topology(truth)
    assert (moved != target).sum() <= (truth != target).sum()


@given(lines=SMALL)
@settings(max_examples=80, deadline=None)
def test_thinning_keeps_the_topology(lines):
    thin = metrics.thin_lines(lines)
    assert not (thin & ~lines).any()
    assert topology(~thin) == topology(~lines)


def test_warping_error_of_shifts_splits_and_mergers():
    truth = np.ones((24, 24), bool)
    truth[:, 8] = False
    shifted = np.roll(truth, 1, axis=1)
    assert metrics.warping_error(truth, shifted) == 0.0
    merged = truth.copy()
    merged[10:13, 8] = True  # A hole that the membrane cannot have without losing its topology.
    assert metrics.warping_error(truth, merged) == pytest.approx(3 / truth.size)
    split = truth.copy()
    split[:, 16] = False
    assert metrics.warping_error(truth, split) == pytest.approx(1 / truth.size)
    speck = truth.copy()
    speck[4:6, 20:22] = False  # A piece of membrane that is not there.
    assert metrics.warping_error(truth, speck) == pytest.approx(4 / truth.size)


def test_no_single_flip_is_left():
    truth, target = blobs(2), blobs(3)
    moved = metrics.warp_towards(truth, target)
    assert topology(moved) == topology(truth)
    for place in np.argwhere(moved != target)[:200]:
        again = moved.copy()
        again[tuple(place)] ^= True
        around = tuple(slice(max(0, at - 1), at + 2) for at in place)
        # A flip of a point that is not simple changes the topology of its neighbourhood.
        assert topology(again) != topology(moved) or local(again, around) != local(moved, around)


def local(image, window):
    return topology(image[window])


@pytest.mark.parametrize(
    ("truth", "interior", "message"),
    [
        (np.zeros((2, 2)), np.zeros((2, 3)), "one shape"),
        (np.full((2, 2), 7), np.zeros((2, 2)), "found 7 in the truth; classes are 0 to 1"),
        (np.zeros((2, 2)), np.full((2, 2), 2.0), "probabilities"),
    ],
)
def test_wrong_arguments(truth, interior, message):
    for metric in (metrics.pixel_error, metrics.rand_error, metrics.warping_error):
        with pytest.raises(ArgumentError, match=message):
            metric(truth, interior)
