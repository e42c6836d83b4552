"""The games on the backend of this process: `python -m tests.trainers.backend_step FILE`.

Every backend starts from the same weights, batches and noise, and writes what it ends with. The
checks of what cannot be compared (its own random numbers, files, mixed precision) run here too.
"""

import dataclasses
import json
import sys
import tempfile
import traceback
from pathlib import Path

import keras
import numpy as np
from keras import layers

from keras_arch import layers as shared
from keras_arch import losses, models, trainers
from keras_arch.callbacks import checkpoint_files as state
from keras_arch.errors import DataError
from tests.trainers import games

STEPS = 3
SHAPE = (games.SIZE, games.SIZE, 1)


def gan(latent=games.LATENT, seed=3, **compiled):
    inputs = keras.Input((latent,), name="latent")
    x = layers.Reshape(SHAPE)(layers.Dense(games.SIZE**2)(inputs))
    generator = keras.Model(inputs, layers.Activation("tanh")(shared.batch_norm("norm")(x)))
    trainer = trainers.GAN(generator, games.discriminator(SHAPE), seed=seed)
    trainer.compile(games.adam(), games.adam(), **compiled)
    return trainer


def dcgan(**compiled):
    generator = models.DCGANGenerator(
        "pytorch", image_shape=(16, 16, 1), latent_size=games.LATENT, filters=4
    )
    # TensorFlow's plain moments hold the mean constant in the variance: right in the gradient,
    # wrong in its gradient, which the penalty takes. Those that replicas share are right in both.
    shared = keras.backend.backend() == "tensorflow"
    critic = models.DCGANDiscriminator(
        "pytorch", input_shape=(16, 16, 1), filters=4, synchronized=shared
    )
    trainer = trainers.GAN(generator, critic, seed=3)
    trainer.compile(games.adam(), games.adam(), **compiled)
    return trainer


GAN = games.Game("gan", gan, {"image": SHAPE}, {})
DCGAN = games.Game("dcgan", dcgan, {"image": (16, 16, 1)}, {})
CASES = {
    "gan_non_saturating": (GAN, {}),
    "gan_simultaneous": (GAN, {"update": "simultaneous"}),
    "gan_minimax": (GAN, {"loss": "minimax"}),
    "gan_lsgan": (GAN, {"loss": "lsgan"}),
    "gan_hinge": (GAN, {"loss": "hinge"}),
    "gan_wgan-gp": (GAN, {"loss": "wgan-gp", "n_critic": 2}),
    "gan_r1": (GAN, {"loss": "non_saturating+r1", "penalty_weight": 2.0}),
    "gan_functions": (GAN, {"loss": (lambda real, fake: fake - real, lambda fake: -fake)}),
    "pix2pix_r1": (games.PIX2PIX["l1+cgan"], {"loss": "lsgan+r1"}),
    "dcgan_non_saturating": (DCGAN, {}),
    # The penalty's forward moves the batch statistics too.
    "dcgan_wgan-gp": (DCGAN, {"loss": "wgan-gp", "n_critic": 2}),
    "lapgan_simultaneous": (games.LAPGAN, {"update": "simultaneous"}),
    "lapgan_authors": (
        games.Game(
            "lapgan",
            lambda **compiled: _compiled(games.lapgan(None), **compiled),
            games.LAPGAN.images,
            {},
        ),
        {},
    ),
    **{game.name: (game, {}) for game in games.ALL},
}
SAVED = [game.name for game in games.EACH]
EVALUATED = ("gan_wgan-gp", "dcgan_non_saturating", *SAVED)


def _compiled(trainer, **compiled):
    trainer.compile(**compiled)
    return trainer


def built(name):
    """A trainer at weights, and a game's batches, that are the same on all backends."""
    game, compiled = CASES[name]
    trainer = game.make(**compiled)
    rng = np.random.default_rng(7)
    for variable in trainer.trainable_variables:
        value = 0.3 * rng.normal(size=variable.shape) + (variable.name == "gamma")
        variable.assign(value.astype("float32"))
    arrays = game.arrays(STEPS, with_noise=False)
    count = len(arrays["image"])
    for key, noise in trainer.noise().items():
        arrays[key] = rng.uniform(size=(count, *noise.shape)).astype("float32")
    return trainer, arrays


