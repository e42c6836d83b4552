"""Experiments of the ResNet papers: degradation of plain networks, and single residual blocks."""

from keras_arch.experiments.depths import Curves, Degradation, degradation
from keras_arch.experiments.residual_blocks import Block, Blocks, blocks

__all__ = ["Block", "Blocks", "Curves", "Degradation", "blocks", "degradation"]
