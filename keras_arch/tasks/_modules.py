"""Modules that tasks import when they first use them: `from keras_arch.tasks._modules import ...`.

Checking a config imports its task, and must not take the seconds that Keras takes.
"""

from typing import TYPE_CHECKING

from keras_arch._lazy import lazy_modules

if TYPE_CHECKING:
    from keras_arch import callbacks as callbacks
    from keras_arch import distribute as distribute
    from keras_arch import export as export
    from keras_arch import losses as losses
    from keras_arch import metrics as metrics
    from keras_arch import models as models
    from keras_arch import optimizers as optimizers
    from keras_arch import trainers as trainers
    from keras_arch import visualization as visualization
    from keras_arch import weights as weights
    from keras_arch.models.common import freezing as freezing
    from keras_arch.models.common import heads as heads
    from keras_arch.tiling import networks as tiling_networks
    from keras_arch.training import factories as factories
    from keras_arch.training import optimizer_from_config as optimizer_from_config
    from keras_arch.training import references as references
else:
    callbacks, distribute, export, losses, metrics, models, optimizers, trainers = lazy_modules(
        "keras_arch.callbacks",
        "keras_arch.distribute",
        "keras_arch.export",
        "keras_arch.losses",
        "keras_arch.metrics",
        "keras_arch.models",
        "keras_arch.optimizers",
        "keras_arch.trainers",
    )
    visualization, weights, freezing, heads, tiling_networks = lazy_modules(
        "keras_arch.visualization",
        "keras_arch.weights",
        "keras_arch.models.common.freezing",
        "keras_arch.models.common.heads",
        "keras_arch.tiling.networks",
    )
    factories, optimizer_from_config, references = lazy_modules(
        "keras_arch.training.factories",
        "keras_arch.training.optimizer_from_config",
        "keras_arch.training.references",
    )
