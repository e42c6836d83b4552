"""What TensorFlow's oneDNN kernels are worth on a CPU: training steps with them and without.

    python benchmarks/onednn.py

TensorFlow uses them by default only on CPUs whose instructions they were tuned for (AVX-512 with
VNNI, say). `TF_ENABLE_ONEDNN_OPTS=1` asks for them elsewhere, `0` goes without. Both take turns,
each in its own process, in float32, with the batch of the config of the same network.
"""

import argparse
import functools
import os
from collections.abc import Callable
from typing import Any

from turns import OURS, Built, commands, compete, serve

# Variants and the values of the variable. The first is what the others are compared with.
VALUES = {OURS: "1", "without-onednn": "0"}
BATCH, SIZE, CLASSES = 128, 32, 10


def resnet20() -> tuple[Any, tuple[Any, ...]]:
    """ResNet-20 of CIFAR-10, and a batch for it."""
    import keras
    import tensorflow as tf

    from keras_arch import models

    model = models.CIFARResNet(20)
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "sparse_categorical_crossentropy")
    images = tf.random.uniform((BATCH, SIZE, SIZE, 3), -1.0, 1.0)
    return model, (images, tf.random.uniform((BATCH,), 0, CLASSES, tf.int64))


def dcgan() -> tuple[Any, tuple[Any, ...]]:
    """DCGAN at 32 pixels, of the widths of `dcgan-cifar10`, and a batch for it."""
    import keras
    import tensorflow as tf

    from keras_arch import models, trainers

    shape = (SIZE, SIZE, 3)
    trainer = trainers.GAN(
        models.DCGANGenerator(variant="pytorch", image_shape=shape),
        models.DCGANDiscriminator(variant="pytorch", input_shape=shape),
    )
    trainer.compile(*(keras.optimizers.Adam(2e-4, beta_1=0.5) for _ in range(2)))
    return trainer, (tf.random.uniform((BATCH, *shape), -1.0, 1.0),)


NETWORKS: dict[str, Callable[[], tuple[Any, tuple[Any, ...]]]] = {
    "resnet20": resnet20,
    "dcgan": dcgan,
}


def training_step(network: str, threads: int) -> Built:
    """The training step of a network, as in `fit`."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    model, batch = NETWORKS[network]()
    # The same batch in every step: the data pipeline is not timed here.
    element = batch if len(batch) > 1 else batch[0]
    batches = iter(tf.data.Dataset.from_tensors(element).cache().repeat())
    model.make_train_function()

    def step() -> None:
        for value in model.train_function(batches).values():
            float(value)

    return step, (sum(int(tf.size(weight)) for weight in model.trainable_weights),)


def main() -> None:
    """Run the parent process or, with `--worker`, one of its workers."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--networks", nargs="+", choices=[*NETWORKS], default=[*NETWORKS])
    parser.add_argument("--steps", type=int, default=15, help="timed steps of each variant")
    parser.add_argument("--rounds", type=int, default=3, help="number of turns of each variant")
    parser.add_argument("--warmup", type=int, default=2, help="steps before the first turn")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--worker", choices=[*VALUES], help=argparse.SUPPRESS)
    options = parser.parse_args()
    for network in options.networks:
        if options.worker:
            # Read by TensorFlow when it is imported.
            os.environ["TF_ENABLE_ONEDNN_OPTS"] = VALUES[options.worker]
            serve(options.worker, functools.partial(training_step, network, options.threads))
            continue
        compete(
            f"training step of {network}, batch {BATCH}",
            commands(
                __file__, VALUES, "", ["--networks", network, "--threads", str(options.threads)]
            ),
            lambda _: None,
            steps=options.steps,
            rounds=options.rounds,
            warmup=options.warmup,
            threads=options.threads,
            rivals="without",
        )


if __name__ == "__main__":
    main()
