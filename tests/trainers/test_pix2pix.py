import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from keras_arch import models, trainers
from keras_arch.errors import ArgumentError, DataError
from tests.trainers import games

SHAPE, TARGET = (games.SIZE, games.SIZE, 2), (games.SIZE, games.SIZE, 1)


def sigmoid(value):
    return 1 / (1 + np.exp(-value))


def softplus(value):
    return np.log1p(np.exp(value))


class TestStep:
    """G(x) = a x against D(x, t) = u x + w t (or w t alone), one step of SGD by hand."""

    RATE, A, U, W = 0.01, 0.5, 0.3, 0.8

    def play(self, objective):
        generator = keras.Sequential([keras.Input((1,)), layers.Dense(1, use_bias=False)])
        generator.weights[0].assign([[self.A]])
        discriminator = None
        if "gan" in objective:
            parts = ["image", "target"] if "cgan" in objective else ["target"]
            inputs = [keras.Input((1,), name=part) for part in parts]
            joined = layers.Concatenate()(inputs) if len(parts) > 1 else inputs[0]
            logit = layers.Dense(1, use_bias=False)(joined)
            discriminator = keras.Model(inputs if len(parts) > 1 else inputs[0], logit)
            discriminator.weights[0].assign([[self.U], [self.W]][-len(parts) :])
        trainer = trainers.Pix2Pix(generator, discriminator, objective)
        sgd = keras.optimizers.SGD
        trainer.compile(sgd(self.RATE), sgd(self.RATE), run_eagerly=True)
        x = np.array([[1.0], [3.0], [-2.0]], "float32")
        y = np.array([[2.0], [1.0], [1.5]], "float32")
        history = trainer.fit(x, y, batch_size=3, verbose=0).history
        weights = [] if discriminator is None else discriminator.weights[0].value[:, 0]
        a = float(generator.weights[0].value[0, 0])
        return a, [float(weight) for weight in weights], x, y, history

    @pytest.mark.parametrize("objective", ["l1", "gan", "cgan", "l1+gan", "l1+cgan"])
    def test_objective(self, objective):
        a, weights, x, y, history = self.play(objective)
        u, w = (self.U if "cgan" in objective else 0.0), self.W
        fake = self.A * x
        l1 = np.abs(fake - y)
        l1_slope = (np.sign(fake - y) * x).mean()
        expected = {"g_l1": l1.mean()}
        if objective == "l1":
            # The row of the table without an adversary, against which L1 could be weighed.
            slope, expected["g_loss"] = l1_slope, l1.mean()
        else:
            real_logit, fake_logit = u * x + w * y, u * x + w * fake
            # Half of the discriminator's loss.
            expected["d_loss"] = 0.5 * (softplus(-real_logit) + softplus(fake_logit)).mean()
            expected["d_real"] = sigmoid(real_logit).mean()
            expected["d_fake"] = sigmoid(fake_logit).mean()
            on_real, on_fake = -sigmoid(-real_logit), sigmoid(fake_logit)
            u_new = u - self.RATE * 0.5 * (on_real * x + on_fake * x).mean() * ("c" in objective)
            w_new = w - self.RATE * 0.5 * (on_real * y + on_fake * fake).mean()
            np.testing.assert_allclose(weights, [u_new, w_new][-len(weights) :], rtol=1e-5)
            # The generator meets the discriminator that has moved.
            met = u_new * x + w_new * fake
            slope = (-sigmoid(-met) * w_new * x).mean()
            expected["g_gan"] = expected["g_loss"] = softplus(-met).mean()
            if "l1" in objective:
                slope = slope + 100 * l1_slope
                expected["g_loss"] = expected["g_gan"] + 100 * l1.mean()
        np.testing.assert_allclose(a, self.A - self.RATE * slope, rtol=1e-5)
        assert set(history) == set(expected)
        for name, value in expected.items():
            np.testing.assert_allclose(history[name][0], value, rtol=1e-5)


