"""Callbacks for `fit`: exact checkpoints, clean stops, the best model, grids and tables."""

from keras_arch.callbacks.best import BestModel, Kept
from keras_arch.callbacks.checkpoint import (
    Checkpoint,
    StopOnNonFinite,
    StopOnSignal,
    StopWhen,
)
from keras_arch.callbacks.pictures import LogTable, SampleGrid
from keras_arch.callbacks.state import Folder, Position, Saved, variables_of

__all__ = [
    "BestModel",
    "Checkpoint",
    "Folder",
    "Kept",
    "LogTable",
    "Position",
    "SampleGrid",
    "Saved",
    "StopOnNonFinite",
    "StopOnSignal",
    "StopWhen",
    "variables_of",
]
