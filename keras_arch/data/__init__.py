"""Image data sets as `tf.data` pipelines: sources, splits, caching, augmentation.

`load` opens a source, `training` and `evaluation` turn it into what `model.fit` and
`model.evaluate` take.

Example:
    >>> from keras_arch import data
    >>> from keras_arch.preprocessing import Preprocessing
    >>> digits = data.load("digits", "train")
    >>> batches = data.training(digits, Preprocessing((32, 32), 1), 128, seed=0, augment=["flip"])
    >>> batches.steps_per_epoch
    11
    >>> images, labels = next(iter(batches.dataset))
    >>> images.shape, labels.dtype
    (TensorShape([128, 32, 32, 1]), tf.int64)
"""

from keras_arch.data.augmentations import (
    RandomCrop,
    RandomFlip,
    RandomJitter,
    augmentations,
    mixes_labels,
)
from keras_arch.data.border_weights import border_weights, class_balance, instances_of
from keras_arch.data.colours import ColorJitter, RandomLighting
from keras_arch.data.crops import RandomResizedCrop, RandomScaleCrop
from keras_arch.data.mixing import CutMix, MixUp
from keras_arch.data.pipelines import Batches, evaluation, mean_image, training
from keras_arch.data.rand_augment import RandAugment
from keras_arch.data.sources import Source, describe, load
from keras_arch.data.unpaired import Unpaired

__all__ = [
    "Batches",
    "ColorJitter",
    "CutMix",
    "MixUp",
    "RandAugment",
    "RandomCrop",
    "RandomFlip",
    "RandomJitter",
    "RandomLighting",
    "RandomResizedCrop",
    "RandomScaleCrop",
    "Source",
    "Unpaired",
    "augmentations",
    "border_weights",
    "class_balance",
    "describe",
    "evaluation",
    "instances_of",
    "load",
    "mean_image",
    "mixes_labels",
    "training",
]
