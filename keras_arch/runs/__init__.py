"""The one place that wires config, data, model, trainer, strategy and run directory together."""

from keras_arch.runs.directory import RunDirectory, environment
from keras_arch.runs.judging import diagnose, judge
from keras_arch.runs.opening import model_address, open_model
from keras_arch.runs.predicting import Prediction, predict
from keras_arch.runs.segmenting import Segmentation
from keras_arch.runs.training import Run, train
from keras_arch.runs.transfer import finetune
from keras_arch.runs.using import (
    evaluate,
    export_model,
    generate,
    push,
    translate,
)

__all__ = [
    "Prediction",
    "Run",
    "RunDirectory",
    "Segmentation",
    "diagnose",
    "environment",
    "evaluate",
    "export_model",
    "finetune",
    "generate",
    "judge",
    "model_address",
    "open_model",
    "predict",
    "push",
    "train",
    "translate",
]
