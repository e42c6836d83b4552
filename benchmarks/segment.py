"""Benchmark of U-Net: training step and tiled inference with PyTorch and MONAI, and memory.

    python benchmarks/segment.py --torch-python /path/to/venv-with-torch-and-monai/bin/python
    python benchmarks/segment.py --modes memory

`training`: a step of the paper's network on one tile of 572 pixels (forward, softmax cross-entropy
with a weight for each pixel, gradient, update with momentum). `inference`: a whole image in
overlapping tiles of 512 pixels, blended with Gaussian weights, by `keras_arch.tiling` and by
MONAI's `sliding_window_inference`. MONAI needs networks whose output is as large as their input, so
both run the padded U-Net, one tile at a time. `chosen-tiles`: our network has an open size, and
`tiling` chooses the tiles by the image; MONAI has tiles of 512 pixels. Variants take turns, each
in its own process (`turns.py`). `memory`: the paper's network on one large grey image with tiles
side by side; the largest resident size, and the time relative to the forwards alone. `weight-map`:
the border weights of 100 cells in 512x512 pixels.
"""

import argparse
import functools
import resource
import statistics
import sys
import tempfile
import time

from turns import OURS, Built, Worker, commands, compete, serve, torch_variants

PARAMETERS = 31_030_658
TILE, OUTPUT = 572, 388
WINDOW, OVERLAP = 512, 0.25
MODES = ("training", "inference", "chosen-tiles", "memory", "weight-map")
LEARNING_RATE, MOMENTUM = 0.001, 0.99


def keras_step(mode: str, options: argparse.Namespace) -> Built:
    """Step of our network as in `fit`, or its inference by `tiling.predict`."""
    import numpy as np
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(options.threads)
    tf.config.threading.set_inter_op_parallelism_threads(options.threads)
    import keras

    from keras_arch import losses, models, tiling

    if mode == "training":
        model = models.UNet(input_shape=(TILE, TILE, 1), classifier_activation=None)
        model.compile(
            keras.optimizers.SGD(LEARNING_RATE, momentum=MOMENTUM),
            losses.pixel_loss("cross_entropy"),
        )
        image = tf.random.uniform((1, TILE, TILE, 1), -1.0, 1.0)
        mask = tf.random.uniform((1, OUTPUT, OUTPUT), 0, 2, tf.int32)
        weights = tf.random.uniform((1, OUTPUT, OUTPUT), 0.0, 10.0)
        # The same tile in every step: the data pipeline is not timed here.
        batches = iter(tf.data.Dataset.from_tensors((image, mask, weights)).cache().repeat())
        model.make_train_function()

        def step() -> None:
            float(model.train_function(batches)["loss"])
    else:
        side = WINDOW if mode == "inference" else None
        model = models.UNet("same", input_shape=(side, side, 1))
        image = np.random.default_rng(0).uniform(-1, 1, (options.image,) * 2).astype(np.float32)

        def step() -> None:
            tiling.predict(model, image, overlap=OVERLAP, progress=False)

    return step, (sum(int(tf.size(weight)) for weight in model.trainable_weights),)


def torch_step(
    mode: str, options: argparse.Namespace, *, compiled: bool, channels_last: bool
) -> Built:
    """The same in PyTorch, which only its own processes import."""
    import torch
    import torch_networks
    from torch import nn

    torch.set_num_threads(options.threads)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    model = torch_networks.unet(padding=0 if mode == "training" else 1)
    model = model.to(memory_format=layout)
    forward = torch.compile(model, dynamic=False) if compiled else model
    if mode == "training":
        image = (torch.rand(1, 1, TILE, TILE) * 2 - 1).contiguous(memory_format=layout)
        mask = torch.randint(0, 2, (1, OUTPUT, OUTPUT))
        weights = torch.rand(1, OUTPUT, OUTPUT) * 10
        optimizer = torch.optim.SGD(model.parameters(), LEARNING_RATE, MOMENTUM)
        cross_entropy = nn.CrossEntropyLoss(reduction="none")

        def step() -> None:
            optimizer.zero_grad(set_to_none=True)
            loss = (cross_entropy(forward(image), mask) * weights).sum() / weights.sum()
            loss.backward()
            optimizer.step()
            loss.item()
    else:
        from monai.inferers import sliding_window_inference

        model.eval()
        image = torch.rand(1, 1, options.image, options.image) * 2 - 1

        def probabilities(tiles: torch.Tensor) -> torch.Tensor:
            return forward(tiles.contiguous(memory_format=layout)).softmax(1)

        def step() -> None:
            with torch.inference_mode():
                sliding_window_inference(
                    image, WINDOW, 1, probabilities, overlap=OVERLAP, mode="gaussian"
                ).numpy()

    return step, (sum(parameter.numel() for parameter in model.parameters()),)


