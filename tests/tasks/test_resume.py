"""A run that is stopped in any way and resumed ends as one that was not, to the last bit."""

import functools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest

from keras_arch import api, models, presets
from keras_arch.errors import ArgumentError, Interrupted
from keras_arch.tasks import classification, generation, segmentation, translation
from tests.tasks import games

COMMON = ["recipe.deterministic=true", "recipe.checkpoint_every=3"]
RUNS = {
    "dcgan-digits": [
        "generator.arguments.filters=4",
        "discriminator.arguments.filters=4",
        "data.train=train[:320]",
        "samples.every=100",
    ],
    "resnet20-digits": [
        "model.arguments.depth=8",
        "data.train=train[:640]",
        "data.test=test[:50]",
        # A schedule whose steps fall inside the run.
        "recipe.optimizer.learning_rate.boundaries=[7,19]",
    ],
    "unet-cells": [
        "model.arguments.depth=1",
        "model.arguments.filters=4",
        "model.arguments.padding=valid",
        "model.arguments.input_shape=[64,64,1]",
        "preprocessing.size=[64,64]",
        "data.train=train[:40]",
        "data.validation=val[:2]",
        "data.test=test[:2]",
        "recipe.checkpoint=best",
        "samples={count: 2, every: 100}",
    ],
}
# More games, each with three processes of its own.
GAMES = ("gan", "cgan", "lapgan", "pix2pix", "cyclegan")
SLOW = pytest.mark.slow


def start(name, out, epochs, resume=False, settings=None):
    settings = [*COMMON, *(settings or RUNS[name]), f"recipe.epochs={epochs}"]
    command = [sys.executable, "-m", "keras_arch.cli", "train", name, "--out", str(out)]
    command += [part for setting in settings for part in ("--set", setting)]
    command += ["--resume"] if resume else []
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def finish(process):
    output, _ = process.communicate(timeout=900)
    assert process.returncode == 0, output
    return output


def wait_for_checkpoint(out, process, after=()):
    """Until there is one inside an epoch that is not among those before."""
    while True:
        files = set(out.glob("checkpoints/epoch-*.npz")) - set(after)
        if any("step-0000000" not in file.name for file in files):
            return
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.01)


def assert_same_end(first, second):
    """All variables of the last checkpoint, and everything that people look at."""
    names = [sorted(out.glob("checkpoints/*.npz"))[-1] for out in (first, second)]
    assert names[0].name == names[1].name
    with np.load(names[0]) as one, np.load(names[1]) as two:
        assert one.files == two.files
        assert len(one.files) > 20
        for file in one.files:
            if file != "state":
                np.testing.assert_array_equal(one[file], two[file])
        states = [json.loads(archive["state"].tobytes()) for archive in (one, two)]
    assert states[0]["rows"] == states[1]["rows"]
    for file in ("log.csv", "metrics.json"):
        assert (first / file).read_text() == (second / file).read_text()


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_sigterm_then_sigkill_then_resume(name, tmp_path):
    stop_kill_and_compare(tmp_path, name, epochs=4)


@pytest.mark.slow
@pytest.mark.parametrize("name", GAMES)
def test_every_game_through_sigterm_and_sigkill(name, tmp_path, pictures, classifier_of_digits):
    settings = games.settings(name, pictures, classifier_of_digits, "recipe.jit_compile=false")
    stop_kill_and_compare(tmp_path, games.CONFIGS[name], epochs=40, settings=settings)


def stop_kill_and_compare(tmp_path, name, **how):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    uninterrupted = start(name, whole, **how)

    process = start(name, broken, **how)
    wait_for_checkpoint(broken, process)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 143, output
    assert "--resume" in output
    assert "Traceback" not in output
    before = list(broken.glob("checkpoints/*.npz"))

    process = start(name, broken, resume=True, **how)
    wait_for_checkpoint(broken, process, after=before)
    process.kill()
    process.wait()

    finish(start(name, broken, resume=True, **how))
    finish(uninterrupted)
    assert_same_end(whole, broken)


class Stopped(Exception):
    """What ends a run as a kill would: nothing is written any more."""


class StopBefore(keras.callbacks.Callback):
    """Raises before a step, counted from 0 over all epochs."""

    def __init__(self, step):
        super().__init__()
        self.left = step

    def on_train_batch_begin(self, batch, logs=None):
        if not self.left:
            raise Stopped
        self.left -= 1


class StopAtEnd(keras.callbacks.Callback):
    """Raises after an epoch's last step and its validation, before anything is made of them."""

    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_end(self, epoch, logs=None):
        if epoch == self.epoch:
            raise Stopped


