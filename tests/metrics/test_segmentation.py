import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from keras_arch import metrics
from keras_arch.errors import ArgumentError

KERAS = {
    "pixel_accuracy": metrics.PixelAccuracy,
    "mean_accuracy": metrics.MeanAccuracy,
    "mean_iu": metrics.MeanIU,
    "frequency_weighted_iu": metrics.FrequencyWeightedIU,
    "dice": metrics.Dice,
}


def masks(classes):
    return st.lists(
        st.tuples(st.sampled_from([*range(classes), 255]), st.integers(0, classes - 1)),
        min_size=1,
        max_size=40,
    )


@given(pixels=masks(4))
@settings(max_examples=60, deadline=None)
def test_against_scikit_learn(pixels):
    truth, predicted = map(np.array, zip(*pixels, strict=True))
    found = metrics.pixel_confusion(truth, predicted, 4, ignore=255)
    counted = truth != 255
    if not counted.any():
        assert not found.any()
        assert np.isnan(list(metrics.pixel_scores(found).values())).all()
        return
    truth, predicted = truth[counted], predicted[counted]
    np.testing.assert_array_equal(
        found, reference.confusion_matrix(truth, predicted, labels=range(4))
    )
    scores = metrics.pixel_scores(found)
    there = sorted(set(truth))
    some = sorted(set(truth) | set(predicted))
    share = np.bincount(truth, minlength=4) / len(truth)
    iu = reference.jaccard_score(truth, predicted, labels=some, average=None)
    recall = reference.recall_score(truth, predicted, labels=there, average="macro")
    dice = reference.f1_score(truth, predicted, labels=some, average="macro")
    assert scores["pixel_accuracy"] == pytest.approx(reference.accuracy_score(truth, predicted))
    assert scores["mean_accuracy"] == pytest.approx(recall)
    assert scores["mean_iu"] == pytest.approx(iu.mean())
    assert scores["frequency_weighted_iu"] == pytest.approx((share[some] * iu).sum())
    assert scores["dice"] == pytest.approx(dice)


@pytest.mark.parametrize("name", [*KERAS, "foreground_iu"])
def test_no_figure_where_no_pixel_counts(name):
    metric = (KERAS | {"foreground_iu": metrics.ForegroundIU})[name](2, ignore=255)
    metric.update_state(np.full((1, 4, 4), 255), np.zeros((1, 4, 4, 2), "float32"))
    assert np.isnan(float(metric.result()))


@pytest.mark.parametrize("name", KERAS)
def test_keras_metrics_are_the_same(name):
    rng = np.random.default_rng(0)
    metric = KERAS[name](5, ignore=255)
    total = np.zeros((5, 5), np.int64)
    for _ in range(3):
        truth = rng.choice([0, 1, 3, 255], (2, 6, 7), p=[0.4, 0.3, 0.1, 0.2])
        outputs = rng.normal(size=(2, 6, 7, 5)).astype("float32")
        outputs[..., 2] -= 100  # Class 2 is nowhere; class 4 is only predicted.
        metric.update_state(truth, outputs)
        total += metrics.pixel_confusion(truth, outputs.argmax(-1), 5, ignore=255)
    np.testing.assert_array_equal(np.array(metric.confusion), total)
    expected = metrics.pixel_scores(total)[name]
    assert float(metric.result()) == pytest.approx(expected, rel=1e-6)
    again = keras.metrics.deserialize(keras.metrics.serialize(metric))
    again.update_state(truth, outputs.argmax(-1)), metric.reset_state()
    metric.update_state(truth[..., None], outputs)
    assert float(again.result()) == float(metric.result())


def test_counts_beyond_what_a_float_counts():
    metric = metrics.PixelAccuracy(2)
    metric.confusion.assign([[2**30, 0], [0, 0]])
    metric.update_state(np.zeros((1, 1, 1)), np.zeros((1, 1, 1)))
    assert int(np.array(metric.confusion)[0, 0]) == 2**30 + 1


def test_two_replicas_count_all_pixels(two_replicas):
    rng = np.random.default_rng(1)
    images, truth = rng.normal(size=(4, 3, 3, 2)), rng.integers(0, 2, (4, 3, 3))
    with two_replicas.scope():
        model = keras.Sequential([keras.Input((3, 3, 2)), keras.layers.Activation("linear")])
        model.compile(loss="sparse_categorical_crossentropy", metrics=[metrics.MeanIU(2)])
    found = model.evaluate(images, truth, batch_size=4, return_dict=True, verbose=0)
    confusion = metrics.pixel_confusion(truth, images.argmax(-1), 2)
    assert found["mean_iu"] == pytest.approx(metrics.pixel_scores(confusion)["mean_iu"], rel=1e-6)


def test_report_of_each_class():
    rows = metrics.per_class([[3, 1, 0], [2, 4, 0], [0, 0, 0]], ["a", "b", "c"])
    assert rows[0] == {
        "label": "a",
        "pixels": 4,
        "iu": 3 / 6,
        "dice": 6 / 9,
        "precision": 3 / 5,
        "recall": 3 / 4,
    }
    assert rows[2]["iu"] is rows[2]["recall"] is None
    with pytest.raises(ArgumentError, match="3 classes and 2 labels"):
        metrics.per_class(np.zeros((3, 3)), ["a", "b"])


def test_wrong_arguments():
    with pytest.raises(ArgumentError, match="found 7 in the truth; classes are 0 to 1"):
        metrics.pixel_confusion([0, 7], [0, 1], 2)
    with pytest.raises(ArgumentError, match="must agree"):
        metrics.pixel_confusion([0], [0, 1], 2)
    with pytest.raises(ArgumentError, match="at least 2, got 1"):
        metrics.MeanIU(1)
    with pytest.raises(ArgumentError, match="3 classes, the outputs have 2"):
        metrics.MeanIU(3).update_state(np.zeros((1, 2, 2)), np.zeros((1, 2, 2, 2)))


def test_numpy_integers_are_whole_numbers():
    assert metrics.MeanIU(np.int64(3)).get_config()["classes"] == 3
    for value in (True, 2.0, "3"):
        with pytest.raises(ArgumentError, match="whole number of at least 2"):
            metrics.MeanIU(value)
    _, distances = metrics.nearest_neighbors(np.eye(3), np.eye(3), np.int64(2))
    assert distances.shape == (3, 2)
