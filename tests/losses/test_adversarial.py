"""Adversarial losses and penalties by their closed forms, by name, as objects and as functions."""

import math

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_arch import losses
from keras_arch.errors import ArgumentError

LOGIT = st.floats(-30, 30, width=32)


def value(x):
    return float(np.asarray(x)[0])


def tensor(x):
    return np.array([[x]], "float32")


@given(real=LOGIT, fake=LOGIT)
@settings(max_examples=60, deadline=None)
def test_closed_forms(real, fake):
    def sigmoid(x):
        return 1 / (1 + math.exp(-x))

    def log(p):
        return math.log(max(p, 1e-300))

    cross_entropy = -log(sigmoid(real)) - log(sigmoid(-fake))
    expected = {
        "non_saturating": (cross_entropy, -log(sigmoid(fake))),
        "minimax": (cross_entropy, log(sigmoid(-fake))),
        "lsgan": ((real - 1) ** 2 / 2 + fake**2 / 2, (fake - 1) ** 2 / 2),
        "hinge": (max(0, 1 - real) + max(0, 1 + fake), -fake),
        "wgan-gp": (fake - real, -fake),
    }
    assert set(expected) == set(losses.ADVERSARIAL)
    for name, (d_loss, g_loss) in expected.items():
        loss = losses.adversarial(name)
        got = value(loss.discriminator(tensor(real), tensor(fake)))
        np.testing.assert_allclose(got, d_loss, rtol=1e-4, atol=1e-5, err_msg=name)
        got = value(loss.generator(tensor(fake)))
        np.testing.assert_allclose(got, g_loss, rtol=1e-4, atol=1e-5, err_msg=name)


def test_value_at_the_equilibrium():
    """At D = 1/2 the minimax value is -log 4 (Goodfellow et al. 2014, theorem 1)."""
    loss = losses.adversarial("minimax")
    assert value(loss.discriminator(tensor(0), tensor(0))) == pytest.approx(math.log(4))
    assert value(loss.score(tensor(0))[0]) == 0.5


def test_losses_of_large_logits_are_finite_in_half_precision():
    for loss in losses.ADVERSARIAL.values():
        for sign in (1, -1):
            logits = keras.ops.cast(tensor(sign * 200.0), "float16")
            assert np.isfinite(value(loss.discriminator(logits, logits)))
            assert np.isfinite(value(loss.generator(logits)))


def test_patch_maps_count_by_example():
    map_of_four = np.arange(8, dtype="float32").reshape(2, 2, 2, 1)
    np.testing.assert_allclose(losses.per_example(map_of_four), [1.5, 5.5])


def test_gradient_penalty_of_a_linear_critic():
    """The critic w.x has the gradient w everywhere: the penalty is (|w| - 1)^2."""
    w = np.array([[[[0.6], [0.0]], [[0.0], [0.8]]]], "float32")
    np.testing.assert_allclose(losses.gradient_penalty(w), [0.0], atol=1e-6)
    np.testing.assert_allclose(losses.gradient_penalty(3 * w), [4.0], rtol=1e-5)
    np.testing.assert_allclose(losses.gradient_penalty(0 * w), [1.0], rtol=1e-5)


def test_r1_of_a_linear_critic():
    """Half of the squared norm of the gradient, which is w everywhere."""
    w = np.array([[3.0, 4.0], [0.0, 0.0]], "float32")
    np.testing.assert_allclose(losses.r1_penalty(w), [12.5, 0.0])
    np.testing.assert_allclose(losses.r1_penalty(w.reshape(2, 1, 2, 1)), [12.5, 0.0])


def test_penalties_by_name():
    gp, r1 = losses.adversarial("wgan-gp"), losses.adversarial("non_saturating+r1")
    assert (gp.penalty.at, gp.penalty_weight) == ("between", 10.0)
    assert (r1.penalty.at, r1.penalty_weight, r1.name) == ("real", 10.0, "non_saturating+r1")
    assert r1.discriminator is losses.adversarial("non_saturating").discriminator
    assert losses.adversarial("hinge+gp", 0.5).penalty_weight == 0.5
    assert losses.adversarial("hinge+gp", np.float32(0)).penalty_weight == 0


