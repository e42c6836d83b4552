"""The one place that wires config, data, model, trainer, strategy and run directory together."""

from keras_arch.runs.directory import RunDirectory, environment
from keras_arch.runs.judging import diagnose, judge
from keras_arch.runs.opening import model_address, open_model
from keras_arch.runs.training import Run, train
from keras_arch.runs.using import (
    Prediction,
    evaluate,
    export_model,
    generate,
    predict,
    push,
    translate,
)

__all__ = [
    "Prediction",
    "Run",
    "RunDirectory",
    "diagnose",
    "environment",
    "evaluate",
    "export_model",
    "generate",
    "judge",
    "model_address",
    "open_model",
    "predict",
    "push",
    "train",
    "translate",
]
