"""Time one DCGAN training step: `keras_arch` against PyTorch and a two-forward TensorFlow step.

    python benchmarks/gan_step.py --torch-python /path/to/venv-with-torch/bin/python

Every variant trains the same two networks (equal parameter counts, checked before anything is
timed) with the same losses (non-saturating, D on real and on generated images, then G through the
updated D) and optimizers (Adam 2e-4, beta1 0.5) on the same shapes in float32. Each lives in a
process of its own with the same number of threads. The processes stay alive and take turns, so
that what else the machine does falls on all of them alike; steps before the first turn are not
counted (tracing, compiling, memory pools).
"""

import argparse
import contextlib
import dataclasses
import functools
import importlib.util
import itertools
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

LATENT_SIZE = 100
FILTERS = 64
LEARNING_RATE, BETA_1 = 2e-4, 0.5
OURS = "keras_arch"
# Seconds between turns: thread pools spin for a moment after their last work.
PAUSE = 0.3
# For 64x64 images with 3 channels.
KNOWN_PARAMETERS = (3_576_704, 2_765_568)

Step = Callable[[], None]


@dataclasses.dataclass(frozen=True)
class Settings:
    """What all variants have in common."""

    image_size: int
    channels: int
    batch: int
    warmup: int
    threads: int


# ---------------------------------------------------------------------------- TensorFlow and Keras


def keras_arch_step(settings: Settings) -> tuple[Step, tuple[int, int]]:
    """`trainers.GAN` as `fit` runs it."""
    import keras

    from keras_arch import trainers

    generator, discriminator = _keras_networks(settings)
    trainer = trainers.GAN(generator, discriminator, latent="normal")
    trainer.compile(
        g_optimizer=keras.optimizers.Adam(LEARNING_RATE, beta_1=BETA_1),
        d_optimizer=keras.optimizers.Adam(LEARNING_RATE, beta_1=BETA_1),
        loss="non_saturating",
    )
    batches = iter(_tf_images(settings))
    trainer.make_train_function()

    def step() -> None:
        logs = trainer.train_function(batches)
        float(logs["d_loss"])  # Until the figures are there the step is not over.

    return step, _keras_counts(generator, discriminator)


def two_forwards_step(settings: Settings) -> tuple[Step, tuple[int, int]]:
    """The step as tutorials write it: each player's update generates a batch of its own."""
    import keras
    import tensorflow as tf

    generator, discriminator = _keras_networks(settings)
    g_optimizer = keras.optimizers.Adam(LEARNING_RATE, beta_1=BETA_1)
    d_optimizer = keras.optimizers.Adam(LEARNING_RATE, beta_1=BETA_1)
    g_optimizer.build(generator.trainable_variables)
    d_optimizer.build(discriminator.trainable_variables)

    def cross_entropy(logits, target):
        labels = tf.fill(tf.shape(logits), target)
        losses = tf.nn.sigmoid_cross_entropy_with_logits(labels=labels, logits=logits)
        return tf.reduce_mean(losses)

    def latent():
        return tf.random.normal((settings.batch, LATENT_SIZE))

    @tf.function
    def train(real):
        with tf.GradientTape() as tape:
            fake = generator(latent(), training=True)
            d_loss = cross_entropy(discriminator(real, training=True), 1.0)
            d_loss += cross_entropy(discriminator(fake, training=True), 0.0)
        weights = discriminator.trainable_variables
        d_optimizer.apply(tape.gradient(d_loss, weights), weights)
        with tf.GradientTape() as tape:
            fake = generator(latent(), training=True)
            g_loss = cross_entropy(discriminator(fake, training=True), 1.0)
        weights = generator.trainable_variables
        g_optimizer.apply(tape.gradient(g_loss, weights), weights)
        return d_loss, g_loss

    batches = iter(_tf_images(settings))

    def step() -> None:
        d_loss, g_loss = train(next(batches))
        float(d_loss), float(g_loss)

    return step, _keras_counts(generator, discriminator)


