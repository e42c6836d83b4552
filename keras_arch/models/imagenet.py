"""Names of the 1,000 classes of ImageNet, and predictions by name.

The classes are those of the challenge of 2012 in the order that all published weights have, that of
their WordNet numbers. Each has the first word of its WordNet entry; two pairs of classes that share
it (cranes and maillots) are told apart in brackets.
"""

import functools
import json
from pathlib import Path
from typing import Any

import numpy as np

from keras_arch.errors import ArgumentError, whole_number

_FILE = Path(__file__).with_name("imagenet_classes.json")


@functools.cache
def imagenet_classes() -> tuple[tuple[str, str], ...]:
    """The WordNet number and the name of each class of ImageNet, in the order of the labels.

    Source: Russakovsky et al. 2015, "ImageNet Large Scale Visual Recognition Challenge"; the names
    are WordNet's (Princeton University).

    Example:
        >>> imagenet_classes()[1]
        ('n01443537', 'goldfish')
    """
    return tuple(json.loads(_FILE.read_text(encoding="utf-8")).items())


def imagenet_labels() -> list[str]:
    """The names of the classes of ImageNet, as the labels of a card.

    Example:
        >>> imagenet_labels()[:2]
        ['tench', 'goldfish']
    """
    return [name for _, name in imagenet_classes()]


def decode_predictions(probabilities: Any, top: int = 5) -> list[list[tuple[str, str, float]]]:
    """The most probable classes of ImageNet for each image, by name.

    Args:
        probabilities: `(batch, 1000)`, as a network with ImageNet's classes gives them.
        top: Number of classes for each image, 1 to 1000.

    Returns:
        For each image `(WordNet number, name, probability)`, the most probable class first, as
        `decode_predictions` of `keras.applications` does; nothing is downloaded.

    Raises:
        ArgumentError: If there are other than 1,000 classes, or the values are no probabilities: of
            logits, take the softmax first.

    Example:
        >>> probabilities = np.full((1, 1000), 0.0005)
        >>> probabilities[0, 1] = 0.5005
        >>> decode_predictions(probabilities, top=1)
        [[('n01443537', 'goldfish', 0.5005)]]
    """
    values, classes = np.asarray(probabilities), imagenet_classes()
    top = whole_number("top", top)
    if top > len(classes):
        raise ArgumentError(f"top must be at most {len(classes)}, got {top}")
    if values.ndim != 2 or values.shape[1] != len(classes):
        raise ArgumentError(
            f"predictions of ImageNet have the shape (batch, {len(classes)}), got "
            f"{values.shape}; names of other classes are in the card of a model"
        )
    # Probabilities of half precision sum to 1 within a hundredth.
    sums = values.sum(axis=1, dtype=np.float64)
    if not np.isfinite(values).all() or (values < 0).any() or (abs(sums - 1) > 0.01).any():
        raise ArgumentError(
            "decode_predictions takes probabilities, which sum to 1 for each image, got values "
            f"from {values.min():.3g} to {values.max():.3g}; of logits give "
            "keras.ops.softmax(logits)"
        )
    best = np.argsort(-values, axis=1, kind="stable")[:, :top]
    return [
        [(*classes[label], float(row[label])) for label in labels]
        for row, labels in zip(values, best, strict=True)
    ]
