"""Processes of a cluster on this machine: started, watched, and started again after a failure.

TensorFlow is not imported. Clusters of several machines are run by Kubernetes, Slurm or Ray; for
them `tf_configs` writes the environment variable of each host.
"""

import collections
import contextlib
import ctypes
import dataclasses
import json
import math
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import IO, Any, TextIO

from keras_arch.distribute.failure import host_timeout
from keras_arch.errors import ArgumentError, HostError

# Seconds in which the others end by themselves after one has failed, and between two looks.
_GRACE, _INTERVAL = 10.0, 0.05
# Lines of standard error that are shown of a process that failed and was not shown before.
_LAST_LINES = 20
_SET_PARENT_DEATH_SIGNAL = 1


@dataclasses.dataclass(frozen=True)
class Job:
    """A command that runs in several processes at once, which find each other by `TF_CONFIG`.

    Attributes:
        command: The command and its arguments.
        again: The same after a failure, to go on with what is done. Default: `command`.
        workers: Number of processes.
        restarts: How often the job is started again.
        all_output: Whether the output of all processes is shown, not only that of the first.
    """

    command: Sequence[str]
    again: Sequence[str] = ()
    workers: int = 2
    restarts: int = 0
    all_output: bool = False


def launch(job: Job) -> int:
    """Run a job on this machine until it has ended, and start it again after a failure.

    A failure is a process that is killed, or ends with exit code 75 because another one was lost.
    The others are ended, too. Any other exit code is an error that would come again. SIGINT and
    SIGTERM are passed on to all processes; a second one kills them.

    Each process gets its share of the processor's cores (`TF_NUM_INTRAOP_THREADS`) and of the GPUs
    (`CUDA_VISIBLE_DEVICES`). Its lines are printed behind its number.

    Returns:
        The exit code: 0; that of a process whose error would come again; 75 after a failure without
        a restart left; 128 and its number after a signal.

    Raises:
        ArgumentError: If there are fewer GPUs than processes.

    Example:
        >>> launch(Job(["true"]))
        0
    """
    devices = _devices(job.workers)
    with _signals() as received:
        for left in range(job.restarts, -1, -1):
            command = job.command if left == job.restarts else job.again or job.command
            code, failure = _Attempt(job, command, devices, received).run()
            if received:
                return 128 + received[0] if code else 0
            if code != HostError.exit_code:
                return code
            if left:
                _say(f"launch: {failure}; starting all again, restarts left: {left - 1}")
    hint = "no restart is left" if job.restarts else "--restarts N starts the job again by itself"
    _say(f"error: {failure}; {hint}")
    return code


def tf_configs(addresses: Sequence[str]) -> list[str]:
    """The environment variable `TF_CONFIG` of each host of a cluster.

    Args:
        addresses: `HOST:PORT` of each; the first is the chief, which writes the files.

    Example:
        >>> tf_configs(["a:1", "b:1"])[1]
        '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 1}}'
    """
    cluster = {"worker": list(addresses)}
    return [
        json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}})
        for index in range(len(addresses))
    ]


class _Attempt:
    """One start of all processes of a job, until all of them have ended."""

    def __init__(
        self,
        job: Job,
        command: Sequence[str],
        devices: Sequence[Mapping[str, str]],
        received: list[int],
    ) -> None:
        self.job = job
        self.received = received
        self.outputs: list[_Output] = []
        self.selector = selectors.DefaultSelector()
        self.processes: list[subprocess.Popen[bytes]] = []
        # In the order in which they ended, without those that were ended from here.
        self.ended: dict[int, int] = {}
        try:
            for rank, config in enumerate(tf_configs(free_addresses(job.workers))):
                environment = os.environ | devices[rank] | {"TF_CONFIG": config}
                # A process that shows its lines late shows none when it is killed.
                environment["PYTHONUNBUFFERED"] = "1"
                self._start(rank, command, environment)
        except BaseException:
            for process in self.processes:
                _end(process)
            raise

    def _start(self, rank: int, command: Sequence[str], environment: dict[str, str]) -> None:
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # Ctrl-C of the terminal comes to the launcher alone, which passes it on.
            start_new_session=True,
            preexec_fn=_end_with(os.getpid()),
        )
        self.processes.append(process)
        shown = rank == 0 or self.job.all_output
        for source, target in ((process.stdout, sys.stdout), (process.stderr, sys.stderr)):
            assert source is not None
            output = _Output(rank, source, target, shown)
            self.outputs.append(output)
            self.selector.register(source, selectors.EVENT_READ, output)

    def run(self) -> tuple[int, str]:
        """Wait for the end of all; the exit code of the attempt, and what failed first."""
        try:
            self._wait()
        finally:
            for process in self.processes:
                _end(process)
            while self._read(0):
                pass
            self.selector.close()
        self._show_hidden()
        return _judge(self.ended, self.job.workers)

    def _wait(self) -> None:
        """Return when all have ended, or those that have not are to be ended."""
        deadline = math.inf
        passed_on = 0
        while any(process.returncode is None for process in self.processes):
            self._read(_INTERVAL)
            for rank, process in enumerate(self.processes):
                if process.returncode is None and _has_ended(process):
                    self.ended[rank] = _end(process)
            if any(self.ended.values()):
                deadline = min(deadline, time.monotonic() + _GRACE)
            if len(self.received) > 1:
                return
            if len(self.received) > passed_on:
                passed_on += 1
                for process in self.processes:
                    if process.returncode is None:
                        os.killpg(process.pid, self.received[0])
                # They finish a step and save; one that waits for a lost one does not.
                deadline = time.monotonic() + host_timeout()
            if time.monotonic() > deadline:
                return

    def _read(self, seconds: float) -> bool:
        """Print what the processes have written; whether there was something."""
        if not self.selector.get_map():
            time.sleep(seconds)
            return False
        ready = self.selector.select(seconds)
        for key, _ in ready:
            if not key.data.read():
                self.selector.unregister(key.fileobj)
                key.data.source.close()
        return bool(ready)

    def _show_hidden(self) -> None:
        """Print the last lines of processes that failed and were not shown."""
        # All say the same where all have made the same mistake.
        printed = {line for output in self.outputs if output.shown for line in output.last}
        for output in self.outputs:
            if output.shown or output.target is not sys.stderr or not self.ended.get(output.rank):
                continue
            for line in output.last:
                if line not in printed:
                    _print(sys.stderr, output.rank, line)


