"""Benchmark of ResNet-50: training step and inference, with `keras.applications` and PyTorch.

    python benchmarks/classify.py --torch-python /path/to/venv-with-torch/bin/python

All variants are the network of the paper (stride in the first 1x1 convolution of a block) at 224
pixels in float32 with the same number of threads. They take turns, each in its own process
(`turns.py`). A training step is a forward, softmax cross-entropy, its gradient and an update with
momentum; inference is a forward to probabilities. `keras.applications` has a bias in each of its
53 convolutions besides batch norm, 26,560 parameters more; all others train the same networks,
which is checked before anything is timed.
"""

import argparse
import functools
import sys

from turns import OURS, Built, Worker, commands, compete, serve, torch_variants

APPLICATIONS = "keras-applications"
PARAMETERS = 25_557_032
BIASES = 26_560
CLASSES, SIZE = 1000, 224
LEARNING_RATE, MOMENTUM = 0.1, 0.9


def keras_step(variant: str, mode: str, options: argparse.Namespace) -> Built:
    """Step of our network or of that of `keras.applications`, as in `fit` and `predict`."""
    import keras
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(options.threads)
    tf.config.threading.set_inter_op_parallelism_threads(options.threads)
    if variant == OURS:
        from keras_arch import models

        model = models.ResNet50()
    else:
        model = keras.applications.ResNet50(weights=None)
    model.compile(
        keras.optimizers.SGD(LEARNING_RATE, momentum=MOMENTUM), "sparse_categorical_crossentropy"
    )
    images = tf.random.uniform((options.batch, SIZE, SIZE, 3), -1.0, 1.0)
    labels = tf.random.uniform((options.batch,), 0, CLASSES, tf.int64)
    # The same batch in every step: the data pipeline is not timed here.
    batches = iter(tf.data.Dataset.from_tensors((images, labels)).cache().repeat())
    if mode == "training":
        model.make_train_function()

        def step() -> None:
            float(model.train_function(batches)["loss"])
    else:
        model.make_predict_function()

        def step() -> None:
            model.predict_function([next(batches)]).numpy()

    return step, (sum(int(tf.size(weight)) for weight in model.trainable_weights),)


def torch_step(
    mode: str, options: argparse.Namespace, *, compiled: bool, channels_last: bool
) -> Built:
    """Step of the same network in PyTorch, which only its own processes import."""
    import torch
    import torch_networks
    from torch import nn

    torch.set_num_threads(options.threads)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    model = torch_networks.resnet50(CLASSES).to(memory_format=layout)
    forward = torch.compile(model, dynamic=False) if compiled else model
    images = torch.rand(options.batch, 3, SIZE, SIZE) * 2 - 1
    images = images.contiguous(memory_format=layout)
    labels = torch.randint(0, CLASSES, (options.batch,))
    if mode == "training":
        optimizer = torch.optim.SGD(model.parameters(), LEARNING_RATE, MOMENTUM)
        cross_entropy = nn.CrossEntropyLoss()

        def step() -> None:
            optimizer.zero_grad(set_to_none=True)
            loss = cross_entropy(forward(images), labels)
            loss.backward()
            optimizer.step()
            loss.item()
    else:
        model.eval()

        def step() -> None:
            with torch.inference_mode():
                forward(images).softmax(1).numpy()

    return step, (sum(parameter.numel() for parameter in model.parameters()),)


VARIANTS = {
    OURS: functools.partial(keras_step, OURS),
    APPLICATIONS: functools.partial(keras_step, APPLICATIONS),
} | torch_variants(torch_step)


def check_parameters(running: list[Worker]) -> None:
    """Check that all variants have the same network."""
    for worker in running:
        wanted = PARAMETERS + BIASES * (worker.variant == APPLICATIONS)
        if worker.parameters != (wanted,):
            raise SystemExit(f"{worker.variant} has {worker.parameters} parameters, not {wanted}")


def measure(mode: str, options: argparse.Namespace) -> None:
    """Time the variants in turns, and print the results."""
    flags = ["--modes", mode, "--batch", str(options.batch), "--threads", str(options.threads)]
    compete(
        f"ResNet-50 {mode}, {SIZE}x{SIZE}x3, batch {options.batch}",
        commands(__file__, options.variants, options.torch_python, flags),
        check_parameters,
        steps=options.steps,
        rounds=options.rounds,
        warmup=options.warmup,
        threads=options.threads,
        rivals=(APPLICATIONS, "torch"),
    )


def main() -> None:
    """Run the parent process or, with `--worker`, one of its workers."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--modes", nargs="+", choices=("training", "inference"), default=("training", "inference")
    )
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=20, help="timed steps of each variant")
    parser.add_argument("--rounds", type=int, default=5, help="number of turns of each variant")
    parser.add_argument("--warmup", type=int, default=3, help="steps before the first turn")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--variants", nargs="+", choices=[*VARIANTS], default=[*VARIANTS])
    parser.add_argument(
        "--torch-python", default=sys.executable, help="interpreter that has torch; default this"
    )
    parser.add_argument("--worker", choices=[*VARIANTS], help=argparse.SUPPRESS)
    options = parser.parse_args()
    for mode in options.modes:
        if options.worker:
            build = VARIANTS[options.worker]
            serve(options.worker, functools.partial(build, mode, options))
        else:
            measure(mode, options)


if __name__ == "__main__":
    main()
