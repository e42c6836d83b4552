"""Benchmark of the input pipelines of shipped configs, compared with their training steps.

    python benchmarks/input_pipeline.py --data-dir ~/tensorflow_datasets
    python benchmarks/input_pipeline.py --data-dir DIR --npz cifar10.npz resnet20-cifar10-paper

Both are timed separately: the pipeline by reading batches without using them, the step by training
on one batch in memory. They take turns, so that other load of the machine affects both, and the
median of the turns is used. A pipeline that delivers three times as many images as its model
consumes does not slow down the training. The exit code is 1 if one delivers fewer.
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Iterator
from typing import Any

CONFIGS = ("resnet20-cifar10-paper", "dcgan-fashion_mnist", "resnet20-digits", "dcgan-digits")
NEEDED = 3.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("configs", nargs="*", default=CONFIGS, help="names of shipped configs")
    parser.add_argument("--data-dir", help="folder of TensorFlow Datasets")
    parser.add_argument("--npz", help="NumPy archive of CIFAR-10, as npz:PATH of data.load")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change the configs"
    )
    parser.add_argument("--turns", type=int, default=5, help="turns of each (default 5)")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of a turn (default 2)")
    options = parser.parse_args()

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    print(f"{'config':22}{'batch':>6}{'pipeline':>12}{'step':>10}{'ratio':>8}   (images/s)")
    ratios = [_measure(name, options) for name in options.configs]
    if min(ratios) < NEEDED:
        print(f"a pipeline delivers fewer than {NEEDED:g} times the images that its model consumes")
        return 1
    return 0


def _measure(name: str, options: argparse.Namespace) -> float:
    """Print one line of the table and return its ratio."""
    batches, model, batch_size = _prepare(name, options)
    step = _steps(model, next(iter(batches)))
    draw = iter(batches)
    # The first steps trace and compile, and the pipeline tunes its number of threads.
    _rate(draw, options.seconds, ready=8)
    _rate(step, options.seconds)
    turns = [
        (_rate(draw, options.seconds, ready=8), _rate(step, options.seconds))
        for _ in range(options.turns)
    ]
    delivered, consumed = (
        batch_size * statistics.median(rates) for rates in zip(*turns, strict=True)
    )
    ratio = delivered / consumed
    print(f"{name:22}{batch_size:6}{delivered:12,.1f}{consumed:10,.1f}{ratio:8.1f}", flush=True)
    return ratio


def _prepare(name: str, options: argparse.Namespace) -> tuple[Any, Any, int]:
    """Batches and compiled model of a config, as in a training run."""
    from keras_arch import config, data, registry

    overrides = list(options.set)
    if options.data_dir:
        overrides.append(f"data.data_dir={options.data_dir}")
    if options.npz and config.load(name).data.source == "cifar10":
        overrides.append(f"data.source=npz:{options.npz}")
    checked = config.load(name, overrides)
    images = data.load(checked.data.uri, checked.data.train, data_dir=checked.data.data_dir)
    settings = checked.preprocessing
    if isinstance(settings.mean, str):
        mean = data.mean_image(images, settings.build(mean=0.0), settings.mean == "per_pixel")
        preprocessing = settings.build(mean=mean.tolist())
    else:
        preprocessing = settings.build()
    task = registry.TASKS.get(checked.task)(checked, preprocessing)
    task.check()
    batches = task.train_batches(images, 0, 0)
    return batches.dataset, task.build(), task.examples_per_step


def _steps(model: Any, batch: Any) -> Iterator[None]:
    """Training steps on one batch, each finished before the next one starts."""
    import keras
    import tensorflow as tf

    same = tf.data.Dataset.from_tensors(batch).repeat()
    model.fit(same, steps_per_epoch=1, verbose=0, shuffle=False)
    iterator = iter(same)
    function = model.train_function
    while True:
        keras.tree.map_structure(float, function(iterator))
        yield


def _rate(work: Iterator[Any], seconds: float, ready: int = 1) -> float:
    """Items per second of an iterator; the first `ready` ones are not counted."""
    for _ in range(ready):
        next(work)
    count, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < seconds:
        next(work)
        count += 1
    return count / elapsed


if __name__ == "__main__":
    sys.exit(main())
