"""Image data sets as `tf.data` pipelines: sources, splits, caching, augmentation.

`load` opens a source, `train_batches` and `eval_batches` turn it into what `model.fit` and
`model.evaluate` take.

Example:
    >>> from keras_arch import data
    >>> from keras_arch.preprocessing import Preprocessing
    >>> digits = data.load("digits", "train")
    >>> to_input = Preprocessing((32, 32), 1)
    >>> batches = data.train_batches(digits, to_input, 128, seed=0, augment=["flip"])
    >>> batches.steps_per_epoch
    11
    >>> images, labels = next(iter(batches.dataset))
    >>> images.shape, labels.dtype
    (TensorShape([128, 32, 32, 1]), tf.int64)
"""

from keras_arch.data.augment.basic import (
    RandomCrop,
    RandomFlip,
    RandomJitter,
    augmentations,
    mixes_labels,
)
from keras_arch.data.augment.color import ColorJitter, RandomLighting
from keras_arch.data.augment.imagenet_crops import RandomResizedCrop, RandomScaleCrop
from keras_arch.data.augment.mixing import CutMix, MixUp
from keras_arch.data.augment.rand_augment import RandAugment
from keras_arch.data.augment.with_masks import augment_with_mask, mask_augmentations
from keras_arch.data.balancing import class_weights
from keras_arch.data.border_weights import (
    WeightMap,
    border_weights,
    class_balance,
    instances_of,
    separate_instances,
)
from keras_arch.data.epochs import Batches
from keras_arch.data.loading import describe, load
from keras_arch.data.model_checks import check_data
from keras_arch.data.pipelines import eval_batches, mean_image, train_batches
from keras_arch.data.segmentation_crops import (
    fit_mask,
    segmentation_eval_batches,
    segmentation_train_batches,
)
from keras_arch.data.shares import Share
from keras_arch.data.sources.base import Source, register_source
from keras_arch.data.sources.cells import draw_cells
from keras_arch.data.sources.unpaired import Unpaired

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
    "Share",
    "Source",
    "Unpaired",
    "WeightMap",
    "augment_with_mask",
    "augmentations",
    "border_weights",
    "check_data",
    "class_balance",
    "class_weights",
    "describe",
    "draw_cells",
    "eval_batches",
    "fit_mask",
    "instances_of",
    "load",
    "mask_augmentations",
    "mean_image",
    "mixes_labels",
    "register_source",
    "segmentation_eval_batches",
    "segmentation_train_batches",
    "separate_instances",
    "train_batches",
]
