"""Batches of a host for the replicas of a strategy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keras_arch.data.shares import Share


def share(strategy: Any) -> Share:
    """The part of each global batch that this host takes under a strategy.

    Args:
        strategy: A `tf.distribute.Strategy`.

    Returns:
        The share, for `keras_arch.data.train_batches` and its kin; the whole on one host.

    Example:
        >>> from keras_arch import distribute
        >>> distribute.share(distribute.strategy("none")).is_whole
        True
    """
    from keras_arch.data.shares import WHOLE, Share

    if not of_several_hosts(strategy):
        return WHOLE
    extended = strategy.extended
    return Share(extended._id_in_cluster, extended._num_workers)


def of_several_hosts(strategy: Any) -> bool:
    """Whether a strategy trains on more than one host.

    Example:
        >>> from keras_arch import distribute
        >>> of_several_hosts(distribute.strategy("none"))
        False
    """
    import tensorflow as tf

    several = isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)
    return several and strategy.extended._num_workers > 1


def on_replicas(strategy: Any, batches: Any) -> Any:
    """Batches of this host's share for `model.fit` and `model.evaluate` under a strategy.

    On one host they are returned as they are: Keras divides them among its replicas.

    Args:
        strategy: A `tf.distribute.Strategy`.
        batches: A `tf.data.Dataset` of this host's share of each global batch; all hosts must have
            as many. Of each the replicas of the host take equal parts, one after the other.

    Returns:
        The same, or a `tf.distribute.DistributedDataset`, which Keras does not divide again. Tell
        Keras their number: `steps_per_epoch` of `fit`, `steps` of `evaluate`.

    Example:
        >>> from keras_arch import data, distribute
        >>> from keras_arch.preprocessing import Preprocessing
        >>> strategy = distribute.strategy("none")
        >>> batches = data.eval_batches(data.load("digits", "test"), Preprocessing((8, 8), 1), 64,
        ...                             share=distribute.share(strategy))
        >>> len(distribute.on_replicas(strategy, batches))
        6
    """
    if not of_several_hosts(strategy):
        return batches
    replicas = len(strategy.extended.worker_devices)
    parts = batches if replicas == 1 else _divided(batches, replicas)
    return strategy.distribute_datasets_from_function(lambda context: parts)


def _divided(batches: Any, replicas: int) -> Any:
    """The parts of each batch that the replicas of a host take, one after the other."""
    import tensorflow as tf

    def parts(*batch: Any) -> Any:
        size = tf.shape(tf.nest.flatten(batch)[0])[0]

        def part(number: Any) -> Any:
            first, end = size * number // replicas, size * (number + 1) // replicas
            cut = tf.nest.map_structure(lambda values: values[first:end], batch)
            return cut if len(cut) > 1 else cut[0]

        return tf.data.Dataset.range(replicas, output_type=tf.int32).map(part)

    count = int(batches.cardinality())
    divided = batches.flat_map(parts)
    return divided.apply(
        tf.data.experimental.assert_cardinality(count * replicas if count > 0 else count)
    )
