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
from keras_arch.data.cells import draw_cells
from keras_arch.data.colours import ColorJitter, RandomLighting
from keras_arch.data.crops import RandomResizedCrop, RandomScaleCrop
from keras_arch.data.mixing import CutMix, MixUp
from keras_arch.data.pipelines import Batches, evaluation, mean_image, training
from keras_arch.data.rand_augment import RandAugment
from keras_arch.data.sources import Source, describe, load
from keras_arch.data.tiles import WeightMap, fit_mask, measure_masks, train_masks
from keras_arch.data.unpaired import Unpaired
from keras_arch.data.warping import augment_with_mask, mask_augmentations

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
    "WeightMap",
    "augment_with_mask",
    "augmentations",
    "border_weights",
    "class_balance",
    "describe",
    "draw_cells",
    "evaluation",
    "fit_mask",
    "instances_of",
    "load",
    "mask_augmentations",
    "mean_image",
    "measure_masks",
    "mixes_labels",
    "train_masks",
    "training",
]
