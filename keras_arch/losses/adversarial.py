"""Adversarial losses and gradient penalties, written in `keras.ops` for every backend.

Each returns one value an example; the trainer takes the mean over the global batch.
"""

import dataclasses
import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from keras_arch.errors import ArgumentError

PENALTY_POINTS = ("real", "fake", "between")
READS = ("logits", "probabilities", None)

_registered = keras.saving.register_keras_serializable("keras_arch")


@_registered
def full_precision(values: Any) -> Any:
    """Values in half precision as float32; others, doubles too, as they are."""
    values = ops.convert_to_tensor(values)
    if keras.backend.standardize_dtype(values.dtype) in ("float16", "bfloat16"):
        return ops.cast(values, "float32")
    return values


@_registered
@dataclasses.dataclass(frozen=True, kw_only=True)
class GradientPenalty:
    """Penalty on the gradient of a discriminator's output in its input.

    Attributes:
        value: From the gradient `(batch, ...)` to one value an example.
        at: Where the gradient is taken: at `"real"` images, at `"fake"` ones, or at points
            `"between"` the two, drawn uniformly.
        weight: Factor on the value, where `compile` is given none.

    Raises:
        ArgumentError: If `at` is none of these.
    """

    value: Callable[[Any], Any]
    at: str
    weight: float = 10.0

    def __post_init__(self) -> None:
        if self.at not in PENALTY_POINTS:
            raise ArgumentError(f"at must be one of {', '.join(PENALTY_POINTS)}, got {self.at!r}")

    def get_config(self) -> dict[str, Any]:
        """The arguments, for `keras.saving`."""
        return _config(self, "value") | {"at": self.at, "weight": self.weight}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "GradientPenalty":
        """The inverse of `get_config`."""
        return cls(**keras.saving.deserialize_keras_object(config))


@_registered
@dataclasses.dataclass(frozen=True, kw_only=True)
class AdversarialLoss:
    """Losses of the discriminator and of the generator, with a gradient penalty or without.

    Attributes:
        discriminator: From logits on real and on generated images to what the discriminator
            minimises: one value an example, or a map of values, whose mean is taken.
        generator: From logits on generated images to what the generator minimises, likewise.
        penalty: Gradient penalty of the discriminator: a `GradientPenalty`, `"gp"` (Gulrajani et
            al. 2017), `"r1"` (Mescheder et al. 2018) or `None`.
        penalty_weight: Factor on the penalty. Default the penalty's own.
        score: From logits to what is logged as D(x): a probability where the loss reads the
            logits as one. Default the logits.
        reads: What it takes the discriminator's outputs for: `"logits"`, `"probabilities"`, or
            `None` for any number. Trainers refuse a discriminator that ends in something else.
        name: Its name in messages.
        paper: Where it was proposed.

    To be saved with a trainer the functions must be registered
    (`@keras.saving.register_keras_serializable()`).

    Example:
        >>> loss = AdversarialLoss(
        ...     discriminator=lambda real, fake: ops.abs(real - 1) + ops.abs(fake + 1),
        ...     generator=lambda fake: ops.abs(fake - 1),
        ...     penalty="r1",
        ... )
        >>> loss.penalty_weight
        10.0
        >>> loss.for_discriminator(ops.ones((2, 1)), ops.zeros((2, 1))).shape
        TensorShape([2])
    """

    discriminator: Callable[[Any, Any], Any]
    generator: Callable[[Any], Any]
    penalty: GradientPenalty | str | None = None
    penalty_weight: float | None = None
    score: Callable[[Any], Any] = full_precision
    reads: str | None = None
    name: str = "custom"
    paper: str = ""

    def __post_init__(self) -> None:
        if self.reads not in READS:
            raise ArgumentError(f"reads must be one of {READS}, got {self.reads!r}")
        penalty = self.penalty
        if isinstance(penalty, str):
            if penalty not in PENALTIES:
                raise ArgumentError(
                    f"penalty must be one of {', '.join(PENALTIES)}, got {penalty!r}"
                )
            penalty = PENALTIES[penalty]
        weight = self.penalty_weight
        if weight is None:
            weight = penalty.weight if penalty else 0.0
        elif penalty is None and weight:
            raise ArgumentError(
                f"penalty_weight is {weight!r} and loss {self.name} has no gradient penalty; use a "
                "loss that has one, for example 'wgan-gp' or 'non_saturating+r1'"
            )
        elif not 0 <= weight < math.inf:
            raise ArgumentError(f"penalty_weight must be a number from 0, got {weight!r}")
        object.__setattr__(self, "penalty", penalty)
        object.__setattr__(self, "penalty_weight", float(weight))

    def for_discriminator(self, on_real: Any, on_fake: Any) -> Any:
        """The discriminator's loss `(batch,)`, without the penalty."""
        return _one_an_example(self.name, self.discriminator(on_real, on_fake))

    def for_generator(self, on_fake: Any) -> Any:
        """The generator's loss `(batch,)`."""
        return _one_an_example(self.name, self.generator(on_fake))

    def get_config(self) -> dict[str, Any]:
        """The name of a loss of this package, else the functions, for `keras.saving`.

        Raises:
            ArgumentError: If a function cannot be saved.
        """
        weight = {"name": self.name, "penalty_weight": self.penalty_weight}
        known = self.name.partition("+")[0] in ADVERSARIAL
        if known and self == adversarial(self.name, self.penalty_weight):
            return weight
        functions = _config(self, "discriminator", "generator", "score", "penalty")
        return functions | weight | {"reads": self.reads, "paper": self.paper}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "AdversarialLoss":
        """The inverse of `get_config`."""
        if "discriminator" not in config:
            return adversarial(config["name"], config["penalty_weight"])
        return cls(**keras.saving.deserialize_keras_object(config))


