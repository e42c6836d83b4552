"""Training step of a game on JAX: a pure function from the state of `fit` to the next one.

Keras' JAX trainer gives a step the values of all variables and takes the new ones back; the
variables themselves hold nothing meanwhile. Here a step keeps them in a table, runs each part of
the game on it as a pure function, and differentiates that. The shared forward runs once: its
pullback brings every player's gradient in its outputs back to the player's weights.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import keras
from jax import numpy as jnp
from keras import ops

from keras_arch.data import checks
from keras_arch.trainers.engines import common

SeedGenerator, scope, global_batch = common.SeedGenerator, common.scope, common.global_batch
exchange = common.exchange
build_optimizers = common.build_optimizers


def compiles_faster(trainer: Any) -> bool:
    """Whether XLA makes the step faster: without it JAX runs every operation from Python."""
    return True


def wrap_step(trainer: Any, build: Callable[[], Callable[..., Any]]) -> Callable[..., Any]:
    """A train or test function that checks its batches before they enter the compiled step.

    A compiled step can refuse nothing. Keras takes the values out of the variables while it
    runs; they are put back when a batch, or the step's first tracing, fails.
    """
    function = build()

    def step(state: Any, iterator: Iterator[Any]) -> Any:
        nonlocal function
        try:
            batches = list(itertools.islice(iterator, trainer.steps_per_execution))
            for batch in batches:
                trainer.unpack(batch)
            try:
                return function(state, iter(batches))
            except common.MissingMeans as missing:
                # Nothing has changed yet: the step was only traced, or ran on copies.
                before = {id(variable) for variable in trainer.metrics_variables}
                trainer.track(*missing.names)
                new = [v.value for v in trainer.metrics_variables if id(v) not in before]
                state = (*state[:-1], [*state[-1], *new])
                function = build()
                return function(state, iter(batches))
        except Exception:
            for variable, value in zip(
                itertools.chain(*_groups(trainer, state)), itertools.chain(*state), strict=True
            ):
                # Values that a step has taken over for its own results are gone.
                if not value.is_deleted():
                    variable.assign(value)
            raise

    return step


def input_gradient(function: Callable[[Any], Any], at: Any) -> Any:
    """The gradient of the sum of `function(at)` in `at`, itself differentiable."""

    def total(at: Any) -> tuple[Any, Any]:
        # In a scope of its own: changes in here belong to the inner derivative's trace, and
        # leaves it as a result.
        with keras.StatelessScope() as inner:
            if inner.original_scope is not None:
                inner.state_mapping.update(inner.original_scope.state_mapping)
            value = ops.sum(function(at))
        return value, dict(inner.state_mapping)

    gradient, changed = jax.grad(total, has_aux=True)(at)
    with keras.StatelessScope() as here:
        if here.original_scope is not None:
            here.original_scope.state_mapping.update(changed)
    return gradient


def check_labels(labels: Any, classes: int | None) -> Any:
    """The labels `(batch,)`, checked where they are numbers; the compiled step is given such."""
    if isinstance(labels, jax.core.Tracer):
        if labels.ndim == 2:
            labels = labels[:, 0] if labels.shape[1] == 1 else jnp.argmax(labels, axis=1)
        return labels.astype("int32")
    if isinstance(labels, jax.Array) and not labels.is_fully_addressable:
        # Of several hosts each checks its own.
        for shard in labels.addressable_shards:
            checks.check_labels(shard.data, classes)
        return labels
    return checks.check_labels(labels, classes)


def train_step(trainer: Any, state: Any, data: Any) -> tuple[dict[str, Any], Any]:
    """One update of every player, all on one forward of `trainer.shared_forward`."""
    table = _Table(_groups(trainer, state), state)
    batch = table.run(lambda: trainer.draw(trainer.unpack(data), trainer.seed_generator))
    optimizers, players = trainer.optimizers, trainer.players()
    weights = {player.name: table.of(player.variables) for player in players}
    owned = [variable for player in players for variable in player.variables]

    def shared_forward(weights: dict[str, list[Any]]) -> tuple[Any, Any]:
        at = [value for player in players for value in weights[player.name]]
        outputs, after = table.trial(
            lambda: trainer.shared_forward(batch, training=True), owned, at
        )
        smooth = {name: x for name, x in outputs.items() if jnp.issubdtype(x.dtype, jnp.inexact)}
        return smooth, ({name: x for name, x in outputs.items() if name not in smooth}, after)

    outputs, pullback, (fixed, after) = jax.vjp(shared_forward, weights, has_aux=True)
    table.put_all(after)
    values: common.Values = {}
    pending = []
    for player in players:
        optimizer = optimizers[player.name]
        for index in range(player.num_updates):
            loss = _loss(trainer, table, player, index, batch | fixed)
            (_, aux), (own, through) = jax.value_and_grad(loss, (0, 1), has_aux=True)(
                table.of(player.variables), outputs
            )
            losses, logged, after = aux
            table.put_all(after)
            common.collect(values, player, losses, logged)
            # XLA drops the other players' parts of this.
            shared = pullback(through)[0][player.name]
            gradients = [a + b for a, b in zip(own, shared, strict=True)]
            if trainer.update == "simultaneous":
                pending.append((optimizer, gradients, player.variables))
            else:
                table.apply(optimizer, gradients, player.variables)
    for optimizer, gradients, variables in pending:
        table.apply(optimizer, gradients, variables)
    return _logs(trainer, table, values)


def test_step(trainer: Any, state: Any, data: Any) -> tuple[dict[str, Any], Any]:
    """Every player's loss on a batch in inference mode."""
    table = _Table(_groups(trainer, state), state)
    batch = table.run(lambda: trainer.draw(trainer.unpack(data), trainer.evaluation_seed_generator))
    # A network that uses batch statistics or dropout at inference would move its state.
    values, _ = table.trial(lambda: common.evaluated(trainer, batch))
    return _logs(trainer, table, values)


