"""Data sets as batches for training and evaluation.

A training pipeline is a pure function of its seed: which images the batch at (epoch, step) holds
and how each is changed follows from (seed, epoch, step) alone. A run that starts in the middle of
an epoch therefore goes on exactly as one that was never interrupted, with any number of threads.
"""

import dataclasses
import os
from typing import Any

import numpy as np

from keras_arch.data.augmentations import augmentations
from keras_arch.errors import ArgumentError, DataError
from keras_arch.preprocessing import Preprocessing

# Streams of random numbers, so that the order of a data set and what happens to its images are
# drawn independently.
_ORDER, _AUGMENT = 0, 1
# Enough of a data set to mix it well without caching it; 10,000 CIFAR images are 30 MB.
_SHUFFLE_BUFFER = 10_000
_FOREVER = np.iinfo(np.int64).max


@dataclasses.dataclass(frozen=True)
class Batches:
    """An endless training pipeline and its length in epochs.

    Attributes:
        dataset: `tf.data.Dataset` of `(images, labels)` or `images`: `float32`
            `(batch, height, width, channels)` and `int64` `(batch,)`.
        steps_per_epoch: Batches in one epoch.
        examples: Images in the underlying data set.
    """

    dataset: Any
    steps_per_epoch: int
    examples: int


def training(
    dataset: Any,
    preprocessing: Preprocessing,
    batch_size: int,
    *,
    seed: int,
    augment: Any = (),
    start_epoch: int = 0,
    start_step: int = 0,
    cache: bool = True,
) -> Batches:
    """Shuffle, augment, normalise and batch a data set without end.

    With `cache`, images are read once, here, and kept in memory at the size of `preprocessing`
    (`uint8` unless a resize made fractions); each epoch is then a uniform permutation of all of
    them. Without, they are read again in every epoch and shuffled through a buffer of 10,000, and
    starting inside an epoch reads over what was consumed.

    Args:
        dataset: `tf.data.Dataset` of `(image, label)` or `image`, finite and always in the same
            order, as `load` gives.
        preprocessing: What the network expects.
        batch_size: Images in a batch, over all replicas. A last partial batch is left out of the
            epoch; other images are left out in the next one.
        seed: Non-negative whole number that decides every draw.
        augment: Names of augmentations such as `["crop:4", "flip"]`, applied in that order to
            normalised batches; or callables `(images, seed) -> images`.
        start_epoch: The epoch to begin with.
        start_step: Batches of that epoch to leave out.
        cache: Whether to hold the images in memory.

    Returns:
        `Batches`.

    Raises:
        DataError: If the data set is smaller than one batch, cannot be decoded, or is cached and
            larger than the machine's memory.
        ArgumentError: If a number is out of range or an augmentation is unknown.

    Example:
        >>> from keras_arch import data
        >>> from keras_arch.preprocessing import Preprocessing
        >>> to_tanh = Preprocessing((16, 16), 1, scale=1 / 127.5, mean=1.0)
        >>> batches = data.training(data.load("digits", "train[:100]"), to_tanh, 32, seed=1)
        >>> batches.steps_per_epoch, batches.examples
        (3, 100)
    """
    import tensorflow as tf

    if batch_size < 1:
        raise ArgumentError(f"batch_size must be at least 1, got {batch_size}")
    if not 0 <= seed < 2**63:
        raise ArgumentError(f"seed must be a whole number from 0 to 2**63 - 1, got {seed}")
    changes = augmentations(augment)
    examples = _count(dataset)
    steps = examples // batch_size
    if not steps:
        raise DataError(
            f"the data set holds {examples} images, fewer than one batch of {batch_size}; give "
            f"a batch size of at most {examples}"
        )
    if start_epoch < 0 or not 0 <= start_step < steps:
        raise ArgumentError(
            f"training cannot start at epoch {start_epoch}, step {start_step}: an epoch has steps "
            f"0 to {steps - 1}"
        )

    def key(stream: int, *path: Any) -> Any:
        """The seed of one draw."""
        result = tf.stack([tf.constant(seed, tf.int64), tf.constant(stream, tf.int64)])
        for data in path:
            result = tf.random.experimental.stateless_fold_in(result, data, alg="philox")
        return result

    def finish(epoch: Any, step: Any, images: Any, *labels: Any) -> Any:
        images = preprocessing.normalize(images)
        images.set_shape([batch_size, *preprocessing.input_shape])
        for position, change in enumerate(changes):
            images = change(images, key(_AUGMENT, epoch, step, position))
        return (images, *labels) if labels else images

    if cache:
        columns = _hold(dataset, preprocessing)

        def epoch_of(epoch: Any) -> Any:
            order = tf.random.experimental.stateless_shuffle(
                tf.range(examples), key(_ORDER, epoch), alg="philox"
            )
            order = tf.reshape(order[: steps * batch_size], [steps, batch_size])
            first = tf.where(epoch == start_epoch, np.int64(start_step), np.int64(0))
            numbers = tf.range(first, steps, dtype=tf.int64)
            return tf.data.Dataset.from_tensor_slices((numbers, order[first:])).map(
                lambda step, indices: (epoch, step, indices)
            )

        def batch(epoch: Any, step: Any, indices: Any) -> Any:
            return finish(epoch, step, *(tf.gather(column, indices) for column in columns))
    else:
        fitted = _fitted(dataset, preprocessing)

        def epoch_of(epoch: Any) -> Any:
            first = tf.where(epoch == start_epoch, np.int64(start_step), np.int64(0))
            # A shuffle mixes the global seed into its own. This fixes it in this function's graph
            # alone, so that `tf.random.set_seed` does not change the order.
            tf.compat.v1.set_random_seed(1)
            shuffle_seed = tf.random.stateless_uniform(
                [], key(_ORDER, epoch), 0, 2**62, tf.int64, alg="philox"
            )
            shuffled = fitted.shuffle(
                min(examples, _SHUFFLE_BUFFER), shuffle_seed, reshuffle_each_iteration=False
            )
            batches = shuffled.skip(first * batch_size).batch(batch_size, drop_remainder=True)
            return batches.enumerate(first).map(lambda step, columns: (epoch, step, *columns))

        batch = finish

    with tf.device("CPU"):
        batches = (
            tf.data.Dataset.range(start_epoch, _FOREVER)
            .flat_map(epoch_of)
            .map(batch, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
            .apply(tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY))
        )
        return Batches(_ready(batches), steps, examples)


