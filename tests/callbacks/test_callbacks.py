import csv
import json
import signal

import keras
import numpy as np
import pytest
from PIL import Image

from keras_arch import callbacks
from keras_arch.callbacks import checkpoint_files
from keras_arch.errors import Interrupted, NonFiniteError, RunError, StorageError


def model(dropout=0.5):
    keras.utils.set_random_seed(0)
    network = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(4),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(dropout),
            keras.layers.Dense(1),
        ]
    )
    network.compile(keras.optimizers.Adam(0.01), "mse", metrics=["mae"])
    network.optimizer.build(network.trainable_variables)
    network.test_on_batch(*data(1))
    network.reset_metrics()
    return network


def data(count=32):
    rng = np.random.default_rng(0)
    return rng.normal(size=(count, 3)).astype("float32"), rng.normal(size=(count, 1))


def values(network):
    return [np.asarray(v) for v in callbacks.variables_of(network)]


class TestState:
    def test_holds_weights_statistics_seeds_optimizer_and_metrics(self):
        paths = [variable.path for variable in callbacks.variables_of(model())]
        for part in ("kernel", "moving_mean", "seed_generator_state", "iteration", "momentum"):
            assert any(part in path for path in paths), part
        assert any("total" in path for path in paths)
        assert len(paths) == len({id(v) for v in callbacks.variables_of(model())})

    def test_restores_every_bit(self, tmp_path):
        trained = model()
        trained.fit(*data(), epochs=2, batch_size=8, verbose=0)
        rows = ({"epoch": 1, "loss": 0.1 + 0.2},)
        path = checkpoint_files.save(trained, tmp_path / "a.npz", callbacks.Position(2, 3, rows))
        saved = callbacks.Checkpoint(path)
        assert saved.position == callbacks.Position(2, 3, rows)
        other = model()
        saved.restore(other)
        for a, b in zip(values(trained), values(other), strict=True):
            np.testing.assert_array_equal(a, b)
            assert a.dtype == b.dtype

    def test_restores_bfloat16(self, tmp_path):
        network = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, dtype="bfloat16")])
        network.compile("sgd", "mse")
        path = checkpoint_files.save(network, tmp_path / "a.npz", callbacks.Position())
        before = [np.asarray(v).astype("float32") for v in network.weights]
        for variable in network.weights:
            variable.assign(keras.ops.ones_like(variable))
        callbacks.Checkpoint(path).restore(network)
        for a, variable in zip(before, network.weights, strict=True):
            np.testing.assert_array_equal(a, np.asarray(variable).astype("float32"))

    def test_another_model_is_refused(self, tmp_path):
        path = checkpoint_files.save(model(), tmp_path / "a.npz", callbacks.Position())
        other = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        other.compile("sgd", "mse")
        with pytest.raises(RunError, match=r"a\.npz.*another model"):
            callbacks.Checkpoint(path).restore(other)

    def test_weights_that_are_not_numbers_are_not_kept(self, tmp_path):
        network = model()
        network.layers[0].bias.assign([np.nan, 0, 0, 0])
        with pytest.raises(NonFiniteError, match=r"bias.*learning rate"):
            checkpoint_files.save(network, tmp_path / "a.npz", callbacks.Position(3, 1))
        assert list(tmp_path.iterdir()) == []


