"""Keras' own callbacks with every trainer, alone and with a run that is restored."""

import csv
import functools

import keras
import numpy as np
import pytest

from keras_arch import trainers
from keras_arch.callbacks import checkpoint_files
from keras_arch.trainers.player_optimizers import PlayerOptimizers
from tests.trainers import backend_step, games

GAMES = {game.name: game for game in (backend_step.GAN, *games.EACH)}


def averaging():
    return keras.optimizers.SGD(0.05, use_ema=True, ema_momentum=0.5)


@functools.cache
def built(name):
    trainer = GAMES[name].make(run_eagerly=True)
    names = trainer.optimizers
    if isinstance(trainer, trainers.GeneratorDiscriminatorTrainer):
        trainer.compile(averaging(), averaging(), run_eagerly=True)
    else:
        trainer.compile(averaging(), run_eagerly=True)
    assert trainer.optimizers.keys() == names.keys()
    return trainer, [np.array(v) for v in checkpoint_files.variables_of(trainer)]


# The others have all at once, see below.
QUICK = ("gan",)


@pytest.fixture(
    params=[pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in GAMES]
)
def trainer(request):
    """A trainer with averaged weights, as it was built."""
    return restarted(request.param)


def restarted(name):
    trainer, start = built(name)
    for variable, value in zip(checkpoint_files.variables_of(trainer), start, strict=True):
        variable.assign(value)
    trainer.stop_training = False
    trainer._initial_epoch = None
    return trainer


def fitted(trainer, *callbacks, epochs=2, **arguments):
    data = data_of(trainer)
    return trainer.fit(
        data,
        batch_size=games.BATCH,
        epochs=epochs,
        validation_data=data,
        callbacks=list(callbacks),
        verbose=0,
        shuffle=False,
        **arguments,
    )


def data_of(trainer):
    (game,) = (game for name, game in GAMES.items() if built(name)[0] is trainer)
    return game.arrays(1, with_noise=False)


def rates(trainer):
    return {name: float(each.learning_rate) for name, each in trainer.optimizers.items()}


def test_rates_by_a_schedule(trainer):
    schedule = keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2)
    history = fitted(trainer, schedule).history
    assert set(rates(trainer).values()) == {np.float32(0.05) / 4}
    for player in trainer.players():
        np.testing.assert_allclose(
            history[f"learning_rate_{player.name}"], [0.025, 0.0125], rtol=1e-6
        )


def test_rates_on_a_plateau(trainer):
    name = f"val_{trainer.players()[-1].name}_loss"
    plateau = keras.callbacks.ReduceLROnPlateau(name, 0.1, patience=1, mode="min", min_delta=1e9)
    history = fitted(trainer, plateau, epochs=3).history
    for player in trainer.players():
        np.testing.assert_allclose(
            history[f"learning_rate_{player.name}"], [0.05, 0.05, 0.005], rtol=1e-5
        )


def test_averaged_weights_are_swapped_in_for_validation(trainer):
    seen = []

    class Look(keras.callbacks.Callback):
        def on_test_begin(self, logs=None):
            seen.append(trainer.generator.get_weights())

        def on_test_end(self, logs=None):
            seen.append(trainer.generator.get_weights())

    fitted(trainer, keras.callbacks.SwapEMAWeights(), Look())
    averaged = trainer.ema_network(trainer.generator).get_weights()
    for expected, found in ((averaged, seen[-2]), (trainer.generator.get_weights(), seen[-1])):
        for a, b in zip(expected, found, strict=True):
            # Swapped by additions and subtractions.
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-6)
    assert any(np.abs(a - b).max() > 1e-5 for a, b in zip(averaged, seen[-1], strict=True))