def evaluation(
    dataset: Any, preprocessing: Preprocessing, batch_size: int, cache: bool = True
) -> Any:
    """Normalise and batch a data set once, in its own order, the last partial batch included.

    Args:
        dataset: `tf.data.Dataset` of `(image, label)` or `image`, as `load` gives.
        preprocessing: What the network expects.
        batch_size: Images in a batch, over all replicas.
        cache: Whether to read the images once, here, and keep them in memory.

    Returns:
        A finite `tf.data.Dataset` of `(images, labels)` or `images`: `float32`
        `(batch, height, width, channels)` and `int64` `(batch,)`.

    Raises:
        DataError: If the data set cannot be decoded, or is cached and larger than the memory.
        ArgumentError: If the batch size is not positive.

    Example:
        >>> from keras_arch import data
        >>> from keras_arch.preprocessing import Preprocessing
        >>> test = data.evaluation(data.load("digits", "test"), Preprocessing((8, 8), 1), 100)
        >>> [len(labels) for _, labels in test]
        [100, 100, 100, 59]
    """
    import tensorflow as tf

    if batch_size < 1:
        raise ArgumentError(f"batch_size must be at least 1, got {batch_size}")
    examples = _count(dataset)

    def finish(images: Any, *labels: Any) -> Any:
        images = preprocessing.normalize(images)
        images.set_shape([None, *preprocessing.input_shape])
        return (images, *labels) if labels else images

    with tf.device("CPU"):
        if cache:
            columns = _hold(dataset, preprocessing)
            batches = tf.data.Dataset.range(0, examples, batch_size).map(
                lambda first: finish(*(column[first : first + batch_size] for column in columns)),
                num_parallel_calls=tf.data.AUTOTUNE,
                deterministic=True,
            )
        else:
            batches = _fitted(dataset, preprocessing).batch(batch_size)
            batches = batches.map(finish, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        return _ready(batches)


def mean_image(dataset: Any, preprocessing: Preprocessing, per_pixel: bool) -> np.ndarray:
    """The mean of a data set, to be a preprocessing's `mean`.

    Args:
        dataset: `tf.data.Dataset` of `(image, label)` or `image`.
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
    for images, *_ in _read(_fitted(dataset, scaled).batch(256)):
        images = scaled.normalize(images).numpy()
        total += images.sum(axis=0, dtype=np.float64)
        count += len(images)
    if not count:
        raise DataError("the data set holds no image, so that it has no mean")
    mean = total / count
    return (mean if per_pixel else mean.mean(axis=(0, 1))).astype(np.float32)


def _ready(batches: Any) -> Any:
    """Batches drawn ahead of their use, and shared out among hosts as they are."""
    import tensorflow as tf

    options = tf.data.Options()
    options.deterministic = True
    # Every host gets its part of each global batch. Sharing out files instead would give hosts
    # batches of their own, in an order that depends on the number of hosts.
    policy = tf.data.experimental.AutoShardPolicy.DATA
    options.experimental_distribute.auto_shard_policy = policy
    return batches.with_options(options).prefetch(tf.data.AUTOTUNE)


def _count(dataset: Any) -> int:
    """The number of examples, counted by reading where the data set does not tell."""
    import tensorflow as tf

    count = int(dataset.cardinality())
    if count == tf.data.INFINITE_CARDINALITY:
        raise DataError("the data set has no end; give a finite one, without repeat()")
    if count == tf.data.UNKNOWN_CARDINALITY:
        count = sum(1 for _ in _read(dataset))
    return count


def _fitted(dataset: Any, preprocessing: Preprocessing) -> Any:
    """The data set as tuples, with images brought to size."""
    import tensorflow as tf

    spec = dataset.element_spec
    image = spec[0] if isinstance(spec, tuple) else spec
    if not isinstance(image, tf.TensorSpec) or (isinstance(spec, tuple) and len(spec) > 2):
        raise DataError(f"the data set must hold (image, label) or image, its elements are {spec}")

    def fit(image: Any, *label: Any) -> Any:
        image = preprocessing.fit(image)
        image.set_shape(preprocessing.input_shape)
        return (image, *label)

    return dataset.map(fit, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)


def _hold(dataset: Any, preprocessing: Preprocessing) -> tuple[Any, ...]:
    """The fitted images, and labels where there are any, in the host's memory."""
    import tensorflow as tf

    fitted = _fitted(dataset, preprocessing)
    count = _count(dataset)
    spec = fitted.element_spec
    needed = count * spec[0].dtype.size * int(np.prod(preprocessing.input_shape))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > memory:
        raise DataError(
            f"{count} images need {needed / 2**30:.0f} GiB, and this machine has "
            f"{memory / 2**30:.0f}; set cache to false, and they are read again in every epoch"
        )
    columns = [np.empty((count, *column.shape), column.dtype.as_numpy_dtype) for column in spec]
    filled = 0
    for batch in _read(fitted.batch(256)):
        stop = filled + len(batch[0])
        for column, values in zip(columns, batch, strict=True):
            column[filled:stop] = values
        filled = stop
    # A GPU has no room for a data set; the gather happens on the host.
    with tf.device("CPU"):
        return tuple(tf.constant(column) for column in columns)


def _read(dataset: Any) -> Any:
    """Iterate; what TensorFlow cannot decode becomes a message of one line."""
    import tensorflow as tf

    try:
        yield from dataset
    except (tf.errors.InvalidArgumentError, tf.errors.DataLossError) as error:
        reason = str(error.message).partition("\n")[0]
        raise DataError(f"an image of the data set cannot be read: {reason}") from None
