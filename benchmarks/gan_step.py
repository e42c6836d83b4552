"""Time one GAN training step: `keras_arch` against PyTorch and a two-forward TensorFlow step.

    python benchmarks/gan_step.py --torch-python /path/to/venv-with-torch/bin/python --game all

Games: DCGAN at 64 pixels, pix2pix at 256 and CycleGAN at 128. Every variant of a game trains the
same networks (equal parameter counts, checked before anything is timed) with the same losses and
optimizers (Adam 2e-4, beta1 0.5) on the same shapes in float32. Each lives in a process of its own
with the same number of threads. The processes stay alive and take turns, so that what else the
machine does falls on all of them alike; steps before the first turn are not counted (tracing,
compiling, memory pools).
"""

import argparse
import contextlib
import dataclasses
import functools
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import keras_steps
from steps import GAMES, Built, Settings

OURS = "keras_arch"
# Seconds between turns: thread pools spin for a moment after their last work.
PAUSE = 0.3

# ----------------------------------------------------------------------------------- the variants


def torch_step(settings: Settings, **options: bool) -> Built:
    """The same networks and step in PyTorch, which is imported in the processes that use it."""
    import torch_steps

    return torch_steps.build(settings, torch_steps.Options(**options))


def _variants(tunings: dict[str, dict[str, bool]]) -> dict[str, Callable[[Settings], Built]]:
    """Ours, and PyTorch in both layouts, eager and compiled, with each of these tunings."""
    found: dict[str, Callable[[Settings], Built]] = {OURS: keras_steps.keras_arch_step}
    for tuning, options in tunings.items():
        for compiled in (False, True):
            for channels_last in (False, True):
                name = "torch-compile" if compiled else "torch-eager"
                name += "-channels-last" * channels_last + tuning
                found[name] = functools.partial(
                    torch_step, compiled=compiled, channels_last=channels_last, **options
                )
    return found


# DCGAN's step as it is commonly written computes the gradients of the discriminator's weights in
# the generator's update too; the authors of pix2pix and CycleGAN leave them out.
_TRANSLATING = {"": {"freeze": True}, "-fused": {"freeze": True, "fused": True}}
VARIANTS = {
    "dcgan": _variants(
        {"": {}, "-frozen": {"freeze": True}, "-frozen-fused": {"freeze": True, "fused": True}}
    )
    | {"tensorflow-two-forwards": keras_steps.two_forwards_step},
    "pix2pix": _variants(_TRANSLATING),
    "cyclegan": _variants(_TRANSLATING),
}
ALL_VARIANTS = list(dict.fromkeys(name for variants in VARIANTS.values() for name in variants))

# ---------------------------------------------------------------------- one process for a variant


def serve(variant: str, settings: Settings) -> None:
    """Build and warm up one variant, then time as many steps as each line of stdin asks for.

    Answers are lines of JSON on stdout; whatever libraries print goes to stderr.
    """
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    if variant.startswith("torch") and importlib.util.find_spec("torch") is None:
        print(json.dumps({"skip": f"{sys.executable} has no torch"}), file=answers)
        return
    step, parameters = VARIANTS[settings.game][variant](settings)
    print(json.dumps({"parameters": parameters}), file=answers)
    for line in sys.stdin:
        times = []
        for _ in range(int(line)):
            started, busy = time.perf_counter(), time.process_time()
            step()
            times.append((time.perf_counter() - started, time.process_time() - busy))
        print(json.dumps({"times": times}), file=answers)


class Worker:
    """The process of one variant, as the parent sees it."""

    def __init__(self, variant: str, settings: Settings, python: str) -> None:
        environment = os.environ | {
            "OMP_NUM_THREADS": str(settings.threads),
            "TF_CPP_MIN_LOG_LEVEL": "2",
            "KERAS_BACKEND": "tensorflow",
        }
        command = [python, os.path.abspath(__file__), "--worker", variant]
        for field in dataclasses.fields(settings):
            command += [f"--{field.name.replace('_', '-')}", str(getattr(settings, field.name))]
        self.variant = variant
        self.process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        answer = self._read()
        self.skipped: str | None = answer.get("skip")
        self.parameters = tuple(answer.get("parameters", ()))
        self.times: list[tuple[float, float]] = []

    def run(self, steps: int) -> list[tuple[float, float]]:
        """Let the variant take its turn: seconds by the clock and of processor time, by step."""
        time.sleep(PAUSE)
        print(steps, file=self.process.stdin, flush=True)
        return self._read()["times"]

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()

    def _read(self):
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.variant} ended with exit code {self.process.wait()}")
        return json.loads(line)


