"""Optimizers with a learning rate for each layer, and the schedules of the papers."""

from keras_arch.optimizers.layerwise import (
    LayerwiseAdam,
    LayerwiseAdamW,
    LayerwiseRMSprop,
    LayerwiseSGD,
    decay_kernels_only,
    layerwise,
)
from keras_arch.optimizers.schedules import (
    ConstantThenLinear,
    FlooredDecay,
    LinearRamp,
    ScheduledSGD,
)

__all__ = [
    "ConstantThenLinear",
    "FlooredDecay",
    "LayerwiseAdam",
    "LayerwiseAdamW",
    "LayerwiseRMSprop",
    "LayerwiseSGD",
    "LinearRamp",
    "ScheduledSGD",
    "decay_kernels_only",
    "layerwise",
]
