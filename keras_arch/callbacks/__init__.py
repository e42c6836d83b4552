"""Callbacks for `fit`: exact checkpoints, clean stops, the best model, sample grids and tables."""

from keras_arch.callbacks.best_model import BestCheckpoint, BestModel
from keras_arch.callbacks.checkpoint_files import (
    Checkpoint,
    CheckpointManager,
    Position,
    SaveCheckpoint,
    variables_of,
)
from keras_arch.callbacks.early_stopping import StopEarly, out_of_patience
from keras_arch.callbacks.interruption import StopOnNonFinite, StopOnSignal
from keras_arch.callbacks.log_table import LogTable
from keras_arch.callbacks.same_logs import SameLogs
from keras_arch.callbacks.sample_grid import SampleGrid

__all__ = [
    "BestCheckpoint",
    "BestModel",
    "Checkpoint",
    "CheckpointManager",
    "LogTable",
    "Position",
    "SameLogs",
    "SampleGrid",
    "SaveCheckpoint",
    "StopEarly",
    "StopOnNonFinite",
    "StopOnSignal",
    "out_of_patience",
    "variables_of",
]
