import time

import numpy as np
import pytest

from keras_arch import data
from keras_arch.errors import ArgumentError


def brute_force(instances, w0, sigma):
    """Equation 2's second term, from the distance of every pixel to every pixel of every cell.

    Of pixels between cells, and of those in a cell that are next to another one.
    """
    cells = [np.argwhere(instances == n) for n in np.unique(instances) if n > 0]
    term = np.zeros(instances.shape)
    for place in np.argwhere(instances >= 0):
        each = sorted(np.sqrt(((cell - place) ** 2).sum(1)).min() for cell in cells)
        if len(each) > 1 and (each[0] > 0 or each[1] == 1):
            term[tuple(place)] = w0 * np.exp(-((each[0] + each[1]) ** 2) / (2 * sigma**2))
    return term


def discs(size, count, radius, seed):
    rng = np.random.default_rng(seed)
    labels, grid = np.zeros((size, size), int), np.mgrid[:size, :size]
    for number in range(1, count + 1):
        centre = rng.uniform(0, size, 2)
        inside = ((grid - centre[:, None, None]) ** 2).sum(0) < radius**2
        labels[inside & (labels == 0)] = number
    return labels


@pytest.mark.parametrize(("w0", "sigma", "seed"), [(10, 5, 0), (10, 2, 1), (3.5, 1.0, 2)])
def test_equals_brute_force(w0, sigma, seed):
    labels = discs(40, 9, 4.5, seed)
    found = data.border_weights(labels, w0=w0, sigma=sigma, balance=False)
    np.testing.assert_allclose(found, 1 + brute_force(labels, w0, sigma), rtol=2e-6, atol=1e-6)
    assert found.max() > 1.4


def test_numbers_of_instances_need_no_order():
    labels = discs(40, 5, 6, 3)
    other = np.where(labels > 0, 1000 - 7 * labels, 0)
    np.testing.assert_array_equal(data.border_weights(labels), data.border_weights(other))


def test_one_cell_has_no_gap():
    labels = np.zeros((20, 20), int)
    labels[5:9, 5:9] = 4
    np.testing.assert_array_equal(data.border_weights(labels, balance=False), 1.0)


def test_balance_makes_classes_count_alike():
    labels = discs(64, 6, 7, 4)
    weights = data.border_weights(labels, w0=0)
    inside, outside = weights[labels > 0].sum(), weights[labels == 0].sum()
    assert inside == pytest.approx(outside, rel=1e-5)
    assert weights.mean() == pytest.approx(1, rel=1e-5)


def test_ignored_pixels_weigh_nothing():
    mask = np.array([[0, 1, 255], [0, 1, 255]])
    weights = data.border_weights(data.instances_of(mask), mask=mask)
    np.testing.assert_allclose(weights, [[1, 1, 0], [1, 1, 0]])
    all_ignored = np.full((4, 4), 255)
    assert not data.border_weights(data.instances_of(all_ignored), mask=all_ignored).any()


def test_regions_of_each_class_are_instances():
    mask = np.array([[1, 2, 0, 1], [1, 2, 0, 1]])
    found = data.instances_of(mask)
    assert len(np.unique(found)) == 4
    assert (found[mask == 0] == 0).all()
    assert len(np.unique(data.instances_of(np.eye(3, dtype=int)))) == 4  # corners do not connect


def test_a_hundred_cells_within_half_a_second():
    labels = discs(512, 140, 22, 5)
    assert len(np.unique(labels)) > 100
    data.border_weights(labels[:64, :64])
    # The best of some: other processes share the machine.
    seconds = []
    for _ in range(4):
        start = time.process_time()
        data.border_weights(labels)
        seconds.append(time.process_time() - start)
    assert min(seconds) < 0.5, seconds


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1, 2],), "height, width"),
        ((np.ones((2, 2)),), "whole numbers"),
        ((np.ones((2, 2), int), -1), "-1"),
        ((np.ones((2, 2), int), 1, 0), "sigma"),
        ((np.ones((2, 2), int), 1, 1, [1.0]), "each of 2 classes"),
        ((np.ones((2, 2), int), 1, 1, True, np.ones((3, 2))), "one size"),
    ],
)
def test_mistakes(arguments, message):
    with pytest.raises(ArgumentError, match=message):
        data.border_weights(*arguments)


def test_instances_that_touch_are_parted():
    instances = np.zeros((5, 9), int)
    instances[1:4, 1:4], instances[1:4, 4:8] = 2, 9
    apart = data.separate_instances(instances)
    wanted = instances.copy()
    wanted[1:4, 4] = 0
    np.testing.assert_array_equal(apart, wanted)
    assert apart.dtype == np.int32
    # Parted once, and never again.
    np.testing.assert_array_equal(data.separate_instances(apart), apart)
    # Nothing is lost of what would vanish.
    assert data.separate_instances([[1, 2, 1]]).tolist() == [[1, 2, 1]]
    with pytest.raises(ArgumentError, match="numbered from 0, got -1"):
        data.separate_instances([[-1, 0]])


def test_the_border_of_instances_that_touch_weighs_most():
    instances = np.zeros((5, 9), int)
    instances[1:4, 1:4], instances[1:4, 4:8] = 2, 9
    weights = data.border_weights(instances, w0=10, sigma=5, balance=False)
    # In one, and next to the other: distances 0 and 1.
    np.testing.assert_allclose(weights[1:4, 3:5], 1 + 10 * np.exp(-1 / 50), rtol=1e-6)
    np.testing.assert_array_equal(weights[1:4, [1, 2, 5, 6, 7]], 1)
    assert weights.max() == weights[1, 3]
    # Without background, too; but not where classes say that a pixel is no border.
    whole = np.repeat([[1, 1, 2, 2]], 3, axis=0)
    between = 1 + 10 * np.exp(-1 / 50)
    found = data.border_weights(whole, balance=False)[1]
    np.testing.assert_allclose(found, [1, between, between, 1], rtol=1e-6)
    classes = np.ones((3, 4), int)
    np.testing.assert_array_equal(data.border_weights(whole, balance=False, mask=classes), 1)


def test_class_balance_counts_every_value():
    found = data.class_balance([[[0, 255, 299]]], 300, ignore=None)
    assert found[0] == found[255] == found[299] == 1.0
    for mask, message in (([0, 2], "found 2"), ([0.5, 1], "found 0.5"), ([0, 257], "found 257")):
        with pytest.raises(ArgumentError, match=message):
            data.class_balance([mask], 2)
    weights = data.border_weights(np.zeros((1, 3), int), mask=[[1, 257, 257]], balance=True)
    np.testing.assert_allclose(weights, [[1.5, 0.75, 0.75]])
