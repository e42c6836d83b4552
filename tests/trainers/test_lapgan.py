import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from keras_arch import models, trainers
from keras_arch.errors import ArgumentError
from tests.rounding import ROUNDING
from tests.trainers import games

LOW, HIGH = games.LOW, games.HIGH


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype("float32")


def sgd(rate=0.1):
    return keras.optimizers.SGD(rate)


class TestPyramid:
    @pytest.mark.parametrize("sizes", [(8, 16, 32), (4, 10), (7, 14, 28), (8, 14, 28)], ids=str)
    def test_it_is_tensorflows_antialiased_resize(self, sizes):
        class Sizes:
            pass

        like = Sizes()
        like.sizes = sizes
        images = numbers(2, sizes[-1], sizes[-1], 3)
        levels = trainers.LAPGAN.pyramid(like, images)
        assert len(levels) == 2 * len(sizes) - 1
        for size, below in zip(sizes[:0:-1], sizes[-2::-1], strict=True):
            smaller = tf.image.resize(images, (below, below), antialias=True)
            enlarged = tf.image.resize(smaller, (size, size))
            np.testing.assert_allclose(levels[f"coarse{size}"], enlarged, atol=1e-5)
            np.testing.assert_allclose(levels[f"real{size}"], images - enlarged, atol=1e-5)
            images = smaller
        np.testing.assert_allclose(levels[f"real{sizes[0]}"], images, atol=1e-5)

    def test_enlarged_as_the_generator_does(self):
        trainer = games.lapgan()
        levels = trainer.pyramid(numbers(2, HIGH, HIGH, 1))
        enlarge = trainer.generator.get_layer(f"coarse{HIGH}")
        np.testing.assert_allclose(
            levels[f"coarse{HIGH}"], enlarge(levels[f"real{LOW}"]), atol=ROUNDING
        )

    def test_plain_images_have_no_residual(self):
        levels = games.lapgan().pyramid(np.full((1, HIGH, HIGH, 1), 0.3, "float32"))
        np.testing.assert_allclose(levels[f"real{HIGH}"], 0, atol=ROUNDING)
        np.testing.assert_allclose(levels[f"real{LOW}"], 0.3, atol=ROUNDING)


