"""Learning-rate and momentum schedules of the original papers, on every Keras backend.

All are `keras.optimizers.schedules.LearningRateSchedule`s: any Keras optimizer takes one as its
learning rate, and `ScheduledSGD` as its momentum as well. They count updates, and depend on
nothing else: a run that is resumed with its optimizer's `iterations` goes on exactly.
"""

import math
from numbers import Real
from typing import Any

import keras
from keras import ops

from keras_arch.errors import ArgumentError, whole_number

Schedule = keras.optimizers.schedules.LearningRateSchedule


class _PaperSchedule(Schedule):
    """Base class of the schedules here, whose attributes are their arguments."""

    def get_config(self) -> dict[str, Any]:
        """The arguments, for `keras.saving`."""
        return dict(vars(self))


@keras.saving.register_keras_serializable("keras_arch")
class FlooredDecay(_PaperSchedule):
    """Exponential decay at every update, down to a floor.

    The learning rate of Goodfellow et al. (2014): 0.1, divided by 1.000004 an update, at least
    1e-6, as in their code. Mirza and Osindero (2014, section 4.1) divide by 1.00004.

    Args:
        initial: Value at step 0.
        factor: What each update divides by, at least 1.
        floor: Smallest value.

    Raises:
        ArgumentError: If `factor` is below 1, or `floor` negative or above `initial`.

    Example:
        >>> schedule = FlooredDecay(0.1, 1.000004, 1e-6)
        >>> [f"{float(schedule(step)):.4g}" for step in (0, 150_000, 10_000_000)]
        ['0.1', '0.05488', '1e-06']
    """

    def __init__(self, initial: float, factor: float, floor: float = 0.0) -> None:
        _finite("FlooredDecay", initial=initial, factor=factor, floor=floor)
        if factor < 1:
            raise ArgumentError(
                f"FlooredDecay divides by factor, which must be at least 1, got {factor!r}"
            )
        if not 0 <= floor <= initial:
            raise ArgumentError(
                f"FlooredDecay's floor must be between 0 and initial = {initial!r}, got {floor!r}"
            )
        self.initial, self.factor, self.floor = initial, factor, floor

    def __call__(self, step: Any) -> Any:
        """The value at a step."""
        # Not factor**step: single precision holds 1.000004 only to 5e-8, which a million steps
        # raise to 5 %.
        decayed = self.initial * ops.exp(_float(step) * -math.log(self.factor))
        return ops.maximum(decayed, self.floor)


@keras.saving.register_keras_serializable("keras_arch")
class ConstantThenLinear(_PaperSchedule):
    """Constant value, then linear decay to 0.

    The learning rate of CycleGAN (Zhu et al. 2017, section 4): 100 epochs constant and 100 to 0;
    also that of the authors' PyTorch code of Pix2Pix. They change it once an epoch, this one at
    every update.

    Args:
        initial: Value of the first `constant_steps` updates.
        constant_steps: Updates before the decay.
        decay_steps: Updates of the decay. After them the value is 0.

    Raises:
        ArgumentError: If a number of steps is negative, or `decay_steps` is 0.

    Example:
        >>> schedule = ConstantThenLinear(2e-4, 100, 100)
        >>> [f"{float(schedule(step)):.4g}" for step in (0, 100, 150, 200, 300)]
        ['0.0002', '0.0002', '0.0001', '0', '0']
    """

    def __init__(self, initial: float, constant_steps: int, decay_steps: int) -> None:
        _finite("ConstantThenLinear", initial=initial)
        self.initial = initial
        self.constant_steps = whole_number("ConstantThenLinear's constant_steps", constant_steps, 0)
        self.decay_steps = whole_number("ConstantThenLinear's decay_steps", decay_steps)

    def __call__(self, step: Any) -> Any:
        """The value at a step."""
        left = self.constant_steps + self.decay_steps - _float(step)
        return self.initial * ops.clip(left / self.decay_steps, 0.0, 1.0)