def _keras_networks(settings):
    import tensorflow as tf

    from keras_arch import models

    tf.config.threading.set_intra_op_parallelism_threads(settings.threads)
    tf.config.threading.set_inter_op_parallelism_threads(settings.threads)
    shape = {"image_size": settings.image_size, "channels": settings.channels}
    return (
        models.DCGANGenerator(**shape, latent_size=LATENT_SIZE, variant="port"),
        models.DCGANDiscriminator(**shape, variant="port"),
    )


def _keras_counts(generator, discriminator):
    return tuple(
        sum(weight.shape.num_elements() for weight in (w.value for w in net.trainable_weights))
        for net in (generator, discriminator)
    )


def _tf_images(settings):
    """One batch of noise in [-1, 1], again and again: the pipeline's cost is not timed here."""
    import tensorflow as tf

    shape = (settings.batch, settings.image_size, settings.image_size, settings.channels)
    return tf.data.Dataset.from_tensors(tf.random.uniform(shape, -1.0, 1.0)).cache().repeat()


# -------------------------------------------------------------------------------------- PyTorch


def torch_step(
    settings: Settings, *, channels_last: bool, compiled: bool, freeze: bool
) -> tuple[Step, tuple[int, int]]:
    """The same networks and step, written for PyTorch.

    With `freeze`, the generator's update leaves out the gradients of the discriminator's weights,
    which the step as it is commonly written computes and throws away.
    """
    import torch
    from torch import nn

    torch.set_num_threads(settings.threads)
    generator, discriminator = _torch_networks(settings)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    generator, discriminator = (
        network.to(memory_format=layout) for network in (generator, discriminator)
    )
    counts = tuple(
        sum(p.numel() for p in network.parameters()) for network in (generator, discriminator)
    )
    g_optimizer = torch.optim.Adam(generator.parameters(), lr=LEARNING_RATE, betas=(BETA_1, 0.999))
    d_optimizer = torch.optim.Adam(
        discriminator.parameters(), lr=LEARNING_RATE, betas=(BETA_1, 0.999)
    )
    g, d = generator, discriminator
    if compiled:
        # Inductor of PyTorch 2.13 fails on this discriminator with shapes that it took for dynamic.
        g, d = (torch.compile(network, dynamic=False) for network in (generator, discriminator))
    cross_entropy = nn.BCEWithLogitsLoss()
    ones, zeros = torch.ones(settings.batch), torch.zeros(settings.batch)
    shape = (settings.batch, settings.channels, settings.image_size, settings.image_size)
    real = (torch.rand(shape) * 2 - 1).contiguous(memory_format=layout)

    def step() -> None:
        fake = g(torch.randn(settings.batch, LATENT_SIZE, 1, 1))
        d_optimizer.zero_grad()
        d_loss = cross_entropy(d(real), ones) + cross_entropy(d(fake.detach()), zeros)
        d_loss.backward()
        d_optimizer.step()

        if freeze:
            discriminator.requires_grad_(False)
        g_optimizer.zero_grad()
        g_loss = cross_entropy(d(fake), ones)
        g_loss.backward()
        g_optimizer.step()
        if freeze:
            discriminator.requires_grad_(True)
        d_loss.item(), g_loss.item()

    return step, counts


