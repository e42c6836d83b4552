"""Losses: of adversarial games, and of the pixels of a segmentation."""

from keras_arch.losses.adversarial import (
    ADVERSARIAL,
    AdversarialLoss,
    add_weight_decay,
    adversarial,
    gradient_penalty,
    per_example,
)
from keras_arch.losses.pixel import (
    IGNORE,
    PIXEL_LOSSES,
    PixelCrossEntropy,
    PixelDice,
    PixelFocal,
    PixelLoss,
    PixelTversky,
    pixel_loss,
)

__all__ = [
    "ADVERSARIAL",
    "IGNORE",
    "PIXEL_LOSSES",
    "AdversarialLoss",
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
]
