"""Experiments of the papers as one call each: what they claim, measured and drawn."""

from keras_arch.experiments.depths import Curves, Degradation, degradation
from keras_arch.experiments.residual_blocks import Block, Blocks, blocks

__all__ = [
    "Block",
    "Blocks",
    "Curves",
    "Degradation",
    "blocks",
    "degradation",
]
