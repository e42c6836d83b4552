"""Data sets as batches for training and evaluation.

A training pipeline is a pure function of its seed: which images the batch at (epoch, step) holds
and how each is changed follows from (seed, epoch, step) alone. A run that starts in the middle of
an epoch therefore goes on exactly as one that was never interrupted, with any number of threads.
"""

import dataclasses
import itertools
from typing import Any

import numpy as np

from keras_arch.data import caching, counting
from keras_arch.data.augment.basic import RandomJitter, augmentations
from keras_arch.data.augment.crops import WindowCrop
from keras_arch.data.augment.mixing import CutMix, MixUp, mix
from keras_arch.data.sources.unpaired import Unpaired
from keras_arch.errors import ArgumentError, DataError
from keras_arch.preprocessing import Preprocessing

# Streams of random numbers, so that the order of a data set and what happens to its images are
# drawn independently, and so are the two domains of unpaired images.
_ORDER, _AUGMENT, _CROP = (0, 2), (1, 3), 4
# Enough of a data set to mix it well without caching it; 10,000 CIFAR images are 30 MB. As many
# large images would be the cache that was declined.
_SHUFFLE_BUFFER, _SHUFFLE_BYTES = 10_000, 2**30
_FOREVER = np.iinfo(np.int64).max


@dataclasses.dataclass(frozen=True)
class Batches:
    """An endless training pipeline and its length in epochs.

    Attributes:
        dataset: `tf.data.Dataset` of `(images, labels)` or `images`: `float32`
            `(batch, height, width, channels)` and `int64` `(batch,)`, or with `classes` `float32`
            `(batch, classes)`; or of two batches of images.
        steps_per_epoch: Batches in one epoch.
        examples: Examples in the underlying data set; of unpaired images, in the larger domain.
    """

    dataset: Any
    steps_per_epoch: int
    examples: int


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

    With `cache`, images are read once, here, and kept in memory at the size of `preprocessing`
    (`uint8` unless a resize made fractions); each epoch is then a uniform permutation of all of
    them. Without, they are read again in every epoch and shuffled through a buffer of 10,000
    (or of 1 GiB, where that is fewer), and
    starting inside an epoch reads over what was consumed.

    Of a pair both images change alike. The two domains of unpaired images are shuffled and changed
    independently; an epoch goes over the larger one, and the smaller one is shuffled again
    whenever it is through.

    Args:
        dataset: `tf.data.Dataset` of `(image, label)`, `(image, target)` or `image`, finite and
            always in the same order, or an `Unpaired`, as `load` gives. A second column with three
            dimensions is an image.
        preprocessing: What the network expects.
        batch_size: Images in a batch, over all replicas. A last partial batch is left out of the
            epoch; other images are left out in the next one.
        seed: Non-negative whole number that decides every draw.
        augment: Names of augmentations such as `["crop:4", "flip"]`, applied in that order to
            normalised batches; or callables `(images, seed) -> images`. Those that work on pixels
            (`"randaugment:2,9"`) come before the others. `"mixup:0.2"` and `"cutmix:1.0"` come
            last and mix labels too, which needs `classes`; of several, each batch draws one.
            `"jitter:30"` comes first: images are brought to a size larger by 30 pixels (and rounded
            to `uint8`), once, and a window of the right size is cut out in every batch.
            `"scale_crop:256,480"` and `"resized_crop:0.08,1"` come first too: they cut each image
            out of the whole one in every epoch, which needs `cache=False`.
        classes: Give labels as `float32` `(batch, classes)`, 1 at the class, instead of numbers.
        target_preprocessing: As `preprocessing`, for the target of a pair or the second domain.
            Default: the same.
        start_epoch: The epoch to begin with.
        start_step: Batches of that epoch to leave out; where they are all, the next one follows.
        cache: Whether to hold the images in memory.

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
    import tensorflow as tf

    if batch_size < 1:
        raise ArgumentError(f"batch_size must be at least 1, got {batch_size}")
    if not 0 <= seed < 2**63:
        raise ArgumentError(f"seed must be a whole number from 0 to 2**63 - 1, got {seed}")
    changes = augmentations(augment)
    jitter = changes[0] if changes and isinstance(changes[0], RandomJitter) else None
    if any(isinstance(change, RandomJitter) for change in changes[1:]):
        raise ArgumentError("augment must begin with jitter, which cuts images before all else")
    stages = _stages(changes)
    crop = _crop(changes, cache)
    parts, columns = caching.fitted(
        dataset, preprocessing, target_preprocessing, jitter, whole=crop is not None
    )
    if crop is not None:
        _check_crop(crop, columns, preprocessing)
    _check_sizes(columns, changes)
    _check_labels(columns, stages["labels"], classes)
    counts = [counting.count(part) for part in parts]
    if not all(counts):
        raise DataError("the data set holds no image" + " in one domain" * (len(counts) > 1))
    examples = max(counts)
    steps = examples // batch_size
    if not steps:
        raise DataError(
            f"the data set holds {examples} images, fewer than one batch of {batch_size}; give "
            f"a batch size of at most {examples}"
        )
    if start_epoch < 0 or not 0 <= start_step <= steps:
        raise ArgumentError(
            f"training cannot start at epoch {start_epoch}, step {start_step}: an epoch has "
            f"{steps} steps"
        )

    def key(stream: int, *path: Any) -> Any:
        """The seed of one draw."""
        result = tf.stack([tf.constant(seed, tf.int64), tf.constant(stream, tf.int64)])
        for data in path:
            result = _folded(result, data)
        return result

    def draws_of(domain: int, epoch: Any, step: Any) -> list[Any]:
        """The seeds of a step's changes, which are the same for both images of a pair."""
        if not changes:
            return []
        seed = key(_AUGMENT[domain], epoch, step)
        return [_folded(seed, position) for position in range(len(changes))]

    def vary(images: Any, how: Preprocessing, draws: list[Any]) -> Any:
        """Images as the network takes them, each changed by draws of this step."""
        if jitter:
            images = jitter(images, draws[0])
        images.set_shape([batch_size, *how.input_shape])
        for number in stages["pixels"]:
            images = changes[number](images, draws[number])
        images = how.normalize(images)
        images.set_shape([batch_size, *how.input_shape])
        for number in stages["normalized"]:
            images = changes[number](images, draws[number])
        return images

    def finish(epoch: Any, step: Any, *batch: Any) -> Any:
        draws = [draws_of(domain, epoch, step) for domain in range(len(parts))]
        done = [
            vary(values, column.preprocessing, draws[column.domain])
            if column.preprocessing
            else values
            for values, column in zip(batch, columns, strict=True)
        ]
        if classes is not None:
            done[1] = tf.one_hot(done[1], classes)
        if stages["labels"]:
            mixers = tuple(changes[number] for number in stages["labels"])
            done = mix(mixers, *done, draws[0][stages["labels"][0]])
        return tuple(done) if len(done) > 1 else done[0]

    # An epoch is a permutation of the larger domain, and as many as are needed of the smaller.
    rounds = [-(-examples // count) for count in counts]

    if cache:
        held = caching.cache_in_memory(parts, counts)

        def order_of(domain: int, epoch: Any) -> Any:
            seed, numbers = key(_ORDER[domain], epoch), tf.range(counts[domain])

            def shuffle(seed: Any) -> Any:
                return tf.random.experimental.stateless_shuffle(numbers, seed, alg="philox")

            if rounds[domain] == 1:
                order = shuffle(seed)
            else:
                order = tf.map_fn(
                    lambda turn: shuffle(_folded(seed, turn)), tf.range(rounds[domain])
                )
            return tf.reshape(tf.reshape(order, [-1])[: steps * batch_size], [steps, batch_size])

        def epoch_of(epoch: Any) -> Any:
            first = tf.where(epoch == start_epoch, np.int64(start_step), np.int64(0))
            orders = [order_of(domain, epoch)[first:] for domain in range(len(parts))]
            numbers = tf.range(first, steps, dtype=tf.int64)
            return tf.data.Dataset.from_tensor_slices((numbers, *orders)).map(
                lambda step, *indices: (epoch, step, *indices)
            )

        def batch(epoch: Any, step: Any, *indices: Any) -> Any:
            gathered = [
                tf.gather(column, chosen)
                for part, chosen in zip(held, indices, strict=True)
                for column in part
            ]
            return finish(epoch, step, *gathered)
    else:
        buffers = [
            min(count, _SHUFFLE_BUFFER, max(1, _SHUFFLE_BYTES // caching.example_bytes(part)))
            for part, count in zip(parts, counts, strict=True)
        ]

        def shuffled(domain: int, seed: Any) -> Any:
            # A shuffle mixes the global seed into its own. This fixes it in this function's graph
            # alone, so that `tf.random.set_seed` does not change the order.
            tf.compat.v1.set_random_seed(1)
            shuffle_seed = tf.random.stateless_uniform([], seed, 0, 2**62, tf.int64, alg="philox")
            return parts[domain].shuffle(
                buffers[domain], shuffle_seed, reshuffle_each_iteration=False
            )

        def stream_of(domain: int, epoch: Any) -> Any:
            seed = key(_ORDER[domain], epoch)
            if rounds[domain] == 1:
                return shuffled(domain, seed)
            return tf.data.Dataset.range(rounds[domain]).flat_map(
                lambda turn: shuffled(domain, _folded(seed, turn))
            )

        def epoch_of(epoch: Any) -> Any:
            first = tf.where(epoch == start_epoch, np.int64(start_step), np.int64(0))
            streams = tf.data.Dataset.zip(
                tuple(stream_of(domain, epoch) for domain in range(len(parts)))
            ).map(lambda *rows: tuple(itertools.chain(*rows)))
            if crop is None:
                streams = streams.skip(first * batch_size)
            else:
                # What is skipped is not cut; the place of an image decides its draws.
                streams = (
                    streams.enumerate()
                    .skip(first * batch_size)
                    .map(
                        lambda place, row: (
                            crop(row[0], preprocessing, key(_CROP, epoch, place)),
                            *row[1:],
                        ),
                        num_parallel_calls=tf.data.AUTOTUNE,
                        deterministic=True,
                    )
                )
            batches = streams.batch(batch_size, drop_remainder=True)
            return batches.enumerate(first).map(lambda step, columns: (epoch, step, *columns))

        batch = finish

    with tf.device("CPU"):
        batches = (
            tf.data.Dataset.range(start_epoch, _FOREVER)
            .flat_map(epoch_of)
            .map(batch, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
            .apply(tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY))
        )
        return Batches(prefetch(batches), steps, examples)


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
        dataset: `tf.data.Dataset` of `(image, label)`, `(image, target)` or `image`, or an
            `Unpaired`, as `load` gives. Of two domains the smaller one begins again at its end.
        preprocessing: What the network expects.
        batch_size: Images in a batch, over all replicas.
        cache: Whether to read the images once, here, and keep them in memory.
        classes: As for `train_batches`.
        target_preprocessing: As `preprocessing`, for the target of a pair or the second domain.
            Default: the same.

    Returns:
        A finite `tf.data.Dataset` of `(images, labels)` or `images`: `float32`
        `(batch, height, width, channels)` and `int64` `(batch,)`, or with `classes` `float32`
        `(batch, classes)`; or of two batches of images.

    Raises:
        DataError: If the data set cannot be decoded, or is cached and larger than the memory.
        ArgumentError: If the batch size is not positive, or there is a `target_preprocessing` and
            no second image.

    Example:
        >>> from keras_arch import data
        >>> from keras_arch.preprocessing import Preprocessing
        >>> test = data.eval_batches(data.load("digits", "test"), Preprocessing((8, 8), 1), 100)
        >>> [len(labels) for _, labels in test]
        [100, 100, 100, 59]
    """
    import tensorflow as tf

    if batch_size < 1:
        raise ArgumentError(f"batch_size must be at least 1, got {batch_size}")
    if isinstance(dataset, Unpaired):
        dataset = dataset.zipped()
    (part,), columns = caching.fitted(dataset, preprocessing, target_preprocessing)
    _check_labels(columns, [], classes)
    examples = counting.count(part)

    def normalize(values: Any, column: caching.Column) -> Any:
        if column.preprocessing is None:
            return values
        values = column.preprocessing.normalize(values)
        values.set_shape([None, *column.preprocessing.input_shape])
        return values

    def finish(*batch: Any) -> Any:
        done = tuple(map(normalize, batch, columns))
        if classes is not None:
            done = (done[0], tf.one_hot(done[1], classes))
        return done if len(done) > 1 else done[0]

    with tf.device("CPU"):
        if cache:
            (held,) = caching.cache_in_memory([part], [examples])
            batches = tf.data.Dataset.range(0, examples, batch_size).map(
                lambda first: finish(*(column[first : first + batch_size] for column in held)),
                num_parallel_calls=tf.data.AUTOTUNE,
                deterministic=True,
            )
        else:
            batches = part.batch(batch_size)
            batches = batches.map(finish, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        return prefetch(batches)


def mean_image(dataset: Any, preprocessing: Preprocessing, per_pixel: bool) -> np.ndarray:
    """The mean of a data set, to be a preprocessing's `mean`.

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
    (part, *_), _ = caching.fitted(dataset, scaled)
    for images, *_ in counting.read(part.batch(256)):
        images = scaled.normalize(images).numpy()
        total += images.sum(axis=0, dtype=np.float64)
        count += len(images)
    if not count:
        raise DataError("the data set holds no image, so that it has no mean")
    mean = total / count
    return (mean if per_pixel else mean.mean(axis=(0, 1))).astype(np.float32)


def _check_sizes(columns: list[caching.Column], changes: tuple[Any, ...]) -> None:
    """Images of a pair can be changed alike only where they are of one size."""
    sizes = [column.preprocessing.size for column in columns if column.preprocessing]
    if changes and len(set(sizes)) > 1 and columns[-1].domain == 0:
        raise ArgumentError(
            "augment changes both images of a pair alike, which needs one size; preprocessing has "
            f"{sizes[0]} and target_preprocessing {sizes[1]}"
        )


def _stages(changes: tuple[Any, ...]) -> dict[str, list[int]]:
    """Which changes meet pixels, which normalised images, and which labels too."""
    stages: dict[str, list[int]] = {"first": [], "pixels": [], "normalized": [], "labels": []}
    for number, change in enumerate(changes):
        if isinstance(change, RandomJitter | WindowCrop):
            stage = "first"
        elif isinstance(change, MixUp | CutMix):
            stage = "labels"
        else:
            stage = "pixels" if getattr(change, "on_pixels", False) else "normalized"
        stages[stage].append(number)
    return stages


def _crop(changes: tuple[Any, ...], cache: bool) -> WindowCrop | None:
    """What cuts whole images, where there is such a change."""
    if any(isinstance(change, WindowCrop) for change in changes[1:]):
        raise ArgumentError(
            "augment must begin with scale_crop or resized_crop, which cut whole images before all "
            "else"
        )
    crop = changes[0] if changes and isinstance(changes[0], WindowCrop) else None
    if crop is not None and cache:
        raise ArgumentError(
            "scale_crop and resized_crop cut every image out of the whole one in every epoch; set "
            "cache to false, and they are read each time"
        )
    return crop


def _check_crop(crop: WindowCrop, columns: list[caching.Column], how: Preprocessing) -> None:
    """Whole images are cut where there is one in each element."""
    if sum(column.preprocessing is not None for column in columns) > 1:
        raise ArgumentError(
            "scale_crop and resized_crop are for images with labels or alone; for pairs and "
            "unpaired images there is jitter:30"
        )
    crop.check(how)


def _check_labels(columns: list[caching.Column], mixers: list[int], classes: int | None) -> None:
    """Labels can be written as shares of classes, and mixed, where there are some."""
    labelled = len(columns) == 2 and columns[1].preprocessing is None
    if classes is not None and not labelled:
        raise ArgumentError("classes is for images with labels; the data set has none")
    if mixers and not labelled:
        raise ArgumentError("mixup and cutmix mix labels; the data set has none")
    if mixers and classes is None:
        raise ArgumentError("mixup and cutmix mix labels as shares of classes; give classes")


def _folded(seed: Any, data: Any) -> Any:
    """The seed of one draw out of many."""
    import tensorflow as tf

    return tf.random.experimental.stateless_fold_in(seed, data, alg="philox")


def prefetch(batches: Any) -> Any:
    """Batches drawn ahead of their use, and shared out among hosts as they are."""
    import tensorflow as tf

    options = tf.data.Options()
    options.deterministic = True
    # Every host gets its part of each global batch. Sharing out files instead would give hosts
    # batches of their own, in an order that depends on the number of hosts.
    policy = tf.data.experimental.AutoShardPolicy.DATA
    options.experimental_distribute.auto_shard_policy = policy
    return batches.with_options(options).prefetch(tf.data.AUTOTUNE)