def fitted(trainer, arrays, **arguments):
    history = trainer.fit(arrays, batch_size=games.BATCH, shuffle=False, verbose=0, **arguments)
    return history.history


def values(variable):
    """A copy: PyTorch's arrays are views of what an update changes."""
    return np.array(keras.ops.convert_to_numpy(variable))


def numbers(trainer):
    """Weights with statistics and pools, and the optimizers' variables; not the seeds."""
    found = [*trainer.weights]
    found += [variable for o in trainer.optimizers.values() for variable in o.variables]
    found = [v for v in found if "seed_generator" not in v.path]
    return [values(v).astype(np.float64) for v in found]


def outcome(name, folder):
    """What a game ends with after one and after more steps, and its evaluation."""
    trainer, arrays = built(name)
    results = {}
    first = {key: part[: games.BATCH] for key, part in arrays.items()}
    rest = {key: part[games.BATCH :] for key, part in arrays.items()}
    for stage, part in (("one", first), ("all", rest)):
        logs = fitted(trainer, part)
        results |= {f"{stage}/{key}": np.float64(mean[0]) for key, mean in logs.items()}
        results |= {f"{stage}/{i}": value for i, value in enumerate(numbers(trainer))}
    if name in SAVED:
        trainer.save(folder / f"{name}.keras")
    if name in EVALUATED:
        logs = trainer.evaluate(arrays, batch_size=games.BATCH, return_dict=True, verbose=0)
        results |= {f"evaluated/{key}": np.float64(mean) for key, mean in logs.items()}
    return results


# What each backend is checked for by itself.


def check_two_epochs_of_its_own_noise():
    trainer = GAN.make()
    arrays = GAN.arrays(4, with_noise=False)
    before = numbers(trainer)
    logs = fitted(trainer, arrays, epochs=2, validation_data=arrays)
    assert np.isfinite(list(logs.values())).all()
    assert set(logs) == {f"{val}{name}" for name in trainer.metrics_names for val in ("", "val_")}
    assert all(len(means) == 2 for means in logs.values())
    assert any((a != b).any() for a, b in zip(before, numbers(trainer), strict=True))


def check_pix2pix_learns_its_pairs():
    trainer = games.PIX2PIX["l1"].make()
    arrays = games.PIX2PIX["l1"].arrays(2)
    arrays["target"] = np.tanh(arrays["image"][..., :1])
    logs = fitted(trainer, arrays, epochs=40)
    assert logs["g_l1"][-1] < 0.6 * logs["g_l1"][0]
    translated = trainer.translate(arrays["image"])
    assert np.abs(translated - arrays["target"]).mean() < logs["g_l1"][0]


def check_draws_repeat_with_the_seed():
    arrays = GAN.arrays(2, with_noise=False)
    ends = []
    for seed in (5, 5, 6):
        trainer = GAN.make(seed=seed)
        fitted(trainer, arrays)
        ends.append(np.concatenate([array.ravel() for array in numbers(trainer)]))
    np.testing.assert_array_equal(ends[0], ends[1])
    assert (ends[0] != ends[2]).any()


def check_evaluation_repeats_and_changes_nothing():
    trainer, arrays = built("cyclegan")
    arrays = {key: arrays[key] for key in trainer.input_spec()}
    fitted(trainer, arrays)
    seeds = trainer.evaluation_seed_generator.state
    means = {id(v) for v in trainer.metrics_variables}
    kept = [v for v in state.variables_of(trainer) if v is not seeds and id(v) not in means]
    before = [values(v) for v in kept]
    logs = [trainer.evaluate(arrays, return_dict=True, verbose=0) for _ in range(2)]
    assert logs[0] == logs[1]
    for old, variable in zip(before, kept, strict=True):
        np.testing.assert_array_equal(old, values(variable))


def check_saved_and_loaded_it_trains_on_the_same():
    for game in (GAN, games.CYCLEGAN, games.LAPGAN):
        trainer = game.make()
        arrays = game.arrays(2, with_noise=False)
        fitted(trainer, arrays)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "trainer.keras"
            trainer.save(path)
            loaded = keras.saving.load_model(path)
        for each in (trainer, loaded):
            fitted(each, arrays)
        for a, b in zip(numbers(trainer), numbers(loaded), strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-6)


