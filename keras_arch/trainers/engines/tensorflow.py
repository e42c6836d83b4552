"""TensorFlow's engine: a declared game as a step that is right under any `tf.distribute` strategy.

Under N replicas each sees a part of the global batch. Losses are sums over that part divided by
the size of the whole, so that the sum of the replicas' gradients (what optimizers take) is the
gradient of the mean over the global batch. Values for the logs are summed over the replicas.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from keras_arch._tensorflow import one_pass_adam
from keras_arch.errors import DataError


def compiles_faster(trainer: Any) -> bool:
    """Whether XLA makes the step faster: on a GPU it does, on a CPU it is slower than the graph.

    Several replicas exclude it: their gradients are exchanged outside the compiled function.
    """
    on_gpu = bool(tf.config.list_logical_devices("GPU"))
    return on_gpu and trainer.distribute_strategy.num_replicas_in_sync == 1


def scope(trainer: Any) -> Any:
    """The scope that the trainer's variables belong to."""
    return trainer.distribute_strategy.scope()


def build_optimizers(trainer: Any) -> None:
    """Make every optimizer's variables in the scope that the networks were made in."""
    with scope(trainer):
        for player in trainer.players():
            if not player.optimizer.built:
                player.optimizer.build(player.variables)


def wrap_step(trainer: Any, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function itself: a graph can refuse a batch as it runs."""
    return function


class SeedGenerator(keras.random.SeedGenerator):
    """A generator that gives every replica another seed.

    Its state is the same on all replicas, and so would be what they draw from it.
    """

    def next(self, ordered: bool = True) -> Any:
        """The next seed, with the replica's number folded in."""
        seed = super().next(ordered)
        context = tf.distribute.get_replica_context()
        if context is None:
            return seed
        replica = tf.cast(context.replica_id_in_sync_group, seed.dtype)
        return tf.random.experimental.stateless_fold_in(seed, replica)


def input_gradient(function: Callable[[Any], Any], at: Any) -> Any:
    """The gradient of the sum of `function(at)` in `at`, itself differentiable."""
    with tf.GradientTape() as tape:
        tape.watch(at)
        value = function(at)
    return tape.gradient(value, at)


def exchange(tensors: dict[str, Any]) -> tuple[dict[str, Any], Callable[[Any], Any]]:
    """All replicas' parts joined, in their order, and how a replica finds its own part again.

    Parts must be of equal size on all replicas.
    """
    context = tf.distribute.get_replica_context()
    replicas = context.strategy.num_replicas_in_sync if context else 1
    if replicas == 1:
        return tensors, lambda joined: joined
    number = context.replica_id_in_sync_group
    size = tf.shape(next(iter(tensors.values())))[0]

    def placed(tensor: Any) -> Any:
        # As a sum of parts that are zero elsewhere: works under every strategy.
        mask = tf.reshape(
            tf.one_hot(number, replicas, dtype=tensor.dtype), [-1] + [1] * len(tensor.shape)
        )
        return tf.reshape(mask * tensor[None], tf.concat([[-1], tf.shape(tensor)[1:]], 0))

    summed = context.all_reduce(
        tf.distribute.ReduceOp.SUM, [placed(tensor) for tensor in tensors.values()]
    )
    for tensor, joined in zip(tensors.values(), summed, strict=True):
        known = tensor.shape[0]
        joined.set_shape([known * replicas if known else None, *tensor.shape[1:]])
    return dict(zip(tensors, summed, strict=True)), lambda joined: joined[number * size :][:size]


def check_labels(labels: Any, classes: int) -> Any:
    """The labels, checked when the step runs (not under XLA, which cannot stop)."""
    labels = tf.convert_to_tensor(labels)
    message = f"{_LABELS} 0 to {classes - 1}"
    checks = [
        tf.debugging.assert_non_negative(labels, message=message),
        tf.debugging.assert_less(labels, tf.cast(classes, labels.dtype), message=message),
    ]
    with tf.control_dependencies([check for check in checks if check is not None]):
        return tf.identity(labels)


_LABELS = "labels must be"


@contextlib.contextmanager
def translate_errors() -> Iterator[None]:
    """Tell a label outside the classes in one line."""
    try:
        yield
    except tf.errors.InvalidArgumentError as error:
        found = str(error.message)
        if _LABELS not in found:
            raise
        wanted = found[found.index(_LABELS) :].partition("\n")[0].partition("]")[0]
        raise DataError(
            f"the data has a label outside the classes: {wanted.rstrip(' .')}; give the trainer "
            "as many classes as the data has"
        ) from None


def train_step(trainer: Any, data: Any) -> dict[str, Any]:
    """One turn of every player, all on one forward of `trainer.produce`."""
    batch = trainer.draw(trainer.unpack(data), trainer.seed_generator)
    players = trainer.players()
    values: dict[str, list[Any]] = {}
    pending = []
    # One tape for all: it remembers the shared forward, which the last player's gradient needs
    # after the others have moved.
    with tf.GradientTape(persistent=True) as tape:
        tensors = batch | trainer.shared_forward(batch, training=True)
        for player in players:
            variables = player.variables
            for turn in range(player.num_updates):
                part = trainer.micro_batch(tensors, turn, player.num_updates)
                losses, logged = player.loss(part, True)
                loss = _global_mean(losses)
                scaled = player.optimizer.scale_loss(loss)
                with tape.stop_recording():
                    _collect(values, {f"{player.name}_loss": losses} | logged)
                    gradients = tape.gradient(scaled, variables)
                    if trainer.update == "simultaneous":
                        pending.append((player.optimizer, gradients, variables))
                    else:
                        one_pass_adam.apply(player.optimizer, gradients, variables)
    for optimizer, gradients, variables in pending:
        one_pass_adam.apply(optimizer, gradients, variables)
    return _log(trainer, values)


def test_step(trainer: Any, data: Any) -> dict[str, Any]:
    """Every player's loss on a batch in inference mode."""
    batch = trainer.draw(trainer.unpack(data), trainer.evaluation_seed_generator)
    values: dict[str, list[Any]] = {}
    # A network that uses batch statistics or dropout at inference would move its state.
    with keras.StatelessScope():
        tensors = batch | trainer.shared_forward(batch, training=False)
        for player in trainer.players():
            losses, logged = player.loss(tensors, False)
            _collect(values, {f"{player.name}_loss": losses} | logged)
    return _log(trainer, values)


def _global_mean(values: Any) -> Any:
    """This replica's share of the mean over the global batch."""
    return tf.reduce_sum(values) / tf.cast(_global_size(values), values.dtype)


def _global_size(values: Any) -> Any:
    context = tf.distribute.get_replica_context()
    replicas = context.strategy.num_replicas_in_sync if context else 1
    size = tf.shape(values)[0]
    if replicas == 1:
        return size
    # The last batch of a dataset may reach the replicas in unequal parts.
    return context.all_reduce(tf.distribute.ReduceOp.SUM, size)


def _collect(values: dict[str, list[Any]], new: dict[str, Any]) -> None:
    for name, value in new.items():
        values.setdefault(name, []).append(tf.reshape(ops.stop_gradient(value), [-1]))


def _log(trainer: Any, values: dict[str, list[Any]]) -> dict[str, Any]:
    """Update the running means with the sums over all replicas."""
    joined = {name: tf.concat(parts, axis=0) for name, parts in values.items()}
    sums = tf.stack([tf.cast(tf.reduce_sum(value), tf.float32) for value in joined.values()])
    sizes = tf.stack([tf.cast(tf.size(value), tf.float32) for value in joined.values()])
    context = tf.distribute.get_replica_context()
    if context is not None and context.strategy.num_replicas_in_sync > 1:
        sums, sizes = context.all_reduce(tf.distribute.ReduceOp.SUM, [sums, sizes])
    trackers = {tracker.name: tracker for tracker in trainer.trackers}
    for position, name in enumerate(joined):
        mean = sums[position] / sizes[position]
        trackers[name].update_state(mean, sample_weight=sizes[position])
    return {name: trackers[name].result() for name in joined}
