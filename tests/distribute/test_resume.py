"""Runs over several hosts that are stopped, and go on with another number of hosts."""

import signal
import time

import pytest

from tests.distribute import hosts
from tests.distribute.test_configs import CLASSIFIER, assert_same_run, files, train

pytestmark = pytest.mark.slow
SETTINGS = [*CLASSIFIER, "recipe.epochs=12", "recipe.checkpoint_every=2"]


def command(out, *more):
    changes = [part for setting in SETTINGS for part in ("--set", setting)]
    return ["-m", "keras_arch.cli", "train", "resnet20-digits", "--out", out, *changes, *more]


def stopped(folder, who):
    """Start a run on two hosts, and send some of them SIGTERM after its second epoch."""
    out = folder / "run"
    with hosts.started(command(out), 2, folder) as processes:
        deadline = time.monotonic() + 200
        while not list(out.glob("checkpoints/epoch-0000[2-9]*.npz")):
            assert all(process.poll() is None for process in processes)
            assert time.monotonic() < deadline
            time.sleep(0.05)
        for number in who:
            processes[number].send_signal(signal.SIGTERM)
        outputs = hosts.finish(processes, folder, codes=(143,))
    assert "--resume" in outputs[0]
    assert not any("Traceback" in output for output in outputs)
    return out


@pytest.mark.parametrize("who", [(0,), (1,), (0, 1)], ids=["chief", "worker", "both"])
def test_a_signal_on_any_host_stops_all_and_another_number_goes_on(tmp_path, who):
    out = stopped(tmp_path / "several", who)
    before = files(out)
    assert not [name for name in before if name.endswith(".tmp")]
    count = 3 if who == (1,) else 1
    hosts.run(command(out, "--resume"), count, tmp_path / "several")
    hosts.run(command(tmp_path / "one/run"), 1, tmp_path / "one")
    # TensorBoard begins a file with each start.
    for run in (out, tmp_path / "one/run"):
        for path in sorted(run.glob("logs/**/*tfevents*"))[1:]:
            path.unlink()
    assert_same_run(tmp_path / "one/run", out, atol=5e-5)


def test_a_run_that_is_there_is_refused_on_all_hosts(tmp_path):
    """No host waits for another."""
    train(tmp_path, 1, "resnet20-digits", [*SETTINGS, "recipe.epochs=1"])
    outputs = hosts.run(command(tmp_path / "run"), 2, tmp_path, codes=(2,), timeout=120)
    assert all("holds a run already" in output for output in outputs)
