"""Learning rates that differ by layer, and weight decay that leaves norms and biases out."""

import keras
import numpy as np
import pytest

from keras_arch import optimizers
from keras_arch.errors import ArgumentError
from keras_arch.optimizers.schedules import LinearRamp, ScheduledSGD

KINDS = {
    "sgd": lambda: keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True),
    "scheduled": lambda: ScheduledSGD(0.1, momentum=LinearRamp(0.5, 0.9, 4)),
    "adam": lambda: keras.optimizers.Adam(0.1),
    "adamw": lambda: keras.optimizers.AdamW(0.1, weight_decay=0.2),
    "rmsprop": lambda: keras.optimizers.RMSprop(0.1, momentum=0.5),
}


def network():
    """Two dense layers, `low` and `high`, with known weights."""
    x = keras.Input((3,), name="x")
    low = keras.layers.Dense(4, name="low", activation="tanh")(x)
    model = keras.Model(x, keras.layers.Dense(2, name="high")(low))
    rng = np.random.default_rng(0)
    model.set_weights([rng.normal(size=w.shape).astype(np.float32) for w in model.weights])
    return model


def gradients(model, turn):
    rng = np.random.default_rng(turn)
    return [rng.normal(size=w.shape).astype(np.float32) for w in model.trainable_variables]


def steps(optimizer, count=5):
    """The weights after so many steps with known gradients, by path."""
    model = network()
    for turn in range(count):
        optimizer.apply(
            list(map(keras.ops.convert_to_tensor, gradients(model, turn))),
            (model.trainable_variables),
        )
    return {w.path: np.array(w) for w in model.trainable_variables}


@pytest.mark.parametrize("kind", KINDS)
def test_each_layer_moves_as_under_an_optimizer_of_its_own(kind):
    found = steps(optimizers.layerwise(KINDS[kind](), {"low": 0.25}))
    fast, slow = steps(KINDS[kind]()), KINDS[kind]()
    slow.learning_rate = 0.025
    slow = steps(slow)
    for path, value in found.items():
        wanted = slow if path.startswith("low") else fast
        np.testing.assert_allclose(value, wanted[path], rtol=2e-5, atol=1e-6)
        assert not np.allclose(slow[path], fast[path], atol=1e-3)


def test_by_hand():
    """SGD with decoupled decay: w - f lr d w - f lr g, and no decay of the bias."""
    sgd = keras.optimizers.SGD(0.5, weight_decay=0.1)
    made = optimizers.layerwise(optimizers.decay_kernels_only(sgd), {"low": 0.2})
    before, model = network().get_weights(), network()
    found = steps(made, count=1)
    for old, gradient, variable in zip(
        before, gradients(model, 0), model.trainable_variables, strict=True
    ):
        rate = 0.5 * (0.2 if "low" in variable.path else 1.0)
        decay = 0.1 if "kernel" in variable.path else 0.0
        wanted = old - rate * decay * old - rate * gradient
        np.testing.assert_allclose(found[variable.path], wanted, rtol=1e-5, atol=1e-6)


def test_norms_and_biases_are_not_decayed():
    """With gradients of zero, AdamW moves by its decay alone: w (1 - lr d)."""
    model = keras.Sequential(
        [keras.Input((4, 4, 2)), keras.layers.Conv2D(3, 3), keras.layers.BatchNormalization()]
    )
    model.set_weights([np.ones(w.shape, np.float32) for w in model.weights])
    optimizer = optimizers.decay_kernels_only(keras.optimizers.AdamW(0.1, weight_decay=0.5))
    variables = model.trainable_variables
    optimizer.apply([keras.ops.zeros(v.shape) for v in variables], variables)
    for variable in variables:
        wanted = 0.95 if variable.name == "kernel" else 1.0
        np.testing.assert_allclose(np.array(variable), wanted, rtol=1e-6, err_msg=variable.path)


def test_a_factor_of_zero_keeps_a_layer():
    found = steps(optimizers.layerwise(KINDS["adamw"](), {"low": 0}))
    start = {w.path: np.array(w) for w in network().trainable_variables}
    np.testing.assert_array_equal(found["low/kernel"], start["low/kernel"])
    assert not np.allclose(found["high/kernel"], start["high/kernel"])


@pytest.mark.slow
def test_two_replicas_move_as_one(two_replicas):
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(8, 3)).astype(np.float32), rng.normal(size=(8, 2)).astype(np.float32)

    def trained():
        model = network()
        optimizer = optimizers.decay_kernels_only(KINDS["adamw"]())
        model.compile(optimizers.layerwise(optimizer, {"low": 0.1}), "mse", jit_compile=False)
        model.fit(x, y, batch_size=8, epochs=3, shuffle=False, verbose=0)
        return model.get_weights()

    alone = trained()
    with two_replicas.scope():
        together = trained()
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_saved_with_its_factors(kind):
    made = optimizers.layerwise(KINDS[kind](), {"low": 0.5})
    again = keras.optimizers.deserialize(keras.optimizers.serialize(made))
    assert type(again) is type(made)
    assert again.factors == {"low": 0.5}
    one, other = steps(made), steps(again)
    for path in one:
        np.testing.assert_array_equal(one[path], other[path])


def test_what_it_does_not_take():
    with pytest.raises(ArgumentError, match="got Lion"):
        optimizers.layerwise(keras.optimizers.Lion(), {})
    with pytest.raises(ArgumentError, match="'low' has -1"):
        optimizers.layerwise(keras.optimizers.SGD(), {"low": -1})
    used = keras.optimizers.SGD()
    used.build(network().trainable_variables)
    with pytest.raises(ArgumentError, match="not been used"):
        optimizers.layerwise(used, {})
    with pytest.raises(ArgumentError, match="got LayerwiseSGD"):
        optimizers.layerwise(optimizers.layerwise(keras.optimizers.SGD(), {}), {})


@pytest.mark.parametrize("name", ["lwo", "nosuch", "low/", "ow"])
def test_a_factor_for_no_layer_is_refused_with_the_layers(name):
    made = optimizers.layerwise(KINDS["sgd"](), {"high": 0.5, name: 0.1})
    with pytest.raises(ArgumentError, match=f"factor for '{name}', .*there are .*low") as caught:
        made.build(network().trainable_variables)
    assert "\n" not in str(caught.value)


def test_a_factor_for_a_frozen_layer_is_refused():
    model = network()
    model.get_layer("low").trainable = False
    with pytest.raises(ArgumentError, match=r"'low'.*there are high, .*frozen already"):
        optimizers.layerwise(KINDS["sgd"](), {"low": 0.1}).build(model.trainable_variables)