class TestFolder:
    def test_keeps_the_newest_two(self, tmp_path):
        folder = callbacks.CheckpointManager(tmp_path)
        network = model()
        for epoch in (1, 2, 9, 10):
            folder.save(network, callbacks.Position(epoch))
        assert [
            callbacks.Checkpoint(path).position.epoch for path in sorted(tmp_path.iterdir())
        ] == [
            9,
            10,
        ]
        assert folder.newest().position.epoch == 10

    def test_a_damaged_one_is_passed_over(self, tmp_path, caplog):
        folder = callbacks.CheckpointManager(tmp_path)
        folder.save(model(), callbacks.Position(1))
        newest = folder.save(model(), callbacks.Position(2))
        whole = newest.read_bytes()
        for damaged in (
            whole[:-100],
            whole[: len(whole) // 2],
            b"",
            whole[:300] + b"x" + whole[301:],
        ):
            caplog.clear()
            newest.write_bytes(damaged)
            assert folder.newest().position.epoch == 1
            assert newest.name in caplog.text

    def test_none(self, tmp_path):
        assert callbacks.CheckpointManager(tmp_path / "missing").newest() is None

    def test_what_a_killed_process_was_writing_is_cleared(self, tmp_path):
        left = tmp_path / ".epoch-00001-step-0000000.npz.1234abcd.tmp"
        left.write_bytes(b"half")
        assert callbacks.CheckpointManager(tmp_path).newest() is None
        assert not left.exists()

    def test_full_disk_keeps_the_old_one(self, tmp_path, monkeypatch):
        """A limit on the size of files stands in for the disk."""
        import resource

        folder = callbacks.CheckpointManager(tmp_path, keep=1)
        folder.save(model(), callbacks.Position(1))
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
        try:
            with pytest.raises(StorageError, match="epoch-00002"):
                folder.save(model(), callbacks.Position(2))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            signal.signal(signal.SIGXFSZ, before)
        assert len(list(tmp_path.iterdir())) == 1
        assert folder.newest().position.epoch == 1


def test_non_finite_loss_stops_and_keeps_the_last_good_checkpoint(tmp_path):
    x, y = data()
    x[25] = np.nan
    checkpoint = callbacks.SaveCheckpoint(tmp_path, every=1)
    network = model()
    with pytest.raises(
        NonFiniteError, match=r"loss became nan in epoch 1 at step 4.*learning rate"
    ):
        network.fit(
            x,
            y,
            batch_size=8,
            shuffle=False,
            verbose=0,
            callbacks=[callbacks.StopOnNonFinite(tmp_path), checkpoint],
        )
    saved = callbacks.CheckpointManager(tmp_path).newest()
    assert (saved.position.epoch, saved.position.step) == (0, 3)


@pytest.mark.parametrize("steps", [4, pytest.param(6, marks=pytest.mark.slow)])
def test_resumed_at_the_end_or_inside_an_epoch_the_logs_are_the_same(steps, tmp_path):
    """Of epochs of four steps; the running means go on inside an epoch and begin anew after it."""

    class Kill(keras.callbacks.Callback):
        left = steps

        def on_train_batch_begin(self, batch, logs=None):
            if not self.left:
                raise KeyboardInterrupt
            self.left -= 1

    def fit(network, checkpoint, x, y, first, last, *more):
        network.fit(
            x,
            y,
            batch_size=8,
            shuffle=False,
            verbose=0,
            initial_epoch=first,
            epochs=last,
            callbacks=[*more, checkpoint],
        )

    x, y = data()
    whole = callbacks.SaveCheckpoint(tmp_path / "whole")
    fit(model(), whole, x, y, 0, 3)

    with pytest.raises(KeyboardInterrupt):
        fit(model(), callbacks.SaveCheckpoint(tmp_path / "broken", every=1), x, y, 0, 3, Kill())
    saved = callbacks.CheckpointManager(tmp_path / "broken").newest()
    assert (saved.position.epoch, saved.position.step) == divmod(steps, 4)
    resumed, checkpoint = model(), callbacks.SaveCheckpoint(tmp_path / "broken", resume=saved)
    begun = saved.position.step
    if begun:
        fit(resumed, checkpoint, x[8 * begun :], y[8 * begun :], 1, 2)
    fit(resumed, checkpoint, x, y, 1 + bool(begun), 3)
    assert checkpoint.position.rows == whole.position.rows


def test_signal_saves_and_raises(tmp_path):
    checkpoint = callbacks.SaveCheckpoint(tmp_path)
    stop = callbacks.StopOnSignal(checkpoint, "Resume with: --resume")

    class Sender(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            if batch == 2:
                signal.raise_signal(signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Interrupted, match=r"SIGTERM after epoch 0, step 3.*--resume"), stop:
        model().fit(*data(), batch_size=8, verbose=0, callbacks=[Sender(), checkpoint, stop])
    assert signal.getsignal(signal.SIGTERM) is before
    assert callbacks.CheckpointManager(tmp_path).newest().position.step == 3


def test_second_interrupt_stops_at_once(tmp_path):
    stop = callbacks.StopOnSignal(callbacks.SaveCheckpoint(tmp_path), "")
    with stop:
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_table_and_picture_follow_the_rows(tmp_path):
    rows = []
    table = callbacks.LogTable(tmp_path / "log.csv", tmp_path / "h.png", lambda: tuple(rows))
    for epoch, loss in enumerate((2.0, 1.0)):
        rows.append({"epoch": epoch + 1, "loss": loss})
        table.on_epoch_end(epoch)
    with open(tmp_path / "log.csv") as file:
        assert list(csv.DictReader(file)) == [
            {"epoch": "1", "loss": "2.0"},
            {"epoch": "2", "loss": "1.0"},
        ]
    assert not (tmp_path / "h.png").exists()
    table.on_train_end()
    with Image.open(tmp_path / "h.png") as picture:
        assert min(picture.size) > 100


def test_the_picture_is_drawn_while_it_trains_when_it_is_old_enough(tmp_path):
    rows = [{"epoch": 1, "loss": 2.0}]
    often = callbacks.LogTable(tmp_path / "log.csv", tmp_path / "h.png", lambda: tuple(rows), 0.0)
    often.on_epoch_end(0)
    first = (tmp_path / "h.png").read_bytes()
    rows.append({"epoch": 2, "loss": 1.0})
    often.on_epoch_end(1)
    assert (tmp_path / "h.png").read_bytes() != first


def test_sample_grid_every_other_epoch(tmp_path):
    shown = np.full((4, 8, 8, 1), 200, np.uint8)
    grid = callbacks.SampleGrid(
        tmp_path / "grids", lambda _: shown, every=2, tensorboard=tmp_path / "logs"
    )
    for epoch in range(4):
        grid.on_epoch_end(epoch)
    assert sorted(p.name for p in (tmp_path / "grids").iterdir()) == [
        "epoch-0002.png",
        "epoch-0004.png",
    ]
    assert len(list((tmp_path / "logs").glob("events*"))) == 1


def test_states_are_json_inside(tmp_path):
    """No pickle: the file opens with NumPy's pickles switched off, and says what it is."""
    path = checkpoint_files.save(model(), tmp_path / "a.npz", callbacks.Position(1))
    with np.load(path, allow_pickle=False) as archive:
        described = json.loads(archive["state"].tobytes())
    assert described["version"] == checkpoint_files.VERSION
