"""Hosts that are lost: killed, hanging, or never there."""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from keras_arch.distribute import Cluster, failure, host_timeout, set_host_timeout
from keras_arch.errors import ArgumentError, HostError
from tests.distribute.hosts import ROOT, tf_configs

TASKS = tuple(("worker", index, f"h{index}:1") for index in range(3))
AWAY = "/job:worker/replica:0/task:1"
# Messages of TensorFlow 2.21, shortened.
MESSAGES = {
    "silent": f"Collective ops is aborted by: Error reported from /job:worker/task:1: The "
    f"following tasks are unhealthy (stopped sending heartbeats):\n{AWAY}\nThe tasks have crashed.",
    "ended": f"recvmsg:Connection reset by peer\nAdditional GRPC error information from remote "
    f"target {AWAY} while calling /tensorflow.WorkerService/CompleteInstance:",
    "never came": "# of tasks that reached the barrier: 2/3.\nThe first task at the barrier: "
    f"/job:worker/replica:0/task:0. Some timed out task names:\n{AWAY}\n\nAdditional GRPC error "
    "information from remote target /job:worker/replica:0/task:0 while calling "
    "/tensorflow.CoordinationService/RegisterTask:",
}


@pytest.mark.parametrize("name", MESSAGES)
@pytest.mark.parametrize("rank", [0, 2])
def test_the_lost_host_is_read_from_the_error(name, rank):
    cluster = Cluster(TASKS, "worker", rank)
    assert failure._lost(MESSAGES[name], cluster) == [1]


def test_a_call_of_the_coordination_service_without_an_answer_means_the_first():
    message = "Deadline Exceeded\n\nRPC: /tensorflow.CoordinationService/Heartbeat"
    assert failure._lost(message, Cluster(TASKS, "worker", 2)) == [0]
    assert failure._lost("no name", Cluster(TASKS, "worker", 2)) == []


def test_time_out(monkeypatch):
    monkeypatch.setenv("KERAS_ARCH_HOST_TIMEOUT", "30")
    assert host_timeout() == 30
    set_host_timeout(7.5)
    assert os.environ["KERAS_ARCH_HOST_TIMEOUT"] == "7.5"
    for wrong in ("4", "soon", "nan", "inf"):
        monkeypatch.setenv("KERAS_ARCH_HOST_TIMEOUT", wrong)
        with pytest.raises(ArgumentError, match=f"from 5|5 to 86400 seconds, got '{wrong}'"):
            host_timeout()


@pytest.mark.parametrize("answering", [True, False])
def test_the_watch_ends_a_process_that_no_error_reaches(answering):
    lines = []
    watch = failure._Watch(
        Cluster(TASKS, "worker", 0), 0.2, lambda task: answering or task[1] == 2, lines.append
    )
    watch.start()
    time.sleep(1)
    watch.stop()
    lost = [
        "worker 1 (h1:1) was lost: it ended, or was silent for 0.2 s; run all hosts again with "
    ]
    assert [line.removesuffix("--resume") for line in lines] == ([] if answering else lost)


CONFIG = ["resnet20-digits", "--set", "model.arguments.depth=8", "--epochs", "8"]
CONFIG += ["--set", "data.train=train[:256]", "--set", "data.test=test[:64]"]
CONFIG += ["--set", "recipe.deterministic=true", "--set", "recipe.checkpoint_every=2"]
TIMEOUT = 10
# Beyond the time-out: to notice, to end, and the pauses of a busy machine.
LATE = 40