class TestGame:
    def test_players_and_logs(self):
        trainer = games.LAPGAN.make(run_eagerly=True)
        assert list(trainer.optimizers) == [f"{p}{size}" for size in (LOW, HIGH) for p in "dg"]
        history = trainer.fit(games.LAPGAN.batches(1), verbose=0, shuffle=False).history
        values = ("d{}_loss", "d{}_real", "d{}_fake", "g{}_loss")
        assert set(history) == {v.format(size) for size in (LOW, HIGH) for v in values}

    def test_what_the_levels_are_given(self):
        """Each its own part of the latent and the enlarged real image, and the label."""
        trainer = games.lapgan()
        image, label = tf.constant(numbers(2, HIGH, HIGH, 1)), tf.constant([2, 0])
        latent = tf.constant(numbers(2, games.LATENT + HIGH * HIGH, seed=1))
        made = trainer.shared_forward({"image": image, "latent": latent, "label": label}, False)
        lowest = trainer.generator.get_layer(f"level{LOW}")
        upper = trainer.generator.get_layer(f"level{HIGH}")
        expected = lowest([latent[:, : games.LATENT], label])
        np.testing.assert_allclose(made[f"fake{LOW}"], expected, atol=ROUNDING)
        plane = tf.reshape(latent[:, games.LATENT :], (2, HIGH, HIGH, 1))
        expected = upper([plane, made[f"coarse{HIGH}"], label])
        np.testing.assert_allclose(made[f"fake{HIGH}"], expected, atol=ROUNDING)
        # And put together they are the whole generator's image.
        enlarged = tf.image.resize(made[f"fake{LOW}"], (HIGH, HIGH))
        whole = np.clip(enlarged + upper([plane, enlarged, label]), -1, 1)
        np.testing.assert_allclose(trainer.generator([latent, label]), whole, atol=ROUNDING)

    @pytest.mark.parametrize("player", ["d4", "g4", "d10", "g10"])
    def test_no_player_moves_another(self, player):
        trainer = games.lapgan()
        names = list(trainer.optimizers)
        trainer.compile({n: sgd(0.1 * (n == player)) for n in names}, run_eagerly=True)
        before = {
            p.name: [np.array(variable) for variable in p.variables] for p in trainer.players()
        }
        trainer.fit(games.LAPGAN.batches(1), verbose=0, shuffle=False)
        for each in trainer.players():
            same = [
                np.array_equal(old, new)
                for old, new in zip(before[each.name], each.variables, strict=True)
            ]
            assert all(same) if each.name != player else not any(same[-1:])

    def test_the_lowest_level_is_a_gan_on_small_images(self):
        """The same steps as those of a GAN, whose D takes half the steps for the whole loss."""
        keras.utils.set_random_seed(1)
        trainer = games.lapgan(classes=None)
        trainer.compile(lambda name: sgd(0.1), run_eagerly=True)
        level = trainer.generator.get_layer(f"level{LOW}")
        networks = level, trainer.discriminators[0]
        copies = [keras.models.clone_model(network) for network in networks]
        for copy, network in zip(copies, networks, strict=True):
            copy.set_weights(network.get_weights())
        gan = trainers.GAN(*copies)
        gan.compile(sgd(0.1), sgd(0.05), run_eagerly=True)

        images = numbers(8, HIGH, HIGH, 1)
        latent = numbers(8, games.LATENT + HIGH * HIGH, seed=1)
        small = np.asarray(tf.image.resize(images, (LOW, LOW), antialias=True))
        trainer.fit({"image": images, "latent": latent}, batch_size=4, shuffle=False, verbose=0)
        gan.fit(
            {"image": small, "latent": latent[:, : games.LATENT]},
            batch_size=4,
            shuffle=False,
            verbose=0,
        )
        for copy, network in zip(copies, networks, strict=True):
            for a, b in zip(copy.get_weights(), network.get_weights(), strict=True):
                np.testing.assert_allclose(a, b, atol=1e-5)

    @pytest.mark.parametrize("level", [LOW, pytest.param(HIGH, marks=pytest.mark.slow)])
    def test_a_level_alone_is_trained_as_with_the_others(self, level):
        """No level needs another one, so its weights are the same; the others' do not move."""
        together = games.lapgan()
        networks = [together.generator, *together.discriminators]
        copies = [keras.models.clone_model(network) for network in networks]
        for copy, network in zip(copies, networks, strict=True):
            copy.set_weights(network.get_weights())
        alone = trainers.LAPGAN(copies[0], copies[1:], games.CLASSES, levels=[level])

        def weights(trainer, size):
            discriminator = trainer.discriminators[trainer.sizes.index(size)]
            of_level = trainer.generator.get_layer(f"level{size}")
            return [*of_level.get_weights(), *discriminator.get_weights()]

        other = LOW + HIGH - level
        before = weights(alone, other)
        batches = {
            "image": numbers(8, HIGH, HIGH, 1),
            "label": np.arange(8) % games.CLASSES,
            "latent": numbers(8, games.LATENT + HIGH * HIGH, seed=1),
        }
        for trainer in (together, alone):
            trainer.compile(lambda name: sgd(0.1), run_eagerly=True)
            logs = trainer.fit(batches, batch_size=4, shuffle=False, verbose=0).history
        assert list(alone.optimizers) == [f"d{level}", f"g{level}"]
        values = ("d{}_loss", "d{}_real", "d{}_fake", "g{}_loss")
        assert set(logs) == {value.format(level) for value in values}
        for a, b in zip(weights(together, level), weights(alone, level), strict=True):
            np.testing.assert_allclose(a, b, atol=ROUNDING)
        assert all(map(np.array_equal, before, weights(alone, other)))
        assert not all(map(np.array_equal, before, weights(together, other)))

    def test_the_papers_networks_train(self):
        small = {"classes": 3, "filters": 2, "units": 4}
        shape = (9, 9, 3)
        trainer = trainers.LAPGAN(
            models.LAPGANGenerator(image_shape=shape, coarser_sizes=(4,), latent_size=5, **small),
            {
                4: models.LAPGANDiscriminator(input_shape=(4, 4, 3), coarsest=True, **small),
                9: models.LAPGANDiscriminator(input_shape=shape, **small),
            },
            classes=3,
            seed=0,
        )
        trainer.compile(run_eagerly=True)
        history = trainer.fit(
            numbers(4, 9, 9, 3), np.array([0, 1, 2, 0]), batch_size=2, verbose=0
        ).history
        assert np.isfinite([value for values in history.values() for value in values]).all()


