"""Training step of a game on TensorFlow, under any `tf.distribute` strategy.

Under N replicas each has a part of the global batch. Losses are sums over that part divided by
the size of the whole, so that the sum of the replicas' gradients, which optimizers use, is the
gradient of the mean over the global batch. Noise is drawn for the global batch, and each replica
takes its part of it. Values for the logs are summed over the replicas.
"""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from keras_arch._tensorflow import assertion, one_pass_adam, several_hosts
from keras_arch.data import checks_in_graph
from keras_arch.trainers.engines import common

build_optimizers = common.build_optimizers


def compiles_faster(trainer: Any) -> bool:
    """Whether XLA makes the step faster: on a GPU it does, on a CPU it is slower than the graph.

    Several replicas exclude it: their gradients are exchanged outside the compiled function.
    """
    on_gpu = bool(tf.config.list_logical_devices("GPU"))
    return on_gpu and trainer.distribute_strategy.num_replicas_in_sync == 1


def scope(trainer: Any) -> Any:
    """The scope that the trainer's variables belong to."""
    return trainer.distribute_strategy.scope()


def wrap_step(trainer: Any, build: Callable[[], Callable[..., Any]]) -> Callable[..., Any]:
    """A train or test function that adds running means for undeclared values of a step."""
    function = build()

    def step(iterator: Any) -> Any:
        nonlocal function
        try:
            return function(iterator)
        except common.MissingMeans as missing:
            # Raised while the step was traced, before it took a batch.
            trainer.track(*missing.names)
            function = build()
            return function(iterator)

    return step


class SeedGenerator(keras.random.SeedGenerator):
    """Seed generator whose draws in a step are those of one replica on all replicas."""

    def next(self, ordered: bool = True) -> Any:
        """The next seed; in a step that of replica 0, from which all draw the global batch."""
        seed = super().next(ordered)
        if tf.distribute.get_replica_context() is None:
            return seed
        return tf.random.experimental.stateless_fold_in(seed, tf.zeros((), seed.dtype))


def global_batch(size: Any) -> tuple[Any, Callable[[Any], Any]]:
    """Size of the global batch, and a function that takes this replica's `size` examples of it."""
    context, replicas = _replicas()
    if replicas == 1:
        return size, lambda tensor: tensor
    number = context.replica_id_in_sync_group
    if isinstance(size, int) and assertion.compiled_by_xla():
        # A TPU, whose replicas have parts of one size. XLA must know the size of what it draws.
        return size * replicas, lambda tensor: _rows(tensor, number * size, size)
    sizes = context.all_reduce(
        tf.distribute.ReduceOp.SUM, tf.one_hot(number, replicas, dtype=tf.int32) * size
    )
    first = tf.reduce_sum(sizes[:number])
    return tf.reduce_sum(sizes), lambda tensor: _rows(tensor, first, size)


def input_gradient(function: Callable[[Any], Any], at: Any) -> Any:
    """The gradient of the sum of `function(at)` in `at`, itself differentiable."""
    with tf.GradientTape() as tape:
        tape.watch(at)
        value = function(at)
    return tape.gradient(value, at)


def exchange(tensors: dict[str, Any]) -> tuple[dict[str, Any], Callable[[Any], Any]]:
    """All replicas' parts (of one size) in their order, and a function that takes this one's."""
    context, replicas = _replicas()
    if replicas == 1:
        return tensors, lambda joined: joined
    number = context.replica_id_in_sync_group
    size = tf.shape(next(iter(tensors.values())))[0]

    def placed(tensor: Any) -> Any:
        # As a sum of parts that are zero elsewhere: works under every strategy.
        mask = tf.one_hot(number, replicas, dtype=tensor.dtype)
        mask = tf.reshape(mask, [-1] + [1] * len(tensor.shape))
        return tf.reshape(mask * tensor[None], tf.concat([[-1], tf.shape(tensor)[1:]], 0))

    summed = context.all_reduce(tf.distribute.ReduceOp.SUM, list(map(placed, tensors.values())))
    for tensor, joined in zip(tensors.values(), summed, strict=True):
        known = tensor.shape[0]
        joined.set_shape([known * replicas if known else None, *tensor.shape[1:]])
    return dict(zip(tensors, summed, strict=True)), lambda joined: _rows(
        joined, number * size, size
    )


