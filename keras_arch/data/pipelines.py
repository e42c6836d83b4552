"""Batches of images for training and evaluation.

`keras_arch.data.epochs` has the start of epochs and the seeds, `order` the order of examples.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_arch._lazy import tf
from keras_arch._tensorflow import last_maps
from keras_arch.data import caching, counting
from keras_arch.data.augment.base import Augmentation
from keras_arch.data.augment.basic import RandomJitter, augmentations
from keras_arch.data.augment.imagenet_crops import WindowCrop
from keras_arch.data.augment.mixing import CutMix, MixUp, mix, mix_with, partners
from keras_arch.data.epochs import Batches, Epochs, check_enough, prefetch
from keras_arch.data.order import CachedRows, StreamedRows
from keras_arch.data.seeds import branches
from keras_arch.data.shares import WHOLE, Share, rows_of_batch
from keras_arch.data.sources.unpaired import Unpaired
from keras_arch.errors import ArgumentError, DataError, checked_seed, whole_number
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
    balanced: bool = False,
    share: Share = WHOLE,
) -> Batches:
    """Shuffle, augment, normalise and batch a data set without end.

    With `cache`, images are read once, here, and cached in memory at the size of `preprocessing`
    (`uint8` unless a resize made fractions); each epoch is then a uniform permutation of all of
    them. Without, they are read again in every epoch and shuffled through a buffer of 10,000 (or of
    1 GiB, where that is fewer), and starting inside an epoch reads over the examples before.

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
        balanced: Whether an epoch has equally many images of each class: it is as long as the data
            set, goes over a part of a frequent class, and several times over a rare one.
        share: The rows of each global batch that this host takes. The others are not augmented,
            and without `cache` not decoded either. A cache holds all images: the permutation of
            an epoch gives a host others than that of the epoch before, so that after a few epochs
            it has needed nearly all of them. Callables in `augment`, and mixing without `cache`,
            may need any row: they get the whole batch, of which the share is taken at the end.

    Returns:
        `Batches`.

    Raises:
        DataError: If the data set is smaller than one batch, cannot be decoded, or is cached and
            larger than the machine's memory.
        ArgumentError: If a number is out of range, an augmentation is unknown or out of place, or
            `target_preprocessing` does not fit the data set.

    Example:
        >>> from keras_arch import data
        >>> to_tanh = Preprocessing((16, 16), 1, scale=1 / 127.5, mean=1.0)
        >>> batches = data.train_batches(data.load("digits", "train[:100]"), to_tanh, 32, seed=1)
        >>> batches.steps_per_epoch, batches.examples
        (3, 100)
    """
    batch_size, seed = whole_number("batch_size", batch_size), checked_seed(seed)
    stages = _Stages(augment)
    whole = stages.crop is not None
    datasets, columns = caching.fit_images(
        dataset, preprocessing, target_preprocessing, stages.jitter, whole
    )
    images = [column.preprocessing for column in columns if column.preprocessing]
    stages.check(images, len(datasets) > 1, cache)
    _check_labels(datasets[0], columns, classes, mixed=bool(stages.mixing), balanced=balanced)
    counts = [counting.count(each) for each in datasets]
    if not all(counts):
        raise DataError("the data set holds no image" + " in one domain" * (len(counts) > 1))
    examples = max(counts)
    check_enough(examples, batch_size, f"the data set holds {examples} images")
    epochs = Epochs(examples, batch_size, seed, start_epoch, start_step, share)
    apart = not share.is_whole and stages.of_rows and (cache or not stages.mixing)
    if cache:
        rows: CachedRows | StreamedRows = CachedRows(datasets, counts, epochs, balanced)
    else:
        crop = stages.crop and (lambda image, seed: stages.crop(image, preprocessing, seed))
        rows = StreamedRows(datasets, counts, epochs, crop, balanced, own_only=apart)

    def finish(epoch: Any, step: Any, *row: Any) -> Any:
        # The seeds are the same for both images of a pair, and not for two domains.
        seeds = [epochs.seed_of(stream, epoch, step) for stream in _AUGMENT[: len(datasets)]]
        first, end = share.rows(batch_size)
        if not apart:
            batch = stages.batch(rows.read(None, *row), columns, seeds, classes)
            return batch if share.is_whole else tf.nest.map_structure(lambda x: x[first:end], batch)
        own = tf.range(first, end)
        # The rows that the own ones are mixed with come after them.
        others = stages.partners(own, batch_size, seeds[0])
        places = own if others is None else tf.concat([own, others], 0)
        with rows_of_batch(places, batch_size):
            batch = stages.unmixed(rows.read(places, *row), columns, seeds, classes)
        if others is None:
            return tuple(batch) if len(batch) > 1 else batch[0]
        with rows_of_batch(own, batch_size):
            return stages.mixed(*(tf.split(column, 2) for column in batch), seeds[0])

    return epochs.batches(rows.of, finish, batched=True)


def eval_batches(
    dataset: Any,
    preprocessing: Preprocessing,
    batch_size: int,
    cache: bool = True,
    *,
    classes: int | None = None,
    target_preprocessing: Preprocessing | None = None,
    share: Share = WHOLE,
) -> Any:
    """Normalise and batch a data set once, in its own order, the last partial batch included.

    Args:
        dataset: As for `train_batches`. Of two domains the smaller one begins again at its end.
        preprocessing: That of the network's input.
        batch_size: Images in a batch, over all replicas.
        cache: Whether to read the images once, here, and cache them in memory.
        classes: As for `train_batches`.
        target_preprocessing: As for `train_batches`.
        share: The rows of each batch that this host takes, of the last one too, which may give it
            none; the others are neither decoded nor cached.

    Returns:
        A finite `tf.data.Dataset` of batches as in `Batches`.

    Raises:
        DataError: If the data set cannot be decoded, or is cached and larger than the memory.
        ArgumentError: If an argument is out of range or does not fit the data set.

    Example:
        >>> from keras_arch import data
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

    def finish(*row: Any) -> Any:
        return _Stages(()).batch(row, columns, [None], classes)

    with tf.device("CPU"):
        if not share.is_whole:
            return prefetch(_shared(dataset, examples, batch_size, share, cache).map(finish))
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


