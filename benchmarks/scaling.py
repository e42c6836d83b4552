"""Benchmark of training on two processes and on two devices, against one process.

    python benchmarks/scaling.py
    python benchmarks/scaling.py --networks resnet20 --variants two two-sync

Images a second of the same global batch:

    one             one process with two threads
    two             two processes with a thread each, as strategy multi_worker, over loopback
    mirrored        one process with two logical devices, as strategy mirrored
    two-sync, mirrored-sync     the same with batch norm synchronized over the replicas

All of them hold the same two cores; the batch stays in memory, so that only steps are timed. They
take turns, so that other load of the machine affects each of them, and the median of the ratios of
the turns is used. Batches are those of the papers for ResNet-20 and DCGAN; the U-Net, which has no
batch norm, gets about the pixels of a tile of its paper. The exit code is 1 if `two` reaches less
than 0.85 of `one`, or `mirrored` less than 0.9. Synchronized batch norm, which `keras_arch.train`
chooses, does more work, of which the `-sync` variants show the cost.
"""

import argparse
import dataclasses
import os
import statistics
import sys
import time
from collections.abc import Iterator
from typing import Any

import turns

from keras_arch.distribute.launch import free_addresses, tf_configs

THREADS = 2
NEEDED = {"two": 0.85, "mirrored": 0.9}
VARIANTS = (*NEEDED, "two-sync", "mirrored-sync")


@dataclasses.dataclass(frozen=True)
class Network:
    """What is trained: the shape of an image, and the global batch."""

    image: tuple[int, int, int]
    batch: int


NETWORKS = {
    "resnet20": Network((32, 32, 3), 128),
    "dcgan64": Network((64, 64, 3), 128),
    "unet": Network((128, 128, 3), 16),
}
WITHOUT_NORM = ("unet",)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=VARIANTS)
    parser.add_argument("--seconds", type=float, default=4, help="of a turn (default 4)")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each (default 5)")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        variant, network = options.worker.split(":")
        turns.serve(variant, lambda: _build(variant, network))
        return 0
    print(f"load average {os.getloadavg()[0]:.2f} before the start")
    print(
        "| network | batch | variant | images/s | CPU s/step | one = 1 |\n|---|---|---|---|---|---|"
    )
    missed = [
        f"{network}, {variant}: {ratio:.2f} is less than {NEEDED[variant]:g}"
        for network in options.networks
        for variant, ratio in _compare(network, options)
        if ratio < NEEDED.get(variant, 0.0)
    ]
    for line in missed:
        print(line)
    return 1 if missed else 0


def _compare(network: str, options: argparse.Namespace) -> Iterator[tuple[str, float]]:
    """Time the variants of a network in turns; the ratios to one process."""
    groups: dict[str, _Group] = {}
    variants = [
        variant
        for variant in options.variants
        if not (network in WITHOUT_NORM and variant.endswith("-sync"))
    ]
    try:
        for variant in ("one", *variants):
            groups[variant] = _Group(variant, network)
            groups[variant].wait()
        steps = {}
        for variant, group in groups.items():
            group.run(2)
            steps[variant] = max(1, round(options.seconds / group.run(3)[0]))
        times: dict[str, list[tuple[float, float]]] = {variant: [] for variant in groups}
        for _ in range(options.rounds):
            for variant, group in groups.items():
                times[variant].append(group.run(steps[variant]))
    finally:
        for group in groups.values():
            group.close()
    batch = NETWORKS[network].batch
    for variant, found in times.items():
        clock, busy = (statistics.median(each) for each in zip(*found, strict=True))
        pairs = zip(times["one"], found, strict=True)
        ratio = statistics.median(one[0] / other[0] for one, other in pairs)
        figures = f"{batch / clock:.1f} | {busy:.3f} | {ratio:.2f}"
        print(f"| {network} | {batch} | {variant} | {figures} |", flush=True)
        if variant != "one":
            yield variant, ratio


