import keras
import numpy as np
import pytest
from keras import layers

from keras_arch import models, trainers
from keras_arch.errors import ArgumentError
from tests.rounding import ROUNDING
from tests.trainers import games

SHAPE = (games.SIZE, games.SIZE, 1)


def sigmoid(value):
    return 1 / (1 + np.exp(-value))


class TestStep:
    """G(z, c) = a z + b_c against D(x, c) = w x + u_c, one step of SGD by hand."""

    RATE, A, W = 0.1, 0.5, 0.8
    B, U = np.array([0.2, -0.3, 0.4]), np.array([-0.1, 0.3, 0.2])

    def line(self, name, slope, offsets):
        value = keras.Input((1,), name=name)
        label = keras.Input((), dtype="int32", name="label")
        scaled = layers.Dense(1, use_bias=False, name="slope")(value)
        model = keras.Model(
            [value, label], layers.Add()([scaled, layers.Embedding(3, 1, name="offsets")(label)])
        )
        model.get_layer("slope").weights[0].assign([[slope]])
        model.get_layer("offsets").weights[0].assign(offsets[:, None])
        return model

    def weights(self, model):
        offsets = model.get_layer("offsets").get_weights()[0][:, 0]
        return [model.get_layer("slope").get_weights()[0][0, 0], *offsets]

    def test_both_are_told_the_labels_of_the_real_images(self):
        generator = self.line("latent", self.A, self.B)
        discriminator = self.line("image", self.W, self.U)
        trainer = trainers.ConditionalGAN(generator, discriminator, 3)
        sgd = keras.optimizers.SGD
        trainer.compile(sgd(self.RATE), sgd(self.RATE), run_eagerly=True)
        x, z = np.array([[1.0], [3.0], [-1.0]]), np.array([[2.0], [-1.0], [0.5]])
        label = np.array([2, 0, 2])
        trainer.fit({"image": x, "latent": z, "label": label}, batch_size=3, verbose=0)

        fake = self.A * z[:, 0] + self.B[label]
        real, image = self.W * x[:, 0] + self.U[label], x[:, 0]
        on_real = -sigmoid(-real) / 3
        on_fake = sigmoid(self.W * fake + self.U[label]) / 3
        w = self.W - self.RATE * (on_real * image + on_fake * fake).sum()
        u = self.U.copy()
        np.subtract.at(u, label, self.RATE * (on_real + on_fake))
        np.testing.assert_allclose(self.weights(discriminator), [w, *u], rtol=1e-5)
        moved = -sigmoid(-(w * fake + u[label])) * w / 3
        b = self.B.copy()
        np.subtract.at(b, label, self.RATE * moved)
        a = self.A - self.RATE * (moved * z[:, 0]).sum()
        np.testing.assert_allclose(self.weights(generator), [a, *b], rtol=1e-5)


class TestGenerate:
    def test_the_papers_networks(self):
        """With dropout, whose random numbers looking does not use up."""
        generator = models.CGANGenerator(
            image_shape=SHAPE,
            classes=3,
            latent_size=games.LATENT,
            latent_units=4,
            label_units=4,
            joint_units=6,
        )
        discriminator = models.CGANDiscriminator(
            input_shape=SHAPE, classes=3, image_units=4, label_units=2, joint_units=4
        )
        trainer = trainers.ConditionalGAN(generator, discriminator, 3, "uniform01", seed=1)
        trainer.compile(run_eagerly=True)
        images = np.random.default_rng(0).uniform(0, 1, (6, *SHAPE)).astype("float32")
        data = images, np.arange(6) % 3
        trainer.fit(*data, batch_size=3, verbose=0)
        before = [np.array(v) for v in (*generator.variables, *discriminator.variables)]
        first = trainer.evaluate(*data, verbose=0)
        made = trainer.generate(5, seed=7)
        assert trainer.evaluate(*data, verbose=0) == first
        np.testing.assert_array_equal(made, trainer.generate(5, seed=7, labels=[0, 1, 2, 0, 1]))
        other = trainer.generate(5, seed=7, labels=[0, 1, 2, 0, 2])
        assert np.abs(made - other).max(axis=(1, 2, 3)).astype(bool).tolist() == [False] * 4 + [
            True
        ]
        assert made.min() >= 0
        assert made.max() <= 1
        for old, new in zip(before, (*generator.variables, *discriminator.variables), strict=True):
            np.testing.assert_array_equal(old, new)

    @pytest.mark.parametrize(
        ("labels", "match"),
        [
            ([0, 3], "labels must be 0 to 2, got 3"),
            ([-1, 0], "labels must be 0 to 2, got -1"),
            ([0], "2 whole numbers"),
            ([0.0, 1.0], "2 whole numbers"),
        ],
    )
    def test_labels_that_do_not_fit(self, labels, match):
        with pytest.raises(ArgumentError, match=match):
            games.conditional_gan().generate(2, labels=labels)

    def test_sampling_from_the_generator_alone(self):
        generator = games.conditional_generator()
        with pytest.raises(ArgumentError, match="give labels"):
            trainers.sample(generator, 2)
        with pytest.raises(ArgumentError, match="one an image"):
            trainers.sample(generator, 2, labels=[0])
        made = trainers.sample(generator, 2, seed=0, labels=[0, 1])
        again = trainers.sample(generator, 2, seed=0, labels=[0, 1], batch_size=1)
        np.testing.assert_allclose(made, again, atol=ROUNDING)


class TestErrors:
    def test_networks_without_labels(self):
        network = games.discriminator(SHAPE, classes=games.CLASSES)
        flat = keras.Sequential([keras.Input((3,)), layers.Dense(16), layers.Reshape(SHAPE)])
        with pytest.raises(ArgumentError, match=r"take \[latent, label\].*takes \(None, 3\)"):
            trainers.ConditionalGAN(flat, network, 3)
        with pytest.raises(ArgumentError, match=r"take \[image, label\]"):
            trainers.ConditionalGAN(games.conditional_generator(), games.discriminator(SHAPE), 3)
        with pytest.raises(ArgumentError, match="GAN needs networks of one input"):
            trainers.GAN(games.conditional_generator(), network)

    @pytest.mark.parametrize("classes", [0, 2.0, None])
    def test_classes(self, classes):
        network = games.discriminator(SHAPE, classes=games.CLASSES)
        with pytest.raises(ArgumentError, match="classes must be"):
            trainers.ConditionalGAN(games.conditional_generator(), network, classes)
