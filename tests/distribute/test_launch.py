"""The launcher, with commands that need no TensorFlow."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from keras_arch import cli
from keras_arch.distribute import launch, read_tf_config
from keras_arch.distribute.launch import Job

ROOT = Path(__file__).parents[2]
# Of each process of a job: its number, and the start of the job that it is in, from 1.
BEGIN = """
import json, os, pathlib, signal, sys, time
rank = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
own = pathlib.Path(f"starts{rank}")
start = len(own.read_text()) + 1 if own.exists() else 1
own.write_text("x" * start)
"""


def job(program, **settings):
    return Job([sys.executable, "-c", BEGIN + program], **settings)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TF_CONFIG", raising=False)
    return tmp_path


def test_lines_of_the_first_process_are_printed_with_its_number(capfd):
    program = "print('out', rank); print('err', rank, file=sys.stderr); sys.stdout.write('end')"
    assert launch.launch(job(program, workers=2)) == 0
    out, err = capfd.readouterr()
    assert out.splitlines() == ["[0] out 0", "[0] end"]
    assert err.splitlines() == ["[0] err 0"]


def test_lines_of_all_processes(capfd):
    assert launch.launch(job("print('a' * 100_000, rank)", workers=3, all_output=True)) == 0
    lines = capfd.readouterr().out.splitlines()
    assert sorted(lines) == [f"[{rank}] {'a' * 100_000} {rank}" for rank in range(3)]


def test_processes_find_each_other_and_share_the_cores(folder, monkeypatch):
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS", raising=False)
    names = "'TF_CONFIG', 'TF_NUM_INTRAOP_THREADS'"
    program = f"json.dump([os.environ[name] for name in ({names})], open(f'found{{rank}}', 'w'))"
    assert launch.launch(job(program, workers=2)) == 0
    found = [json.loads((folder / f"found{rank}").read_text()) for rank in range(2)]
    clusters = [read_tf_config({"TF_CONFIG": config}) for config, _ in found]
    assert [cluster.rank for cluster in clusters] == [0, 1]
    assert clusters[0].tasks == clusters[1].tasks
    cores = len(os.sched_getaffinity(0))
    assert {threads for _, threads in found} == {str(max(1, cores // 2))}


def test_gpus_are_shared(folder, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6,7,8")
    program = "open(f'gpus{rank}', 'w').write(os.environ['CUDA_VISIBLE_DEVICES'])"
    assert launch.launch(job(program, workers=2)) == 0
    assert [(folder / f"gpus{rank}").read_text() for rank in range(2)] == ["4,5", "6,7"]
    with pytest.raises(launch.ArgumentError, match=r"6 workers cannot share 5; .*--workers 5"):
        launch.launch(job("", workers=6))


def test_a_mistake_is_not_started_again_and_shown_once(folder, capfd):
    program = "print('error: no such thing', file=sys.stderr); sys.exit(2)"
    assert launch.launch(job(program, workers=2, restarts=3)) == 2
    assert capfd.readouterr().err == "[0] error: no such thing\n"
    assert (folder / "starts0").read_text() == "x"


def test_a_mistake_of_a_process_that_is_not_shown(capfd):
    program = """
if rank == 1:
    print("more\\nerror: no such image", file=sys.stderr)
    sys.exit(2)
time.sleep(1)
sys.exit(75)
"""
    assert launch.launch(job(program, workers=2, restarts=3)) == 2
    assert capfd.readouterr().err.splitlines() == ["[1] more", "[1] error: no such image"]


@pytest.mark.parametrize("end", ["sys.exit(75)", "os.kill(os.getpid(), signal.SIGKILL)"])
def test_all_are_started_again_after_a_failure(folder, capfd, end):
    program = f"""
print(sys.argv[1:], start)
if start < 3:
    if rank == 1:
        {end}
    time.sleep(0.5)
    sys.exit(75)
