"""Scores against closed forms and the papers' formulas written out loop by loop."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from keras_arch import metrics
from keras_arch.errors import ArgumentError
from keras_arch.metrics import neighbors


@pytest.mark.parametrize("classes", [2, 10, 37])
def test_inception_score_of_sure_and_balanced_samples_is_the_number_of_classes(classes):
    sure = np.tile(np.eye(classes), (20, 1))
    one_split = metrics.inception_score(sure, splits=1)
    assert one_split.mean == pytest.approx(classes, rel=1e-12)
    assert one_split.deviation == 0
    in_order = metrics.inception_score(sure, splits=10, seed=None)
    assert (in_order.mean, in_order.deviation) == (
        pytest.approx(classes),
        pytest.approx(0, abs=1e-9),
    )


def test_inception_score_of_unsure_or_of_one_kind_of_samples_is_one():
    assert metrics.inception_score(np.full((50, 10), 0.1)).mean == pytest.approx(1)
    assert metrics.inception_score(np.eye(10)[[3] * 50]).mean == pytest.approx(1)


def test_samples_sorted_by_class_score_as_shuffled_ones():
    sure = np.repeat(np.eye(10), 1000, axis=0)
    assert metrics.inception_score(sure).mean == pytest.approx(10, rel=0.01)
    assert metrics.inception_score(sure, seed=None).mean == pytest.approx(1)


def test_inception_score_by_the_formula():
    rows = np.random.default_rng(0).dirichlet(np.ones(5), size=33)
    scores = []
    for part in np.array_split(rows, 4):
        divergences = [stats.entropy(row, part.mean(axis=0)) for row in part]
        scores.append(np.exp(np.mean(divergences)))
    found = metrics.inception_score(rows, splits=4, seed=None)
    assert found.mean == pytest.approx(np.mean(scores), rel=1e-12)
    assert found.deviation == pytest.approx(np.std(scores), rel=1e-12)


@pytest.mark.parametrize(
    ("rows", "splits", "message"),
    [
        (np.eye(4), 5, "splits must be 1 to the 4 samples, got 5"),
        (np.eye(4) * 3, 1, "of logits take the softmax"),
        (np.array([[1.5, -0.5]]), 1, "must not be negative"),
    ],
)
def test_inception_score_of_wrong_arguments(rows, splits, message):
    with pytest.raises(ArgumentError, match=message):
        metrics.inception_score(rows, splits)


def brute(real, generated, k):
    """Kynkaanniemi's equations 1 and 2, Naeem's equations 3 and 4."""

    def radius(points, i):
        return sorted(np.linalg.norm(points[i] - points[j]) for j in range(len(points)) if j != i)[
            k - 1
        ]

    r = [radius(real, i) for i in range(len(real))]
    g = [radius(generated, i) for i in range(len(generated))]
    gaps = [[np.linalg.norm(x - y) for x in real] for y in generated]
    precision = np.mean([any(d <= w for d, w in zip(row, r, strict=True)) for row in gaps])
    recall = np.mean(
        [any(gaps[j][i] <= g[j] for j in range(len(generated))) for i in range(len(real))]
    )
    density = sum(d < w for row in gaps for d, w in zip(row, r, strict=True)) / (k * len(generated))
    coverage = np.mean(
        [any(gaps[j][i] < r[i] for j in range(len(generated))) for i in range(len(real))]
    )
    return precision, recall, density, coverage


@settings(deadline=None, max_examples=20)
@given(
    seed=st.integers(0, 10**6),
    n=st.integers(6, 25),
    m=st.integers(6, 25),
    k=st.integers(1, 5),
    whole=st.booleans(),
)
def test_neighborhood_scores_by_brute_force(seed, n, m, k, whole):
    """On whole numbers too, where ties and copies abound."""
    rng = np.random.default_rng(seed)
    real, generated = rng.normal(size=(n, 2)) * 1.5 + 100, rng.normal(size=(m, 2)) + 100.5
    if whole:
        real, generated = np.rint(real), np.rint(generated)
    precision, recall, density, coverage = brute(real, generated, k)
    found = metrics.precision_recall(real, generated, k)
    assert (found.precision, found.recall) == (pytest.approx(precision), pytest.approx(recall))
    found = metrics.density_coverage(real, generated, k)
    assert (found.density, found.coverage) == (pytest.approx(density), pytest.approx(coverage))


def test_neighborhood_scores_in_closed_form(monkeypatch):
    rng = np.random.default_rng(0)
    real = rng.normal(size=(400, 8)).astype("float32")
    far = real + 100
    for block in (neighbors._BLOCK, 5000):
        monkeypatch.setattr(neighbors, "_BLOCK", block)
        assert metrics.precision_recall(real, real) == metrics.PrecisionRecall(1, 1)
        assert metrics.density_coverage(real, real) == metrics.DensityCoverage(1, 1)
        assert metrics.precision_recall(real, far) == metrics.PrecisionRecall(0, 0)
        assert metrics.density_coverage(real, far) == metrics.DensityCoverage(0, 0)
    # A memorised handful: all of it real, little of what is real.
    few = np.repeat(real[:4], 25, axis=0)
    found = metrics.precision_recall(real, few)
    assert found.precision == 1
    assert found.recall == pytest.approx(4 / 400)
    # Expected for equal distributions: density 1, coverage 1 - (1/2)^k nearly (Naeem, appendix).
    other = metrics.density_coverage(rng.normal(size=(2000, 4)), rng.normal(size=(2000, 4)))
    assert other.density == pytest.approx(1, abs=0.1)
    assert other.coverage == pytest.approx(1 - 0.5**5, abs=0.02)


@pytest.mark.parametrize("k", [0, 1.5, 6])
def test_too_many_neighbors(k):
    with pytest.raises(ArgumentError, match=r"k must be|at least 7 samples, got 6"):
        metrics.precision_recall(np.zeros((6, 2)), np.zeros((6, 2)), k)


@settings(deadline=None, max_examples=25)
@given(n=st.integers(1, 8), m=st.integers(1, 40), data=st.data(), block=st.integers(1, 60))
def test_nearest_by_brute_force_in_blocks_of_any_size(n, m, data, block):
    k = data.draw(st.integers(1, m))
    rng = np.random.default_rng(n * 100 + m)
    references = rng.integers(0, 256, (m, 2, 3), dtype=np.uint8)
    points = rng.integers(0, 256, (n, 2, 3), dtype=np.uint8)
    before = neighbors._BLOCK
    try:
        neighbors._BLOCK = block
        indices, distances = metrics.nearest_neighbors(points, references, k)
    finally:
        neighbors._BLOCK = before
    gaps = points[:, None].astype(float) - references[None]
    expected = np.sort(np.sqrt((gaps**2).sum(axis=(2, 3))), axis=1)[:, :k]
    np.testing.assert_allclose(distances, expected, rtol=1e-12)
    taken = points[:, None].astype(float) - references[indices]
    np.testing.assert_allclose(np.sqrt((taken**2).sum(axis=(2, 3))), distances, rtol=1e-12)
    assert all(len(set(row)) == k for row in indices.tolist())


def test_a_copy_is_at_distance_zero():
    images = np.random.default_rng(0).random((30, 8, 8, 1), "float32")
    indices, distances = metrics.nearest_neighbors(images[[7, 3]], images)
    assert indices.tolist() == [[7], [3]]
    assert distances.tolist() == [[0.0], [0.0]]


@pytest.mark.parametrize(
    ("points", "references", "k", "message"),
    [
        (np.zeros((2, 3)), np.zeros((4, 3)), 5, "k must be 1 to the 4 references, got 5"),
        (np.zeros((2, 3)), np.zeros((4, 2)), 1, "same dimensions, got 3 and 2"),
        (np.zeros((0, 3)), np.zeros((4, 3)), 1, "points must have at least 1"),
    ],
)
def test_nearest_neighbors_of_wrong_arguments(points, references, k, message):
    with pytest.raises(ArgumentError, match=message):
        metrics.nearest_neighbors(points, references, k)
