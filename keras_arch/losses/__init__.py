"""Losses: adversarial ones, those over the pixels of a segmentation, and weight decay."""

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
from keras_arch.losses.segmentation import (
    IGNORE,
    PIXEL_LOSSES,
    PixelCrossEntropy,
    PixelDice,
    PixelFocal,
    PixelLoss,
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
    "PixelLoss",
    "PixelTversky",
    "add_weight_decay",
    "adversarial",
    "gradient_penalty",
    "per_example",
    "pixel_loss",
    "r1_penalty",
]
