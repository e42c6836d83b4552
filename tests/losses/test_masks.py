"""Masks that users bring, in every loss, metric and function of pixels, compiled or not."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_arch import losses, metrics, models
from keras_arch.errors import ArgumentError
from keras_arch.losses.masks import pixel_classes

RNG = np.random.default_rng(0)
TRUTH = RNG.integers(0, 2, (2, 8, 8))
OUTPUTS = RNG.normal(size=(2, 8, 8, 2)).astype("float32")
METRICS = (
    metrics.PixelAccuracy,
    metrics.MeanAccuracy,
    metrics.MeanIU,
    metrics.ForegroundIU,
    metrics.FrequencyWeightedIU,
    metrics.Dice,
)


def measured(truth, outputs=OUTPUTS, **options):
    """What every loss and metric gives for masks, as functions by name."""
    classes = outputs.shape[-1]
    found = {
        name: lambda loss=loss: loss(from_logits=True, **options)(truth, outputs)
        for name, loss in losses.PIXEL_LOSSES.items()
    }
    found |= {
        metric.default_name: lambda metric=metric: metric(classes, **options)(truth, outputs)
        for metric in METRICS
    }
    found["confusion"] = lambda: metrics.pixel_confusion(
        truth, outputs.argmax(-1), classes, **options
    ).sum()
    return found


WRONG = {
    "of 0 and 255": (255 * TRUTH, "found 255 .*divide masks of 0 and 255 by 255, or .*ignore=255"),
    "of 8 bits": ((255 * TRUTH).astype("uint8"), "divide masks of 0 and 255 by 255"),
    "of 0 and 2": (2 * TRUTH, "found 2 in the .*; classes are 0 to 1; number the classes from 0"),
    "negative": (TRUTH - 1, "found -1"),
    "fractions": (0.5 * TRUTH, "found 0.5 .*whole numbers"),
    "NaN": (np.where(TRUTH, np.nan, 0.0), "found nan"),
    "infinite": (np.where(TRUTH, np.inf, 0.0), "found inf"),
    "of 64 bits": (TRUTH.astype("int64") << 32, "found 4.29497e"),
    "soft": (np.stack([0.3 + 0.0 * TRUTH, 0.7 + 0.0 * TRUTH], -1), "not one-hot"),
    "without a class": (np.zeros((2, 8, 8, 2)), "not one-hot"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_no_class_is_refused_by_all_in_the_same_words(kind):
    truth, message = WRONG[kind]
    for function in measured(truth).values():
        with pytest.raises(ArgumentError, match=message):
            function()
    if kind == "of 0 and 255":
        assert all(np.isfinite(float(found())) for found in measured(truth, ignore=255).values())


def test_masks_of_any_type_and_one_hot_masks_are_the_same():
    expected = {name: float(found()) for name, found in measured(TRUTH).items()}
    assert expected["confusion"] == TRUTH.size
    kinds = ["uint8", "uint16", "int8", "int64", "uint64", "float16", "float32", "float64", "bool"]
    masks = [TRUTH.astype(kind) for kind in kinds]
    one_hot = np.eye(2)[TRUTH]
    for truth in (*masks, TRUTH[..., None], one_hot, one_hot.astype("uint8")):
        found = {name: float(found()) for name, found in measured(truth).items()}
        assert found == pytest.approx(expected, rel=1e-6), truth.dtype
    perfect = metrics.MeanIU(2)
    perfect.update_state(one_hot, one_hot)
    assert float(perfect.result()) == 1.0
    assert metrics.pixel_confusion(one_hot, one_hot, 2).trace() == TRUTH.size


@pytest.mark.parametrize("kind", ["int32", "uint16", "float32", "float16"])
def test_class_255_is_a_class_among_300(kind):
    truth = np.array([[[0, 255], [299, 256]]]).astype(kind)
    outputs = 20 * np.eye(300, dtype="float32")[truth.astype(int)]
    for name, found in measured(truth, outputs).items():
        best = {"confusion": 4.0} | {metric.default_name: 1.0 for metric in METRICS}
        assert float(found()) == pytest.approx(best.get(name, 0.0), abs=1e-5), name
    assert metrics.pixel_confusion(truth, truth, 300)[255, 255] == 1
    small, _, valid = pixel_classes(np.array([255], "uint8"), 300)
    assert int(small[0]) == 255
    assert bool(valid)


@pytest.fixture(scope="module")
def unet():
    return models.UNet(
        padding="same", input_shape=(8, 8, 1), classes=2, depth=1, filters=2,
        classifier_activation=None,
    )  # fmt: skip


def fitted(model, truth, loss=None, class_weight=None, **options):
    loss = loss or losses.pixel_loss({"cross_entropy": 1.0, "dice": 1.0})
    model.compile("sgd", loss, metrics=[metrics.MeanIU(2), metrics.Dice(2)], **options)
    images = RNG.normal(size=(2, 8, 8, 1)).astype("float32")
    return model.fit(images, truth, class_weight=class_weight, verbose=0).history


def test_fit_stops_at_what_is_no_class(unet):
    message = "(?s)other values than classes 0 to 1.*such as.*255.*divide masks of 0 and 255"
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        fitted(unet, WRONG["of 8 bits"][0])
    with pytest.raises(ArgumentError):
        fitted(unet, WRONG["of 8 bits"][0], run_eagerly=True)


def test_weights_of_classes_belong_to_the_loss(unet):
    """Keras' own are for one class an example: once it takes them for masks, so should we."""
    loss = losses.PixelCrossEntropy(class_weights={1: 2.0})
    with pytest.raises(TypeError):
        fitted(unet, TRUTH, loss, class_weight={0: 1.0, 1: 2.0})


