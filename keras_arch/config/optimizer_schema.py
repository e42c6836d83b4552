"""Schema of the optimizers of a config, with schedules of their learning rate and momentum.

`keras_arch.training.optimizer_from_config` builds the Keras optimizers.
"""

from typing import Annotated, Any, Literal

import pydantic

from keras_arch.config.base import Fraction, NotNegative, Positive, Rate, Section


class PiecewiseConstant(Section):
    """A learning rate that is constant between steps: `values[i]` until `boundaries[i]`."""

    name: Literal["piecewise_constant"] = "piecewise_constant"
    boundaries: list[Positive]
    values: list[Rate]

    @pydantic.model_validator(mode="after")
    def _one_more_value(self) -> "PiecewiseConstant":
        if len(self.values) != len(self.boundaries) + 1:
            raise ValueError(
                f"needs one value more than boundaries, got {len(self.values)} values and "
                f"{len(self.boundaries)} boundaries"
            )
        if sorted(set(self.boundaries)) != self.boundaries:
            raise ValueError(f"boundaries must rise, got {self.boundaries}")
        return self


class FlooredDecay(Section):
    """A learning rate divided by `factor` at every step, down to `floor`."""

    name: Literal["floored_decay"] = "floored_decay"
    initial: Rate
    factor: Annotated[float, pydantic.Field(ge=1)]
    floor: NotNegative = 0.0

    @pydantic.model_validator(mode="after")
    def _falls(self) -> "FlooredDecay":
        return _not_above(self, "initial")


class ConstantThenLinear(Section):
    """A learning rate constant for `constant_steps` that falls to 0 over `decay_steps`."""

    name: Literal["constant_then_linear"] = "constant_then_linear"
    initial: Rate
    constant_steps: Annotated[int, pydantic.Field(ge=0)]
    decay_steps: Positive


class Cosine(Section):
    """A learning rate that rises linearly to `peak` and falls to `floor` along a cosine.

    It rises for `warmup_steps`, or for `warmup_epochs` (at most half of the run), and falls for
    `decay_steps`; without `decay_steps` for the rest of the run. A run writes the numbers of steps
    into its resolved config. (Loshchilov and Hutter 2016, without restarts; warm-up as Goyal et
    al. 2017.)
    """

    name: Literal["cosine"] = "cosine"
    peak: Rate
    warmup_steps: Annotated[int, pydantic.Field(ge=0)] | None = None
    warmup_epochs: NotNegative = 0.0
    decay_steps: Positive | None = None
    floor: NotNegative = 0.0

    @pydantic.model_validator(mode="after")
    def _falls(self) -> "Cosine":
        if self.warmup_steps is not None and self.warmup_epochs:
            raise ValueError(
                f"warmup_epochs and warmup_steps say the same; leave one out, got "
                f"{self.warmup_epochs} and {self.warmup_steps}"
            )
        return _not_above(self, "peak")

    def resolved(self, steps_per_epoch: int, epochs: int) -> "Cosine":
        """The same schedule in steps, for a run of `epochs`.

        Raises:
            ValueError: If the warm-up is longer than the run.
        """
        warmup = self.warmup_steps
        whole = steps_per_epoch * epochs
        if warmup is None:
            warmup = min(round(self.warmup_epochs * steps_per_epoch), whole // 2)
        if self.decay_steps is None and warmup >= whole:
            raise ValueError(f"the warm-up of {warmup} steps is as long as the run of {whole}")
        return Cosine(
            peak=self.peak,
            warmup_steps=warmup,
            decay_steps=self.decay_steps or whole - warmup,
            floor=self.floor,
        )


def _not_above(schedule: Any, start: str) -> Any:
    highest = getattr(schedule, start)
    if schedule.floor > highest:
        raise ValueError(f"floor must be at most {start}, {highest}, got {schedule.floor}")
    return schedule


def _schedule_name(value: Any) -> Any:
    """The name of a schedule, `"number"` for a constant value."""
    if isinstance(value, dict):
        return value.get("name")
    return value.name if isinstance(value, Section) else "number"


LearningRate = Annotated[
    Annotated[Rate, pydantic.Tag("number")]
    | Annotated[PiecewiseConstant, pydantic.Tag("piecewise_constant")]
    | Annotated[FlooredDecay, pydantic.Tag("floored_decay")]
    | Annotated[ConstantThenLinear, pydantic.Tag("constant_then_linear")]
    | Annotated[Cosine, pydantic.Tag("cosine")],
    pydantic.Discriminator(_schedule_name),
]


class LinearRamp(Section):
    """A momentum that changes linearly from `start` to `end` in `steps`, and stays there."""

    name: Literal["linear_ramp"] = "linear_ramp"
    start: Fraction
    end: Fraction
    steps: Positive


Momentum = Annotated[
    Annotated[Fraction, pydantic.Tag("number")]
    | Annotated[LinearRamp, pydantic.Tag("linear_ramp")],
    pydantic.Discriminator(_schedule_name),
]


class OptimizerSection(Section):
    """Settings of every optimizer.

    `average` keeps a moving average of a generator's weights with this momentum, such as 0.999;
    samples and the saved model then use the average.
    """

    learning_rate: LearningRate
    average: Fraction | None = None


# Weight decay on all trainable weights, or without norms and biases.
WeightDecayOn = Literal["all", "kernels"]


class SGD(OptimizerSection):
    """Stochastic gradient descent, with a constant momentum or a schedule of it.

    `weight_decay` is decoupled (Loshchilov and Hutter 2017), on `kernels` or on `all` weights,
    norms and biases too.
    """

    name: Literal["sgd"]
    momentum: Momentum = 0.0
    nesterov: bool = False
    weight_decay: NotNegative = 0.0
    weight_decay_on: WeightDecayOn = "kernels"


class Adam(OptimizerSection):
    """Adam (Kingma and Ba 2014)."""

    name: Literal["adam"]
    beta_1: Fraction = 0.9
    beta_2: Fraction = 0.999
    epsilon: Rate = 1e-7


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2017), as for `SGD`."""

    name: Literal["adamw"]
    weight_decay: NotNegative = 0.004
    weight_decay_on: WeightDecayOn = "kernels"


class RMSprop(OptimizerSection):
    """RMSprop, the optimizer of the first Wasserstein GANs."""

    name: Literal["rmsprop"]
    rho: Fraction = 0.9
    momentum: Fraction = 0.0


Optimizer = Annotated[SGD | Adam | AdamW | RMSprop, pydantic.Field(discriminator="name")]