def _shared(dataset: Any, examples: int, batch_size: int, share: Share, cache: bool) -> Any:
    """Batches of a share: as many on each host, of which the last one may have no rows."""
    counts = share.counts(examples, batch_size)
    base, decode = last_maps.take_off(dataset)
    own = np.zeros(examples, bool)
    own[share.places(examples, batch_size)] = True
    rows = base.enumerate().filter(lambda number, row: tf.gather(own, number))
    rows = rows.map(
        lambda number, row: decode(*row) if isinstance(row, tuple) else decode(row),
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
    )
    spec = rows.element_spec
    if cache:
        (columns,) = caching.cache_in_memory([rows], [sum(counts)])
        rows = tf.data.Dataset.from_tensor_slices(columns)
    batches = rows.batch(max(counts[0], 1))
    if not counts[-1]:
        empty = tuple(tf.zeros([0, *part.shape], part.dtype) for part in spec)
        batches = batches.concatenate(tf.data.Dataset.from_tensors(empty))
    return batches.apply(tf.data.experimental.assert_cardinality(len(counts)))


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


class _Stages:
    """Augmentations by the stage of the pipeline in which they are applied.

    The position of an augmentation in their list decides its seed.

    Attributes:
        crop: Cuts each image out of the whole one before it is put into a batch, or `None`.
        jitter: Cuts a batch of enlarged images, or `None`.
        mixing: Positions of those that mix images and labels of a batch.
        of_rows: Whether a part of a batch can be changed as it is in the whole one: not known of
            callables.
    """

    def __init__(self, names: Any) -> None:
        self._changes = augmentations(names)
        for change in self._changes[1:]:
            if isinstance(change, RandomJitter | WindowCrop):
                jitter = isinstance(change, RandomJitter)
                names = "jitter" if jitter else "scale_crop or resized_crop"
                raise ArgumentError(f"augment must begin with {names}: crops come before all else")
        first = next(iter(self._changes), None)
        self.crop = first if isinstance(first, WindowCrop) else None
        self.jitter = first if isinstance(first, RandomJitter) else None
        self.of_rows = all(isinstance(each, Augmentation) for each in self._changes)
        kinds = list(enumerate(self._changes))
        self.mixing = [number for number, each in kinds if isinstance(each, MixUp | CutMix)]

    def check(self, preprocessings: Sequence[Preprocessing], unpaired: bool, cache: bool) -> None:
        """Refuse augmentations that do not fit the images of an example."""
        if self.crop is not None:
            if cache:
                raise ArgumentError(
                    "scale_crop and resized_crop cut every image out of the whole one in every "
                    "epoch; set cache to false, and they are read each time"
                )
            if len(preprocessings) > 1:
                raise ArgumentError(
                    "scale_crop and resized_crop are for images with labels or alone; for pairs "
                    "and unpaired images there is jitter:30"
                )
            self.crop.check(preprocessings[0])
        sizes = [each.size for each in preprocessings]
        if self._changes and len(set(sizes)) > 1 and not unpaired:
            raise ArgumentError(
                "augment changes both images of a pair alike, which needs one size; preprocessing "
                f"has {sizes[0]} and target_preprocessing {sizes[1]}"
            )

    def batch(
        self,
        row: Sequence[Any],
        columns: Sequence[caching.Column],
        seeds: Sequence[Any],
        classes: int | None,
    ) -> Any:
        """Augment and normalise the columns of a batch; `seeds` are those of each domain."""
        batch = self.unmixed(row, columns, seeds, classes)
        if self.mixing:
            batch = mix(self._mixers, *batch, self._mixing_seed(seeds[0]))
        return tuple(batch) if len(batch) > 1 else batch[0]

    def unmixed(
        self,
        row: Sequence[Any],
        columns: Sequence[caching.Column],
        seeds: Sequence[Any],
        classes: int | None,
    ) -> list[Any]:
        """The columns of a batch before images are mixed."""
        drawn = [branches(seed, len(self._changes)) for seed in seeds]
        batch = [
            self._normalized(values, column.preprocessing, drawn[column.domain])
            if column.preprocessing
            else values
            for values, column in zip(row, columns, strict=True)
        ]
        if classes is not None:
            batch[1] = tf.one_hot(batch[1], classes)
        return batch

    def partners(self, places: Any, batch_size: int, seed: Any) -> Any:
        """The places of the images that those at some places are mixed with, or `None`."""
        if not self.mixing:
            return None
        return tf.gather(partners(self._mixing_seed(seed), batch_size), places)

    def mixed(self, images: Any, labels: Any, seed: Any) -> tuple[Any, Any]:
        """Images and labels, each of a pair of own ones and their partners, mixed."""
        (own, other), (label, other_label) = images, labels
        seed = self._mixing_seed(seed)
        return mix_with(self._mixers, own, label, (other, other_label), seed)

    @property
    def _mixers(self) -> tuple[Any, ...]:
        return tuple(self._changes[number] for number in self.mixing)

    def _mixing_seed(self, seed: Any) -> Any:
        return branches(seed, len(self._changes))[self.mixing[0]]

    def _normalized(self, images: Any, preprocessing: Preprocessing, seeds: list[Any]) -> Any:
        shape = [images.shape[0], *preprocessing.input_shape]
        if self.jitter:
            images = self.jitter(images, seeds[0])
        images = self._changed(tf.ensure_shape(images, shape), seeds, on_pixels=True)
        images = tf.ensure_shape(preprocessing.normalize(images), shape)
        return self._changed(images, seeds, on_pixels=False)

    def _changed(self, images: Any, seeds: list[Any], on_pixels: bool) -> Any:
        elsewhere = RandomJitter | WindowCrop | MixUp | CutMix
        for change, seed in zip(self._changes, seeds, strict=True):
            if isinstance(change, elsewhere) or getattr(change, "on_pixels", False) != on_pixels:
                continue
            images = change(images, seed)
        return images


def _check_labels(
    dataset: Any,
    columns: Sequence[caching.Column],
    classes: int | None,
    mixed: bool = False,
    balanced: bool = False,
) -> None:
    """Refuse one-hot, mixed or balanced labels of a data set that has no class numbers."""
    if classes is None and not mixed and not balanced:
        return
    names = "mixup and cutmix are" if mixed else "classes is" if classes else "balanced is"
    if len(columns) < 2 or columns[1].preprocessing is not None:
        raise ArgumentError(f"{names} for images with labels; the data set has none")
    spec = dataset.element_spec[1]
    if spec.shape.rank != 0 or not spec.dtype.is_integer:
        raise ArgumentError(
            f"{names} for images with labels, one class number each; the data set has "
            f"{spec.dtype.name} of shape {tuple(spec.shape)}"
        )
    if classes is None and mixed:
        raise ArgumentError("mixup and cutmix mix one-hot labels; give classes")