def test_the_rest_of_them_together(trainer, tmp_path):
    last = trainer.players()[-1].name
    calls = []
    fitted(
        trainer,
        keras.callbacks.ModelCheckpoint(tmp_path / "{epoch}.keras"),
        keras.callbacks.ModelCheckpoint(
            tmp_path / "best.weights.h5",
            f"val_{last}_loss",
            save_best_only=True,
            save_weights_only=True,
            mode="min",
        ),
        keras.callbacks.EarlyStopping(
            f"val_{last}_loss", 1e9, patience=1, mode="min", restore_best_weights=True
        ),
        keras.callbacks.TensorBoard(tmp_path / "logs", write_steps_per_second=True, update_freq=1),
        keras.callbacks.CSVLogger(tmp_path / "log.csv"),
        keras.callbacks.TerminateOnNaN(),
        keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: calls.append(logs)),
        epochs=4,
    )
    # The second epoch is no better.
    assert len(calls) == 2
    rows = list(csv.DictReader((tmp_path / "log.csv").open()))
    assert {f"{player.name}_loss" for player in trainer.players()} < set(rows[0])
    assert [float(row[f"{last}_loss"]) for row in rows] == pytest.approx(
        [float(logs[f"{last}_loss"]) for logs in calls]
    )
    assert list((tmp_path / "logs" / "train").iterdir())
    saved = keras.saving.load_model(tmp_path / "2.keras")
    trainer.load_weights(tmp_path / "best.weights.h5")
    assert [v.shape for v in saved.variables] == [v.shape for v in trainer.variables]


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow if name != "conditional_gan" else ())
        for name in GAMES
        if name not in QUICK
    ],
)
def test_all_at_once(name, tmp_path):
    trainer = restarted(name)
    monitor = f"val_{trainer.players()[-1].name}_loss"
    history = fitted(
        trainer,
        keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2),
        keras.callbacks.ReduceLROnPlateau(monitor, mode="min"),
        keras.callbacks.SwapEMAWeights(),
        keras.callbacks.ModelCheckpoint(tmp_path / "{epoch}.keras"),
        keras.callbacks.EarlyStopping(monitor, patience=9, mode="min"),
        keras.callbacks.TensorBoard(tmp_path / "logs"),
        keras.callbacks.CSVLogger(tmp_path / "log.csv"),
        keras.callbacks.TerminateOnNaN(),
        keras.callbacks.BackupAndRestore(tmp_path / "backup"),
    ).history
    for player in trainer.players():
        np.testing.assert_allclose(
            history[f"learning_rate_{player.name}"], [0.025, 0.0125], rtol=1e-6
        )
    assert (tmp_path / "2.keras").exists()


class Stop(Exception):
    pass


class StopIn(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 1:
            raise Stop


@pytest.mark.parametrize(
    "other",
    [
        "all",
        *(
            pytest.param(other, marks=pytest.mark.slow)
            for other in ("none", "rates", "plateau", "averages", "the rest")
        ),
    ],
)
def test_a_run_that_is_restored_ends_as_one_that_was_not(trainer, other, tmp_path):
    """With Keras' `BackupAndRestore`, whatever else there is."""
    name = f"val_{trainer.players()[-1].name}_loss"
    make = {
        "none": lambda folder: [],
        "rates": lambda folder: [
            keras.callbacks.LearningRateScheduler(lambda epoch, rate: 0.05 / (epoch + 1))
        ],
        "plateau": lambda folder: [keras.callbacks.ReduceLROnPlateau(name, patience=9, mode="min")],
        "averages": lambda folder: [keras.callbacks.SwapEMAWeights()],
        "the rest": lambda folder: [
            keras.callbacks.ModelCheckpoint(folder / "{epoch}.weights.h5", save_weights_only=True),
            keras.callbacks.EarlyStopping(name, patience=9, mode="min"),
            keras.callbacks.TensorBoard(folder / "logs"),
            keras.callbacks.CSVLogger(folder / "log.csv", append=True),
            keras.callbacks.TerminateOnNaN(),
        ],
    }
    chosen = list(make.values()) if other == "all" else [make[other]]

    def callbacks(folder):
        return [callback for each in chosen for callback in each(folder)]

    start = [np.array(v) for v in checkpoint_files.variables_of(trainer)]
    history = fitted(trainer, *callbacks(tmp_path / "whole")).history
    whole = trainer.get_weights()

    for stop in ([StopIn()], []):
        for variable, value in zip(checkpoint_files.variables_of(trainer), start, strict=True):
            variable.assign(value)
        backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
        try:
            resumed = fitted(trainer, *stop, backup, *callbacks(tmp_path / "broken")).history
        except Stop:
            assert stop
    for key, values in resumed.items():
        assert values == history[key][1:], key
    for a, b in zip(whole, trainer.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("raises", [False, True])
def test_a_loss_that_is_not_a_number_ends_the_run(raises):
    trainer = restarted("gan")
    trainer.discriminator.layers[-1].kernel.assign(
        np.full_like(trainer.discriminator.layers[-1].kernel, np.nan)
    )
    data = backend_step.GAN.arrays(3, with_noise=False)
    steps = []
    callbacks = [
        keras.callbacks.TerminateOnNaN(raise_error=raises),
        keras.callbacks.LambdaCallback(on_train_batch_end=lambda step, logs: steps.append(step)),
    ]

    def fit():
        trainer.fit(data, batch_size=games.BATCH, epochs=2, callbacks=callbacks, verbose=0)

    if raises:
        with pytest.raises(RuntimeError, match="NaN or Inf loss"):
            fit()
    else:
        fit()
    assert steps == [0]


def test_half_precision_has_its_rates_too():
    inner = keras.optimizers.SGD(0.1, use_ema=True)
    scaled = keras.optimizers.LossScaleOptimizer(inner)
    optimizers = PlayerOptimizers({"d": scaled, "g": keras.optimizers.SGD(0.2)})
    first, second = optimizers.optimizers
    assert first.use_ema
    first.learning_rate = 0.5
    assert [float(inner.learning_rate), first.name, second.name] == [0.5, "d", "g"]
    assert not hasattr(optimizers, "inner_optimizer")
