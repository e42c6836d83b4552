"""Batches of images for training and evaluation.

`keras_arch.data.epochs` has the start of epochs and the seeds, `order` the order of examples,
`augment.stages` their augmentation.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_arch._tensorflow.lazy import tf
from keras_arch.data import caching, counting
from keras_arch.data.augment.stages import Stages
from keras_arch.data.epochs import Batches, Epochs, check_enough, checked_seed, prefetch
from keras_arch.data.order import CachedRows, StreamedRows
from keras_arch.data.sources.unpaired import Unpaired
from keras_arch.errors import ArgumentError, DataError, whole_number
from keras_arch.preprocessing import Preprocessing

# Streams of random numbers of the changes of each domain; `order` has those of the order.
_AUGMENT = (1, 3)


def train_batches(
    dataset: Any,
    preprocessing: Preprocessing,
    batch_size: int,
    *,
    seed: int,
    augment: Any = (),
    classes: int | None = None,
    target_preprocessing: Preprocessing | None = None,
    start_epoch: int = 0,
    start_step: int = 0,
    cache: bool = True,
) -> Batches:
    """Shuffle, augment, normalise and batch a data set without end.

    With `cache`, images are read once, here, and cached in memory at the size of `preprocessing`
    (`uint8` unless a resize made fractions); each epoch is then a uniform permutation of all of
    them. Without, they are read again in every epoch and shuffled through a buffer of 10,000
    (or of 1 GiB, where that is fewer), and
    starting inside an epoch reads over the examples before.

    Of a pair both images change alike. The two domains of unpaired images are shuffled and changed
    independently; an epoch goes over the larger one, and the smaller one is shuffled again
    whenever it ends.

    Args:
        dataset: `tf.data.Dataset` of `(image, label)`, `(image, target)` or `image`, finite and
            always in the same order, or an `Unpaired`, as `load` gives. A second column with three
            dimensions is an image. Labels of any type and shape pass through.
        preprocessing: That of the network's input.
        batch_size: Images in a batch, over all replicas. A last partial batch is left out of the
            epoch; other images are left out in the next one.
        seed: Non-negative whole number that decides all random draws.
        augment: Names of augmentations such as `["crop:4", "flip"]`, applied in that order to
            normalised batches; or callables `(images, seed) -> images`. Those that work on pixels
            (`"randaugment:2,9"`) come before the others. `"mixup:0.2"` and `"cutmix:1.0"` come
            last and mix labels too, which needs `classes`; of several, each batch draws one.
            `"jitter:30"` comes first: images are brought to a size larger by 30 pixels (and rounded
            to `uint8`), once, and a window of the right size is cut out in every batch.
            `"scale_crop:256,480"` and `"resized_crop:0.08,1"` come first too: they cut each image
            out of the whole one in every epoch, which needs `cache=False`.
        classes: Number of classes for one-hot labels, `float32` `(batch, classes)`. Default: class
            numbers as they are.
        target_preprocessing: As `preprocessing`, for the target of a pair or the second domain.
            Default: the same.
        start_epoch: The epoch to begin with.
        start_step: Batches of that epoch to leave out; where they are all, the next one follows.
        cache: Whether to cache the images in memory.

    Returns:
        `Batches`.

    Raises:
        DataError: If the data set is smaller than one batch, cannot be decoded, or is cached and
            larger than the machine's memory.
        ArgumentError: If a number is out of range, an augmentation is unknown or out of place, or
            `target_preprocessing` does not fit the data set.

    Example:
        >>> from keras_arch import data
        >>> from keras_arch.preprocessing import Preprocessing
        >>> to_tanh = Preprocessing((16, 16), 1, scale=1 / 127.5, mean=1.0)
        >>> batches = data.train_batches(data.load("digits", "train[:100]"), to_tanh, 32, seed=1)
        >>> batches.steps_per_epoch, batches.examples
        (3, 100)
    """
    batch_size, seed = whole_number("batch_size", batch_size), checked_seed(seed)
    stages = Stages.of(augment)
    datasets, columns = caching.fit_images(
        dataset,
        preprocessing,
        target_preprocessing,
        stages.jitter,
        whole=stages.crop is not None,
    )
    images = [column.preprocessing for column in columns if column.preprocessing]
    stages.check(images, len(datasets) > 1, cache)
    _check_labels(datasets[0], columns, classes, mixed=bool(stages.mixing))
    counts = [counting.count(each) for each in datasets]
    if not all(counts):
        raise DataError("the data set holds no image" + " in one domain" * (len(counts) > 1))
    examples = max(counts)
    check_enough(examples, batch_size, f"the data set holds {examples} images")
    epochs = Epochs(examples, batch_size, seed, start_epoch, start_step)
    if cache:
        rows: CachedRows | StreamedRows = CachedRows(datasets, counts, epochs)
    else:
        crop = stages.crop and (lambda image, seed: stages.crop(image, preprocessing, seed))
        rows = StreamedRows(datasets, counts, epochs, crop)

    def finish(epoch: Any, step: Any, *row: Any) -> Any:
        # The seeds are the same for both images of a pair, and not for two domains.
        seeds = [
            stages.seeds(epochs.seed_of(_AUGMENT[domain], epoch, step))
            for domain in range(len(datasets))
        ]
        batch = [
            stages.normalize(values, column.preprocessing, seeds[column.domain])
            if column.preprocessing
            else values
            for values, column in zip(rows.read(*row), columns, strict=True)
        ]
        batch = _with_one_hot(batch, classes)
        if stages.mixing:
            batch = stages.mix(*batch, seeds[0])
        return tuple(batch) if len(batch) > 1 else batch[0]

    return epochs.batches(rows.of, finish, batched=True)


def eval_batches(
    dataset: Any,
    preprocessing: Preprocessing,
    batch_size: int,
    cache: bool = True,
    *,
    classes: int | None = None,
    target_preprocessing: Preprocessing | None = None,
) -> Any:
    """Normalise and batch a data set once, in its own order, the last partial batch included.

    Args:
        dataset: As for `train_batches`. Of two domains the smaller one begins again at its end.
        preprocessing: That of the network's input.
        batch_size: Images in a batch, over all replicas.
        cache: Whether to read the images once, here, and cache them in memory.
        classes: As for `train_batches`.
        target_preprocessing: As for `train_batches`.

    Returns:
        A finite `tf.data.Dataset` of batches as in `Batches`.

    Raises:
        DataError: If the data set cannot be decoded, or is cached and larger than the memory.
        ArgumentError: If an argument is out of range or does not fit the data set.

    Example:
        >>> from keras_arch import data
        >>> from keras_arch.preprocessing import Preprocessing
        >>> test = data.eval_batches(data.load("digits", "test"), Preprocessing((8, 8), 1), 100)
        >>> [len(labels) for _, labels in test]
        [100, 100, 100, 59]
    """
    batch_size = whole_number("batch_size", batch_size)
    if isinstance(dataset, Unpaired):
        dataset = dataset.zipped()
    (dataset,), columns = caching.fit_images(dataset, preprocessing, target_preprocessing)
    _check_labels(dataset, columns, classes)
    examples = counting.count(dataset)

    def normalize(values: Any, column: caching.Column) -> Any:
        if column.preprocessing is None:
            return values
        values = column.preprocessing.normalize(values)
        values.set_shape([None, *column.preprocessing.input_shape])
        return values

    def finish(*columns_of_batch: Any) -> Any:
        batch = _with_one_hot(list(map(normalize, columns_of_batch, columns)), classes)
        return tuple(batch) if len(batch) > 1 else batch[0]

    with tf.device("CPU"):
        if cache:
            (cached,) = caching.cache_in_memory([dataset], [examples])
            batches = tf.data.Dataset.range(0, examples, batch_size).map(
                lambda first: finish(*(column[first : first + batch_size] for column in cached)),
                num_parallel_calls=tf.data.AUTOTUNE,
                deterministic=True,
            )
        else:
            batches = dataset.batch(batch_size)
            batches = batches.map(finish, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        return prefetch(batches)


def mean_image(dataset: Any, preprocessing: Preprocessing, per_pixel: bool) -> np.ndarray:
    """The mean of the images of a data set, for the `mean` of a `Preprocessing`.

    Args:
        dataset: `tf.data.Dataset` of `(image, label)`, `(image, target)` or `image`, or an
            `Unpaired`; of two images the first one counts.
        preprocessing: Its size, channels, scale and channel order are applied before the mean is
            taken; its own mean and std are not.
        per_pixel: Whether to give a mean for every pixel (the ResNet paper on CIFAR-10) or for
            every channel.

    Returns:
        `float32` of shape `(height, width, channels)`, or `(channels,)`.

    Raises:
        DataError: If the data set is empty or cannot be decoded.

    Example:
        >>> from keras_arch import data
        >>> from keras_arch.preprocessing import Preprocessing
        >>> data.mean_image(data.load("digits"), Preprocessing((8, 8), 1), per_pixel=True).shape
        (8, 8, 1)
    """
    scaled = dataclasses.replace(preprocessing, mean=0.0, std=1.0)
    total, count = np.zeros(preprocessing.input_shape), 0
    (part, *_), _ = caching.fit_images(dataset, scaled)
    for images, *_ in counting.read(part.batch(256)):
        images = scaled.normalize(images).numpy()
        total += images.sum(axis=0, dtype=np.float64)
        count += len(images)
    if not count:
        raise DataError("the data set holds no image, so that it has no mean")
    mean = total / count
    return (mean if per_pixel else mean.mean(axis=(0, 1))).astype(np.float32)


def _with_one_hot(batch: list[Any], classes: int | None) -> list[Any]:
    """A batch with its labels as `float32` `(batch, classes)`, where classes are given."""
    return batch if classes is None else [batch[0], tf.one_hot(batch[1], classes)]


def _check_labels(
    dataset: Any, columns: Sequence[caching.Column], classes: int | None, mixed: bool = False
) -> None:
    """Refuse one-hot or mixed labels of a data set that has no class numbers."""
    if classes is None and not mixed:
        return
    names = "mixup and cutmix are" if mixed else "classes is"
    if len(columns) < 2 or columns[1].preprocessing is not None:
        raise ArgumentError(f"{names} for images with labels; the data set has none")
    spec = dataset.element_spec[1]
    if spec.shape.rank != 0 or not spec.dtype.is_integer:
        raise ArgumentError(
            f"{names} for images with labels, one class number each; the data set has "
            f"{spec.dtype.name} of shape {tuple(spec.shape)}"
        )
    if classes is None:
        raise ArgumentError("mixup and cutmix mix one-hot labels; give classes")