@keras.saving.register_keras_serializable("keras_arch")
class LinearRamp(_PaperSchedule):
    """Linear change from one value to another, constant afterwards.

    The momentum of Goodfellow et al. (2014): from 0.5 to 0.7 over 250 epochs, as in their code,
    which moves it once an epoch; this one moves it at every update.

    Args:
        start: Value at step 0.
        end: Value from step `steps` on.
        steps: Updates between them.

    Raises:
        ArgumentError: If `steps` is not positive.

    Example:
        >>> schedule = LinearRamp(0.5, 0.7, 1000)
        >>> [round(float(schedule(step)), 4) for step in (0, 500, 1000, 2000)]
        [0.5, 0.6, 0.7, 0.7]
    """

    def __init__(self, start: float, end: float, steps: int) -> None:
        _finite("LinearRamp", start=start, end=end)
        self.start, self.end = start, end
        self.steps = whole_number("LinearRamp's steps", steps)

    def __call__(self, step: Any) -> Any:
        """The value at a step."""
        part = ops.clip(_float(step) / self.steps, 0.0, 1.0)
        # As a mixture, which is exact at both ends.
        return self.start * (1.0 - part) + self.end * part


@keras.saving.register_keras_serializable("keras_arch")
class ScheduledSGD(keras.optimizers.SGD):
    """Gradient descent whose momentum may be a schedule.

    The rule is that of `keras.optimizers.SGD` and of Goodfellow et al. (2014): `velocity =
    momentum * velocity - learning_rate * gradient`, which is added to the variable. Both schedules
    are evaluated inside the step at the number of updates so far, `iterations`.

    Args:
        learning_rate: A number or a schedule.
        momentum: A number in [0, 1], or a schedule such as `LinearRamp`.
        nesterov: Whether to use Nesterov's momentum.
        **kwargs: As for `keras.optimizers.SGD`: `weight_decay`, `clipnorm`, `use_ema`, `name`, ...

    Raises:
        ArgumentError: If a constant momentum lies outside [0, 1].

    Example:
        >>> weight = keras.Variable([1.0])
        >>> optimizer = ScheduledSGD(learning_rate=0.1, momentum=LinearRamp(0.5, 0.7, 2))
        >>> for _ in range(3):  # velocities -0.1, 0.6 * -0.1 - 0.1, 0.7 * -0.16 - 0.1
        ...     optimizer.apply([keras.ops.ones((1,))], [weight])
        >>> round(float(weight[0]), 4)
        0.528
    """

    def __init__(
        self, learning_rate: Any = 0.01, momentum: Any = 0.0, nesterov: bool = False, **kwargs: Any
    ) -> None:
        scheduled = isinstance(momentum, Schedule)
        if not scheduled and (not isinstance(momentum, Real) or not 0 <= momentum <= 1):
            raise ArgumentError(
                f"momentum must be a number between 0 and 1 or a schedule, got {momentum!r}"
            )
        constant = 0.0 if scheduled else float(momentum)
        super().__init__(learning_rate, constant, nesterov, **kwargs)
        if scheduled:
            self.momentum = momentum

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update one variable; see `keras.optimizers.Optimizer.update_step`."""
        if not isinstance(self.momentum, Schedule):
            super().update_step(gradient, variable, learning_rate)
            return
        velocity = self.momentums[self._get_variable_index(variable)]
        momentum = ops.cast(self.momentum(self.iterations), variable.dtype)
        gradient = ops.cast(gradient, variable.dtype)
        step = ops.multiply(gradient, ops.cast(learning_rate, variable.dtype))
        self.assign(velocity, ops.subtract(ops.multiply(velocity, momentum), step))
        if self.nesterov:
            self.assign_add(variable, ops.subtract(ops.multiply(velocity, momentum), step))
        else:
            self.assign_add(variable, velocity)

    def get_config(self) -> dict[str, Any]:
        """The arguments, for `keras.saving`."""
        config = super().get_config()
        if isinstance(self.momentum, Schedule):
            config["momentum"] = keras.optimizers.schedules.serialize(self.momentum)
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "ScheduledSGD":
        """The inverse of `get_config`."""
        if isinstance(config.get("momentum"), dict):
            momentum = keras.optimizers.schedules.deserialize(config["momentum"], custom_objects)
            config = config | {"momentum": momentum}
        return super().from_config(config, custom_objects)


def _float(step: Any) -> Any:
    return ops.cast(ops.convert_to_tensor(step), keras.config.floatx())


def _finite(owner: str, **values: Any) -> None:
    for name, value in values.items():
        if not isinstance(value, Real) or not math.isfinite(value):
            raise ArgumentError(f"{owner}'s {name} must be a finite number, got {value!r}")