def goes_on_exactly(job, train, whole, broken, stop, newest, monkeypatch):
    """Stopped by a callback that comes first, and resumed from the newest checkpoint."""
    callbacks = job.callbacks
    with monkeypatch.context() as patched:
        patched.setattr(job, "callbacks", lambda *arguments: [stop, *callbacks(*arguments)])
        with pytest.raises(Stopped):
            train(broken)
    assert sorted((broken / "checkpoints").iterdir())[-1].name == newest
    train(broken, resume=True)
    assert_same_end(whole, broken)
    for kept in ("best", "samples"):
        names = [sorted(path.name for path in out.glob(f"{kept}/*")) for out in (whole, broken)]
        assert names[0] == names[1]


def game_goes_on(name, game_run, train_game, out, stop, newest, monkeypatch, *more):
    translates = name in ("pix2pix", "cyclegan")
    goes_on_exactly(
        translation.Translation if translates else generation.Generation,
        lambda out, **arguments: train_game(name, out, *more, **arguments),
        game_run(name).directory,
        out,
        stop,
        newest,
        monkeypatch,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    GAMES,
)
def test_every_game_goes_on_exactly(name, game_run, train_game, tmp_path, monkeypatch):
    """Before a step of the second epoch, one after its checkpoint, which is done again."""
    stop = StopBefore(games.STEPS + games.CHECKPOINT + 1)
    newest = f"epoch-00001-step-{games.CHECKPOINT:07d}.npz"
    game_goes_on(name, game_run, train_game, tmp_path / "broken", stop, newest, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "epoch"),
    # One with a judge, one that translates.
    [("gan", 1), ("cyclegan", 0), ("cyclegan", 1)],
)
def test_a_game_stopped_at_an_epochs_end(epoch, name, game_run, train_game, tmp_path, monkeypatch):
    stop, newest = StopAtEnd(epoch), f"epoch-{epoch:05d}-step-{games.STEPS:07d}.npz"
    every = f"recipe.checkpoint_every={games.STEPS}"
    out = tmp_path / "broken"
    game_goes_on(name, game_run, train_game, out, stop, newest, monkeypatch, every)


SMALL = {"resnet20-digits": classification.Classification, "unet-cells": segmentation.Segmentation}


@pytest.fixture(scope="session")
def small_run(tmp_path_factory):
    """A function that trains two epochs of ten steps, and the run directory of it, made once."""

    @functools.cache
    def run(name):
        changed = [*COMMON, *RUNS[name], "recipe.epochs=2", "recipe.checkpoint=best"]
        if name == "resnet20-digits":
            changed.append("data.validation=train[640:700]")

        def train(out, *more, **arguments):
            api.train(name, out, overrides=[*changed, *more], verbose=0, **arguments)

        whole = tmp_path_factory.mktemp(name) / "whole"
        train(whole)
        return train, whole

    return run


def test_a_run_goes_on_without_the_weights_that_it_started_from(tmp_path):
    arguments = presets.read("resnet20-digits")["model"]["arguments"] | {"depth": 8}
    start = tmp_path / "start.weights.h5"
    models.CIFARResNet(**arguments).save_weights(start)
    changed = [
        *("model.arguments.depth=8", f"model.arguments.weights={start}", "recipe.epochs=1"),
        *("data.train=train[:64]", "data.test=test[:64]"),
    ]
    run = api.train("resnet20-digits", tmp_path / "run", overrides=changed, verbose=0)
    start.unlink()
    again = api.train(run.directory, overrides=["recipe.epochs=2"], resume=True, verbose=0)
    assert len((run.directory / "log.csv").read_text().splitlines()) == 3
    assert again.metrics.keys() == run.metrics.keys()
    # Without a checkpoint it would start from random weights.
    shutil.rmtree(run.directory / "checkpoints")
    with pytest.raises(ArgumentError, match=r"there is no weights file .*start\.weights\.h5"):
        api.train(run.directory, resume=True, verbose=0)


@pytest.mark.slow
def test_a_classifier_goes_on_exactly(small_run, tmp_path, monkeypatch):
    name = "resnet20-digits"
    train, whole = small_run(name)
    # In the second epoch there is a checkpoint after the third, sixth and ninth step.
    stop, newest = StopBefore(10 + 7), "epoch-00001-step-0000006.npz"
    goes_on_exactly(SMALL[name], train, whole, tmp_path / "broken", stop, newest, monkeypatch)


@pytest.mark.parametrize(
    ("name", "epoch"),
    [
        pytest.param("resnet20-digits", 0, marks=SLOW),
        pytest.param("resnet20-digits", 1, marks=SLOW),
        pytest.param("unet-cells", 0, marks=SLOW),
    ],
)
def test_stopped_at_an_epochs_end(epoch, name, small_run, tmp_path, monkeypatch):
    train, whole = small_run(name)
    stop, newest = StopAtEnd(epoch), f"epoch-{epoch:05d}-step-0000010.npz"

    def train_so(out, **arguments):
        train(out, "recipe.checkpoint_every=10", **arguments)

    goes_on_exactly(SMALL[name], train_so, whole, tmp_path / "broken", stop, newest, monkeypatch)