@pytest.mark.parametrize(
    ("loss", "weight", "match"),
    [
        ("wgan-gp+r1", None, "has a gradient penalty already"),
        ("hinge+r2", None, r"\+gp or \+r1, got 'hinge\+r2'"),
        ("hinge", 10, "penalty_weight is 10 and loss hinge has no gradient penalty"),
        ("hinge+r1", -1, "penalty_weight must be a number from 0"),
        ("hinge+r1", math.nan, "penalty_weight must be a number from 0"),
        (lambda real, fake: real, None, "a pair of functions"),
        ((abs, 3), None, "a pair of functions"),
    ],
)
def test_what_is_no_loss(loss, weight, match):
    with pytest.raises(ArgumentError, match=match):
        losses.adversarial(loss, weight)


def test_a_loss_that_is_a_mean_over_the_batch_is_refused():
    loss = losses.adversarial((lambda real, fake: keras.ops.mean(real), lambda fake: fake))
    with pytest.raises(ArgumentError, match="one number for the batch"):
        loss.for_discriminator(tensor(1), tensor(1))
    # A map of values is one value an example, their mean.
    np.testing.assert_allclose(loss.for_generator(np.ones((2, 3, 3, 1), "float32")), [1, 1])


@keras.saving.register_keras_serializable("test_adversarial")
def absolute(real, fake):
    return keras.ops.abs(real - 1) + keras.ops.abs(fake + 1)


@keras.saving.register_keras_serializable("test_adversarial")
def squared_slope(gradient):
    return keras.ops.sum(keras.ops.square(gradient), axis=1)


@pytest.mark.parametrize(
    "loss",
    [
        losses.adversarial("lsgan"),
        losses.adversarial("wgan-gp", 3),
        losses.adversarial("hinge+r1", 0),
        losses.AdversarialLoss(
            discriminator=absolute,
            generator=losses.adversarial("hinge").generator,
            penalty=losses.GradientPenalty(value=squared_slope, at="fake", weight=2.0),
            name="absolute",
        ),
    ],
    ids=lambda loss: loss.name,
)
def test_a_loss_is_saved(loss):
    config = keras.saving.serialize_keras_object(loss)
    assert keras.saving.deserialize_keras_object(config) == loss


def test_a_lambda_cannot_be_saved():
    loss = losses.adversarial((absolute, lambda fake: fake))
    with pytest.raises(ArgumentError, match="generator of the adversarial loss is a lambda"):
        keras.saving.serialize_keras_object(loss)


def test_unknown_loss_lists_all():
    with pytest.raises(ArgumentError, match="non_saturating, minimax, lsgan, hinge, wgan-gp"):
        losses.adversarial("bce")


def test_weight_decay_is_the_classic_kind():
    """v = m v - lr (g + d w): after two steps without gradient, by hand."""
    rate, momentum, decay, w = 0.1, 0.9, 0.5, 2.0
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    model.weights[0].assign([[w]])
    losses.add_weight_decay(model, decay)
    model.compile(keras.optimizers.SGD(rate, momentum), lambda y, p: 0.0 * p)
    model.fit(np.ones((2, 1)), np.ones((2, 1)), batch_size=1, verbose=0)
    velocity = -rate * decay * w
    first = w + velocity
    second = first + momentum * velocity - rate * decay * first
    np.testing.assert_allclose(float(model.weights[0].value[0, 0]), second, rtol=1e-6)
    assert keras.Sequential.from_config(model.get_config()).losses == []


def test_weight_decay_of_kernels_leaves_norms_and_biases_out():
    layers = keras.layers
    model = keras.Sequential(
        [keras.Input((4, 4, 1)), layers.Conv2D(2, 3), layers.BatchNormalization(), layers.Dense(1)]
    )
    model.set_weights([np.full(w.shape, 2.0, "float32") for w in model.weights])
    kernels, all_of_them = 2 * 9 + 2, 2 * 9 + 2 + (2 + 1) + (2 + 2)
    for on, count in (("kernels", kernels), ("all", all_of_them)):
        losses.add_weight_decay(model, 0.1, on)
        np.testing.assert_allclose(float(sum(model.losses)), 0.1 / 2 * 4 * count, rtol=1e-5)


def test_wrong_weight_decay_is_refused():
    with pytest.raises(ArgumentError, match="-1"):
        losses.add_weight_decay(keras.Sequential([keras.Input((1,))]), -1)
    with pytest.raises(ArgumentError, match="'norms'"):
        losses.add_weight_decay(keras.Sequential([keras.Input((1,))]), 1, "norms")
