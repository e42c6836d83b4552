import math

import keras
import numpy as np
import pytest

from keras_arch import callbacks
from keras_arch.errors import ArgumentError, RunError

EPOCHS = 6


def model():
    """One weight, which begins at 0."""
    layer = keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")
    network = keras.Sequential([keras.Input((1,)), layer])
    # Not compiled: its batches are few and small.
    network.compile(keras.optimizers.SGD(0.1), "mean_absolute_error", run_eagerly=True)
    network.optimizer.build(network.trainable_variables)
    return network


def weight(network):
    return round(float(network.get_weights()[0][0, 0]), 4)


def falls_then_rises(network):
    """Of the weights 0.4, 0.8, 1.2 after the first epochs the third is the best."""
    return {"fid": round(abs(1.2 - weight(network)), 4), "count": 7.0}


class Killed(Exception):
    pass


class Kill(keras.callbacks.Callback):
    """Raises at the end of an epoch, or in its middle."""

    def __init__(self, epoch, inside=False):
        super().__init__()
        self.at = epoch
        self.inside = inside

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if self.inside and (self.epoch, batch) == (self.at, 1):
            raise Killed

    def on_epoch_end(self, epoch, logs=None):
        if epoch == self.at:
            raise Killed


def run(out, *, before=(), after=(), measure=falls_then_rises, epochs=EPOCHS, **options):
    """Epochs of four updates by 0.1 as Keras runs them, going on from whatever is there."""
    saved = callbacks.CheckpointManager(out / "checkpoints").newest()
    checkpoint = callbacks.SaveCheckpoint(out / "checkpoints", resume=saved)
    best = callbacks.BestModel(out / "best", measure, lambda model: model, **options)
    chain = [callbacks.StopOnNonFinite(), best, *before, checkpoint, *after]
    network = model()
    calls = keras.callbacks.CallbackList(chain, model=network, epochs=epochs)
    calls.on_train_begin()
    for epoch in range(saved.position.epoch if saved else 0, epochs):
        calls.on_epoch_begin(epoch)
        for batch in range(4):
            network.weights[0].assign_add([[0.1]])
            calls.on_train_batch_end(batch, {"loss": 1.0})
        calls.on_epoch_end(epoch, {"loss": 1.0})
    calls.on_train_end()
    return best, checkpoint.position.rows


def kept(out):
    return sorted(path.name for path in (out / "best").iterdir())


def loaded(one):
    network = model()
    one.load(network)
    return weight(network)


def test_keeps_the_best_and_not_the_last_in_fit(tmp_path):
    """A loss of 1000 - w * 1 has the gradient -1: each update adds a tenth."""
    checkpoint = callbacks.SaveCheckpoint(tmp_path / "checkpoints")
    best = callbacks.BestModel(tmp_path / "best", falls_then_rises, lambda model: model)
    x = np.ones((4, 1))
    history = model().fit(
        x, 1000 * x, batch_size=1, epochs=5, verbose=0, callbacks=[best, checkpoint]
    )
    one = best.best()
    assert (one.epoch, one.monitor, one.value) == (3, "fid", 0.0)
    assert one.metrics == {"fid": 0.0, "count": 7.0}
    assert loaded(one) == 1.2
    assert one.weights() == tmp_path / "best" / "epoch-00003" / "model.weights.h5"
    # The figures are in every table.
    wanted = [0.8, 0.4, 0.0, 0.4, 0.8]
    assert history.history["fid"] == wanted
    assert [row["fid"] for row in checkpoint.position.rows] == wanted
    # One is the best after the last checkpoint and after the one before.
    assert kept(tmp_path) == ["epoch-00003"]


def test_highest_by_name_and_by_word(tmp_path):
    def rises(network):
        return {"coverage": -abs(0.8 - weight(network))}

    assert run(tmp_path / "a", measure=rises, monitor="coverage")[0].best().epoch == 2
    assert run(tmp_path / "b", monitor="fid", mode="max")[0].best().epoch == 6


def test_the_earliest_of_equals(tmp_path):
    assert run(tmp_path, measure=lambda _: {"kid": 1.0}, monitor="kid")[0].best().epoch == 1


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("mode", ["min", "max"])
def test_what_is_no_number_is_never_the_best(bad, mode, tmp_path):
    values = iter([bad, 1.0, bad])
    best, _ = run(tmp_path, measure=lambda _: {"fid": next(values)}, mode=mode, epochs=3)
    assert best.best().epoch == 2
    nothing, _ = run(tmp_path / "none", measure=lambda _: {"fid": bad}, mode=mode, epochs=2)
    assert nothing.best() is None


def test_every_other_epoch(tmp_path):
    best, rows = run(tmp_path, every=2)
    assert best.best().epoch == 2
    assert ["fid" in row for row in rows] == [False, True] * 3


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    out = tmp_path_factory.mktemp("whole")
    return out, *run(out)