def adversarial(
    loss: str | AdversarialLoss | Callable[..., Any] | Sequence[Callable[..., Any]],
    penalty_weight: float | None = None,
) -> AdversarialLoss:
    """An adversarial loss by name, from an object, or from functions.

    Args:
        loss: `"non_saturating"`, `"minimax"`, `"lsgan"`, `"hinge"` or `"wgan-gp"`; each but the
            last also with a gradient penalty, as `"non_saturating+r1"` or `"hinge+gp"`; an
            `AdversarialLoss`; a pair `(discriminator_loss, generator_loss)` of functions; or a
            loss of Keras or a function of `y_true` and `y_pred`: the discriminator's targets are
            1 for real and 0 for generated images, the generator's is 1.
        penalty_weight: Factor on the gradient penalty: lambda of `gp`, gamma of `r1`. Default 10.

    Raises:
        ArgumentError: If there is no such loss, or a weight for a loss without a penalty.

    Example:
        >>> undecided, loss = ops.zeros((1, 1)), adversarial("non_saturating")
        >>> round(float(loss.discriminator(undecided, undecided)[0]), 4)  # 2 log 2
        1.3863
    """
    if isinstance(loss, str):
        name, plus, penalty = loss.partition("+")
        if name not in ADVERSARIAL or (plus and penalty not in PENALTIES):
            raise ArgumentError(
                f"loss must be one of {', '.join(ADVERSARIAL)}, alone or with "
                f"{' or '.join('+' + each for each in PENALTIES)}, got {loss!r}; the binary "
                "cross-entropy of logits is 'non_saturating', the squared error 'lsgan'"
            )
        found = ADVERSARIAL[name]
        if plus and found.penalty:
            raise ArgumentError(f"loss {name} has a gradient penalty already, got {loss!r}")
        if plus:
            changes = {"name": loss, "penalty": penalty, "penalty_weight": None}
            found = dataclasses.replace(found, **changes)
    elif isinstance(loss, AdversarialLoss):
        found = loss
    elif isinstance(loss, list | tuple) and len(loss) == 2 and all(map(callable, loss)):
        found = AdversarialLoss(discriminator=loss[0], generator=loss[1])
    elif callable(loss) and not isinstance(loss, type):
        found = _of_targets(loss)
    else:
        raise ArgumentError(
            "loss must be a name, an AdversarialLoss, a loss of Keras or a pair of functions "
            f"(discriminator_loss, generator_loss), got {loss!r}"
        )
    if penalty_weight is None:
        return found
    return dataclasses.replace(found, penalty_weight=penalty_weight)