class _Output:
    """Lines that a process writes to standard output or standard error."""

    def __init__(self, rank: int, source: IO[bytes], target: TextIO, shown: bool) -> None:
        self.rank = rank
        self.source = source
        self.target = target
        self.shown = shown
        self.last: collections.deque[bytes] = collections.deque(maxlen=_LAST_LINES)
        self._begun = b""

    def read(self) -> bool:
        """Take what is there; whether there can be more."""
        data = os.read(self.source.fileno(), 65536)
        *lines, self._begun = (self._begun + data).split(b"\n")
        if not data and self._begun:
            lines.append(self._begun)
        self.last.extend(lines)
        if self.shown:
            for line in lines:
                _print(self.target, self.rank, line)
        return bool(data)


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Whether a process has ended; its number stays its own until `_end`."""
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _end(process: subprocess.Popen[bytes]) -> int:
    """End a process, and all that it has started; its exit code."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    return process.wait()


def _judge(ended: Mapping[int, int], workers: int) -> tuple[int, str]:
    """The exit code of an attempt, and what failed, from the codes in the order of the ends."""
    failed = {rank: code for rank, code in ended.items() if code}
    if not failed:
        return (0, "") if len(ended) == workers else (HostError.exit_code, "it was stopped")
    # Where a process says that another one was lost, that one decides.
    others = (rank for rank, code in failed.items() if code != HostError.exit_code)
    rank = next(others, next(iter(failed)))
    code = failed[rank]
    if code < 0:
        return HostError.exit_code, f"process {rank} was killed by {_signal_name(-code)}"
    return code, f"process {rank} ended with exit code {code}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


@contextlib.contextmanager
def _signals() -> Iterator[list[int]]:
    """Context in which SIGINT and SIGTERM are collected in a list, outside of threads."""
    received: list[int] = []

    def take(number: int, frame: FrameType | None) -> None:
        received.append(number)

    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.signal(number, take) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end_with(parent: int) -> Callable[[], None] | None:
    """What a new process does first: the system is to end it when the launcher is killed."""
    # Linux only; there is no thread here that could hold a lock in the new process.
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is None:
        return None

    def ask() -> None:
        prctl(_SET_PARENT_DEATH_SIGNAL, int(signal.SIGKILL))
        if os.getppid() != parent:
            os._exit(1)

    return ask


def free_addresses(count: int) -> list[str]:
    """Addresses on this machine whose ports are free now.

    Args:
        count: Their number.

    Example:
        >>> [address.partition(":")[0] for address in free_addresses(2)]
        ['127.0.0.1', '127.0.0.1']
    """
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]


def _devices(workers: int) -> list[dict[str, str]]:
    """The environment variables that give each process its share of the cores and the GPUs."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    share = {"TF_NUM_INTRAOP_THREADS": str(max(1, (cores or 1) // workers))}
    if "TF_NUM_INTRAOP_THREADS" in os.environ:
        share = {}
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        gpus = [path.name[6:] for path in Path("/dev").glob("nvidia[0-9]*")]
        gpus.sort(key=int)
    else:
        gpus = [gpu for gpu in visible.split(",") if gpu.strip() not in ("", "-1")]
    if not gpus:
        return [share] * workers
    if len(gpus) < workers:
        raise ArgumentError(
            f"a GPU is for one process: {workers} workers cannot share {len(gpus)}; give --workers "
            f"{len(gpus)}, or set CUDA_VISIBLE_DEVICES= to train on the CPU"
        )
    each = len(gpus) // workers
    return [
        share | {"CUDA_VISIBLE_DEVICES": ",".join(gpus[rank * each : (rank + 1) * each])}
        for rank in range(workers)
    ]


def _print(target: TextIO, rank: int, line: bytes) -> None:
    print(f"[{rank}] {line.decode(errors='replace')}", file=target, flush=True)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