def check_stopped_inside_an_epoch_it_goes_on_from_a_state_file():
    arrays = GAN.arrays(4, with_noise=False)
    whole = GAN.make()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "state.npz"

        class Keep(keras.callbacks.Callback):
            def on_train_batch_end(self, batch, logs=None):
                if batch == 1:
                    state.save(self.model, path, state.Position(0, 2))

        fitted(whole, arrays, callbacks=[Keep()])
        resumed = GAN.make(seed=9)
        state.Checkpoint(path).restore(resumed)
    fitted(resumed, {key: part[2 * games.BATCH :] for key, part in arrays.items()})
    for a, b in zip(numbers(whole), numbers(resumed), strict=True):
        np.testing.assert_array_equal(a, b)


def check_steps_per_execution():
    one, arrays = built("gan_non_saturating")
    many, _ = built("gan_non_saturating")
    many.compile(games.adam(), games.adam(), steps_per_execution=2)
    fitted(one, arrays)
    try:
        fitted(many, arrays)
    except ValueError as error:
        assert keras.backend.backend() == "torch", "Keras has it on the other backends"
        assert "steps_per_execution" in str(error)  # noqa: PT017
        return
    for a, b in zip(numbers(one), numbers(many), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-6)


def check_step_by_step_it_ends_the_same():
    compiled, arrays = built("gan_wgan-gp")
    eager, _ = built("gan_wgan-gp")
    eager.compile(games.adam(), games.adam(), loss="wgan-gp", n_critic=2, run_eagerly=True)
    for each in (compiled, eager):
        fitted(each, arrays)
    for a, b in zip(numbers(compiled), numbers(eager), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def check_one_generator_forward_a_step():
    assert games.generator_forwards_in_three_steps(jit_compile=False) == 3


def check_a_label_outside_the_classes_is_refused_and_nothing_lost():
    game = games.CONDITIONAL
    trainer = game.make()
    good = game.arrays(2)
    bad = good | {"label": np.full(len(good["label"]), games.CLASSES)}
    for data in (bad, good):
        before = numbers(trainer)
        for method in (trainer.fit, trainer.evaluate):
            if data is bad:
                try:
                    method(data, batch_size=games.BATCH, verbose=0)
                except DataError as error:
                    assert f"0 to {games.CLASSES - 1}" in str(error)  # noqa: PT017
                else:
                    raise AssertionError("not refused")
                # A graph of TensorFlow has begun with the step when it refuses.
                if keras.backend.backend() != "tensorflow":
                    for a, b in zip(before, numbers(trainer), strict=True):
                        np.testing.assert_array_equal(a, b)
        if data is good:
            fitted(trainer, data)


def check_batches_that_the_critic_does_not_divide():
    trainer = GAN.make(n_critic=3)
    arrays = {key: part[:5] for key, part in GAN.arrays(2, with_noise=False).items()}
    # Four examples for three updates, then one.
    logs = fitted(trainer, arrays)
    assert np.isfinite(list(logs.values())).all()
    assert int(trainer.d_optimizer.iterations) == 3 * int(trainer.g_optimizer.iterations) == 6


def check_regularizers_count():
    ends = []
    for l2 in (0.0, 0.5):
        trainer = GAN.make()
        for variable in trainer.discriminator.trainable_variables:
            variable.regularizer = keras.regularizers.L2(l2) if l2 else None
        trainer.compile(keras.optimizers.SGD(0.1), keras.optimizers.SGD(0.1))
        start = [values(v).astype(np.float64) for v in trainer.discriminator.trainable_variables]
        logs = fitted(trainer, GAN.arrays(1, with_noise=False))
        ends.append([values(v) for v in trainer.discriminator.trainable_variables])
        expected = l2 * sum((value**2).sum() for value in start)
        np.testing.assert_allclose(logs.get("d_regularization", 0.0), expected, rtol=1e-5)
    for first, plain, moved in zip(start, *ends, strict=True):
        np.testing.assert_allclose(moved, plain - 0.1 * 2 * 0.5 * first, rtol=1e-4, atol=1e-5)


def check_rates_by_player():
    trainer = GAN.make()
    schedule = keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2)
    logs = fitted(trainer, GAN.arrays(1, with_noise=False), callbacks=[schedule])
    for name in ("learning_rate_d", "learning_rate_g"):
        np.testing.assert_allclose(logs[name], [2.5e-3], rtol=1e-6)


