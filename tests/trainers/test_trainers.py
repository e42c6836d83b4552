"""All trainers: replicas, saving, resuming, evaluation."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from keras_arch import losses, trainers
from keras_arch.callbacks import checkpoint_files as state
from keras_arch.errors import ArgumentError, DataError
from tests.trainers import games

# One with two networks and one with four; the others take longer together.
QUICK = (games.PIX2PIX["l1+cgan"],)


def values(variables):
    return [np.asarray(keras.ops.convert_to_tensor(variable)) for variable in variables]


def whole(trainer):
    """All state but the running means of the epoch."""
    means = {id(variable) for variable in trainer.metrics_variables}
    return values(v for v in state.variables_of(trainer) if id(v) not in means)


def assert_equal(first, second, atol=0.0):
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=atol)


def fitted(trainer, data):
    return trainer.fit(data, verbose=0, shuffle=False).history


@pytest.mark.slow
@pytest.mark.parametrize("game", games.ALL, ids=str)
def test_two_replicas_end_with_the_weights_of_one(game, two_replicas):
    """In single precision, over six steps with noise of the trainer's own seed.

    The pool overflows after one step.
    """

    def train(strategy, start=None):
        with strategy.scope():
            trainer = game.make()
        if start:
            trainer.set_weights(start)
        start = trainer.get_weights()
        data = game.batches(6, with_noise=False)
        return start, fitted(trainer, data), whole(trainer)

    start, one_history, one = train(tf.distribute.get_strategy())
    _, two_history, two = train(two_replicas, start)
    assert_equal(one, two, atol=1e-5)
    # And it did move by far more than that.
    moved = [a for a in start if not any(np.array_equal(a, b) for b in one)]
    assert len(moved) > len(start) / 2
    assert set(one_history) == set(two_history)
    for name, mean in one_history.items():
        np.testing.assert_allclose(mean, two_history[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "game",
    [g if g in QUICK else pytest.param(g, marks=pytest.mark.slow) for g in games.EACH],
    ids=str,
)
class TestSaving:
    def test_keras_file(self, game, tmp_path):
        """Saved and loaded, it trains on the same."""
        trainer = game.make(run_eagerly=True)
        fitted(trainer, game.batches(2))
        trainer.save(tmp_path / "trainer.keras")
        loaded = keras.saving.load_model(tmp_path / "trainer.keras")
        assert_equal(whole(trainer), whole(loaded))
        assert loaded.get_compile_config() == trainer.get_compile_config()
        loaded.run_eagerly = True
        # Without noise of its own: the seeds are to have come along.
        for each in (trainer, loaded):
            fitted(each, game.batches(2, seed=1, with_noise=False))
        assert_equal(whole(trainer), whole(loaded))

    def test_weights_file(self, game, tmp_path):
        trainer, other = game.make(run_eagerly=True), game.build()
        fitted(trainer, game.batches(2))
        trainer.save_weights(tmp_path / "trainer.weights.h5")
        other.load_weights(tmp_path / "trainer.weights.h5")
        assert_equal(whole(trainer), whole(other))

    def test_state_file(self, game, tmp_path):
        """Stopped in the middle and gone on with, it ends with the same bits."""
        trainer = game.make(run_eagerly=True)
        fitted(trainer, game.batches(2, with_noise=False))
        state.save(trainer, tmp_path / "state.npz", state.Position(0, 2))
        resumed = game.build(run_eagerly=True)
        state.Checkpoint(tmp_path / "state.npz").restore(resumed)
        for each in (trainer, resumed):
            fitted(each, game.batches(2, seed=1, with_noise=False))
        assert_equal(whole(trainer), whole(resumed))


@pytest.mark.parametrize(
    "game",
    [
        pytest.param(g, marks=pytest.mark.slow if str(g) != "conditional_gan" else ())
        for g in games.EACH
    ],
    ids=str,
)
def test_evaluation_repeats_and_changes_nothing(game):
    trainer = game.make(run_eagerly=True)
    fitted(trainer, game.batches(2))
    before = whole(trainer)
    first = trainer.evaluate(game.batches(2, with_noise=False), return_dict=True, verbose=0)
    second = trainer.evaluate(game.batches(2, with_noise=False), return_dict=True, verbose=0)
    assert first == second
    assert set(first) == {metric.name for metric in trainer.metrics}
    after = whole(trainer)
    # All but the seed of the evaluation itself.
    same = [np.array_equal(a, b) for a, b in zip(before, after, strict=True)]
    seed = values([trainer.evaluation_seed_generator.state])[0]
    assert all(s or np.array_equal(a, seed) for s, a in zip(same, after, strict=True))
    assert same.count(False) <= 1


class Counted(layers.Layer):
    """Counts the forwards of the network that it stands in."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def call(self, x):
        if not keras.ops.is_tensor(x) or isinstance(x, tf.Tensor):
            self.calls += 1
        return x


