"""The optimizers of a hub config, their learning rates and momenta."""

import difflib
from typing import Annotated, Any, Literal

import pydantic

from keras_arch.config.base import Fraction, NotNegative, Positive, Rate, Section


class Schedule(Section):
    """A learning rate that is constant between iterations: `values[i]` until `boundaries[i]`."""

    boundaries: list[Positive]
    values: list[Rate]

    @pydantic.model_validator(mode="after")
    def _one_more_value(self) -> "Schedule":
        if len(self.values) != len(self.boundaries) + 1:
            raise ValueError(
                f"needs one value more than boundaries, got {len(self.values)} values and "
                f"{len(self.boundaries)} boundaries"
            )
        if sorted(set(self.boundaries)) != self.boundaries:
            raise ValueError(f"boundaries must rise, got {self.boundaries}")
        return self


class Decay(Section):
    """A learning rate divided by `factor` at every update, down to `floor`."""

    initial: Rate
    factor: Annotated[float, pydantic.Field(ge=1)]
    floor: Annotated[float, pydantic.Field(ge=0)] = 0.0

    @pydantic.model_validator(mode="after")
    def _falls(self) -> "Decay":
        if self.floor > self.initial:
            raise ValueError(f"floor must be at most initial, {self.initial}, got {self.floor}")
        return self


class LinearDecay(Section):
    """A learning rate that stays for `constant_steps` updates and falls to 0 in `decay_steps`."""

    initial: Rate
    constant_steps: Annotated[int, pydantic.Field(ge=0)]
    decay_steps: Positive


class Cosine(Section):
    """A learning rate that rises to `peak` along a line and falls to `floor` along a cosine.

    It rises for `warmup_steps` updates, or for `warmup_epochs` (at most half of the run), and falls
    for `decay_steps`; without `decay_steps` for what is left of the run. A run writes the numbers
    of updates into its resolved config. (Loshchilov and Hutter 2016, without restarts; warm-up as
    Goyal et al. 2017.)
    """

    peak: Rate
    warmup_steps: Annotated[int, pydantic.Field(ge=0)] | None = None
    warmup_epochs: NotNegative = 0.0
    decay_steps: Positive | None = None
    floor: NotNegative = 0.0

    @pydantic.model_validator(mode="after")
    def _falls(self) -> "Cosine":
        if self.floor > self.peak:
            raise ValueError(f"floor must be at most peak, {self.peak}, got {self.floor}")
        if self.warmup_steps is not None and self.warmup_epochs:
            raise ValueError(
                f"warmup_epochs and warmup_steps say the same; leave one out, got "
                f"{self.warmup_epochs} and {self.warmup_steps}"
            )
        return self

    def resolved(self, steps_per_epoch: int, epochs: int) -> "Cosine":
        """The same in numbers of updates, for a run of so many.

        Raises:
            ValueError: If the warm-up is longer than the run.
        """
        warmup = self.warmup_steps
        whole = steps_per_epoch * epochs
        if warmup is None:
            warmup = min(round(self.warmup_epochs * steps_per_epoch), whole // 2)
        if self.decay_steps is None and warmup >= whole:
            raise ValueError(f"the warm-up of {warmup} updates is as long as the run of {whole}")
        return Cosine(
            peak=self.peak,
            warmup_steps=warmup,
            decay_steps=self.decay_steps or whole - warmup,
            floor=self.floor,
        )


_RATES = {"schedule": Schedule, "decay": Decay, "linear": LinearDecay, "cosine": Cosine}


def _kind_of_rate(value: Any) -> str:
    if not isinstance(value, dict | Section):
        return "number"
    keys = list(map(str, value if isinstance(value, dict) else type(value).model_fields))

    def known(kind: str) -> float:
        """How well the keys are those of a kind, misspelt ones too: errors speak of that kind."""
        fields = list(_RATES[kind].model_fields)
        likeness = (
            max(difflib.SequenceMatcher(None, key, field).ratio() for field in fields)
            for key in keys
        )
        return sum(likeness)

    return max(_RATES, key=known)


LearningRate = Annotated[
    Annotated[Rate, pydantic.Tag("number")]
    | Annotated[Schedule, pydantic.Tag("schedule")]
    | Annotated[Decay, pydantic.Tag("decay")]
    | Annotated[LinearDecay, pydantic.Tag("linear")]
    | Annotated[Cosine, pydantic.Tag("cosine")],
    pydantic.Discriminator(_kind_of_rate),
]


class Ramp(Section):
    """A momentum that moves from `start` to `end` in so many updates, where it stays."""

    start: Fraction
    end: Fraction
    steps: Positive


def _kind_of_momentum(value: Any) -> str:
    return "ramp" if isinstance(value, dict | Section) else "number"


Momentum = Annotated[
    Annotated[Fraction, pydantic.Tag("number")] | Annotated[Ramp, pydantic.Tag("ramp")],
    pydantic.Discriminator(_kind_of_momentum),
]


class OptimizerSection(Section):
    """What every optimizer has.

    `average` keeps a moving average of a generator's weights with this momentum, such as 0.999,
    and samples and shares the average instead of the weights of the last step.
    """

    learning_rate: LearningRate
    average: Fraction | None = None


# Norms and biases are left out of weight decay, or nothing is.
Decayed = Literal["all", "kernels"]


class SGD(OptimizerSection):
    """Stochastic gradient descent, with the momentum of Keras or one that moves.

    `weight_decay` is the decoupled kind (Loshchilov and Hutter 2017), on `kernels` or on `all`
    weights, norms and biases too.
    """

    name: Literal["sgd"]
    momentum: Momentum = 0.0
    nesterov: bool = False
    weight_decay: NotNegative = 0.0
    weight_decay_on: Decayed = "kernels"


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
    weight_decay_on: Decayed = "kernels"


class RMSprop(OptimizerSection):
    """RMSprop, as the first Wasserstein GANs used it."""

    name: Literal["rmsprop"]
    rho: Fraction = 0.9
    momentum: Fraction = 0.0


Optimizer = Annotated[SGD | Adam | AdamW | RMSprop, pydantic.Field(discriminator="name")]