def check_labels(labels: Any, classes: int | None) -> Any:
    """The labels `(batch,)`, checked when the step runs.

    XLA cannot stop a step: for it the checks of arrays, pipelines and generators must do.
    """
    given = tf.convert_to_tensor(labels)
    if not assertion.compiled_by_xla():
        with tf.control_dependencies([checks_in_graph.label_assertion(given, classes)]):
            given = tf.identity(given)
    return tf.cast(checks_in_graph.label_numbers(given, classes), tf.int32)


def train_step(trainer: Any, data: Any) -> dict[str, Any]:
    """One update of every player, all on one forward of `trainer.shared_forward`."""
    batch = trainer.draw(trainer.unpack(data), trainer.seed_generator)
    optimizers = trainer.optimizers
    values: common.Values = {}
    pending = []
    # One tape for all: it remembers the shared forward, which the last player's gradient needs
    # after the others have moved.
    with tf.GradientTape(persistent=True) as tape:
        tensors = batch | trainer.shared_forward(batch, training=True)
        for player in trainer.players():
            optimizer, variables = optimizers[player.name], player.variables
            for index in range(player.num_updates):
                micro_batch = trainer.micro_batch(tensors, index, player.num_updates)
                losses, logged = player.regularized_loss(micro_batch, True)
                scaled = optimizer.scale_loss(_global_mean(losses))
                with tape.stop_recording():
                    common.collect(values, player, losses, logged)
                    gradients = tape.gradient(scaled, variables)
                    if trainer.update == "simultaneous":
                        pending.append((optimizer, gradients, variables))
                    else:
                        one_pass_adam.apply(optimizer, gradients, variables)
    for optimizer, gradients, variables in pending:
        one_pass_adam.apply(optimizer, gradients, variables)
    return _log(trainer, values)


def test_step(trainer: Any, data: Any) -> dict[str, Any]:
    """Every player's loss on a batch in inference mode."""
    batch = trainer.draw(trainer.unpack(data), trainer.evaluation_seed_generator)
    # The last batch may leave this replica without an example.
    rows = None
    if _replicas()[1] > 1:
        batch, rows = several_hosts.at_least_one_row(batch)
    # A network that uses batch statistics or dropout at inference would move its state.
    with keras.StatelessScope():
        values = common.evaluated(trainer, batch)
    values = {name: several_hosts.first_rows(parts, rows) for name, parts in values.items()}
    return _log(trainer, values)


def _replicas() -> tuple[Any, int]:
    """The context of this replica, and how many there are."""
    context = tf.distribute.get_replica_context()
    return context, context.strategy.num_replicas_in_sync if context else 1


def _rows(tensor: Any, first: Any, count: Any) -> Any:
    """Rows from a place on. XLA takes no slice from a place that the step computes."""
    return tf.gather(tensor, first + tf.range(count))


def _global_mean(values: Any) -> Any:
    """This replica's share of the mean over the global batch."""
    context, replicas = _replicas()
    size = tf.shape(values)[0]
    if replicas > 1:
        # The last batch of a dataset may reach the replicas in unequal parts.
        size = context.all_reduce(tf.distribute.ReduceOp.SUM, size)
    return tf.reduce_sum(values) / tf.cast(size, values.dtype)


def _log(trainer: Any, values: common.Values) -> dict[str, Any]:
    """Update the running means by the sums over all replicas."""
    joined = {name: tf.concat(parts, axis=0) for name, parts in values.items()}
    sums = tf.stack([tf.cast(tf.reduce_sum(value), tf.float32) for value in joined.values()])
    sizes = tf.stack([tf.cast(tf.size(value), tf.float32) for value in joined.values()])
    context, replicas = _replicas()
    if replicas > 1:
        sums, sizes = context.all_reduce(tf.distribute.ReduceOp.SUM, [sums, sizes])
    if missing := common.missing_means(trainer, values):
        if not tf.executing_eagerly():
            raise common.MissingMeans(missing)
        # Once for all replicas.
        context.merge_call(lambda strategy: trainer.track(*missing))
    trackers = {tracker.name: tracker for tracker in trainer.metrics}
    for position, name in enumerate(joined):
        size = sizes[position]
        trackers[name].update_state(sums[position] / size, sample_weight=size)
    return {name: trackers[name].result() for name in joined}
