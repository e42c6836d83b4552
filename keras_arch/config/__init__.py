"""Configs: YAML files that are checked before anything is loaded or trained.

The keys of a config are those of its task: `keras_arch.tasks` has one `Config` class for each.
"""

from keras_arch._tensorflow.switch import fast_paths, set_fast_paths
from keras_arch.config.base import (
    Builder,
    Data,
    PreprocessingConfig,
    Recipe,
    Samples,
    Section,
    TaskConfig,
)
from keras_arch.config.io import dump, import_modules, load, parse
from keras_arch.config.optimizer_schema import (
    SGD,
    Adam,
    AdamW,
    ConstantThenLinear,
    Cosine,
    FlooredDecay,
    LearningRate,
    LinearRamp,
    Momentum,
    Optimizer,
    OptimizerSection,
    PiecewiseConstant,
    RMSprop,
)

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "Builder",
    "ConstantThenLinear",
    "Cosine",
    "Data",
    "FlooredDecay",
    "LearningRate",
    "LinearRamp",
    "Momentum",
    "Optimizer",
    "OptimizerSection",
    "PiecewiseConstant",
    "PreprocessingConfig",
    "RMSprop",
    "Recipe",
    "Samples",
    "Section",
    "TaskConfig",
    "dump",
    "fast_paths",
    "import_modules",
    "load",
    "parse",
    "set_fast_paths",
]
