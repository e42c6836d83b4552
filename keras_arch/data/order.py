"""Order of training examples: permutations of a cache, and shuffle buffers of a stream.

An epoch goes once over the larger of two domains. The smaller one is shuffled again whenever it is
through, so that it is gone over in several rounds.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

from keras_arch._lazy import tf
from keras_arch._tensorflow import last_maps
from keras_arch.data import balancing, caching
from keras_arch.data.epochs import Epochs
from keras_arch.data.seeds import fold_in

# Streams of random numbers: the order of each domain, and crops.
ORDER, CROP = (0, 2), 4
# Branch of the seed of an order that decides how often an example occurs.
_BALANCE = 1
# Enough of a data set to mix it well without caching it; 10,000 CIFAR images are 30 MB. As many
# large images would be the cache that was declined.
_SHUFFLE_BUFFER, _SHUFFLE_BYTES = 10_000, 2**30


class CachedRows:
    """Examples in memory, in a new uniform permutation in each epoch.

    `datasets` are one, or one for each domain, and `counts` their sizes. Where they are `balanced`,
    an epoch has as many examples of each class.
    """

    def __init__(
        self,
        datasets: Sequence[Any],
        counts: Sequence[int],
        epochs: Epochs,
        balanced: bool = False,
    ) -> None:
        self._counts, self._epochs = counts, epochs
        self._columns = caching.cache_in_memory(datasets, counts)
        labels = self._columns[0][1].numpy() if balanced else None
        self._balance = None if labels is None else balancing.Balance(labels)

    def of(self, epoch: Any) -> Any:
        """A data set of `(epoch, step, indices of each domain)`."""
        first, steps = self._epochs.first_step(epoch), self._epochs.steps
        orders = [self._order(domain, epoch)[first:] for domain in range(len(self._counts))]
        numbers = tf.range(first, steps, dtype=tf.int64)
        return tf.data.Dataset.from_tensor_slices((numbers, *orders)).map(
            lambda step, *indices: (epoch, step, *indices)
        )

    def read(self, places: Any, *indices: Any) -> list[Any]:
        """The columns of a batch from the indices of its rows; of all `places` or of some."""
        if places is not None:
            indices = tuple(tf.gather(chosen, places) for chosen in indices)
        return [
            tf.gather(column, chosen)
            for columns, chosen in zip(self._columns, indices, strict=True)
            for column in columns
        ]

    def _order(self, domain: int, epoch: Any) -> Any:
        seed, numbers = self._epochs.seed_of(ORDER[domain], epoch), tf.range(self._counts[domain])
        rounds = _rounds(self._counts, domain)
        if self._balance is not None:
            numbers = tf.repeat(numbers, self._balance.repeats(fold_in(seed, _BALANCE)))

        def shuffle(seed: Any) -> Any:
            return tf.random.experimental.stateless_shuffle(numbers, seed, alg="philox")

        if rounds == 1:
            order = shuffle(seed)
        else:
            order = tf.map_fn(lambda turn: shuffle(fold_in(seed, turn)), tf.range(rounds))
        shape = self._epochs.steps, self._epochs.batch_size
        return tf.reshape(tf.reshape(order, [-1])[: math.prod(shape)], shape)


class StreamedRows:
    """Examples that are read again in each epoch, shuffled through a buffer.

    Arguments as for `CachedRows`; `crop(image, seed)` is applied to each image. Where they are of
    the share of `epochs` only, its rows alone are decoded.
    """

    def __init__(
        self,
        datasets: Sequence[Any],
        counts: Sequence[int],
        epochs: Epochs,
        crop: Callable[[Any, Any], Any] | None,
        balanced: bool = False,
        *,
        own_only: bool = False,
    ) -> None:
        self._counts, self._epochs, self._crop = counts, epochs, crop
        self._own_only = own_only
        # The order of examples that are not decoded yet is the same.
        read = [last_maps.take_off(each) if own_only else (each, None) for each in datasets]
        self._datasets, self._decode = [base for base, _ in read], [last for _, last in read]
        self._buffers = [
            min(count, _SHUFFLE_BUFFER, max(1, _SHUFFLE_BYTES // caching.example_bytes(dataset)))
            for dataset, count in zip(datasets, counts, strict=True)
        ]
        labels = balancing.labels_of(datasets[0]) if balanced else None
        self._balance = None if labels is None else balancing.Balance(labels)

    def of(self, epoch: Any) -> Any:
        """A data set of `(epoch, step, columns of the batch)`."""
        first, batch_size = self._epochs.first_step(epoch), self._epochs.batch_size
        streams = [self._stream(domain, epoch) for domain in range(len(self._datasets))]
        rows = tf.data.Dataset.zip(tuple(streams)).enumerate()
        # A last partial batch, of which a host's part may be as large as that of a whole one.
        rows = rows.take(self._epochs.steps * batch_size).skip(first * batch_size)
        if self._own_only:
            share = self._epochs.share
            rows = rows.filter(lambda place, row: share.has(place % batch_size, batch_size))

        def finished(place: Any, parts: Any) -> tuple[Any, ...]:
            decoded = map(self._decoded, self._decode, parts)
            row = tuple(itertools.chain(*decoded))
            if self._crop is None:
                return row
            # The place of an image in the epoch decides its draws.
            return self._crop(row[0], self._epochs.seed_of(CROP, epoch, place)), *row[1:]

        rows = rows.map(finished, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        size = self._epochs.own_size if self._own_only else batch_size
        batches = rows.batch(size, drop_remainder=True)
        return batches.enumerate(first).map(lambda step, columns: (epoch, step, *columns))

    def read(self, places: Any, *columns: Any) -> tuple[Any, ...]:
        """The columns of a batch, which are those of `places` already, or of all."""
        return columns

    @staticmethod
    def _decoded(decode: Callable[..., Any] | None, part: Any) -> tuple[Any, ...]:
        if decode is None:
            return part
        return decode(*part) if isinstance(part, tuple) else decode(part)

    def _stream(self, domain: int, epoch: Any) -> Any:
        seed, rounds = self._epochs.seed_of(ORDER[domain], epoch), _rounds(self._counts, domain)
        if rounds == 1:
            return self._shuffled(domain, seed)
        return tf.data.Dataset.range(rounds).flat_map(
            lambda turn: self._shuffled(domain, fold_in(seed, turn))
        )

    def _shuffled(self, domain: int, seed: Any) -> Any:
        # A shuffle mixes the global seed into its own. This fixes it in this function's graph
        # alone, so that `tf.random.set_seed` does not change the order.
        tf.compat.v1.set_random_seed(1)
        shuffle_seed = tf.random.stateless_uniform([], seed, 0, 2**62, tf.int64, alg="philox")
        dataset = self._datasets[domain]
        if self._balance is not None:
            repeats = self._balance.repeats(fold_in(seed, _BALANCE))
            counted = tf.data.Dataset.zip((dataset, tf.data.Dataset.from_tensor_slices(repeats)))
            dataset = counted.flat_map(
                lambda row, count: tf.data.Dataset.from_tensors(row).repeat(count)
            )
        return dataset.shuffle(self._buffers[domain], shuffle_seed, reshuffle_each_iteration=False)


def _rounds(counts: Sequence[int], domain: int) -> int:
    """Permutations of a domain in one epoch: one of the larger one, enough of the other."""
    return -(-max(counts) // counts[domain])
