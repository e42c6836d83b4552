"""Callbacks for `fit`: exact checkpoints, clean stops, the best model, grids and tables."""

from keras_arch.callbacks.best_model import BestCheckpoint, BestModel
from keras_arch.callbacks.checkpoint import (
    SaveCheckpoint,
    StopOnNonFinite,
    StopOnSignal,
    StopWhen,
)
from keras_arch.callbacks.reports import LogTable, SampleGrid
from keras_arch.callbacks.state import Checkpoint, CheckpointManager, Position, variables_of

__all__ = [
    "BestCheckpoint",
    "BestModel",
    "Checkpoint",
    "CheckpointManager",
    "LogTable",
    "Position",
    "SampleGrid",
    "SaveCheckpoint",
    "StopOnNonFinite",
    "StopOnSignal",
    "StopWhen",
    "variables_of",
]
