"""Optimizers with a factor on the learning rate for each layer, on every Keras backend."""

import difflib
import math
from collections.abc import Iterable, Mapping, Sequence
from numbers import Real
from typing import Any

import keras
from keras import ops

from keras_arch.errors import ArgumentError
from keras_arch.optimizers.schedules import ScheduledSGD

# Names of the variables of norms and biases in Keras.
_NOT_KERNELS = r"(^|/)(bias|gamma|beta)(:\d+)?$"


class _Layerwise:
    """Mixin that multiplies the learning rate of each variable by its layer's factor.

    The steps are multiplied, not the gradients: Adam and its kin would divide a factor of the
    gradient out again. Decoupled weight decay is multiplied too, as it is a part of the step.
    """

    def __init__(self, *arguments: Any, factors: Mapping[str, float], **more: Any) -> None:
        for name, factor in factors.items():
            if not isinstance(factor, Real) or not 0 <= factor < math.inf:
                raise ArgumentError(
                    f"the factor of a learning rate must be a number from 0, layer {name!r} has "
                    f"{factor!r}"
                )
        super().__init__(*arguments, **more)
        self.factors = dict(factors)
        self._factor_of: list[float] = []

    def build(self, variables: Sequence[Any]) -> None:
        """Build the optimizer's variables, and look up the factor of each model variable."""
        if not self.built:
            paths = [variable.path for variable in variables]
            _check_names(self.factors, paths)
            # In a step there are only the backend's own variables, without their layers' names.
            self._factor_of = [self._factor(path) for path in paths]
        super().build(variables)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update one variable; see `keras.optimizers.Optimizer.update_step`."""
        factor = self._factor_of[self._get_variable_index(variable)]
        rate = ops.multiply(learning_rate, factor)
        if self.weight_decay and self._use_weight_decay(variable):
            decay = ops.cast(ops.multiply(rate, self.weight_decay), variable.dtype)
            self.assign_sub(variable, ops.multiply(variable, decay))
        super().update_step(gradient, variable, rate)

    def _apply_weight_decay(self, variables: Sequence[Any]) -> None:
        """Nothing: Keras would use one rate for all; `update_step` decays."""

    def _factor(self, path: str) -> float:
        found = [factor for name, factor in self.factors.items() if _is_inside(path, name)]
        return float(found[0]) if found else 1.0

    def get_config(self) -> dict[str, Any]:
        """The arguments, for `keras.saving`."""
        return super().get_config() | {"factors": self.factors}


def _is_inside(path: str, name: str) -> bool:
    """Whether the variable of a path belongs to the layer `name`."""
    return f"/{name}/" in f"/{path}"


def _check_names(names: Iterable[str], paths: Sequence[str]) -> None:
    """Refuse a name without a variable: its factor would be ignored."""
    layers = list(dict.fromkeys(path.rpartition("/")[0].rpartition("/")[2] for path in paths))
    for name in names:
        if not any(_is_inside(path, name) for path in paths):
            close = difflib.get_close_matches(name, layers, n=3) or [*layers[:3], "..."]
            raise ArgumentError(
                f"layerwise has a factor for {name!r}, which is no layer with trainable weights of "
                f"this model; there are {', '.join(close)} (a layer that is frozen already needs "
                "no factor)"
            )


@keras.saving.register_keras_serializable("keras_arch")
class LayerwiseSGD(_Layerwise, ScheduledSGD):
    """`ScheduledSGD` with a factor on the learning rate of some layers; see `layerwise`."""


@keras.saving.register_keras_serializable("keras_arch")
class LayerwiseAdam(_Layerwise, keras.optimizers.Adam):
    """`keras.optimizers.Adam` with a factor on the rate of some layers; see `layerwise`."""


@keras.saving.register_keras_serializable("keras_arch")
class LayerwiseAdamW(_Layerwise, keras.optimizers.AdamW):
    """`keras.optimizers.AdamW` with a factor on the rate of some layers; see `layerwise`."""


@keras.saving.register_keras_serializable("keras_arch")
class LayerwiseRMSprop(_Layerwise, keras.optimizers.RMSprop):
    """`keras.optimizers.RMSprop` with a factor on the rate of some layers; see `layerwise`."""


# The first match counts: AdamW is an Adam.
_KINDS = {
    keras.optimizers.AdamW: LayerwiseAdamW,
    keras.optimizers.Adam: LayerwiseAdam,
    keras.optimizers.SGD: LayerwiseSGD,
    keras.optimizers.RMSprop: LayerwiseRMSprop,
}


def layerwise(
    optimizer: keras.optimizers.Optimizer, factors: Mapping[str, float]
) -> keras.optimizers.Optimizer:
    """A new optimizer with a factor on the learning rate of some layers.

    Each layer trains as with an optimizer of its own at that learning rate, but clipping by a
    global norm and moving averages are over all layers. The factors are part of the optimizer's
    config; its variables are those of the given optimizer.

    Args:
        optimizer: SGD, Adam, AdamW or RMSprop, not yet built.
        factors: By name of a layer, 0 or more; 0 freezes a layer. Other layers have 1.

    Raises:
        ArgumentError: If the optimizer is built or of another kind, or a factor is negative; when
            it is built, if a name is that of no layer with trainable weights.

    Example:
        >>> model = keras.Sequential(
        ...     [keras.Input((1,)), keras.layers.Dense(1, name="low"), keras.layers.Dense(1)]
        ... )
        >>> model.compile(layerwise(keras.optimizers.SGD(1.0), {"low": 0.1}), "mse")
        >>> model.optimizer.factors
        {'low': 0.1}
    """
    kinds = [kind for base, kind in _KINDS.items() if isinstance(optimizer, base)]
    if not kinds or isinstance(optimizer, _Layerwise):
        raise ArgumentError(
            f"layerwise takes SGD, Adam, AdamW or RMSprop of Keras, got {type(optimizer).__name__}"
        )
    if optimizer.built:
        raise ArgumentError("layerwise takes an optimizer that has not been used yet")
    new = kinds[0].from_config(optimizer.get_config() | {"factors": dict(factors)})
    # Variables without weight decay are no part of a Keras optimizer's config.
    for name in ("_exclude_from_weight_decay", "_exclude_from_weight_decay_pattern"):
        if hasattr(optimizer, name):
            setattr(new, name, getattr(optimizer, name))
    return new


def decay_kernels_only(optimizer: keras.optimizers.Optimizer) -> keras.optimizers.Optimizer:
    """Exclude norms and biases from an optimizer's decoupled weight decay, and return it.

    Args:
        optimizer: Not yet built.

    Example:
        >>> decay_kernels_only(keras.optimizers.AdamW(1e-3, weight_decay=0.1)).weight_decay
        0.1
    """
    optimizer.exclude_from_weight_decay(var_names=[_NOT_KERNELS])
    return optimizer