class TestOptimizers:
    def test_the_authors(self):
        """0.02, divided by 1.00004 an epoch; momentum up by 0.0008 an epoch to 0.8."""
        trainer = games.lapgan()
        trainer.compile()
        for optimizer in trainer.optimizers.values():
            config = optimizer.get_config()
            rate, momentum = optimizer._learning_rate, optimizer.momentum
            for epoch in (0, 1, 100, 375, 1000):
                update = epoch * 704
                np.testing.assert_allclose(rate(update), 0.02 / 1.00004**epoch, rtol=1e-4)
                expected = min(0.5 + 0.0008 * epoch, 0.8)
                np.testing.assert_allclose(momentum(update), expected, rtol=1e-4)
            assert config["nesterov"] is False
        assert len({id(each) for each in trainer.optimizers.values()}) == 4

    @pytest.mark.parametrize(
        "given",
        [
            keras.optimizers.Adam(3e-4),
            "adam",
            {"class_name": "Adam", "config": {"learning_rate": 3e-4}},
            lambda name: keras.optimizers.Adam(3e-4),
            {name: keras.optimizers.Adam(3e-4) for name in ("d4", "g4", "d10", "g10")},
        ],
        ids=["object", "name", "config", "function", "dictionary"],
    )
    def test_ways_to_say_it(self, given):
        trainer = games.lapgan()
        trainer.compile(given)
        optimizers = list(trainer.optimizers.values())
        assert len({id(each) for each in optimizers}) == 4
        assert {type(each) for each in optimizers} == {keras.optimizers.Adam}
        rates = {round(float(each.learning_rate), 6) for each in optimizers}
        assert rates == {1e-3 if given == "adam" else 3e-4}

    def test_wrong_ones(self):
        trainer, optimizer = games.lapgan(), sgd()
        with pytest.raises(ArgumentError, match="d4, g4, d10, g10, got d4"):
            trainer.compile({"d4": optimizer})
        with pytest.raises(ArgumentError, match="an optimizer object each"):
            trainer.compile(dict.fromkeys(trainer.optimizers, optimizer))
        with pytest.raises(ArgumentError, match="an optimizer object each"):
            trainer.compile(lambda name: optimizer)
        with pytest.raises(ArgumentError, match="the name of one"):
            trainer.compile(keras.optimizers.SGD)
        with pytest.raises(ArgumentError, match="adamm"):
            trainer.compile("adamm")
        with pytest.raises(ArgumentError, match="non_saturating"):
            trainer.compile(loss="wgan")
        with pytest.raises(ArgumentError, match="d_weight"):
            trainer.compile(d_weight=0)


class TestGenerate:
    def test_it_repeats_with_the_seed_and_goes_through_the_classes(self):
        trainer = games.LAPGAN.make()
        images = trainer.generate(5, seed=7)
        assert images.shape == (5, HIGH, HIGH, 1)
        assert np.abs(images).max() <= 1
        again = trainer.generate(5, seed=7, batch_size=2, labels=[0, 1, 2, 0, 1])
        np.testing.assert_allclose(images, again, atol=ROUNDING)
        others = trainer.generate(5, seed=7, labels=[1, 1, 2, 0, 1])
        assert (
            np.abs(images - others).max(axis=(1, 2, 3)).astype(bool).tolist()
            == [True] + [False] * 4
        )

    def test_labels_that_do_not_fit(self):
        with pytest.raises(ArgumentError, match="labels must be 0 to 2, got 3"):
            games.lapgan().generate(2, labels=[0, 3])
        with pytest.raises(ArgumentError, match="takes no labels"):
            games.lapgan(classes=None).generate(2, labels=[0, 1])


class TestErrors:
    def networks(self, classes=None):
        low, high = (LOW, LOW, 1), (HIGH, HIGH, 1)
        discriminators = (
            games.discriminator(low, classes=classes),
            games.discriminator(high, high, classes=classes),
        )
        return games.pyramid_generator(classes), discriminators

    def test_a_generator_without_levels(self):
        flat = keras.Sequential([keras.Input((3,)), layers.Dense(4), layers.Reshape((2, 2, 1))])
        with pytest.raises(ArgumentError, match="two levels"):
            trainers.LAPGAN(flat, {})

    def test_discriminators(self):
        generator, (low, high) = self.networks()
        with pytest.raises(ArgumentError, match="sizes 4, 10, got 4"):
            trainers.LAPGAN(generator, {4: low})
        with pytest.raises(ArgumentError, match="sizes 4, 10, got 4, 16"):
            trainers.LAPGAN(generator, {4: low, 16: high})
        with pytest.raises(ArgumentError, match=r"at size 4 must take \(4, 4, 1\)"):
            trainers.LAPGAN(generator, [high, low])
        in_order = trainers.LAPGAN(generator, [low, high])
        by_size = trainers.LAPGAN(generator, {10: high, 4: low})
        assert list(in_order.discriminators) == list(by_size.discriminators) == [low, high]

    def test_labels_for_networks_without_and_the_other_way_round(self):
        generator, discriminators = self.networks()
        with pytest.raises(ArgumentError, match="with classes=3"):
            trainers.LAPGAN(generator, discriminators, classes=3)
        generator, discriminators = self.networks(3)
        with pytest.raises(ArgumentError, match="with classes=None"):
            trainers.LAPGAN(generator, discriminators)
        with pytest.raises(ArgumentError, match="classes must be"):
            trainers.LAPGAN(generator, discriminators, classes=0)

    def test_unknown_latent(self):
        generator, discriminators = self.networks()
        with pytest.raises(ArgumentError, match="normal, uniform"):
            trainers.LAPGAN(generator, discriminators, latent="gaussian")

    @pytest.mark.parametrize("levels", [[], [8], [4, 8], ["low"]], ids=str)
    def test_unknown_levels(self, levels):
        generator, discriminators = self.networks()
        with pytest.raises(ArgumentError, match="levels must be"):
            trainers.LAPGAN(generator, discriminators, levels=levels)