@pytest.mark.parametrize(
    ("kind", "message"),
    [("fractions", "(?s)such as.*0.5"), ("NaN", "nan"), ("soft", "not one-hot")],
)
def test_graphs_of_tensorflow_stop(kind, message):
    truth = WRONG[kind][0]
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        tf.function(losses.PixelCrossEntropy())(truth, OUTPUTS)


@pytest.mark.slow
def test_xla_gives_nan_without_a_gradient():
    loss, metric = losses.pixel_loss({"cross_entropy": 1.0, "dice": 1.0}), metrics.MeanIU(2)

    @tf.function(jit_compile=True)
    def step(truth, outputs):
        metric.update_state(truth, outputs)
        with tf.GradientTape() as tape:
            tape.watch(outputs)
            value = loss(truth, outputs)
        return value, tape.gradient(value, outputs)

    right, slope = step(tf.constant(TRUTH), tf.constant(OUTPUTS))
    assert np.isfinite(float(right))
    assert np.abs(slope).max() > 0
    assert np.isfinite(float(metric.result()))
    wrong, slope = step(tf.constant(255 * TRUTH), tf.constant(OUTPUTS))
    assert np.isnan(float(wrong))
    assert not np.any(slope)
    assert np.isnan(float(metric.result()))


@pytest.mark.slow
def test_fit_compiled_by_xla_trains_nothing_on_a_wrong_mask(unet):
    before = [np.array(weight) for weight in unet.get_weights()]
    history = fitted(unet, WRONG["of 0 and 255"][0], jit_compile=True)
    assert all(np.isnan(values).all() for values in history.values())
    for one, other in zip(before, unet.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    history = fitted(unet, np.eye(2)[TRUTH], jit_compile=True)
    assert all(np.isfinite(values).all() for values in history.values())


def test_pixels_and_outputs_fit():
    turned = np.zeros((2, 4, 16), int)
    for name, found in measured(turned).items():
        with pytest.raises(ArgumentError, match=r"do not fit|must agree"):
            found()
        assert name
    with pytest.raises(ArgumentError, match="3 values a pixel"):
        losses.PixelDice()(np.zeros((2, 8, 8, 3)), OUTPUTS)
    for weights in (np.ones((2, 8)), np.ones((2, 8, 4))):
        with pytest.raises(ArgumentError, match=r"\(batch, height, width\)|do not fit"):
            losses.PixelCrossEntropy()(TRUTH, OUTPUTS, weights)


@pytest.mark.parametrize("name", losses.PIXEL_LOSSES)
def test_probabilities_are_no_logits(name):
    for kind in ("float32", "float16"):
        softmax = keras.ops.softmax(OUTPUTS.astype(kind))
        with pytest.raises(ArgumentError, match=r"classifier_activation=None, .*from_logits=False"):
            losses.pixel_loss(name)(TRUTH, softmax)
        assert np.isfinite(float(losses.pixel_loss(name, from_logits=False)(TRUTH, softmax)))
    with pytest.raises(ArgumentError, match=r"activation='softmax', .*from_logits=True"):
        losses.pixel_loss(name, from_logits=False)(TRUTH, OUTPUTS)
    assert np.isnan(float(losses.pixel_loss(name)(TRUTH, np.full_like(OUTPUTS, np.nan))))


def test_a_network_of_probabilities_does_not_fit_a_loss_of_logits():
    softmax = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(2, 1)])
    softmax.add(keras.layers.Softmax())
    with pytest.raises(tf.errors.InvalidArgumentError, match="from_logits=False"):
        fitted(softmax, TRUTH)


