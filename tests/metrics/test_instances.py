import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from keras_arch import metrics
from keras_arch.errors import ArgumentError


def cells(*rows):
    return np.array([[int(digit) for digit in row] for row in rows])


def test_counts_of_a_drawn_case():
    truth = cells("1110220", "1110220", "1110000", "0000333")
    # Of 1 a third is missing: 6/9; 2 has moved: 2/6; 3 is whole; 4 is not there.
    found = cells("1110022", "1110022", "0000000", "4400333")
    matches = metrics.match_instances(truth, found)
    assert (matches.matched, matches.true, matches.predicted) == (2, 3, 4)
    assert matches.recall == pytest.approx(2 / 3)
    assert matches.f_score == pytest.approx(4 / 7)
    assert metrics.match_instances(truth, found, iou=0.7).matched == 1


def test_a_half_is_no_match():
    """Otherwise one instance could match two."""
    truth, found = cells("1122"), cells("1111")
    assert metrics.match_instances(truth, found).matched == 0


def test_regions_of_a_mask_are_connected_across_sides():
    mask = cells("1010", "0101") > 0
    assert metrics.match_instances(mask, mask).true == 4


def test_sums_of_images_and_nothing_to_find():
    one = metrics.match_instances(cells("11"), cells("11"))
    none = metrics.match_instances(cells("00"), cells("00"))
    assert (none.recall, none.f_score) == (None, None)
    both = one + none + metrics.match_instances(cells("11"), cells("00"))
    assert (both.recall, both.f_score) == (0.5, pytest.approx(2 / 3))


@given(arrays.arrays(np.int16, (6, 7), elements=st.integers(0, 4)), st.data())
def test_it_agrees_with_a_loop_over_pairs(truth, data):
    found = data.draw(arrays.arrays(np.int16, (6, 7), elements=st.integers(0, 4)))
    matched = 0
    for one in set(truth.ravel()) - {0}:
        for other in set(found.ravel()) - {0}:
            shared = ((truth == one) & (found == other)).sum()
            matched += 2 * shared > ((truth == one) | (found == other)).sum()
    # `2 x shared > union` is `intersection over union > 1/2`.
    result = metrics.match_instances(truth, found)
    assert result.matched == matched
    assert result.true == len(set(truth.ravel()) - {0})


@pytest.mark.parametrize(
    ("truth", "found", "iou", "words"),
    [
        (cells("11"), cells("111"), 0.5, "one shape"),
        (cells("11"), cells("11"), 0.4, "at least 0.5"),
        (cells("11") - 3, cells("11"), 0.5, "truth must be a"),
        (cells("11"), cells("11") * 0.5, 0.5, "predicted must be a"),
        (cells("11")[None], cells("11"), 0.5, "truth must be a"),
    ],
)
def test_mistakes(truth, found, iou, words):
    with pytest.raises(ArgumentError, match=words):
        metrics.match_instances(truth, found, iou)