@contextlib.contextmanager
def workers(
    variants: list[str], settings: Settings, pythons: dict[str, str]
) -> Iterator[list[Worker]]:
    """Start one process after the other, each warmed up before the next one starts."""
    started: list[Worker] = []
    try:
        for variant in variants:
            worker = Worker(variant, settings, pythons[variant])
            started.append(worker)
            if worker.skipped:
                print(f"{variant}: skipped, {worker.skipped}", flush=True)
                continue
            worker.run(settings.warmup)
        yield [worker for worker in started if not worker.skipped]
    finally:
        for worker in started:
            worker.close()


def check_parameters(running: list[Worker], settings: Settings) -> None:
    """Stop if the variants do not train the same networks."""
    counts = {worker.variant: worker.parameters for worker in running}
    if len(set(counts.values())) > 1:
        raise SystemExit(f"the variants train different networks: {counts}")
    game = GAMES[settings.game]
    if settings.image_size == game.image_size:
        for variant, count in counts.items():
            if count != game.parameters:
                raise SystemExit(f"{variant} has {count} parameters, not {game.parameters}")


def report(running: list[Worker]) -> None:
    """Median seconds per step, and how many times as long as ours each variant takes.

    Processor seconds (all threads) are printed beside the clock's: where they are far from the
    number of threads times as many, something else kept the machine busy and the run is void.
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
    of_torch = [variant for variant in seconds if variant.startswith("torch")]
    if ours and of_torch:
        best = min(of_torch, key=seconds.get)
        print(f"\n{OURS} is {seconds[best] / ours:.2f} times as fast as {best}")


def measure(settings: Settings, arguments: argparse.Namespace) -> None:
    """Let the variants of one game take turns, and report."""
    names = [name for name in VARIANTS[settings.game] if name in arguments.variants]
    pythons = {
        name: arguments.torch_python if name.startswith("torch") else sys.executable
        for name in names
    }
    count = arguments.steps or GAMES[settings.game].steps
    print(
        f"{settings.game}, {settings.image_size}x{settings.image_size}x3, batch {settings.batch}, "
        f"{settings.threads} threads, {count} steps in {arguments.rounds} rounds, "
        f"load average {os.getloadavg()[0]:.2f} before the start",
        flush=True,
    )
    with workers(names, settings, pythons) as running:
        if not running:
            raise SystemExit("no variant could run")
        check_parameters(running, settings)
        for turn in range(arguments.rounds):
            steps = count * (turn + 1) // arguments.rounds
            steps -= count * turn // arguments.rounds
            for worker in running:
                worker.times += worker.run(steps)
    report(running)


def main() -> None:
    """Parse arguments; be the parent, or one of its workers."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--game", choices=[*GAMES, "all"], default="dcgan")
    parser.add_argument("--image-size", type=int, help="default 64, 256 and 128 by game")
    parser.add_argument("--batch", type=int, help="default 64 for dcgan, else 1")
    parser.add_argument(
        "--steps", type=int, help="timed steps of each variant; default 30, 15 for cyclegan"
    )
    parser.add_argument("--rounds", type=int, default=5, help="turns that the steps are split into")
    parser.add_argument("--warmup", type=int, default=4, help="steps before the first turn")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--variants", nargs="+", choices=ALL_VARIANTS, default=ALL_VARIANTS)
    parser.add_argument(
        "--torch-python", default=sys.executable, help="interpreter that has torch; default this"
    )
    parser.add_argument("--worker", choices=ALL_VARIANTS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    for game in GAMES if arguments.game == "all" else [arguments.game]:
        settings = Settings(
            game=game,
            image_size=arguments.image_size or GAMES[game].image_size,
            batch=arguments.batch or GAMES[game].batch,
            warmup=arguments.warmup,
            threads=arguments.threads,
        )
        if arguments.worker:
            serve(arguments.worker, settings)
        else:
            measure(settings, arguments)


if __name__ == "__main__":
    main()