def _logs(trainer: Any, table: "_Table", values: common.Values) -> tuple[dict[str, Any], Any]:
    if missing := common.missing_means(trainer, values):
        raise common.MissingMeans(missing)
    logs = table.run(lambda: common.update_means(trainer, values))
    return logs, table.state()


class _Table:
    """The values (`state`) of variables during a step, both in the groups of Keras."""

    def __init__(self, groups: Sequence[list[Any]], state: Sequence[list[Any]]) -> None:
        self._groups = groups
        self._variables = list(itertools.chain(*groups))
        self._values: dict[int, Any] = {}
        self.put_all(list(itertools.chain(*state)))

    def of(self, variables: list[Any]) -> list[Any]:
        """The values of some variables."""
        return [self._values[id(variable)] for variable in variables]

    def put(self, variables: list[Any], values: list[Any]) -> None:
        """Give variables new values."""
        for variable, value in zip(variables, values, strict=True):
            self._values[id(variable)] = value

    def put_all(self, values: list[Any]) -> None:
        """Give all variables new values."""
        self.put(self._variables, values)

    def state(self) -> tuple[list[Any], ...]:
        """All values in Keras' groups."""
        return tuple(self.of(group) for group in self._groups)

    def trial(
        self, function: Callable[[], Any], variables: Sequence[Any] = (), values: Sequence[Any] = ()
    ) -> tuple[Any, list[Any]]:
        """A function's result with some variables at other values, and all values afterwards."""
        other = {id(v): value for v, value in zip(variables, values, strict=True)}
        mapping = [(v, other.get(id(v), self._values[id(v)])) for v in self._variables]
        with keras.StatelessScope(mapping) as scope:
            result = function()
        return result, [scope.get_current_value(v) for v in self._variables]

    def run(self, function: Callable[[], Any]) -> Any:
        """A function's result; its changes of variables stay in the table."""
        result, after = self.trial(function)
        self.put_all(after)
        return result

    def apply(self, optimizer: Any, gradients: list[Any], variables: list[Any]) -> None:
        """One update of an optimizer."""
        weights, slots = optimizer.stateless_apply(
            self.of(optimizer.variables), gradients, self.of(variables)
        )
        self.put(variables, weights)
        self.put(optimizer.variables, slots)


def _groups(trainer: Any, state: Sequence[Any]) -> list[list[Any]]:
    """The variables whose values a train state (of four groups) or a test state holds."""
    groups = [trainer.trainable_variables, trainer.non_trainable_variables]
    if len(state) == 4:
        groups.append(trainer.optimizer.variables)
    return [*groups, trainer.metrics_variables]


def _loss(
    trainer: Any, table: _Table, player: Any, index: int, fixed: dict[str, Any]
) -> Callable[..., Any]:
    """A player's loss as a function of its weights and of the shared forward's outputs."""

    def loss(weights: list[Any], outputs: dict[str, Any]) -> tuple[Any, Any]:
        def play() -> tuple[Any, Any, Any]:
            micro_batch = trainer.micro_batch(fixed | outputs, index, player.num_updates)
            losses, logged = player.regularized_loss(micro_batch, True)
            scaled = trainer.optimizers[player.name].scale_loss(ops.mean(losses))
            return scaled, losses, logged

        (scaled, losses, logged), after = table.trial(play, player.variables, weights)
        return scaled, (losses, logged, after)

    return loss
