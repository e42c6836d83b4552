"""Several metrics at once equal the single functions."""

import numpy as np
import pytest

from keras_arch import metrics
from keras_arch.errors import ArgumentError

RNG = np.random.default_rng(0)
REAL = RNG.integers(0, 256, (60, 4, 4, 1), dtype=np.uint8)
GENERATED = RNG.integers(30, 200, (50, 4, 4, 1), dtype=np.uint8)


def corners(images):
    rows = images[:, ::3, ::3, 0].reshape(len(images), 4).astype("float32")
    return rows, rows / rows.sum(axis=1, keepdims=True)


NETWORK = metrics.FeatureNetwork("corners", "four pixels", "none", "none", corners, 16, 4)


def test_all_metrics_equal_their_functions():
    evaluate = metrics.GenerativeMetrics(REAL, NETWORK, metrics.GENERATIVE_METRICS, seed=3)
    (real, _), (generated, probabilities) = corners(REAL), corners(GENERATED)
    kid = metrics.kernel_distance(real, generated, seed=3)
    score = metrics.inception_score(probabilities, seed=3)
    manifolds = metrics.precision_recall(real, generated)
    neighbourhoods = metrics.density_coverage(real, generated)
    expected = {
        "fid": metrics.frechet_distance(real, generated),
        "kid": kid.mean,
        "kid_deviation": kid.deviation,
        "inception_score": score.mean,
        "inception_score_deviation": score.deviation,
        "precision": manifolds.precision,
        "recall": manifolds.recall,
        "density": neighbourhoods.density,
        "coverage": neighbourhoods.coverage,
    }
    found = evaluate(GENERATED)
    assert list(found.values) == list(expected)
    assert found.values == pytest.approx(expected, rel=1e-6)
    assert found.description == (
        "corners: features of four pixels; weights none; resize none; 60 real images, 50 generated"
    )
    assert str(found).startswith(f"fid {expected['fid']:.4g}, kid {kid.mean:.4g}, ")
    # Again, and from batches: the same numbers.
    assert evaluate(iter(np.split(GENERATED, 5))) == found
    assert metrics.evaluate(GENERATED, REAL, NETWORK, metrics.GENERATIVE_METRICS, seed=3) == found


@pytest.mark.parametrize("names", [["recall"], ["coverage", "fid"], "kid"])
def test_only_the_requested_metrics_in_their_order(names):
    values = metrics.evaluate(GENERATED, REAL, NETWORK, names).values
    expected = ["kid", "kid_deviation"] if names == "kid" else names
    assert list(values) == expected


def test_one_pass_over_real_images_without_storing_features_for_the_fid():
    looked = []

    def counting(images):
        looked.append(len(images))
        return corners(images)[0], None

    network = metrics.FeatureNetwork("corners", "four pixels", "none", "none", counting, 30)
    evaluate = metrics.GenerativeMetrics(REAL, network, ["fid"])
    assert (sum(looked), evaluate.real) == (60, None)
    evaluate(REAL[:30])
    evaluate(REAL[30:])
    assert sum(looked) == 120
    assert metrics.GenerativeMetrics(REAL, network, ["kid"]).real.shape == (60, 4)


def test_wrong_arguments():
    with pytest.raises(ArgumentError, match=r"metrics must be some of fid, kid, .* got 'ndb'"):
        metrics.evaluate(GENERATED, REAL, NETWORK, ["fid", "ndb"])
    with pytest.raises(ArgumentError, match="got 'none'"):
        metrics.evaluate(GENERATED, REAL, NETWORK, [])
    with pytest.raises(ArgumentError, match="at least 2 real images, got 1"):
        metrics.evaluate(GENERATED, REAL[:1], NETWORK)
    with pytest.raises(ArgumentError, match="metrics need images, got none"):
        metrics.evaluate(GENERATED[:0], REAL, NETWORK)
    blind = metrics.FeatureNetwork("b", "l", "r", "w", lambda images: (corners(images)[0], None))
    with pytest.raises(ArgumentError, match="b gives none; take a classifier"):
        metrics.evaluate(GENERATED, REAL, blind, ["inception_score"])
