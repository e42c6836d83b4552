"""A run that is stopped in any way and resumed ends as one that was not, to the last bit."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest

from keras_arch import api
from keras_arch.tasks import classification, generation, translation
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
        "recipe.keep=best",
        "samples={count: 2, every: 100}",
    ],
}
# More games, each with three processes of its own.
GAMES = ("gan", "cgan", "lapgan", "pix2pix", "cyclegan")


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
def test_every_game_through_sigterm_and_sigkill(name, tmp_path, pictures, judge_run):
    settings = games.settings(name, pictures, judge_run, "recipe.jit_compile=false")
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


def goes_on_exactly(job, train, whole, broken, step, newest, monkeypatch):
    """Stopped before a step of the second epoch, one after its checkpoint, which is done again."""
    callbacks, stop = job.callbacks, StopBefore(step)
    with monkeypatch.context() as patched:
        patched.setattr(job, "callbacks", lambda *arguments: [*callbacks(*arguments), stop])
        with pytest.raises(Stopped):
            train(broken)
    assert sorted((broken / "checkpoints").iterdir())[-1].name == newest
    train(broken, resume=True)
    assert_same_end(whole, broken)
    kept = [sorted(path.name for path in out.glob("best/*")) for out in (whole, broken)]
    assert kept[0] == kept[1]


@pytest.mark.parametrize("name", GAMES)
def test_every_game_goes_on_exactly(name, game_run, train_game, tmp_path, monkeypatch):
    translates = name in ("pix2pix", "cyclegan")
    goes_on_exactly(
        translation.Translation if translates else generation.Generation,
        lambda out, **arguments: train_game(name, out, **arguments),
        game_run(name).directory,
        tmp_path / "broken",
        games.STEPS + games.CHECKPOINT + 1,
        f"epoch-00001-step-{games.CHECKPOINT:07d}.npz",
        monkeypatch,
    )


def test_a_classifier_goes_on_exactly(tmp_path, monkeypatch):
    name = "resnet20-digits"
    changed = [*COMMON, *RUNS[name], "recipe.epochs=2"]

    def train(out, **arguments):
        api.train(name, out, overrides=changed, verbose=0, **arguments)

    # Ten steps an epoch, and in the second a checkpoint after the third, sixth and ninth.
    train(tmp_path / "whole")
    broken = tmp_path / "broken"
    newest = "epoch-00001-step-0000006.npz"
    goes_on_exactly(
        classification.Classification,
        train,
        tmp_path / "whole",
        broken,
        10 + 7,
        newest,
        monkeypatch,
    )


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
