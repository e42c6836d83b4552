"""Losses: adversarial ones, those over the pixels of a segmentation, and weight decay."""

from keras_arch._pixel_classes import IGNORE
from keras_arch.losses.adversarial import (
    ADVERSARIAL,
    PENALTIES,
    AdversarialLoss,
    GradientPenalty,
    adversarial,
    gradient_penalty,
    per_example,
    r1_penalty,
)
from keras_arch.losses.pixel_loss import PixelLoss
from keras_arch.losses.segmentation import (
    PIXEL_LOSSES,
    PixelCrossEntropy,
    PixelDice,
    PixelFocal,
    PixelJaccard,
    PixelLossSum,
    PixelTversky,
    pixel_loss,
)
from keras_arch.losses.weight_decay import add_weight_decay

__all__ = [
    "ADVERSARIAL",
    "IGNORE",
    "PENALTIES",
    "PIXEL_LOSSES",
    "AdversarialLoss",
    "GradientPenalty",
    "PixelCrossEntropy",
    "PixelDice",
    "PixelFocal",
    "PixelJaccard",
    "PixelLoss",
    "PixelLossSum",
    "PixelTversky",
    "add_weight_decay",
    "adversarial",
    "gradient_penalty",
    "per_example",
    "pixel_loss",
    "r1_penalty",
]