def counting(network, counter):
    return keras.Model(network.input, counter(network.output))


class TestForwards:
    """A batch costs one forward of each generator, in every game."""

    def test_conditional_gan(self):
        counter = Counted()
        generator = counting(games.conditional_generator(), counter)
        network = games.discriminator((games.SIZE, games.SIZE, 1), classes=games.CLASSES)
        trainer = trainers.ConditionalGAN(generator, network, games.CLASSES)
        trainer.compile(run_eagerly=True)
        counter.calls = 0
        fitted(trainer, games.CONDITIONAL.batches(3))
        assert counter.calls == 3

    def test_pix2pix(self):
        counter = Counted()
        shape = (games.SIZE, games.SIZE, 2)
        network = games.discriminator(shape, (*shape[:2], 1))
        trainer = trainers.Pix2Pix(counting(games.translator(output_channels=1), counter), network)
        trainer.compile(run_eagerly=True)
        counter.calls = 0
        fitted(trainer, games.PIX2PIX["l1+cgan"].batches(3))
        assert counter.calls == 3

    @pytest.mark.parametrize(
        ("identity_weight", "forwards"), [(0.5, 3), pytest.param(0.0, 2, marks=pytest.mark.slow)]
    )
    def test_cyclegan(self, identity_weight, forwards):
        """Forth and back, and for the identity once more."""
        counters = Counted(), Counted()
        generators = [counting(games.translator(), counter) for counter in counters]
        discriminators = [games.discriminator((games.SIZE, games.SIZE, 2)) for _ in range(2)]
        trainer = trainers.CycleGAN(*generators, *discriminators)
        trainer.compile(identity_weight=identity_weight, run_eagerly=True)
        for counter in counters:
            counter.calls = 0
        history = fitted(trainer, games.CYCLEGAN.batches(2))
        assert [counter.calls for counter in counters] == [2 * forwards] * 2
        assert ("g_identity" in history) == bool(identity_weight)


class TestRange:
    """A tanh makes values in [-1, 1], and is not to learn from others."""

    @pytest.mark.parametrize("game", games.EACH, ids=str)
    def test_data_in_another_range(self, game):
        trainer = game.make()
        part = {"pix2pix_l1+cgan": "target", "cyclegan": "other"}.get(game.name, "image")
        for high in (1, 255):
            arrays = game.arrays(1)
            arrays[part] = high * (arrays[part] + 1) / 2
            data = tf.data.Dataset.from_tensors(arrays)
            with pytest.raises(DataError, match=rf"tanh .*\[-1, 1\].*{part} has val") as raised:
                trainer.fit(data, verbose=0)
            assert "\n" not in str(raised.value)

    def test_a_sigmoid(self):
        network = games.discriminator((games.SIZE, games.SIZE, 1), classes=games.CLASSES)
        generator = games.conditional_generator("sigmoid")
        trainer = trainers.ConditionalGAN(generator, network, games.CLASSES)
        trainer.compile()
        with pytest.raises(DataError, match=r"sigmoid .*\[0, 1\]"):
            trainer.fit(games.CONDITIONAL.batches(1), verbose=0)


class TestLabels:
    """One line for data whose labels do not fit, from arrays and from a pipeline."""

    GAMES = (games.CONDITIONAL, games.LAPGAN)

    @pytest.mark.parametrize("game", GAMES, ids=str)
    def test_outside_the_classes(self, game):
        trainer = game.make()
        arrays = game.arrays(1)
        for label in (games.CLASSES, -1):
            arrays["label"][1] = label
            data = arrays if label < 0 else tf.data.Dataset.from_tensors(arrays)
            with pytest.raises(DataError, match="labels must be 0 to 2") as raised:
                trainer.fit(data, verbose=0, shuffle=False)
            assert "\n" not in str(raised.value)

    @pytest.mark.parametrize("game", GAMES, ids=str)
    def test_none(self, game):
        trainer = game.make()
        arrays = game.arrays(1)
        del arrays["label"]
        for data in (arrays, arrays["image"], tf.data.Dataset.from_tensors(arrays["image"])):
            with pytest.raises(DataError, match="needs 'label'") as raised:
                trainer.fit(data, verbose=0)
            assert "\n" not in str(raised.value)