VARIANTS = {OURS: keras_step} | torch_variants(torch_step)


def check_parameters(running: list[Worker]) -> None:
    """Check that all variants have the same network."""
    for worker in running:
        if worker.parameters != (PARAMETERS,):
            raise SystemExit(f"{worker.variant} has {worker.parameters}, not {PARAMETERS}")


def measure(mode: str, options: argparse.Namespace) -> None:
    """Time the variants in turns, and print the results."""
    flags = ["--modes", mode, "--image", str(options.image), "--threads", str(options.threads)]
    what = {
        "training": f"one {TILE}x{TILE} tile, unpadded",
        "inference": f"{options.image}x{options.image}, padded, tiles of {WINDOW}",
        "chosen-tiles": f"{options.image}x{options.image}, padded, ours with tiles of its choice",
    }
    compete(
        f"U-Net {mode}, {what[mode]}",
        commands(__file__, options.variants, options.torch_python, flags),
        check_parameters,
        steps=options.steps,
        rounds=options.rounds,
        warmup=options.warmup,
        threads=options.threads,
    )


def measure_memory(options: argparse.Namespace) -> None:
    """Time and memory of tiled prediction between memmaps, compared with the forwards alone."""
    import numpy as np

    from keras_arch import models, tiling

    model = models.UNet(input_shape=(options.tile, options.tile, 1))
    side = options.large
    output = model.output_shape[1]
    step = output // 16 * 16
    tiles = (1 + max(0, -(-(side - output) // step))) ** 2
    one = np.random.default_rng(0).uniform(-1, 1, (1, options.tile, options.tile, 1))
    one = one.astype(np.float32)
    forwards = []
    with tempfile.TemporaryDirectory() as folder:
        image = np.memmap(f"{folder}/image", np.float32, "w+", shape=(side, side))
        out = np.memmap(f"{folder}/out", np.float32, "w+", shape=(side, side, 2))
        for row in range(0, side, 512):
            image[row : row + 512] = np.random.default_rng(row).uniform(
                -1, 1, (min(512, side - row), side)
            )

        def time_forwards() -> None:
            for _ in range(3):
                started = time.perf_counter()
                model.predict_on_batch(one)
                forwards.append(time.perf_counter() - started)

        model.predict_on_batch(one)
        time_forwards()
        started = time.perf_counter()
        tiling.predict(model, image, out=out, batch_size=1)
        tiled = time.perf_counter() - started
        time_forwards()
    bare = statistics.median(forwards)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"\nU-Net on {side}x{side}, unpadded, {tiles} tiles of {options.tile}, batch 1\n"
        f"tiled {tiled:.1f} s, {tiles} forwards of {bare:.3f} s alone {tiles * bare:.1f} s: "
        f"{tiled / (tiles * bare):.3f} times\nlargest resident size {peak:.2f} GiB"
    )


def measure_weight_map() -> None:
    """Time of the border weights of a hundred drawn cells."""
    from keras_arch import data

    side = 512
    _, labels = data.draw_cells(size=(side, side), count=100)
    seconds = []
    for _ in range(9):
        started = time.perf_counter()
        data.border_weights(labels, 10.0, 5.0)
        seconds.append(time.perf_counter() - started)
    print(
        f"\nweight map of {labels.max()} cells, {side}x{side}: {statistics.median(seconds):.3f} s"
    )


def main() -> None:
    """Run the parent process or, with `--worker`, one of its workers."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--modes", nargs="+", choices=MODES, default=MODES)
    parser.add_argument("--image", type=int, default=896, help="side of inference's image")
    parser.add_argument("--large", type=int, default=4096, help="side of memory's image")
    parser.add_argument("--tile", type=int, default=TILE, help="side of memory's tiles")
    parser.add_argument("--steps", type=int, default=12, help="timed steps of each variant")
    parser.add_argument("--rounds", type=int, default=4, help="number of turns of each variant")
    parser.add_argument("--warmup", type=int, default=1, help="steps before the first turn")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--variants", nargs="+", choices=[*VARIANTS], default=[*VARIANTS])
    parser.add_argument(
        "--torch-python",
        default=sys.executable,
        help="interpreter that has torch and monai; default this",
    )
    parser.add_argument("--worker", choices=[*VARIANTS], help=argparse.SUPPRESS)
    options = parser.parse_args()
    for mode in options.modes:
        if options.worker:
            serve(options.worker, functools.partial(VARIANTS[options.worker], mode, options))
        elif mode == "memory":
            measure_memory(options)
        elif mode == "weight-map":
            measure_weight_map()
        else:
            measure(mode, options)


if __name__ == "__main__":
    main()