def program(*arguments, timeout=TIMEOUT, **environment):
    environment |= {"KERAS_ARCH_HOST_TIMEOUT": str(timeout), "PYTHONPATH": str(ROOT)}
    # As for a user: the command line itself hides the log lines of TensorFlow.
    kept = {name: text for name, text in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    return subprocess.Popen(
        [sys.executable, "-m", "keras_arch.cli", *arguments],
        env=kept | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def one_line(process, timeout):
    """The only line on standard error of a process that ends with code 75."""
    try:
        _, err = process.communicate(timeout=timeout)
    finally:
        process.kill()
    assert process.returncode == HostError.exit_code, err
    assert err.count("\n") == 1, err
    return err.rstrip()


@pytest.fixture(scope="module", autouse=True)
def waiting(tmp_path_factory):
    """A host that waits for another while the other tests run."""
    folder = tmp_path_factory.mktemp("alone")
    config = tf_configs(2)[0]
    process = program("train", *CONFIG, "--out", str(folder / "run"), timeout=5, TF_CONFIG=config)
    yield process, folder, config
    process.kill()
    process.communicate()


@pytest.mark.slow
def test_a_host_that_never_comes(waiting):
    process, folder, config = waiting
    missing = json.loads(config)["cluster"]["worker"][1]
    line = one_line(process, 5 + 2 * LATE)
    assert line == (
        f"error: worker 1 ({missing}) did not come within 5 s (KERAS_ARCH_HOST_TIMEOUT); start all "
        "hosts again, with --resume"
    )
    assert not list(folder.iterdir())


@pytest.mark.slow
def test_the_first_host_never_comes(tmp_path):
    config = tf_configs(3)[2]
    begin = time.monotonic()
    process = program("train", *CONFIG, "--out", str(tmp_path / "run"), TF_CONFIG=config)
    assert "worker 0 (127.0.0.1:" in one_line(process, TIMEOUT + LATE)
    assert time.monotonic() - begin > TIMEOUT


def workers(launcher):
    """The processes that a launcher has started, by their numbers in the cluster."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError):
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == launcher.pid:
                names = (folder / "environ").read_bytes().split(b"\0")
                config = next(name[10:] for name in names if name.startswith(b"TF_CONFIG="))
                found[json.loads(config)["task"]["index"]] = int(folder.name)
    return found


def launched(out, *options):
    return program("launch", "--workers", "2", *options, "train", *CONFIG, "--out", str(out))


def files_of(run):
    """All files but those of TensorBoard, of which each start writes one."""
    files = {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()}
    return {name for name in files if not name.startswith("logs/")}


def state_of(run):
    """Arrays of the last checkpoint and the model, and the text of what was measured."""
    import h5py

    arrays = {}
    with np.load(max((run / "checkpoints").glob("*.npz"))) as archive:
        arrays |= {name: archive[name] for name in archive.files}
    with h5py.File(run / "model" / "model.weights.h5") as file:
        file.visititems(
            lambda name, item: arrays.update(
                {name: item[()]} if isinstance(item, h5py.Dataset) else {}
            )
        )
    return arrays, (run / "metrics.json").read_text(), (run / "log.csv").read_text()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A run that nobody has killed, and its seconds."""
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    begin = time.monotonic()
    process = launched(out)
    _, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    return out, time.monotonic() - begin


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("moment", range(5))
@pytest.mark.parametrize("victim", [1, 0], ids=["worker", "chief"])
def test_a_killed_process_changes_nothing(undisturbed, tmp_path, victim, moment):
    finished, seconds = undisturbed
    out = tmp_path / "run"
    wait = random.Random(10 * victim + moment).uniform(0.05, 0.95) * seconds
    while True:
        process = launched(out, "--restarts", "3")
        time.sleep(wait)
        if (pid := workers(process).get(victim)) is not None:
            break
        # It was faster than the other one.
        process.communicate(timeout=600)
        shutil.rmtree(out)
        wait *= 0.8
    os.kill(pid, signal.SIGKILL)
    _, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    assert f"launch: process {victim} was killed by SIGKILL; starting all again" in err
    assert "Traceback" not in err
    assert files_of(out) == files_of(finished)
    (expected, *texts), (found, *found_texts) = state_of(finished), state_of(out)
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert array.tobytes() == found[name].tobytes(), name
    assert found_texts == texts


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("victim", [1, 0], ids=["worker", "chief"])
def test_a_process_that_hangs_ends_the_others_in_time(undisturbed, tmp_path, victim):
    process = launched(tmp_path / "run")
    log = tmp_path / "run" / "log.csv"
    while not log.exists():
        assert process.poll() is None
        time.sleep(0.1)
    os.kill(workers(process)[victim], signal.SIGSTOP)
    begin = time.monotonic()
    _, err = process.communicate(timeout=TIMEOUT + LATE)
    assert process.returncode == HostError.exit_code
    assert time.monotonic() - begin > TIMEOUT / 2
    assert f"[{1 - victim}] error: worker {victim} (127.0.0.1:" in err
    assert "Traceback" not in err