class TestAverages:
    """Weights that are averaged over the steps, by the closed form for one parameter."""

    def pair(self, value):
        model = keras.Sequential([keras.Input((1,)), layers.Dense(1, use_bias=False)])
        model.weights[0].assign([[value]])
        return model

    @pytest.mark.parametrize("replicas", [1, 2])
    def test_one_parameter(self, replicas, two_replicas, tmp_path):
        strategy = two_replicas if replicas == 2 else tf.distribute.get_strategy()
        momentum, rate, steps = 0.5, 0.1, 4

        def built():
            with strategy.scope():
                trainer = trainers.Pix2Pix(self.pair(0.0), objective="l1")
                trainer.compile(keras.optimizers.SGD(rate, use_ema=True, ema_momentum=momentum))
            return trainer

        trainer = built()
        assert trainer.ema_network(trainer.generator) is trainer.generator
        # |w x - y| with x = 1 and y far away has the slope -1: w grows by the rate.
        ones = np.ones((2 * steps, 1), "float32")
        data = {"image": ones, "target": 100 * ones}
        fitted(trainer, tf.data.Dataset.from_tensor_slices(data).batch(2))
        expected = rate
        for step in range(2, steps + 1):
            expected = momentum * expected + (1 - momentum) * rate * step
        found = trainer.ema_network(trainer.generator)
        np.testing.assert_allclose(values(found.weights)[0], expected, rtol=1e-5)
        np.testing.assert_allclose(values(trainer.generator.weights)[0], rate * steps, rtol=1e-5)
        if replicas == 1:
            state.save(trainer, tmp_path / "state.npz", state.Position())
            other = built()
            state.Checkpoint(tmp_path / "state.npz").restore(other)
            found = other.ema_network(other.generator)
            np.testing.assert_allclose(values(found.weights)[0], expected, rtol=1e-5)

    @pytest.mark.slow
    def test_two_generators_that_share_an_optimizer_and_a_name(self):
        shape = (games.SIZE, games.SIZE, 2)
        keras.utils.set_random_seed(1)
        generators = [games.translator(), games.translator()]
        generators = [keras.Model(g.input, g.output, name="translator") for g in generators]
        trainer = trainers.CycleGAN(
            *generators, games.discriminator(shape), games.discriminator(shape)
        )
        trainer.compile(keras.optimizers.SGD(0.5, use_ema=True, ema_momentum=0.9), games.sgd())
        starts = [g.get_weights() for g in generators]
        fitted(trainer, games.CYCLEGAN.batches(1))
        firsts = [g.get_weights() for g in generators]
        fitted(trainer, games.CYCLEGAN.batches(1, seed=1))
        for generator, start, first in zip(generators, starts, firsts, strict=True):
            averaged = trainer.ema_network(generator).get_weights()
            expected = [
                0.9 * a + 0.1 * b for a, b in zip(first, generator.get_weights(), strict=True)
            ]
            assert_equal(averaged, expected, atol=1e-6)
            assert max(np.abs(a - b).max() for a, b in zip(start, averaged, strict=True)) > 1e-3
        images = games.CYCLEGAN.arrays(1)["image"]
        for backward, generator in zip((False, True), generators, strict=True):
            averaged = trainer.translate(images, batch_size=4, backward=backward)
            assert np.abs(averaged - np.asarray(generator(images))).max() > 1e-4

    @pytest.mark.slow
    def test_a_generator_of_averaged_levels(self):
        game = games.LAPGAN
        trainer = game.make()
        trainer.compile(keras.optimizers.SGD(0.5, use_ema=True, ema_momentum=0.9))
        fitted(trainer, game.batches(1))
        first = trainer.generator.get_weights()
        fitted(trainer, game.batches(1, seed=1))
        expected = [
            0.9 * a + 0.1 * b for a, b in zip(first, trainer.generator.get_weights(), strict=True)
        ]
        assert_equal(trainer.ema_network(trainer.generator).get_weights(), expected, atol=1e-6)


class ValuesOfItsOwn(trainers.ConditionalGAN):
    """A game whose generator returns a value that nothing announces."""

    traces = 0

    def players(self):
        d, g = super().players()

        def loss(tensors, training):
            self.traces += 1
            value, logged = g.loss(tensors, training)
            return value, logged | {"brightness": losses.per_example(tensors["image"])}

        return d, dataclasses.replace(g, loss=loss)


