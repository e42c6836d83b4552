"""Checks of an evaluation of generators by cards alone, before anything is loaded."""

from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from keras_arch import hub
from keras_arch.errors import ArgumentError, ConfigError
from keras_arch.tasks.generation_config import GeneratorMetric

_KNOWN = get_args(GeneratorMetric)


def check_generator(ref: str | Path, card: hub.Card) -> None:
    """Refuse a model that draws no images from latents."""
    if card.latent is None:
        raise ArgumentError(
            f"{ref} is {card.architecture}, a model of the task {card.task}; this is for generators"
        )


def check_metrics(metrics: Sequence[str], card: hub.Card) -> None:
    """Refuse metrics that are unknown, or not for this generator."""
    for name in metrics:
        if name not in _KNOWN:
            raise ArgumentError(f"metrics are {', '.join(_KNOWN)}, got {name!r}")
    if "classifier_agreement" in metrics and not card.labels:
        raise ArgumentError(
            f"classifier_agreement is for conditional generators; {card.name} has no classes"
        )


def check_classifier(ref: str | Path, card: hub.Card) -> None:
    """Refuse a network whose features tell nothing of images' classes."""
    if card.task != "image-classification":
        raise ConfigError(f"{ref} is no classifier; give one, or inception")