def test_metrics_of_nothing_measured():
    metric = metrics.MeanIU(2)
    with pytest.raises(ArgumentError, match="not in weighted_metrics"):
        metric.update_state(TRUTH, OUTPUTS, np.ones(2))
    metric.update_state(TRUTH, np.full_like(OUTPUTS, np.nan))
    assert np.isnan(float(metric.result()))
    metric.reset_state()
    with pytest.raises(ArgumentError, match="found 2 in the predictions"):
        metric.update_state(TRUTH, TRUTH + 1)
    with pytest.raises(ArgumentError, match=r"found 0\.5, 1\.5 in the predictions"):
        metrics.pixel_confusion(TRUTH, 0.5 + TRUTH, 2)
    with pytest.raises(ArgumentError, match="found 255 in the truth"):
        metrics.boundary_f_score(255 * TRUTH, TRUTH, 2)


def test_a_weight_for_each_class():
    truth, outputs = RNG.integers(0, 3, (2, 4, 5)), RNG.normal(size=(2, 4, 5, 3))
    outputs = outputs.astype("float32")
    given = np.array([0.5, 1.0, 3.0])
    for name in ("cross_entropy", "focal"):
        loss = losses.pixel_loss(name, class_weights=given)
        as_map = losses.pixel_loss(name)(truth, outputs, given[truth])
        assert float(loss(truth, outputs)) == pytest.approx(float(as_map), rel=1e-5)
        some = losses.pixel_loss(name, class_weights={0: 0.5, 2: 3.0})
        assert float(some(truth, outputs)) == float(loss(truth, outputs))
        again = keras.losses.deserialize(keras.losses.serialize(some))
        assert float(again(truth, outputs)) == float(loss(truth, outputs))
    only_last = losses.PixelDice(class_weights=[0, 0, 2])(truth, outputs)
    softmax = np.array(keras.ops.softmax(outputs))[..., 2]
    true = truth == 2
    dice = 2 * (softmax * true).sum((1, 2)) / (softmax + true).sum((1, 2))
    assert float(only_last) == pytest.approx(1 - dice.mean(), rel=1e-5)
    for wrong in ([1, 2], {3: 1.0}, [1, -1, 1], [0, 0, 0], {"cell": 1}, 2.0, [1, np.nan, 1]):
        with pytest.raises(ArgumentError, match="class_weights must be"):
            losses.PixelCrossEntropy(class_weights=wrong)(truth, outputs)


def test_jaccard_is_one_minus_intersection_over_union():
    probabilities = np.array(keras.ops.softmax(OUTPUTS))
    true = np.eye(2)[TRUTH]
    both = (probabilities * true).sum((1, 2))
    expected = 1 - (both / ((probabilities + true).sum((1, 2)) - both)).mean()
    assert float(losses.PixelJaccard()(TRUTH, OUTPUTS)) == pytest.approx(expected, rel=1e-5)


def test_sums_of_losses():
    loss = losses.pixel_loss(
        {"cross_entropy": 2.0, "tversky": 0.5},
        arguments={"tversky": {"alpha": 0.3, "beta": 0.7}},
        ignore=255,
    )
    truth = np.where(RNG.random(TRUTH.shape) < 0.2, 255, TRUTH)
    parts = losses.PixelCrossEntropy(ignore=255), losses.PixelTversky(0.3, 0.7, ignore=255)
    first, second = (float(part(truth, OUTPUTS)) for part in parts)
    assert float(loss(truth, OUTPUTS)) == pytest.approx(2 * first + 0.5 * second, rel=1e-5)
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert float(again(truth, OUTPUTS)) == float(loss(truth, OUTPUTS))
    weights = RNG.uniform(0.5, 2.0, truth.shape)
    weighted = 2 * float(parts[0](truth, OUTPUTS, weights)) + 0.5 * second
    assert float(loss(truth, OUTPUTS, weights)) == pytest.approx(weighted, rel=1e-5)
    for terms, message in (
        ({}, "positive weight"),
        ({"dice": 0.0}, "dice: 0.0"),
        ({"lovasz": 1.0}, "must be one of"),
    ):
        with pytest.raises(ArgumentError, match=message):
            losses.pixel_loss(terms)
    with pytest.raises(ArgumentError, match="not in the sum"):
        losses.pixel_loss({"dice": 1.0}, arguments={"focal": {"gamma": 1.0}})
    with pytest.raises(ArgumentError, match="weight map"):
        losses.pixel_loss({"dice": 1.0, "jaccard": 1.0})(TRUTH, OUTPUTS, weights)


def test_foreground_iu_leaves_the_background_out():
    confusion = metrics.pixel_confusion(TRUTH, OUTPUTS.argmax(-1), 2)
    rows = metrics.per_class(confusion)
    for background in (0, 1):
        metric = metrics.ForegroundIU(2, background)
        metric.update_state(TRUTH, OUTPUTS)
        assert float(metric.result()) == pytest.approx(rows[1 - background]["iu"], rel=1e-6)
        again = keras.metrics.deserialize(keras.metrics.serialize(metric))
        assert again.background == background
    with pytest.raises(ArgumentError, match="one of 2 classes"):
        metrics.ForegroundIU(2, 2)