class TestNewValues:
    """Values that a loss returns are logged without a declaration; later steps are not retraced."""

    def build(self, **compiled):
        keras.utils.set_random_seed(1)
        trainer = ValuesOfItsOwn(
            games.conditional_generator(),
            games.discriminator((games.SIZE, games.SIZE, 1), classes=games.CLASSES),
            games.CLASSES,
            seed=3,
        )
        trainer.compile(games.adam(), games.adam(), **compiled)
        return trainer

    @pytest.mark.parametrize(
        ("replicas", "compiled"),
        [
            (1, {}),
            pytest.param(1, {"run_eagerly": True}, marks=pytest.mark.slow),
            pytest.param(1, {"steps_per_execution": 2}, marks=pytest.mark.slow),
            pytest.param(1, {"jit_compile": True}, marks=pytest.mark.slow),
            pytest.param(2, {}, marks=pytest.mark.slow),
            pytest.param(2, {"run_eagerly": True}, marks=pytest.mark.slow),
        ],
        ids=str,
    )
    def test_they_are_in_the_logs(self, replicas, compiled, two_replicas):
        strategy = two_replicas if replicas == 2 else tf.distribute.get_strategy()
        with strategy.scope():
            trainer = self.build(**compiled)
        arrays = games.CONDITIONAL.arrays(4)
        data = games.CONDITIONAL.batches(4)
        first = trainer.fit(data, validation_data=data, verbose=0, shuffle=False).history
        traces = trainer.traces
        for name in ("brightness", "val_brightness"):
            np.testing.assert_allclose(first[name], arrays["image"].mean(), atol=1e-6)
        names = [metric.name for metric in trainer.metrics]
        assert names == ["d_loss", "g_loss", "d_real", "d_fake", "brightness"]
        trainer.fit(data, verbose=0, shuffle=False)
        if not trainer.run_eagerly:
            assert traces == trainer.traces

    def test_they_are_part_of_a_state_file(self, tmp_path):
        trainer, other = self.build(run_eagerly=True), self.build()
        fitted(trainer, games.CONDITIONAL.batches(2))
        state.save(trainer, tmp_path / "state.npz", state.Position(0, 2))
        state.Checkpoint(tmp_path / "state.npz").restore(other)
        assert [metric.name for metric in other.metrics][-1] == "brightness"
        assert_equal(values(trainer.metrics_variables), values(other.metrics_variables))


@pytest.mark.parametrize("loss", ["hinge+r1", pytest.param("lsgan+gp", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    # One with a label.
    "game",
    [
        pytest.param(game, marks=pytest.mark.slow if str(game) != "conditional_gan" else ())
        for game in games.EACH
    ],
    ids=str,
)
def test_penalties_in_every_game(game, loss):
    """They act on the discriminators, and on the generators through them only."""
    ends = []
    for weight in (0.0, 50.0):
        trainer = game.make(loss=loss, penalty_weight=weight, update="simultaneous")
        start = {p.name: values(p.variables) for p in trainer.players()}
        fitted(trainer, game.batches(1))
        ends.append({p.name: values(p.variables) for p in trainer.players()})
    for player in start:
        same = all(
            np.allclose(a, b, rtol=0, atol=1e-6)
            for a, b in zip(ends[0][player], ends[1][player], strict=True)
        )
        assert same == player.startswith("g"), player


@pytest.mark.parametrize(
    ("make", "wrong", "word"),
    [
        (games.cyclegan, {"loss": "wgan"}, "lsgan"),
        (games.cyclegan, {"cycle_weight": 0}, "cycle_weight"),
        (games.cyclegan, {"identity_weight": -1}, "identity_weight"),
        (games.cyclegan, {"d_weight": 0}, "d_weight"),
        (games.pix2pix, {"loss": "wgan"}, "lsgan"),
        (games.pix2pix, {"l1_weight": 0}, "l1_weight"),
        (games.pix2pix, {"d_weight": -1}, "d_weight"),
    ],
)
def test_translators_refuse_wrong_weights_and_losses(make, wrong, word):
    with pytest.raises(ArgumentError, match=word):
        make(**wrong)


@pytest.mark.parametrize("make", [games.cyclegan, games.pix2pix])
def test_translators_refuse_one_optimizer_for_all_networks(make):
    optimizer = games.adam()
    with pytest.raises(ArgumentError, match="an optimizer object each"):
        make().compile(optimizer, optimizer)
