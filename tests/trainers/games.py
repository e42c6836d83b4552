"""Tiny games of every trainer, with data that brings its own noise."""

import dataclasses
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from keras_arch import layers as shared
from keras_arch import models, trainers

CLASSES = 3
LATENT = 3
SIZE = 4
LOW, HIGH = 4, 10
POOL = 4
BATCH = 4


def adam():
    # A large epsilon: a gradient of rounding errors only is not to become a step of its sign.
    return keras.optimizers.Adam(5e-3, beta_1=0.5, epsilon=1e-3)


def sgd():
    return keras.optimizers.SGD(0.05, momentum=0.5)


def discriminator(*shapes, classes=None):
    """A discriminator of two layers."""
    inputs = [keras.Input(shape) for shape in shapes]
    flat = [layers.Flatten()(x) for x in inputs]
    if classes:
        label, one_hot = shared.label_input(classes)
        inputs, flat = [*inputs, label], [*flat, one_hot]
    x = layers.Concatenate()(flat) if len(flat) > 1 else flat[0]
    x = layers.LeakyReLU(negative_slope=0.2)(layers.Dense(6)(x))
    return keras.Model(inputs if len(inputs) > 1 else inputs[0], layers.Dense(1)(x))


def conditional_generator(activation="tanh"):
    latent = keras.Input((LATENT,), name="latent")
    label, one_hot = shared.label_input(CLASSES)
    x = layers.Dense(SIZE * SIZE)(layers.Concatenate()([latent, one_hot]))
    x = layers.Reshape((SIZE, SIZE, 1))(x)
    # Keras knows replicas on TensorFlow only.
    replicated = keras.backend.backend() == "tensorflow"
    x = shared.batch_norm("norm", synchronized=replicated)(x)
    return keras.Model([latent, label], layers.Activation(activation)(x))


def translator(channels=2, output_channels=2):
    """A generator of one kind of image from another, with instance norm and a tanh."""
    image = keras.Input((SIZE, SIZE, channels), name="image")
    x = layers.Conv2D(3, 3, padding="same")(image)
    x = layers.Activation("relu")(shared.instance_norm("norm")(x))
    return keras.Model(
        image, layers.Conv2D(output_channels, 3, padding="same", activation="tanh")(x)
    )


def pyramid_generator(classes=None):
    return models.LAPGANGenerator(
        image_shape=(HIGH, HIGH, 1),
        coarser_sizes=(LOW,),
        classes=classes,
        latent_size=LATENT,
        filters=2,
        units=6,
    )


def conditional_gan(**compiled):
    trainer = trainers.ConditionalGAN(
        conditional_generator(), discriminator((SIZE, SIZE, 1), classes=CLASSES), CLASSES, seed=3
    )
    trainer.compile(adam(), adam(), **compiled)
    return trainer


def pix2pix(objective="l1+cgan", **compiled):
    target = (SIZE, SIZE, 1)
    inputs = {"l1": None, "gan": (target,), "cgan": ((SIZE, SIZE, 2), target)}
    inputs = inputs[objective.removeprefix("l1+")]
    network = inputs and discriminator(*inputs)
    trainer = trainers.Pix2Pix(translator(output_channels=1), network, objective, seed=3)
    trainer.compile(adam(), adam(), **compiled)
    return trainer


def cyclegan(pool_size=POOL, **compiled):
    shape = (SIZE, SIZE, 2)
    trainer = trainers.CycleGAN(
        translator(), translator(), discriminator(shape), discriminator(shape), pool_size, seed=3
    )
    trainer.compile(adam(), adam(), **compiled)
    return trainer


def lapgan(classes=CLASSES, **compiled):
    low, high = (LOW, LOW, 1), (HIGH, HIGH, 1)
    # The authors' have dropout, which replicas draw apart.
    discriminators = {
        LOW: discriminator(low, classes=classes),
        HIGH: discriminator(high, high, classes=classes),
    }
    trainer = trainers.LAPGAN(pyramid_generator(classes), discriminators, classes, seed=3)
    trainer.compile(sgd(), **compiled)
    return trainer


def generator_forwards_in_three_steps(**compiled):
    """How often a GAN calls its generator in three steps with two updates of its critic each."""
    calls = []

    class Counter(layers.Layer):
        def call(self, x):
            calls.append(1)
            return x

    latent = keras.Input((2,), name="latent")
    generator = keras.Model(latent, Counter()(layers.Dense(3)(latent)))
    discriminator = keras.Sequential([keras.Input((3,)), layers.Dense(1)])
    trainer = trainers.GAN(generator, discriminator)
    trainer.compile(run_eagerly=True, n_critic=2, **compiled)
    calls.clear()
    trainer.fit(np.zeros((12, 3), "float32"), batch_size=4, verbose=0)
    return len(calls)


@dataclasses.dataclass(frozen=True)
class Game:
    """A trainer, and the shapes of what its batches hold."""

    name: str
    build: Callable[..., trainers.AdversarialTrainer]
    images: dict[str, tuple[int, ...]]
    noise: dict[str, tuple[int, ...]]
    labels: bool = False

    def __str__(self):
        return self.name

    def make(self, **compiled):
        keras.utils.set_random_seed(1)
        return self.build(**compiled)

    def arrays(self, steps, seed=0, with_noise=True):
        rng = np.random.default_rng(seed)
        count = steps * BATCH
        data = {n: rng.uniform(-1, 1, (count, *s)) for n, s in self.images.items()}
        if with_noise:
            data |= {n: rng.uniform(0, 1, (count, *s)) for n, s in self.noise.items()}
        data = {name: array.astype("float32") for name, array in data.items()}
        return data | ({"label": np.arange(count) % CLASSES} if self.labels else {})

    def batches(self, steps, seed=0, with_noise=True):
        arrays = self.arrays(steps, seed, with_noise)
        return tf.data.Dataset.from_tensor_slices(arrays).batch(BATCH, drop_remainder=True)


PAIR = {"image": (SIZE, SIZE, 2), "target": (SIZE, SIZE, 1)}
CONDITIONAL = Game(
    "conditional_gan", conditional_gan, {"image": (SIZE, SIZE, 1)}, {"latent": (LATENT,)}, True
)
PIX2PIX = {
    objective: Game(
        f"pix2pix_{objective}",
        lambda objective=objective, **compiled: pix2pix(objective, **compiled),
        PAIR,
        {},
    )
    for objective in ("l1", "gan", "cgan", "l1+gan", "l1+cgan")
}
CYCLEGAN = Game(
    "cyclegan",
    cyclegan,
    {"image": (SIZE, SIZE, 2), "other": (SIZE, SIZE, 2)},
    {"image_numbers": (2,), "other_numbers": (2,)},
)
LAPGAN = Game(
    "lapgan",
    lapgan,
    {"image": (HIGH, HIGH, 1)},
    {"latent": (LATENT + HIGH * HIGH,)},
    True,
)
EACH = (CONDITIONAL, PIX2PIX["l1+cgan"], CYCLEGAN, LAPGAN)
ALL = (CONDITIONAL, *PIX2PIX.values(), CYCLEGAN, LAPGAN)