class _Group:
    """The processes of a variant, which take each step together."""

    def __init__(self, variant: str, network: str) -> None:
        command = [sys.executable, os.path.abspath(__file__), "--worker", f"{variant}:{network}"]
        places: list[dict[str, str]] = [{}]
        if variant.startswith("two"):
            places = [{"TF_CONFIG": config} for config in tf_configs(free_addresses(2))]
        threads = THREADS // len(places)
        self.workers = [
            turns.Worker(variant, command, threads, TF_NUM_INTRAOP_THREADS=str(threads), **place)
            for place in places
        ]

    def wait(self) -> None:
        """Wait until all of them are built, which they are together."""
        for worker in self.workers:
            worker.wait()

    def run(self, steps: int) -> tuple[float, float]:
        """Median seconds of a step by the clock, and processor seconds of all processes."""
        time.sleep(turns.PAUSE)
        for worker in self.workers:
            worker.begin(steps)
        answers = [worker.end() for worker in self.workers]
        # The steps of all processes begin and end together.
        clock = statistics.median(step[0] for step in answers[0])
        return clock, sum(statistics.median(step[1] for step in each) for each in answers)

    def close(self) -> None:
        """End the processes."""
        for worker in self.workers:
            worker.close()


def _build(variant: str, network: str) -> turns.Built:
    """A training step of the network on the batch, under the strategy of the variant."""
    from keras_arch import distribute
    from keras_arch._tensorflow import memory

    memory.keep_freed_memory()
    # Before anything else uses TensorFlow.
    strategy = distribute.strategy("multi_worker") if variant.startswith("two") else None
    import keras
    import tensorflow as tf

    if variant.startswith("mirrored"):
        (cpu,) = tf.config.list_physical_devices("CPU")
        tf.config.set_logical_device_configuration(
            cpu, [tf.config.LogicalDeviceConfiguration()] * 2
        )
        strategy = distribute.strategy("mirrored", devices=["CPU:0", "CPU:1"])
    elif strategy is None:
        strategy = distribute.strategy("none")
    keras.utils.set_random_seed(0)
    with strategy.scope():
        model = _model(network, synchronized=variant.endswith("-sync"))
    step = _step(model, strategy, _batch(network, distribute.share(strategy)))
    return step, (model.count_params(),)


def _model(network: str, synchronized: bool) -> Any:
    """A compiled model, or trainer."""
    import keras

    from keras_arch import losses, models, trainers

    image = NETWORKS[network].image
    if network == "dcgan64":
        trainer = trainers.GAN(
            models.DCGANGenerator("pytorch", image_shape=image, synchronized=synchronized),
            models.DCGANDiscriminator("pytorch", input_shape=image, synchronized=synchronized),
            seed=0,
        )
        trainer.compile(keras.optimizers.Adam(2e-4, beta_1=0.5))
        return trainer
    if network == "unet":
        unet = models.UNet(
            "same",
            input_shape=image,
            classes=3,
            filters=32,
            classifier_activation=None,
        )
        unet.compile("adam", losses.pixel_loss("cross_entropy"))
        return unet
    resnet = models.CIFARResNet(
        20, input_shape=image, synchronized=synchronized, classifier_activation=None
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    resnet.compile(keras.optimizers.SGD(0.1, momentum=0.9), loss)
    return resnet


def _batch(network: str, share: Any) -> Any:
    """This host's rows of the global batch."""
    import numpy as np

    settings = NETWORKS[network]
    random = np.random.default_rng(0)
    images = random.uniform(-1, 1, (settings.batch, *settings.image)).astype("float32")
    rows = slice(*share.rows(settings.batch))
    if network == "dcgan64":
        return (images[rows],)
    if network == "unet":
        return images[rows], random.integers(0, 3, images.shape[:3]).astype("uint8")[rows]
    return images[rows], random.integers(0, 10, settings.batch).astype("int32")[rows]


def _step(model: Any, strategy: Any, batch: Any) -> turns.Step:
    """A step of `fit`, finished when it returns."""
    import keras
    import tensorflow as tf

    from keras_arch import distribute

    same = tf.data.Dataset.from_tensors(batch if len(batch) > 1 else batch[0]).cache().repeat()
    if distribute.share(strategy).is_whole:
        batches = strategy.experimental_distribute_dataset(same)
    else:
        batches = distribute.on_replicas(strategy, same)
    model.fit(batches, steps_per_epoch=1, verbose=0, shuffle=False)
    iterator = iter(batches)

    def step() -> None:
        keras.tree.map_structure(float, model.train_function(iterator))

    return step


if __name__ == "__main__":
    sys.exit(main())
