"""Repairs of Keras' `fit`, `evaluate` and `predict` under several replicas and several hosts.

Keras 3.15 fails in four places; a user's own `model.fit` in the scope of our strategies is mended
too:

- It averages the first batch over the replicas to learn its shape, which fails where their parts
  differ in size, and over several hosts always. The part of one replica tells the shape as well.
- It averages the logs of a step over several hosts along their first axis, which numbers do not
  have.
- A last batch can leave a replica without an example, and convolutions refuse a batch without
  rows. Such a replica evaluates and predicts a row of zeros, whose outputs are cut off again.
- `predict_on_batch` gives the outputs of all replicas, each of which takes the whole batch.

They are no fast paths: nothing switches them off.
"""

import functools
from collections.abc import Callable
from typing import Any

from keras_arch._tensorflow.keras_release import is_checked


@functools.cache
def repair_keras() -> bool:
    """Repair Keras for several replicas, once in a process; whether it was done.

    Other releases than those that were checked are left alone, with a line in the log.

    Example:
        >>> repair_keras() == repair_keras()
        True
    """
    import keras

    if keras.backend.backend() != "tensorflow":
        return False
    if not is_checked("several hosts were", "is not repaired"):
        return False
    from keras.src.backend.tensorflow import trainer

    trainer.reduce_per_replica = _reduced(trainer.reduce_per_replica)
    stock = trainer.TensorFlowTrainer
    stock._maybe_symbolic_build = _built_by_one_replica(stock._maybe_symbolic_build)
    stock.test_step = _tested_without_rows(stock.test_step)
    stock.predict_step = _predicted_without_rows(stock.predict_step)
    stock.predict_on_batch = _predicted_once(stock.predict_on_batch)
    return True


def at_least_one_row(tensors: Any) -> tuple[Any, Any]:
    """Tensors of a batch with a row of zeros where they have none, and the number of their rows.

    Args:
        tensors: Nested tensors `(batch, ...)`.

    Returns:
        The tensors, and the number; `None` where it is known and not zero.

    Example:
        >>> import tensorflow as tf
        >>> padded, rows = at_least_one_row(tf.zeros([0, 4]))
        >>> padded.shape, int(rows)
        (TensorShape([1, 4]), 0)
    """
    import tensorflow as tf

    parts = [part for part in tf.nest.flatten(tensors) if isinstance(part, tf.Tensor)]
    if not parts or parts[0].shape.rank in (None, 0) or parts[0].shape[0]:
        return tensors, None
    rows = tf.shape(parts[0])[0]
    missing = tf.cast(rows == 0, tf.int32)

    def padded(part: Any) -> Any:
        if not isinstance(part, tf.Tensor) or not part.shape.rank:
            return part
        # Not `tf.pad`, which TensorFlow joins with a convolution that knows no padding of rows.
        zeros = tf.zeros(tf.concat([[missing], tf.shape(part)[1:]], 0), part.dtype)
        return tf.ensure_shape(tf.concat([part, zeros], 0), [None, *part.shape[1:]])

    return tf.nest.map_structure(padded, tensors), rows


def first_rows(tensors: Any, rows: Any) -> Any:
    """The first rows of nested tensors: the inverse of `at_least_one_row`."""
    import tensorflow as tf

    return tensors if rows is None else tf.nest.map_structure(lambda each: each[:rows], tensors)


def _reduced(stock: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(stock)
    def reduce_per_replica(values: Any, strategy: Any, reduction: str) -> Any:
        import tensorflow as tf

        if reduction not in ("auto", "mean") or not _is_of_hosts(strategy):
            return stock(values, strategy, reduction)
        # In one exchange: a small one takes as long as its way.
        flat = tf.nest.flatten(values)
        joined = strategy.run(
            lambda *parts: tf.stack([tf.cast(tf.reduce_mean(part), "float32") for part in parts]),
            args=flat,
        )
        means = tf.unstack(strategy.reduce("MEAN", joined, axis=None), len(flat))
        return tf.nest.pack_sequence_as(values, means)

    return reduce_per_replica


def _built_by_one_replica(stock: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(stock)
    def _maybe_symbolic_build(self: Any, iterator: Any = None, data_batch: Any = None) -> None:
        import tensorflow as tf

        strategy = self._distribute_strategy
        if strategy is None or strategy.num_replicas_in_sync == 1 or iterator is None:
            return stock(self, iterator=iterator, data_batch=data_batch)
        batch = next(batches) if (batches := _first(iterator)) is not None else None
        parts = tf.nest.map_structure(
            lambda values: strategy.experimental_local_results(values)[0], batch
        )
        with strategy.scope():
            self._symbolic_build(data_batch=at_least_one_row(parts)[0])
        return None

    return _maybe_symbolic_build


def _first(iterator: Any) -> Any:
    """The iterator over the batches of Keras' iterator over an epoch."""
    return next((batches for _, _, batches in iterator), None)


def _tested_without_rows(stock: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(stock)
    def test_step(self: Any, data: Any) -> Any:
        import keras

        x, y, weight = keras.utils.unpack_x_y_sample_weight(data)
        padded, rows = _of_replicas(self, x)
        if rows is None:
            return stock(self, data)
        # As Keras has it, with the outputs of the padding cut off. All replicas go the same way,
        # so that losses may exchange values.
        outputs = first_rows(_outputs(self, padded), rows)
        loss = self._compute_loss(x=x, y=y, y_pred=outputs, sample_weight=weight, training=False)
        share = self.distribute_strategy.num_replicas_in_sync
        self._loss_tracker.update_state(loss * share, sample_weight=rows)
        return self.compute_metrics(x, y, outputs, sample_weight=weight)

    return test_step


def _predicted_without_rows(stock: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(stock)
    def predict_step(self: Any, data: Any) -> Any:
        import keras

        padded, rows = _of_replicas(self, keras.utils.unpack_x_y_sample_weight(data)[0])
        return stock(self, data) if rows is None else first_rows(_outputs(self, padded), rows)

    return predict_step


def _predicted_once(stock: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(stock)
    def predict_on_batch(self: Any, x: Any) -> Any:
        import tensorflow as tf

        outputs = stock(self, x)
        if self.distribute_strategy.num_replicas_in_sync == 1:
            return outputs
        return first_rows(outputs, len(tf.nest.flatten(x)[0]))

    return predict_on_batch


def _of_replicas(model: Any, inputs: Any) -> tuple[Any, Any]:
    """As `at_least_one_row`, on several replicas; on one no batch is without rows."""
    if model.distribute_strategy.num_replicas_in_sync == 1:
        return inputs, None
    return at_least_one_row(inputs)


def _outputs(model: Any, inputs: Any) -> Any:
    takes_training = getattr(model, "_call_has_training_arg", False)
    return model(inputs, training=False) if takes_training else model(inputs)


def _is_of_hosts(strategy: Any) -> bool:
    """Whether a strategy is one over several hosts."""
    import tensorflow as tf

    return (
        isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)
        and strategy.extended._in_multi_worker_mode()
    )
