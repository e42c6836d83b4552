"""Timing of several variants of a computation in turns, each in its own process.

The processes stay alive and take turns, so that other load of the machine affects all of them.
Steps before the first turn are not counted (tracing, compiling, memory pools).
"""

import contextlib
import functools
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator

OURS = "keras_arch"
# Seconds between turns, because thread pools spin for a moment after their last work.
PAUSE = 0.3

Step = Callable[[], None]
# A step, and the trainable parameters of each network in it.
Built = tuple[Step, tuple[int, ...]]


def serve(variant: str, build: Callable[[], Built]) -> None:
    """Run a worker: build one variant, then time as many steps as each line of stdin requests.

    Results are lines of JSON on stdout; output of libraries goes to stderr.
    """
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    if variant.startswith("torch") and importlib.util.find_spec("torch") is None:
        print(json.dumps({"skip": f"{sys.executable} has no torch"}), file=answers)
        return
    step, parameters = build()
    print(json.dumps({"parameters": parameters}), file=answers)
    for line in sys.stdin:
        times = []
        for _ in range(int(line)):
            started, busy = time.perf_counter(), time.process_time()
            step()
            times.append((time.perf_counter() - started, time.process_time() - busy))
        print(json.dumps({"times": times}), file=answers)
    # The parent is gone; hosts of a cluster would wait for each other at their end.
    answers.flush()
    os._exit(0)


class Worker:
    """Process of one variant, seen from the parent process.

    It builds the variant while the parent goes on; `wait` until it is ready.
    """

    def __init__(self, variant: str, command: list[str], threads: int, **environment: str) -> None:
        settings = {
            "OMP_NUM_THREADS": str(threads),
            "TF_CPP_MIN_LOG_LEVEL": "2",
            "KERAS_BACKEND": "tensorflow",
        }
        self.variant = variant
        self.process = subprocess.Popen(
            command,
            env=os.environ | settings | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.skipped: str | None = None
        self.parameters: tuple[int, ...] = ()
        self.times: list[tuple[float, float]] = []

    def wait(self) -> None:
        """Wait until the variant is built, or cannot be."""
        answer = self._read()
        self.skipped = answer.get("skip")
        self.parameters = tuple(answer.get("parameters", ()))

    def run(self, steps: int) -> list[tuple[float, float]]:
        """Time one turn: wall-clock and processor seconds of each step."""
        time.sleep(PAUSE)
        self.begin(steps)
        return self.end()

    def begin(self, steps: int) -> None:
        """Begin a turn."""
        print(steps, file=self.process.stdin, flush=True)

    def end(self) -> list[tuple[float, float]]:
        """Wait for the end of a turn; its times."""
        return self._read()["times"]

    def close(self) -> None:
        """End the process, whatever it does: its results are read."""
        self.process.kill()
        self.process.wait()

    def _read(self):
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.variant} ended with exit code {self.process.wait()}")
        return json.loads(line)


@contextlib.contextmanager
def workers(commands: dict[str, list[str]], *, warmup: int, threads: int) -> Iterator[list[Worker]]:
    """Start the processes one after the other, each after the warm-up of the one before."""
    started: list[Worker] = []
    try:
        for variant, command in commands.items():
            worker = Worker(variant, command, threads)
            started.append(worker)
            worker.wait()
            if worker.skipped:
                print(f"{variant}: skipped, {worker.skipped}", flush=True)
                continue
            worker.run(warmup)
        running = [worker for worker in started if not worker.skipped]
        if not running:
            raise SystemExit("no variant could run")
        yield running
    finally:
        for worker in started:
            worker.close()


def torch_variants(step: Callable[..., Built]) -> dict[str, Callable[..., Built]]:
    """The four PyTorch variants by name: eager and compiled, in both memory layouts.

    Args:
        step: Builds a variant from the keywords `compiled` and `channels_last`.
    """
    return {
        f"torch-{'compile' if compiled else 'eager'}{'-channels-last' * channels_last}": (
            functools.partial(step, compiled=compiled, channels_last=channels_last)
        )
        for compiled in (False, True)
        for channels_last in (False, True)
    }


def commands(
    script: str, variants: Iterable[str], torch_python: str, flags: Iterable[str]
) -> dict[str, list[str]]:
    """Commands that start the workers: the script itself, with the interpreter of the variant.

    Args:
        script: `__file__` of the benchmark, which takes `--worker VARIANT`.
        variants: Names of the variants; those that begin with torch run under `torch_python`.
        torch_python: A Python interpreter with PyTorch.
        flags: Command-line flags of all workers.
    """
    return {
        name: [
            torch_python if name.startswith("torch") else sys.executable,
            os.path.abspath(script),
            "--worker",
            name,
            *flags,
        ]
        for name in variants
    }


def compete(
    title: str,
    commands: dict[str, list[str]],
    check: Callable[[list[Worker]], None],
    *,
    steps: int,
    rounds: int,
    warmup: int,
    threads: int,
    rivals: str | Iterable[str] = "torch",
) -> None:
    """Time the variants in turns, and print the results.

    Args:
        title: What is timed.
        commands: See `commands`.
        check: Raises SystemExit if the workers are not what they should be.
        steps: Timed steps of each variant.
        rounds: Turns that these are split into.
        warmup: Steps before the first turn.
        threads: Of each variant.
        rivals: See `report`.
    """
    print(
        f"\n{title}, {threads} threads, {steps} steps in {rounds} rounds, "
        f"load average {os.getloadavg()[0]:.2f} before the start",
        flush=True,
    )
    with workers(commands, warmup=warmup, threads=threads) as running:
        check(running)
        take_turns(running, steps, rounds)
    report(running, rivals)


def take_turns(running: list[Worker], steps: int, rounds: int) -> None:
    """Times of a number of steps of every variant, split into rounds."""
    for turn in range(rounds):
        share = steps * (turn + 1) // rounds - steps * turn // rounds
        for worker in running:
            worker.times += worker.run(share)


def report(running: list[Worker], rivals: str | Iterable[str] = "torch") -> None:
    """Print median seconds of a step, and the ratio to ours.

    Processor seconds (of all threads) are printed as well. If they are far from the wall-clock time
    times the number of threads, the machine was under other load and the run is not valid.
    The last line compares with the fastest variant whose name begins with one of `rivals`.
    """
    seconds = {w.variant: statistics.median(clock for clock, _ in w.times) for w in running}
    ours = seconds.get(OURS)
    print(f"\n{'variant':36}{'s/step':>9}{'fastest':>9}{'CPU s':>8}{'ours = 1':>10}")
    for worker in running:
        median = seconds[worker.variant]
        fastest = min(clock for clock, _ in worker.times)
        processor = statistics.median(busy for _, busy in worker.times)
        ratio = f"{median / ours:10.2f}" if ours else f"{'-':>10}"
        print(f"{worker.variant:36}{median:9.3f}{fastest:9.3f}{processor:8.2f}{ratio}")
    prefixes = (rivals,) if isinstance(rivals, str) else tuple(rivals)
    compared = [variant for variant in seconds if variant.startswith(prefixes)]
    if ours and compared:
        best = min(compared, key=seconds.get)
        print(f"\n{OURS} is {seconds[best] / ours:.2f} times as fast as {best}")
