"""Training on several JAX devices: `python -m tests.distribute.jax_games DEVICES FILE`.

Every model starts from the same weights and gets the same batches; its noise is its own. What it
ends with is written.
"""

import doctest
import functools
import importlib
import json
import sys
import traceback

import keras
import numpy as np
import pytest

from keras_arch import api, data, distribute, losses, metrics, models
from keras_arch.errors import ArgumentError
from keras_arch.preprocessing import Preprocessing
from tests.trainers import backend_step, games

STEPS = 3
# The last batch does not divide by 2 or 4.
EVALUATED = 13


def classifier(built):
    """A ResNet with batch statistics and dropout, on batches of a pipeline with mixed labels."""
    network = models.CIFARResNet(8, input_shape=(8, 8, 1), classes=10)
    network = keras.Sequential([network, keras.layers.Dropout(0.2, seed=4)])
    network.compile(games.adam(), keras.losses.CategoricalCrossentropy(), metrics=["accuracy"])
    built(network)
    preprocessing = Preprocessing((8, 8), 1)
    train = data.train_batches(
        data.load("digits", "train[:48]"),
        preprocessing,
        16,
        seed=0,
        augment=["flip", "mixup:0.2"],
        classes=10,
    )
    network.fit(train.dataset, epochs=2, steps_per_epoch=train.steps_per_epoch, verbose=0)
    test = data.eval_batches(
        data.load("digits", f"test[:{EVALUATED}]"), preprocessing, 8, classes=10
    )
    found = network.evaluate(test, return_dict=True, verbose=0)
    return network, found | {"predictions": network.predict(test, verbose=0)}


def segmenter(built):
    """A U-Net of two classes with pixels that do not count, on arrays."""
    network = models.UNet(
        "same", input_shape=(16, 16, 1), classes=2, filters=4, depth=2, classifier_activation=None
    )
    ignore = losses.IGNORE
    network.compile(
        games.adam(),
        losses.pixel_loss("cross_entropy", ignore=ignore, total=distribute.sum_over_replicas),
        metrics=[metrics.MeanIU(2, ignore=ignore)],
    )
    built(network)
    rng = np.random.default_rng(3)
    images = rng.normal(size=(16 + EVALUATED, 16, 16, 1)).astype("float32")
    masks = (images[..., 0] > 0).astype("uint8")
    # Of a few images nearly all.
    masks[: len(masks) // 4, :, 2:] = ignore
    network.fit(images[:16], masks[:16], batch_size=8, epochs=2, shuffle=False, verbose=0)
    found = network.evaluate(images[16:], masks[16:], batch_size=8, return_dict=True, verbose=0)
    return network, found


def game(built, name):
    """A trainer with the noise that it draws itself."""
    chosen, compiled = GAMES[name]
    trainer = chosen.make(**compiled)
    built(trainer)
    arrays = chosen.arrays(STEPS, with_noise=False)
    trainer.fit(chosen.batches(STEPS, with_noise=False), epochs=2, verbose=0)
    part = {key: values[: games.BATCH + 1] for key, values in arrays.items()}
    found = trainer.evaluate(part, batch_size=games.BATCH, return_dict=True, verbose=0)
    return trainer, found


GAMES = {
    "gan": (backend_step.GAN, {}),
    "gan_wgan-gp": (backend_step.GAN, {"loss": "wgan-gp", "n_critic": 2}),
    "gan_r1": (backend_step.GAN, {"loss": "non_saturating+r1", "penalty_weight": 2.0}),
    "gan_simultaneous": (backend_step.GAN, {"update": "simultaneous"}),
    "dcgan_diff_augment": (backend_step.DCGAN, {"diff_augment": "color,translation,cutout"}),
    "conditional_gan": (games.CONDITIONAL, {}),
    "pix2pix": (games.PIX2PIX["l1+cgan"], {"loss": "lsgan+gp"}),
    "cyclegan": (games.CYCLEGAN, {}),
    "cyclegan_gp": (games.CYCLEGAN, {"loss": "hinge+gp"}),
    "lapgan": (games.LAPGAN, {}),
}
CASES = {"classifier": classifier, "segmenter": segmenter} | {
    name: functools.partial(game, name=name) for name in GAMES
}


def outcome(case):
    """The numbers that a case ends with, by name, and how far its weights have moved."""
    keras.utils.set_random_seed(1)
    start = []
    model, found = CASES[case](lambda built: start.extend(map(np.array, built.trainable_variables)))
    weights = [v for v in model.weights if "seed" not in v.path]
    results = {f"weight {number}": np.array(v) for number, v in enumerate(weights)}
    optimizers = getattr(model, "optimizers", {"": model.optimizer}).values()
    for number, variable in enumerate(v for each in optimizers for v in each.variables):
        results[f"optimizer {number}"] = np.array(variable)
    devices = {len(v.value.sharding.device_set) for v in model.trainable_variables}
    steps = [
        np.abs(np.array(v) - b).max() for v, b in zip(model.trainable_variables, start, strict=True)
    ]
    return results | found | {"devices": np.array(sorted(devices)), "moved": max(steps)}


def refusals():
    """What `data_parallel` and the strategies refuse, in one line."""
    for call, word in (
        (lambda: distribute.data_parallel(["cpu:7"]), "cpu:7"),
        (lambda: distribute.data_parallel([]), "each device once"),
        (lambda: distribute.data_parallel(["cpu:0", "cpu:0"]), "each device once"),
        (lambda: distribute.strategy("mirrored"), "data_parallel()"),
        (lambda: api.train("resnet20-digits", "never", strategy="none"), "keras_arch.train"),
    ):
        with pytest.raises(ArgumentError) as raised:
            call()
        assert word in str(raised.value)
        assert "\n" not in str(raised.value)


def documented():
    """The examples run."""
    for name in ("keras_arch.distribute.jax_devices", "keras_arch._tensorflow.jax_batches"):
        found = doctest.testmod(importlib.import_module(name))
        assert found.attempted
        assert not found.failed


def stock_keras_needs_the_repair():
    """Keras by itself fails at a last batch that does not divide; else the repair can go."""
    network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    with pytest.raises(ValueError, match="divide"):
        network.predict(np.zeros((EVALUATED, 4), "float32"), batch_size=8, verbose=0)


CHECKS = {"refusals": refusals, "doctest": documented}


def main(devices, path):
    arrays, errors = {}, {}

    def attempt(name, check):
        try:
            arrays.update({f"{name}/{key}": value for key, value in (check() or {}).items()})
        except Exception:
            errors[name] = traceback.format_exc()

    if devices > 1:
        names = [f"cpu:{number}" for number in range(devices)]
        with keras.distribution.DataParallel(devices=names).scope():
            attempt("repair", stock_keras_needs_the_repair)
        distribute.data_parallel(names)
    for case in CASES:
        attempt(case, functools.partial(outcome, case))
    for name, check in CHECKS.items():
        attempt(name, check)
    np.savez(path, errors=json.dumps(errors), **arrays)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
