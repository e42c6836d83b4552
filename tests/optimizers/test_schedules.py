"""All here but the replicas is backend-neutral: it runs under any KERAS_BACKEND."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import ops

from keras_arch.errors import ArgumentError
from keras_arch.optimizers.schedules import (
    ConstantThenLinear,
    FlooredDecay,
    LinearRamp,
    ScheduledSGD,
)

on_tensorflow = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="tf.distribute is TensorFlow's"
)


def at(schedule, step):
    return float(ops.convert_to_numpy(schedule(step)))


class TestFlooredDecay:
    @pytest.mark.parametrize("factor", [1.000004, 1.00004])
    @pytest.mark.parametrize("step", [0, 1, 600, 125_000, 1_000_000, 2_800_000])
    def test_is_that_of_the_authors_code_in_double_precision(self, factor, step):
        wanted = max(1e-6, 0.1 / factor**step)
        # Of an exponent of up to 12 single precision leaves out up to 7e-7, and so of its power.
        assert at(FlooredDecay(0.1, factor, 1e-6), step) == pytest.approx(wanted, rel=2e-6)

    def test_never_falls_below_the_floor(self):
        assert at(FlooredDecay(0.1, 1.00004, 1e-6), 2_000_000_000) == pytest.approx(1e-6)
        assert at(FlooredDecay(0.1, 1.00004), 2_000_000_000) == 0

    @given(st.floats(1, 1.01), st.integers(0, 10**6))
    def test_any_factor(self, factor, step):
        wanted = max(1e-3, 2 * np.exp(-step * np.log(factor)))
        assert at(FlooredDecay(2.0, factor, 1e-3), step) == pytest.approx(wanted, rel=2e-6)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ((0.1, 0.9, 0.0), "factor.*at least 1, got 0.9"),
            ((0.1, 1.1, 0.2), "floor.*between 0 and initial = 0.1, got 0.2"),
            ((0.1, 1.1, -1.0), "floor.*got -1.0"),
            ((float("nan"), 1.1, 0.0), "initial.*finite number, got nan"),
        ],
    )
    def test_bad_arguments(self, arguments, message):
        with pytest.raises(ArgumentError, match=message):
            FlooredDecay(*arguments)


class TestConstantThenLinear:
    @pytest.mark.parametrize(
        ("step", "wanted"),
        [(0, 2e-4), (40_000, 2e-4), (50_000, 1.5e-4), (79_999, 2e-4 / 40_000), (80_000, 0.0)],
    )
    def test_pix2pix_facades(self, step, wanted):
        """400 updates an epoch, 100 and 100 epochs."""
        assert at(ConstantThenLinear(2e-4, 40_000, 40_000), step) == pytest.approx(wanted, rel=1e-5)

    def test_stays_at_zero(self):
        assert at(ConstantThenLinear(1.0, 0, 1), 10**9) == 0

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ((1.0, -1, 1), "constant_steps.*at least 0, got -1"),
            ((1.0, 1, 0), "decay_steps.*positive whole number, got 0"),
            ((1.0, 1, 1.5), "decay_steps.*whole number.*got 1.5"),
            (("fast", 1, 1), "initial.*got 'fast'"),
        ],
    )
    def test_bad_arguments(self, arguments, message):
        with pytest.raises(ArgumentError, match=message):
            ConstantThenLinear(*arguments)


class TestLinearRamp:
    @pytest.mark.parametrize(
        ("step", "wanted"), [(0, 0.5), (31_250, 0.55), (125_000, 0.7), (10**8, 0.7)]
    )
    def test_goodfellows_momentum(self, step, wanted):
        """500 updates an epoch, 250 epochs."""
        assert at(LinearRamp(0.5, 0.7, 125_000), step) == pytest.approx(wanted, rel=1e-6)

    def test_ends_exactly(self):
        ramp = LinearRamp(0.1, 0.7, 3)
        assert at(ramp, 0) == np.float32(0.1)
        assert at(ramp, 3) == at(ramp, 4) == np.float32(0.7)

    def test_bad_steps(self):
        with pytest.raises(ArgumentError, match=r"steps.*positive whole number, got 0"):
            LinearRamp(0.0, 1.0, 0)


@pytest.mark.parametrize(
    "schedule",
    [FlooredDecay(0.1, 1.5, 1e-3), ConstantThenLinear(2e-4, 3, 4), LinearRamp(0.5, 0.7, 9)],
    ids=lambda schedule: type(schedule).__name__,
)
def test_schedules_serialise(schedule):
    config = keras.optimizers.schedules.serialize(schedule)
    again = keras.optimizers.schedules.deserialize(config)
    assert type(again) is type(schedule)
    assert [at(again, step) for step in range(12)] == [at(schedule, step) for step in range(12)]


GRADIENTS = np.array([1.0, 2.0, -1.0, 3.0, 0.5, 1.0])


def by_hand(gradients, rates, momenta, nesterov=False):
    """Pylearn2's rule, in double precision."""
    weight, velocity, path = 1.0, 0.0, []
    for gradient, rate, momentum in zip(gradients, rates, momenta, strict=True):
        velocity = momentum * velocity - rate * gradient
        weight += momentum * velocity - rate * gradient if nesterov else velocity
        path.append(weight)
    return path