class StopAt(keras.callbacks.Callback):
    """Ends a run at one position: as a kill does, or by a signal, which saves the state.

    A position is a moment and the number of the step, counted over all epochs, or of the epoch.
    """

    def __init__(self, position, by_signal):
        super().__init__()
        self.position, self.by_signal = position, by_signal
        self.steps = self.epoch = 0

    def at(self, *position):
        if position == self.position:
            if not self.by_signal:
                raise Stopped
            signal.raise_signal(signal.SIGTERM)

    def on_train_batch_begin(self, batch, logs=None):
        self.at("step", self.steps)
        self.steps += 1

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_test_begin(self, logs=None):
        self.at("validation", self.epoch)

    def on_epoch_end(self, epoch, logs=None):
        self.at("end", epoch)


def goes_on_from(position, by_signal, job, train, whole, broken, monkeypatch):
    stop = StopAt(position, by_signal)
    callbacks = job.callbacks
    with monkeypatch.context() as patched:
        patched.setattr(job, "callbacks", lambda *arguments: [stop, *callbacks(*arguments)])
        with pytest.raises(Interrupted if by_signal else Stopped):
            train(broken)
    train(broken, resume=True)
    assert_same_end(whole, broken)
    shutil.rmtree(broken)


# Validation is a moment of its own in classification and segmentation.
EVERY_TASK = {
    **dict.fromkeys(GAMES, (games.STEPS, ("end",))),
    **dict.fromkeys(SMALL, (10, ("validation", "end"))),
}
POSITIONS = [
    pytest.param(name, by_signal, position, marks=() if quick else pytest.mark.slow)
    for name, (steps, moments) in EVERY_TASK.items()
    for by_signal in (True, False)
    for position in (
        *(("step", step) for step in range(2 * steps)),
        *((moment, epoch) for moment in moments for epoch in range(2)),
    )
    # A signal during the last step of an epoch, where nothing is left of it but its end.
    for quick in [name == "gan" and by_signal and position == ("step", steps - 1)]
]


@pytest.mark.parametrize(
    ("name", "by_signal", "position"),
    POSITIONS,
    ids=lambda value: "-".join(map(str, value)) if isinstance(value, tuple) else str(value),
)
def test_every_position_of_two_epochs(
    name, by_signal, position, small_run, game_run, train_game, tmp_path, monkeypatch
):
    if name in SMALL:
        job, (train, whole) = SMALL[name], small_run(name)
    else:
        job = (
            generation.Generation if name in ("gan", "cgan", "lapgan") else translation.Translation
        )
        whole = game_run(name).directory

        def train(out, **arguments):
            return train_game(name, out, **arguments)

    goes_on_from(position, by_signal, job, train, whole, tmp_path / "broken", monkeypatch)


@pytest.mark.parametrize("name", ["gan", pytest.param("resnet20-digits", marks=SLOW)])
def test_a_table_that_lacks_its_last_row_is_mended(name, small_run, game_run, train_game, tmp_path):
    """As a kill between the last checkpoint and the table leaves it."""
    if name in SMALL:
        train, whole = small_run(name)
    else:
        train, whole = functools.partial(train_game, name), game_run(name).directory
    broken = shutil.copytree(whole, tmp_path / "broken")
    table = broken / "log.csv"
    table.write_text("".join(table.read_text().splitlines(keepends=True)[:-1]))
    (broken / "history.png").unlink()
    train(broken, resume=True)
    assert_same_end(whole, broken)
    assert (broken / "history.png").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_ten_kills_at_random_moments(name, tmp_path):
    epochs = 150
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    begun = time.monotonic()
    uninterrupted = start(name, whole, epochs)
    wait_for_checkpoint(whole, uninterrupted)
    start_up = time.monotonic() - begun
    finish(uninterrupted)
    training = time.monotonic() - begun - start_up

    seed = random.randrange(2**32)
    moments = random.Random(seed)
    positions = []
    for kill in range(10):
        process = start(name, broken, epochs, resume=kill > 0)
        # Some hit the start, most the training; ten of them do not reach its end.
        time.sleep(moments.uniform(0.5 * start_up, start_up + training / 10))
        assert process.poll() is None, (seed, kill, process.communicate()[0])
        process.kill()
        process.wait()
        positions.append(max((f.name[:-4] for f in broken.glob("checkpoints/epoch*")), default=""))
    finish(start(name, broken, epochs, resume=True))
    print(f"{name}: seed {seed}, killed after {positions}")
    assert len(set(positions)) > 3
    assert_same_end(whole, broken)