def assert_same(out, whole):
    broken, rows = run(out)
    whole_out, uninterrupted, whole_rows = whole
    assert kept(out) == kept(whole_out)
    one, other = broken.best(), uninterrupted.best()
    assert (one.epoch, one.metrics) == (other.epoch, other.metrics)
    assert loaded(one) == loaded(other) == 1.2
    assert rows == whole_rows


@pytest.mark.parametrize(
    "epoch", [pytest.param(n, marks=pytest.mark.slow if n % 3 else ()) for n in range(EPOCHS)]
)
@pytest.mark.parametrize("place", ["inside", "before", "after"])
def test_killed_and_resumed_it_ends_as_without(place, epoch, whole, tmp_path):
    """In the middle of an epoch, between keeping and the checkpoint, and after that."""
    where = "before" if place == "inside" else place
    with pytest.raises(Killed):
        run(tmp_path, **{where: [Kill(epoch, place == "inside")]})
    assert_same(tmp_path, whole)


@pytest.mark.parametrize("epoch", range(1, EPOCHS))
def test_when_the_newest_checkpoint_is_damaged_too(epoch, whole, tmp_path):
    """The run goes on from the one before it."""
    with pytest.raises(Killed):
        run(tmp_path, after=[Kill(epoch)])
    sorted((tmp_path / "checkpoints").iterdir())[-1].write_bytes(b"half")
    assert_same(tmp_path, whole)


def test_the_best_before_the_checkpoint_outlives_one_that_is_done_again_worse(tmp_path):
    """Where training is not deterministic, the figure that a killed run saw may not come again."""
    with pytest.raises(Killed):
        run(tmp_path, before=[Kill(2)])
    # Besides the third, what was best at the last checkpoint and at the one before.
    assert kept(tmp_path) == ["epoch-00001", "epoch-00002", "epoch-00003"]
    best, _ = run(tmp_path, measure=lambda network: {"fid": 10 * weight(network)}, epochs=3)
    assert (best.best().epoch, best.best().value) == (2, 0.4)
    assert loaded(best.best()) == 0.8


def test_what_a_killed_process_was_writing_or_deleting_does_not_count(tmp_path):
    run(tmp_path, epochs=2)
    written = tmp_path / "best" / ".epoch-00009.1234abcd.tmp"
    written.mkdir()
    (written / "metrics.json").write_text("{}")
    (written / "model.weights.h5").write_bytes(b"half")
    deleted = tmp_path / "best" / "epoch-00001"
    deleted.joinpath("metrics.json").unlink()
    best = callbacks.BestModel(tmp_path / "best", falls_then_rises, lambda model: model)
    assert best.best().epoch == 2
    run(tmp_path, epochs=3)
    assert kept(tmp_path) == ["epoch-00002", "epoch-00003"]


def test_of_a_run_that_has_ended_it_is_still_known(tmp_path):
    run(tmp_path)
    best = callbacks.BestModel(tmp_path / "best", falls_then_rises, lambda model: model)
    assert best.best().epoch == 3
    assert (
        callbacks.BestModel(tmp_path / "no", falls_then_rises, lambda model: model).best() is None
    )


def test_several_networks_by_name(tmp_path):
    both = keras.Sequential([model(), model()])
    for network, value in zip(both.layers, (0.4, 0.8), strict=True):
        network.weights[0].assign([[value]])
    best = callbacks.BestModel(
        tmp_path, lambda _: {"fid": 1.0}, lambda both: dict(zip("gf", both.layers, strict=True))
    )
    best.set_model(both)
    best.on_epoch_end(0, {})
    again = {"f": model(), "g": model()}
    best.best().load(again)
    assert {name: weight(network) for name, network in again.items()} == {"g": 0.4, "f": 0.8}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"monitor": "loss"}, r"'loss' is better low or high.*known are fid, kid"),
        ({"mode": "lowest"}, r"auto, min or max, got 'lowest'"),
        ({"every": 0}, "every must be a positive whole number, got 0"),
    ],
)
def test_bad_arguments(options, message, tmp_path):
    with pytest.raises(ArgumentError, match=message):
        callbacks.BestModel(tmp_path, falls_then_rises, lambda model: model, **options)


def test_figures_that_do_not_fit(tmp_path):
    with pytest.raises(
        ArgumentError, match="'kid' is to decide and was not measured; there are fid, count"
    ):
        run(tmp_path / "a", monitor="kid")
    with pytest.raises(ArgumentError, match="name of a training log, 'loss' has"):
        run(tmp_path / "b", measure=lambda _: {"fid": 1.0, "loss": 2.0})


def test_kept_by_another_figure(tmp_path):
    run(tmp_path, epochs=1)
    with pytest.raises(RunError, match=r"epoch-00001 was saved for its 'fid'.*'kid'"):
        run(tmp_path, epochs=2, monitor="kid")


def test_replicated_weights(two_replicas, tmp_path):
    with two_replicas.scope():
        network = model()
    network.weights[0].assign([[0.3]])
    best = callbacks.BestModel(tmp_path, falls_then_rises, lambda model: model)
    best.set_model(network)
    best.on_epoch_end(0, {})
    assert loaded(best.best()) == 0.3