def check_labels_of_other_shapes_and_types():
    game = games.CONDITIONAL
    ends = []
    for change in (lambda y: y, lambda y: y[:, None].astype("float32"), lambda y: np.eye(3)[y]):
        trainer = game.make()
        arrays = game.arrays(1)
        fitted(trainer, arrays | {"label": change(arrays["label"])})
        ends.append(numbers(trainer))
    for end in ends[1:]:
        for a, b in zip(ends[0], end, strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-6)


def check_mixed_precision():
    arrays = GAN.arrays(3, with_noise=False)
    for policy in ("mixed_bfloat16", "mixed_float16"):
        keras.config.set_dtype_policy(policy)
        try:
            trainer = GAN.make()
        finally:
            keras.config.set_dtype_policy("float32")
        before = numbers(trainer)
        logs = fitted(trainer, arrays, epochs=2)
        assert np.isfinite(list(logs.values())).all()
        assert {v.dtype for v in trainer.trainable_variables} == {"float32"}
        assert any((a != b).any() for a, b in zip(before, numbers(trainer), strict=True))
        scaled = policy == "mixed_float16"
        for optimizer in trainer.optimizers.values():
            assert isinstance(optimizer, keras.optimizers.LossScaleOptimizer) == scaled


class ValuesOfItsOwn(trainers.GAN):
    """A game whose generator returns a value that nothing announces."""

    def players(self):
        d, g = super().players()

        def loss(tensors, training):
            value, logged = g.loss(tensors, training)
            return value, logged | {"brightness": losses.per_example(tensors["image"])}

        return d, dataclasses.replace(g, loss=loss)


def check_values_that_nothing_announces_are_logged():
    plain = GAN.make()
    for compiled in ({}, {"run_eagerly": True}):
        trainer = ValuesOfItsOwn(plain.generator, plain.discriminator, seed=3)
        trainer.compile(games.adam(), games.adam(), **compiled)
        arrays = GAN.arrays(4, with_noise=False)
        logs = fitted(trainer, arrays, epochs=2, validation_data=arrays)
        for name in ("brightness", "val_brightness"):
            np.testing.assert_allclose(logs[name], [arrays["image"].mean()] * 2, atol=1e-6)
        assert np.isfinite(list(logs.values())).all()
        assert trainer.evaluate(arrays, return_dict=True, verbose=0).keys() == set(
            trainer.metrics_names
        )


def check_averaged_weights():
    trainer = GAN.make()
    averaging = keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5)
    trainer.compile(averaging, games.adam())
    arrays = GAN.arrays(3, with_noise=False)
    weight = trainer.generator.trainable_variables[0]
    seen = []

    class Look(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append(values(self.model.generator.trainable_variables[0]))

    fitted(trainer, arrays, callbacks=[Look()])
    average = seen[0]
    for value in seen[1:]:
        average = 0.5 * average + 0.5 * value
    kept = trainer.ema_network(trainer.generator).trainable_variables[0]
    np.testing.assert_array_equal(values(weight), seen[-1])
    np.testing.assert_allclose(values(kept), average, rtol=0, atol=1e-6)
    assert np.abs(average - seen[-1]).max() > 1e-4
    assert trainer.generate(2, seed=0).shape == (2, *SHAPE)


def check_generated_images_repeat_with_the_seed():
    for game in (GAN, games.CONDITIONAL, games.LAPGAN):
        trainer = game.make()
        images = trainer.generate(5, seed=7)
        np.testing.assert_array_equal(images, trainer.generate(5, seed=7))
        np.testing.assert_allclose(images, trainer.generate(5, seed=7, batch_size=2), atol=1e-5)
        assert (images != trainer.generate(5, seed=8)).any()
    forth = games.CYCLEGAN.make()
    images = games.CYCLEGAN.arrays(1)["image"]
    assert (forth.translate(images) != forth.translate(images, backward=True)).any()


CHECKS = {name: check for name, check in globals().items() if name.startswith("check_")}


def main(path):
    arrays, errors = {}, {}
    for name in CASES:
        try:
            arrays |= {
                f"{name}/{key}": value for key, value in outcome(name, Path(path).parent).items()
            }
        except Exception:
            errors[name] = traceback.format_exc()
    for name, check in CHECKS.items():
        try:
            check()
        except Exception:
            errors[name] = traceback.format_exc()
    np.savez(path, errors=json.dumps(errors), **arrays)


if __name__ == "__main__":
    main(sys.argv[1])