def steps_of(optimizer, gradients, scale=1.0):
    weight = keras.Variable([1.0])
    optimizer.build([weight])
    path = []
    for gradient in gradients:
        step(optimizer, weight, gradient * scale)
        path.append(float(ops.convert_to_numpy(weight)[0]))
    return path


def step(optimizer, weight, gradient):
    gradients = [ops.convert_to_tensor([gradient], "float32")]
    if keras.backend.backend() != "jax":
        optimizer.apply(gradients, [weight])
        return
    # What a JAX trainer calls; scaled losses work there in no other way.
    state = [variable.value for variable in optimizer.variables]
    moved, state = optimizer.stateless_apply(state, gradients, [weight.value])
    for variable, value in zip([weight, *optimizer.variables], [*moved, *state], strict=True):
        variable.assign(value)


class TestScheduledSGD:
    def test_three_steps_on_paper(self):
        optimizer = ScheduledSGD(FlooredDecay(0.4, 2.0, 0.1), LinearRamp(0.5, 0.9, 2))
        # Rates 0.4, 0.2, 0.1 (the floor), 0.1; momenta 0.5, 0.7, 0.9, 0.9; gradients of 1.
        # v: -0.4; -0.28 - 0.2 = -0.48; -0.432 - 0.1 = -0.532; -0.4788 - 0.1 = -0.5788.
        wanted = [0.6, 0.12, -0.412, -0.9908]
        np.testing.assert_allclose(steps_of(optimizer, [1.0] * 4), wanted, rtol=1e-5)

    @pytest.mark.parametrize("nesterov", [False, True])
    def test_follows_both_schedules(self, nesterov):
        rates = [0.1 / 1.5**n for n in range(6)]
        momenta = [0.5, 0.55, 0.6, 0.65, 0.7, 0.7]
        optimizer = ScheduledSGD(FlooredDecay(0.1, 1.5), LinearRamp(0.5, 0.7, 4), nesterov)
        wanted = by_hand(GRADIENTS, rates, momenta, nesterov)
        np.testing.assert_allclose(steps_of(optimizer, GRADIENTS), wanted, rtol=1e-5)

    @pytest.mark.parametrize("momentum", [0, 0.0, 0.9])
    def test_a_constant_momentum_is_that_of_keras(self, momentum):
        own = steps_of(ScheduledSGD(0.1, momentum), GRADIENTS)
        assert own == steps_of(keras.optimizers.SGD(0.1, float(momentum)), GRADIENTS)

    @pytest.mark.parametrize("momentum", [-0.1, 1.1, "fast", None])
    def test_bad_momentum(self, momentum):
        with pytest.raises(
            ArgumentError, match=rf"between 0 and 1 or a schedule, got {momentum!r}"
        ):
            ScheduledSGD(0.1, momentum)

    def test_its_only_new_state_is_the_iteration(self):
        optimizer = ScheduledSGD(FlooredDecay(0.1, 1.5), LinearRamp(0.5, 0.7, 4))
        optimizer.build([keras.Variable([1.0])])
        assert len(optimizer.variables) == 2  # the iteration and the velocity

    def test_resumes(self):
        def fresh():
            return ScheduledSGD(FlooredDecay(0.1, 1.5), LinearRamp(0.5, 0.7, 4))

        weight, first, whole = keras.Variable([1.0]), fresh(), steps_of(fresh(), GRADIENTS)
        first.build([weight])
        for gradient in GRADIENTS[:3]:
            step(first, weight, gradient)
        second = fresh()
        second.build([weight])
        for own, other in zip(second.variables, first.variables, strict=True):
            own.assign(other)
        for gradient in GRADIENTS[3:]:
            step(second, weight, gradient)
        assert float(ops.convert_to_numpy(weight)[0]) == whole[-1]

    def test_inside_a_loss_scale_optimizer(self):
        inner = ScheduledSGD(FlooredDecay(0.1, 1.5), LinearRamp(0.5, 0.7, 4))
        outer = keras.optimizers.LossScaleOptimizer(inner, initial_scale=8.0)
        plain = steps_of(ScheduledSGD(FlooredDecay(0.1, 1.5), LinearRamp(0.5, 0.7, 4)), GRADIENTS)
        np.testing.assert_allclose(steps_of(outer, GRADIENTS, scale=8.0), plain, rtol=1e-6)

    def test_a_gradient_that_is_not_a_number_does_not_move_the_schedule(self):
        inner = ScheduledSGD(0.1, LinearRamp(0.5, 0.7, 4))
        steps_of(keras.optimizers.LossScaleOptimizer(inner), [1.0, float("inf"), 1.0])
        assert int(ops.convert_to_numpy(inner.iterations)) == 2

    def test_in_fit_saved_and_loaded(self, tmp_path):
        rates = [0.1 / 1.5**n for n in range(6)]
        momenta = [0.5, 0.55, 0.6, 0.65, 0.7, 0.7]
        wanted = by_hand(GRADIENTS, rates, momenta)
        model = linear(ScheduledSGD(FlooredDecay(0.1, 1.5), LinearRamp(0.5, 0.7, 4)))
        fit(model, GRADIENTS[:3])
        np.testing.assert_allclose(model.get_weights()[0], [[wanted[2]]], rtol=1e-5)
        model.save(tmp_path / "model.keras")
        loaded = keras.models.load_model(tmp_path / "model.keras")
        assert loaded.optimizer.get_config() == model.optimizer.get_config()
        fit(loaded, GRADIENTS[3:])
        np.testing.assert_allclose(loaded.get_weights()[0], [[wanted[5]]], rtol=1e-5)

    @pytest.mark.skipif(keras.backend.backend() == "torch", reason="runs without compiling")
    def test_is_compiled_once(self):
        class Counting(LinearRamp):
            calls = 0

            def __call__(self, step):
                Counting.calls += 1
                return super().__call__(step)

        model = linear(ScheduledSGD(0.1, Counting(0.5, 0.7, 4)))
        fit(model, GRADIENTS)
        calls = Counting.calls
        fit(model, GRADIENTS, epochs=5)
        assert Counting.calls == calls

    @on_tensorflow
    def test_two_replicas(self, two_replicas):
        """The mean of the replicas' gradients, as if there were one."""
        with two_replicas.scope():
            model = linear(ScheduledSGD(FlooredDecay(0.1, 1.5), LinearRamp(0.5, 0.7, 4)))
        rates = [0.1 / 1.5**n for n in range(3)]
        wanted = by_hand(GRADIENTS.reshape(3, 2).mean(1), rates, [0.5, 0.55, 0.6])
        fit(model, GRADIENTS, batch_size=2)
        np.testing.assert_allclose(model.get_weights()[0], [[wanted[2]]], rtol=1e-5)


def linear(optimizer):
    """A weight of 1 that is multiplied by the input; its gradient is the mean of the inputs."""
    layer = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")
    model = keras.Sequential([keras.Input((1,)), layer])
    model.compile(optimizer, "mean_absolute_error")
    return model


def fit(model, gradients, batch_size=1, epochs=1):
    x = np.array(gradients, "float32")[:, None]
    # So far below that the error's sign is always that of the difference.
    model.fit(x, x - 1000, batch_size=batch_size, epochs=epochs, shuffle=False, verbose=0)
