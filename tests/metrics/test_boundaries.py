import numpy as np
import pytest
from scipy import ndimage

from keras_arch import metrics
from keras_arch.errors import ArgumentError


def test_counted_by_hand():
    truth, predicted = np.zeros((2, 10, 10), int)
    truth[3:6, 3:6] = 1
    predicted[3:6, 3:8] = 1
    # The square's rim has 8 pixels. The longer rectangle's has 12: 4 of them in column 6 and 7 are
    # away from the rim of the square by one or two pixels.
    rim = metrics.boundary_of(truth == 1)
    longer = metrics.boundary_of(predicted == 1)
    assert (rim.sum(), longer.sum()) == (8, 12)
    hits = (longer & rim).sum()
    back = (rim & longer).sum()
    found = metrics.boundary_f_score(truth, predicted, 2, tolerance=0)
    p, r = hits / 12, back / 8
    assert found["per_class"][1] == pytest.approx(2 * p * r / (p + r))
    assert metrics.boundary_f_score(truth, predicted, 2, tolerance=2)["per_class"][1] == 1.0


def test_tolerance_is_a_distance():
    truth, predicted = np.zeros((2, 20, 20), int)
    truth[:, 10:], predicted[:, 13:] = 1, 1
    scores = [metrics.boundary_f_score(truth, predicted, 2, t)["f_score"] for t in (2, 2.9, 3)]
    assert scores == [0.0, 0.0, 1.0]


def test_absent_and_ignored_classes():
    blank = np.zeros((8, 8), int)
    assert metrics.boundary_f_score(blank, blank, 3) == {"f_score": None, "per_class": [None] * 3}
    truth = blank.copy()
    truth[2:5, 2:5] = 1
    missed = metrics.boundary_f_score(truth, blank, 3)
    assert missed["per_class"] == [0.0, 0.0, None]
    ignored = np.where(truth == 1, 255, 0)
    assert metrics.boundary_f_score(ignored, truth, 2, ignore=255)["per_class"] == [None, None]


def test_maps_of_different_sizes():
    maps = [np.tri(6, 6, dtype=int), np.tri(9, 4, dtype=int)]
    assert metrics.boundary_f_score(maps, maps, 2)["f_score"] == 1.0
    with pytest.raises(ArgumentError, match="one size"):
        metrics.boundary_f_score(maps, maps[::-1], 2)
    with pytest.raises(ArgumentError, match="from 0, got -1"):
        metrics.boundary_f_score(maps, maps, 2, tolerance=-1)


def test_boundary_against_erosion():
    region = np.random.default_rng(0).random((30, 30)) > 0.3
    eroded = ndimage.binary_erosion(region, border_value=1)
    np.testing.assert_array_equal(metrics.boundary_of(region), region & ~eroded)