"""
    once = job(program, workers=2, restarts=3)
    again = Job(once.command, [*once.command, "--resume"], workers=2, restarts=3)
    assert launch.launch(again) == 0
    out, err = capfd.readouterr()
    assert out.splitlines() == ["[0] [] 1", "[0] ['--resume'] 2", "[0] ['--resume'] 3"]
    how = "ended with exit code 75" if "exit" in end else "was killed by SIGKILL"
    assert err.splitlines() == [
        f"launch: process 1 {how}; starting all again, restarts left: {left}" for left in (2, 1)
    ]
    assert (folder / "starts1").read_text() == "xxx"


def test_no_restart_is_left(capfd):
    assert launch.launch(job("sys.exit(75)", workers=1, restarts=1)) == 75
    assert capfd.readouterr().err.splitlines()[-1] == (
        "error: process 0 ended with exit code 75; no restart is left"
    )


def test_one_that_hangs_is_ended_with_the_others(monkeypatch, capfd):
    monkeypatch.setattr(launch, "_GRACE", 0.3)
    program = "sys.exit(75) if rank else os.kill(os.getpid(), signal.SIGSTOP)"
    begin = time.monotonic()
    assert launch.launch(job(program, workers=2)) == 75
    assert time.monotonic() - begin < 5
    assert "--restarts N starts the job again" in capfd.readouterr().err


# A launcher in a process of its own, whose workers write their process numbers and wait.
LAUNCHER = """
import sys
from keras_arch.distribute.launch import Job, launch
sys.exit(launch(Job([sys.executable, "-c", sys.argv[1]], workers=2, restarts=3)))
"""
WAIT = """
child = os.fork()
if child:
    pathlib.Path(f"pid{rank}.tmp").write_text(f"{os.getpid()} {child}")
    os.rename(f"pid{rank}.tmp", f"pid{rank}")
try:
    time.sleep(60)
except KeyboardInterrupt:
    # At once: both processes write to one pipe.
    os.write(1, f"interrupted {rank}\\n".encode())
    sys.exit(130)
"""


def started(folder, program):
    """The launcher, and the processes that it has started and those have started."""
    process = subprocess.Popen(
        [sys.executable, "-c", LAUNCHER, BEGIN + program],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    files = [folder / f"pid{rank}" for rank in range(2)]
    for _ in range(200):
        if all(file.exists() for file in files):
            break
        time.sleep(0.05)
    return process, [list(map(int, file.read_text().split())) for file in files]


def runs(pid):
    """Whether a process runs; one that has ended may still be listed."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def none_runs(pids):
    pids = list(pids)
    for _ in range(100):
        if not any(map(runs, pids)):
            return True
        time.sleep(0.05)
    return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_are_passed_on_and_nothing_is_left(folder, number):
    process, workers = started(folder, WAIT)
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 128 + number
    assert err == ""
    assert set(out.splitlines()) == ({"[0] interrupted 0"} if number == signal.SIGINT else set())
    assert none_runs(pid for pids in workers for pid in pids)
    assert (folder / "starts0").read_text() == "x"


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux to end the workers")
def test_workers_end_when_the_launcher_is_killed(folder):
    process, workers = started(folder, WAIT.replace("child = os.fork()", "child = os.getpid()"))
    process.kill()
    process.communicate(timeout=20)
    assert none_runs(pid for pids in workers for pid in pids)


def test_print_writes_the_command_of_each_host(capsys, monkeypatch):
    monkeypatch.setenv("KERAS_ARCH_HOST_TIMEOUT", "120")
    line = ["train", "resnet20-digits", "--out", "my run"]
    code = cli.main(["launch", "--print", "--hosts", "a:1,b:2", "--host-timeout", "60", *line])
    assert code == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[::2] == ["# a:1", "# b:2"]
    # What a shell makes of it.
    program = "import json, os, sys; print(json.dumps([os.environ['TF_CONFIG'], *sys.argv[1:]]))"
    for rank, command in enumerate(lines[1::2]):
        shown = command.replace(" keras-arch ", f' {sys.executable} -c "{program}" ')
        done = subprocess.run(shown, shell=True, capture_output=True, text=True, check=True)
        config, *arguments = json.loads(done.stdout)
        assert read_tf_config({"TF_CONFIG": config}).rank == rank
        assert arguments == [*line, "--host-timeout=60"]