class TestInference:
    def restless(self):
        """A generator that keeps batch statistics and dropout when it is not trained."""
        image = keras.Input(SHAPE, name="image")
        x = layers.Conv2D(4, 3, padding="same")(image)
        x = layers.BatchNormalization()(x, training=True)
        x = layers.Dropout(0.5, seed=1)(x, training=True)
        return keras.Model(image, layers.Conv2D(1, 3, padding="same", activation="tanh")(x))

    def test_looking_leaves_it_as_it_is(self):
        generator = self.restless()
        trainer = trainers.Pix2Pix(generator, games.discriminator(SHAPE, TARGET), seed=1)
        trainer.compile(run_eagerly=True)
        data = games.PIX2PIX["l1+cgan"].batches(2)
        trainer.fit(data, verbose=0)
        before = [np.array(variable) for variable in generator.variables]
        first = trainer.evaluate(data, verbose=0)
        images = games.PIX2PIX["l1+cgan"].arrays(1)["image"]
        pictures = trainer.translate(images, batch_size=2)
        np.testing.assert_array_equal(pictures, trainer.translate(images, batch_size=2))
        assert trainer.evaluate(data, verbose=0) == first
        for old, new in zip(before, generator.variables, strict=True):
            np.testing.assert_array_equal(old, new)
        # Batch statistics: each image by itself comes out differently.
        assert np.abs(pictures - trainer.translate(images)).max() > 1e-3

    def test_the_papers_networks(self):
        shape = (128, 128, 3)
        trainer = trainers.Pix2Pix(
            models.Pix2PixGenerator("unet_128", filters=1),
            models.PatchDiscriminator(70, input_shape=shape, filters=1),
        )
        trainer.compile(run_eagerly=True)
        images, targets = np.random.default_rng(0).uniform(-1, 1, (2, 1, *shape))
        history = trainer.fit(images, targets, batch_size=1, verbose=0).history
        assert np.isfinite([value for values in history.values() for value in values]).all()
        np.testing.assert_array_equal(trainer.translate(images), trainer.translate(images))


class TestErrors:
    @pytest.mark.parametrize(
        ("objective", "inputs", "match"),
        [
            ("l1+cgan", (TARGET,), r"\(4, 4, 2\) and \(4, 4, 1\), .* takes \(4, 4, 1\)"),
            ("gan", (SHAPE, TARGET), r"objective .gan. must take \(4, 4, 1\)"),
            ("cgan", (TARGET, SHAPE), r"must take \(4, 4, 2\) and"),
            ("l1", (TARGET,), "'l1' has no discriminator"),
            ("gan", None, "'gan' needs a discriminator"),
            ("l2", None, "one of l1, gan, cgan"),
        ],
    )
    def test_discriminators_that_do_not_fit_the_objective(self, objective, inputs, match):
        discriminator = inputs and games.discriminator(*inputs)
        with pytest.raises(ArgumentError, match=match) as raised:
            trainers.Pix2Pix(games.translator(output_channels=1), discriminator, objective)
        assert "\n" not in str(raised.value)

    def test_images_without_targets(self):
        images = np.zeros((4, *SHAPE), "float32")
        for data in (images, tf.data.Dataset.from_tensors(images)):
            with pytest.raises(DataError, match="needs 'target'"):
                games.pix2pix().fit(data, verbose=0)

    def test_targets_of_another_shape(self):
        images = np.zeros((4, *SHAPE), "float32")
        with pytest.raises(DataError, match=r"batches of target of shape \(4, 4, 1\)"):
            games.pix2pix().fit(images, images, verbose=0)

    def test_translating_images_of_another_size(self):
        with pytest.raises(ArgumentError, match=r"\(2, 8, 8, 2\)"):
            games.pix2pix().translate(np.zeros((2, 8, 8, 2)))
        with pytest.raises(ArgumentError, match=r"\(0, 4, 4, 2\)"):
            games.pix2pix().translate(np.zeros((0, *SHAPE)))