def _torch_networks(settings):
    """DCGAN with 4x4 kernels: from 1x1 to 4x4 and doubled up; halved down to 4x4 and to 1x1."""
    from torch import nn

    stages = (settings.image_size // 4).bit_length() - 1
    widths = [FILTERS * 2**stage for stage in range(stages)]  # 64, 128, 256, 512

    up = [nn.ConvTranspose2d(LATENT_SIZE, widths[-1], 4, 1, 0, bias=False)]
    for before, after in itertools.pairwise(widths[::-1]):
        up += [nn.BatchNorm2d(before), nn.ReLU(inplace=True)]
        up += [nn.ConvTranspose2d(before, after, 4, 2, 1, bias=False)]
    up += [nn.BatchNorm2d(widths[0]), nn.ReLU(inplace=True)]
    up += [nn.ConvTranspose2d(widths[0], settings.channels, 4, 2, 1, bias=False), nn.Tanh()]

    down = [nn.Conv2d(settings.channels, widths[0], 4, 2, 1, bias=False)]
    down += [nn.LeakyReLU(0.2, inplace=True)]
    for before, after in itertools.pairwise(widths):
        down += [nn.Conv2d(before, after, 4, 2, 1, bias=False)]
        down += [nn.BatchNorm2d(after), nn.LeakyReLU(0.2, inplace=True)]
    down += [nn.Conv2d(widths[-1], 1, 4, 1, 0, bias=False), nn.Flatten(0)]

    networks = nn.Sequential(*up), nn.Sequential(*down)
    for network in networks:
        for layer in network:
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.normal_(layer.weight, 0.0, 0.02)
            elif isinstance(layer, nn.BatchNorm2d):
                nn.init.normal_(layer.weight, 1.0, 0.02)
    return networks


# ---------------------------------------------------------------------- one process for a variant

VARIANTS: dict[str, Callable[[Settings], tuple[Step, tuple[int, int]]]] = {
    OURS: keras_arch_step,
    "tensorflow-two-forwards": two_forwards_step,
}
for _freeze in (False, True):
    for _compiled in (False, True):
        for _channels_last in (False, True):
            _name = "torch-compile" if _compiled else "torch-eager"
            _name += "-channels-last" * _channels_last + "-frozen" * _freeze
            VARIANTS[_name] = functools.partial(
                torch_step, channels_last=_channels_last, compiled=_compiled, freeze=_freeze
            )


def serve(variant: str, settings: Settings) -> None:
    """Build and warm up one variant, then time as many steps as each line of stdin asks for.

    Answers are lines of JSON on stdout; whatever libraries print goes to stderr.
    """
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    if variant.startswith("torch") and importlib.util.find_spec("torch") is None:
        print(json.dumps({"skip": f"{sys.executable} has no torch"}), file=answers)
        return
    step, parameters = VARIANTS[variant](settings)
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
    if (settings.image_size, settings.channels) == (64, 3):
        for variant, count in counts.items():
            if count != KNOWN_PARAMETERS:
                raise SystemExit(f"{variant} has {count} parameters, not {KNOWN_PARAMETERS}")


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


def main() -> None:
    """Parse arguments; be the parent, or one of its workers."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--channels", type=int, default=3)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=30, help="timed steps of each variant")
    parser.add_argument("--rounds", type=int, default=5, help="turns that the steps are split into")
    parser.add_argument("--warmup", type=int, default=4, help="steps before the first turn")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument(
        "--torch-python", default=sys.executable, help="interpreter that has torch; default this"
    )
    parser.add_argument("--worker", choices=VARIANTS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    settings = Settings(
        **{field.name: getattr(arguments, field.name) for field in dataclasses.fields(Settings)}
    )
    if arguments.worker:
        serve(arguments.worker, settings)
        return

    pythons = {
        variant: arguments.torch_python if variant.startswith("torch") else sys.executable
        for variant in arguments.variants
    }
    load = os.getloadavg()[0]
    print(
        f"{settings.image_size}x{settings.image_size}x{settings.channels}, batch {settings.batch}, "
        f"{settings.threads} threads, {arguments.steps} steps in {arguments.rounds} rounds, "
        f"load average {load:.2f} before the start",
        flush=True,
    )
    with workers(arguments.variants, settings, pythons) as running:
        if not running:
            raise SystemExit("no variant could run")
        check_parameters(running, settings)
        for turn in range(arguments.rounds):
            steps = arguments.steps * (turn + 1) // arguments.rounds
            steps -= arguments.steps * turn // arguments.rounds
            for worker in running:
                worker.times += worker.run(steps)
    report(running)


if __name__ == "__main__":
    main()
