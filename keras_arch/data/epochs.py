"""Endless epochs of training batches: their start, the seeds of their draws, prefetching.

A training pipeline is a pure function of its seed: the content of the batch at (epoch, step)
follows from (seed, epoch, step) alone. A run that starts in the middle of an epoch therefore
continues exactly as one that was never interrupted, with any number of threads.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from keras_arch._lazy import tf
from keras_arch.data.seeds import fold_in
from keras_arch.data.shares import WHOLE, Share
from keras_arch.errors import ArgumentError, DataError

FOREVER = np.iinfo(np.int64).max


@dataclasses.dataclass(frozen=True)
class Batches:
    """An endless training pipeline and its length in epochs.

    Attributes:
        dataset: `tf.data.Dataset` of `(images, labels)` or `images`: `float32`
            `(batch, height, width, channels)` and `int64` `(batch,)`, or with `classes` `float32`
            `(batch, classes)`; or of two batches of images.
        steps_per_epoch: Batches in one epoch.
        examples: Examples in the underlying data set; of unpaired images, in the larger domain.
        share: The part of each global batch that the dataset has.
    """

    dataset: Any
    steps_per_epoch: int
    examples: int
    share: Share = WHOLE


@dataclasses.dataclass(frozen=True)
class Epochs:
    """Start and length of endless epochs, and the seeds of their draws.

    Args:
        examples: Examples in an epoch. Those of a last partial batch are left out.
        batch_size: Examples in a batch, over all hosts.
        seed: The seed of all draws.
        start_epoch: The epoch to begin with.
        start_step: Batches of that epoch to leave out; where they are all, the next one follows.
        share: The part of each batch that this host takes.
    """

    examples: int
    batch_size: int
    seed: int
    start_epoch: int
    start_step: int
    share: Share = WHOLE

    def __post_init__(self) -> None:
        self.share.check(self.batch_size)
        epoch, step = self.start_epoch, self.start_step
        if epoch < 0 or not 0 <= step <= self.steps:
            raise ArgumentError(
                f"training cannot start at epoch {epoch}, step {step}: an epoch has "
                f"{self.steps} steps"
            )

    @property
    def steps(self) -> int:
        """Batches in an epoch."""
        return self.examples // self.batch_size

    @property
    def own_size(self) -> int:
        """Examples of a batch that this host takes."""
        return self.batch_size // self.share.count

    def seed_of(self, stream: int, *path: Any) -> Any:
        """The seed of one draw: of a stream of random numbers, an epoch, a step."""
        seed = tf.stack([tf.constant(self.seed, tf.int64), tf.constant(stream, tf.int64)])
        for number in path:
            seed = fold_in(seed, number)
        return seed

    def first_step(self, epoch: Any) -> Any:
        """The first step of an epoch that is not left out."""
        return tf.where(epoch == self.start_epoch, np.int64(self.start_step), np.int64(0))

    def batches(
        self, rows_of: Callable[[Any], Any], change: Callable[..., Any], *, batched: bool
    ) -> Batches:
        """The pipeline, from the rows of an epoch and the change of a row.

        Rows are changed to batches where they are `batched` already, else to examples.
        """
        with tf.device("CPU"):
            dataset = (
                tf.data.Dataset.range(self.start_epoch, FOREVER)
                .flat_map(rows_of)
                .map(change, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
            )
            if not batched:
                dataset = dataset.batch(self.own_size, drop_remainder=True)
            dataset = dataset.apply(
                tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY)
            )
            return Batches(prefetch(dataset), self.steps, self.examples, self.share)


def check_enough(examples: int, batch_size: int, whole: str, hint: str = "") -> None:
    """Refuse a data set that has fewer examples than a batch."""
    if examples < batch_size:
        raise DataError(
            f"{whole}, fewer than one batch of {batch_size}; give a batch size of at most "
            f"{examples}{hint}"
        )


def prefetch(batches: Any) -> Any:
    """Batches that are computed ahead of their use, and of which every host takes a part."""
    options = tf.data.Options()
    options.deterministic = True
    # What is parallel then has a thread a core. The tuning of TensorFlow 2.21 finds as many, but
    # its thread can miss that it is told to stop: the end of an iterator then waits for its next
    # look, up to a minute.
    options.autotune.enabled = False
    # Every host gets its part of each global batch. Sharing out files instead would give hosts
    # batches of their own, in an order that depends on the number of hosts.
    policy = tf.data.experimental.AutoShardPolicy.DATA
    options.experimental_distribute.auto_shard_policy = policy
    return batches.with_options(options).prefetch(tf.data.AUTOTUNE)