@_registered
@dataclasses.dataclass(frozen=True)
class OfTargets:
    """One side of an adversarial loss by a function of targets and outputs, as Keras' losses are.

    Attributes:
        loss: A `keras.losses.Loss`, or a function of `(y_true, y_pred)`.
        targets: The target of each of the arguments.
    """

    loss: Callable[[Any, Any], Any]
    targets: tuple[float, ...]

    def __call__(self, *outputs: Any) -> Any:
        """The sum over the arguments, one value an example."""
        function = getattr(self.loss, "call", self.loss)
        terms = []
        for target, output in zip(self.targets, outputs, strict=True):
            output = full_precision(output)
            terms.append(
                _one_an_example("custom", function(target * ops.ones_like(output), output))
            )
        return sum(terms[1:], terms[0])

    def get_config(self) -> dict[str, Any]:
        """The loss and its targets, for `keras.saving`."""
        return _config(self, "loss") | {"targets": list(self.targets)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "OfTargets":
        """The inverse of `get_config`."""
        loss = keras.saving.deserialize_keras_object(config["loss"])
        return cls(loss, tuple(config["targets"]))


def _of_targets(loss: Callable[[Any, Any], Any]) -> AdversarialLoss:
    """The adversarial loss by a loss of Keras or a function `(y_true, y_pred)`."""
    parameters = inspect.signature(getattr(loss, "call", loss)).parameters
    if list(parameters)[:2] != ["y_true", "y_pred"]:
        raise ArgumentError(
            f"loss {loss!r} does not take (y_true, y_pred); give a pair of functions "
            "(discriminator_loss, generator_loss) of the discriminator's outputs"
        )
    default = parameters["from_logits"].default if "from_logits" in parameters else None
    from_logits = getattr(loss, "from_logits", default)
    reads = None if from_logits is None else "logits" if from_logits else "probabilities"
    return AdversarialLoss(
        discriminator=OfTargets(loss, (1.0, 0.0)),
        generator=OfTargets(loss, (1.0,)),
        reads=reads,
        name=getattr(loss, "name", None) or getattr(loss, "__name__", "custom"),
    )


def _one_an_example(name: str, values: Any) -> Any:
    rank = len(values.shape)
    if rank == 0:
        raise ArgumentError(
            f"loss {name} returned one number for the batch; return one value an example, the mean "
            "over the global batch is taken by the trainer"
        )
    return values if rank == 1 else per_example(values)


def _config(owner: Any, *names: str) -> dict[str, Any]:
    """Functions and objects of a loss as `keras.saving` stores them."""
    parts = {name: getattr(owner, name) for name in names}
    for name, part in parts.items():
        if not _can_be_saved(part):
            raise ArgumentError(
                f"{name} of the adversarial loss is a lambda or a function inside another and "
                "cannot be saved; write it at the top of a module with "
                "@keras.saving.register_keras_serializable()"
            )
    return {name: keras.saving.serialize_keras_object(part) for name, part in parts.items()}


def _can_be_saved(part: Any) -> bool:
    if part is None or hasattr(part, "get_config"):
        return True
    if not hasattr(part, "__qualname__"):
        return False
    registered = keras.saving.get_registered_name(part) != part.__name__
    return registered or "<" not in part.__qualname__


def per_example(values: Any) -> Any:
    """Mean over all axes but the first: one value an example, for maps of logits as well.

    Args:
        values: `(batch, ...)`. Returns `(batch,)`, as float32 of values in half precision.

    Example:
        >>> per_example(ops.ones((4, 30, 30, 1))).shape
        TensorShape([4])
    """
    values = full_precision(values)
    return ops.mean(ops.reshape(values, (ops.shape(values)[0], -1)), axis=1)


@_registered
def gradient_penalty(gradient: Any) -> Any:
    """Gradient penalty of WGAN-GP, `(|gradient| - 1)^2` (Gulrajani et al. 2017, equation 3).

    Args:
        gradient: `(batch, ...)`, at points between real and generated images; returns `(batch,)`.

    Example:
        >>> float(gradient_penalty([[3.0, 4.0]])[0])
        16.0
    """
    # The root has no derivative at 0, where a critic that ignores its input would be.
    norm = ops.sqrt(_squared_norm(gradient) + 1e-12)
    return ops.square(norm - 1.0)


@_registered
def r1_penalty(gradient: Any) -> Any:
    """R1 penalty, `|gradient|^2 / 2` (Mescheder et al. 2018, equation 9).

    Args:
        gradient: `(batch, ...)`, at real images; returns `(batch,)`. The paper's gamma is the
            `penalty_weight`.

    Example:
        >>> float(r1_penalty([[3.0, 4.0]])[0])
        12.5
    """
    return 0.5 * _squared_norm(gradient)


def _squared_norm(gradient: Any) -> Any:
    gradient = full_precision(gradient)
    return ops.sum(ops.reshape(ops.square(gradient), (ops.shape(gradient)[0], -1)), axis=1)


PENALTIES: dict[str, GradientPenalty] = {
    "gp": GradientPenalty(value=gradient_penalty, at="between"),
    "r1": GradientPenalty(value=r1_penalty, at="real"),
}


def _softplus(logits: Any) -> Any:
    return per_example(ops.softplus(full_precision(logits)))


def _squared_error(logits: Any, target: float) -> Any:
    return 0.5 * per_example(ops.square(full_precision(logits) - target))


def _relu(values: Any) -> Any:
    return per_example(ops.relu(values))


_LOGISTIC: dict[str, Any] = {
    "discriminator": lambda real, fake: _softplus(-real) + _softplus(fake),
    "score": lambda logits: ops.sigmoid(full_precision(logits)),
    "reads": "logits",
}
ADVERSARIAL: dict[str, AdversarialLoss] = {
    loss.name: loss
    for loss in (
        AdversarialLoss(
            name="non_saturating",
            generator=lambda fake: _softplus(-fake),
            paper="Goodfellow et al. 2014, section 3",
            **_LOGISTIC,
        ),
        AdversarialLoss(
            name="minimax",
            generator=lambda fake: -_softplus(fake),
            paper="Goodfellow et al. 2014, equation 1",
            **_LOGISTIC,
        ),
        AdversarialLoss(
            name="lsgan",
            discriminator=lambda real, fake: _squared_error(real, 1.0) + _squared_error(fake, 0.0),
            generator=lambda fake: _squared_error(fake, 1.0),
            paper="Mao et al. 2016, equation 9",
        ),
        AdversarialLoss(
            name="hinge",
            discriminator=lambda real, fake: (
                _relu(1.0 - full_precision(real)) + _relu(1.0 + full_precision(fake))
            ),
            generator=lambda fake: per_example(-full_precision(fake)),
            reads="logits",
            paper="Lim and Ye 2017; Miyato et al. 2018, equations 16 and 17",
        ),
        AdversarialLoss(
            name="wgan-gp",
            discriminator=lambda real, fake: per_example(fake) - per_example(real),
            generator=lambda fake: per_example(-full_precision(fake)),
            penalty="gp",
            reads="logits",
            paper="Gulrajani et al. 2017, algorithm 1",
        ),
    )
}


# Names for their functions, by which custom losses that use them are saved.
for _loss in ADVERSARIAL.values():
    for _part in ("discriminator", "generator", "score"):
        _function = getattr(_loss, _part)
        if _function.__name__ == "<lambda>":
            _function.__name__ = f"{_loss.name}_{_part}"
            _registered(_function)
