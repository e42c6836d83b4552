import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from keras_arch import losses, models, trainers
from keras_arch.errors import ArgumentError, DataError
from tests.rounding import ROUNDING
from tests.trainers import games

LATENT = 8
# What differs between them: how often and when whose gradients are taken. The other losses are
# means of the same kind.
GAMES = [
    {"loss": "non_saturating"},
    {"loss": "non_saturating", "update": "simultaneous"},
    {"loss": "wgan-gp", "n_critic": 2},
]
LOSSES = [{"loss": loss} for loss in ("minimax", "lsgan", "hinge", "wgan-gp")]
LOSSES += [{"loss": "wgan-gp", "n_critic": 5}]


def networks(**arguments):
    keras.utils.set_random_seed(1)
    generator = models.DCGANGenerator(
        "pytorch", image_shape=(16, 16, 1), latent_size=LATENT, filters=4, **arguments
    )
    return generator, models.DCGANDiscriminator(
        "pytorch", input_shape=(16, 16, 1), filters=4, **arguments
    )


def adam():
    # A large epsilon: a gradient of rounding errors only is not to become a step of its sign.
    return keras.optimizers.Adam(2e-4, beta_1=0.5, epsilon=1e-3)


@keras.saving.register_keras_serializable("test_gan")
def absolute(real, fake):
    return keras.ops.abs(real - 1) + keras.ops.abs(fake + 1)


@keras.saving.register_keras_serializable("test_gan")
def negative(fake):
    return -fake


def gan(seed=3, **compiled):
    trainer = trainers.GAN(*networks(), seed=seed)
    trainer.compile(adam(), adam(), **compiled)
    return trainer


def batches(steps, size=20, with_noise=False):
    rng = np.random.default_rng(0)
    count = steps * size
    data = {"image": rng.uniform(-1, 1, (count, 16, 16, 1)).astype("float32")}
    if with_noise:
        data["latent"] = rng.normal(size=(count, LATENT)).astype("float32")
        data["mix"] = rng.uniform(size=(count, 1, 1, 1)).astype("float32")
    return tf.data.Dataset.from_tensor_slices(data).batch(size, drop_remainder=True)


def weights(trainer):
    networks = (trainer.generator, trainer.discriminator)
    return [np.asarray(w) for network in networks for w in network.get_weights()]


def state(trainer):
    optimizers = [np.asarray(v) for o in trainer.optimizers.values() for v in o.variables]
    return [*weights(trainer), *optimizers]


def assert_equal(first, second, atol=0.0):
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=atol)


class TestReplicas:
    @pytest.mark.parametrize(
        "game",
        [GAMES[0], *(pytest.param(game, marks=pytest.mark.slow) for game in (*GAMES[1:], *LOSSES))],
        ids=str,
    )
    def test_two_replicas_end_with_the_weights_of_one(self, game, two_replicas):
        def train(strategy, start=None):
            with strategy.scope():
                trainer = trainers.GAN(*networks(synchronized=True), seed=3)
                trainer.compile(adam(), adam(), **game)
            if start:
                trainer.set_weights(start)
            start = trainer.get_weights()
            history = trainer.fit(batches(20, with_noise=True), verbose=0, shuffle=False).history
            return start, weights(trainer), history

        start, one, one_history = train(tf.distribute.get_strategy())
        _, two, two_history = train(two_replicas, start)
        assert_equal(one, two, atol=ROUNDING)
        # And it did move by far more than that.
        assert max(np.abs(a - b).max() for a, b in zip(start, one, strict=False)) > 1e-3
        assert set(one_history) == {"d_loss", "g_loss", "d_real", "d_fake"}
        for name, values in one_history.items():
            np.testing.assert_allclose(values, two_history[name], rtol=1e-4, atol=1e-6)

    def test_replicas_draw_different_latents(self, two_replicas):
        with two_replicas.scope():
            trainer = trainers.GAN(*networks(), seed=3)

        @tf.function
        def draw():
            tensors = {"image": tf.zeros((4, 16, 16, 1))}
            return trainer.draw(tensors, trainer.seed_generator)["latent"]

        alone = trainers.GAN(*networks(), seed=3)
        whole = alone.draw({"image": tf.zeros((8, 16, 16, 1))}, alone.seed_generator)["latent"]
        first = [np.asarray(x) for x in two_replicas.run(draw).values]
        np.testing.assert_array_equal(np.concatenate(first), whole)
        second = [np.asarray(x) for x in two_replicas.run(draw).values]
        drawn = np.concatenate([*first, *second]).reshape(-1)
        assert len(np.unique(drawn)) == drawn.size == 4 * 4 * LATENT

    def test_draws_repeat_with_the_seed(self):
        def draw(seed):
            trainer = trainers.GAN(*networks(), seed=seed)
            tensors = {"image": tf.zeros((2, 16, 16, 1))}
            return np.asarray(trainer.draw(tensors, trainer.seed_generator)["latent"])

        np.testing.assert_array_equal(draw(5), draw(5))
        assert not np.array_equal(draw(5), draw(6))

    @pytest.mark.parametrize(
        "drawn", [pytest.param(False, marks=pytest.mark.slow), True], ids=["", "drawn"]
    )
    def test_uneven_last_batch(self, drawn, two_replicas):
        """13 images reach two replicas as 7 and 6; the mean is still that over all 13."""
        images = np.random.default_rng(0).uniform(-1, 1, (13, 16, 16, 1)).astype("float32")
        latents = np.random.default_rng(1).normal(size=(13, LATENT)).astype("float32")
        data = {"image": images} | ({} if drawn else {"latent": latents})
        data = tf.data.Dataset.from_tensor_slices(data).batch(13)

        def train(strategy):
            with strategy.scope():
                keras.utils.set_random_seed(1)
                # Without batch norm, whose Keras statistics are means of the replicas' means.
                generator = keras.Sequential(
                    [keras.Input((LATENT,)), layers.Dense(256), layers.Reshape((16, 16, 1))]
                )
                critic = models.DCGANDiscriminator(
                    "pytorch", input_shape=(16, 16, 1), filters=4, norm=None
                )
                trainer = trainers.GAN(generator, critic, seed=3)
                sgd = keras.optimizers.SGD
                trainer.compile(sgd(0.1), sgd(0.1), loss="lsgan")
            return trainer.fit(data, verbose=0, shuffle=False).history, weights(trainer)

        one_history, one = train(tf.distribute.get_strategy())
        two_history, two = train(two_replicas)
        assert_equal(one, two, atol=ROUNDING)
        for name, values in one_history.items():
            np.testing.assert_allclose(values, two_history[name], rtol=1e-5)


class TestStep:
    """A game of two numbers: G(z) = a z and D(x) = w x, one step of SGD by hand."""

    RATE, A, W = 0.1, 0.5, 0.8

    def play(self, update, loss="wgan-gp", **compiled):
        def scalar(name, value):
            model = keras.Sequential(
                [keras.Input((1,), name=name), layers.Dense(1, use_bias=False)]
            )
            model.weights[0].assign([[value]])
            return model

        trainer = trainers.GAN(scalar("latent", self.A), scalar("image", self.W))
        sgd = keras.optimizers.SGD
        trainer.compile(sgd(self.RATE), sgd(self.RATE), loss=loss, update=update, **compiled)
        self.x = np.array([[1.0], [3.0]], "float32")
        self.z = np.array([[2.0], [-1.0]], "float32")
        data = {"image": self.x, "latent": self.z, "mix": np.zeros((2, 1), "float32")}
        trainer.fit(tf.data.Dataset.from_tensors(data), verbose=0)
        return float(trainer.generator.weights[0].value[0, 0]), float(
            trainer.discriminator.weights[0].value[0, 0]
        )

    @pytest.mark.parametrize("d_weight", [1.0, 0.5])
    @pytest.mark.parametrize("update", ["alternating", "simultaneous"])
    def test_non_saturating(self, update, d_weight):
        a, w = self.play(update, "non_saturating", d_weight=d_weight)

        def sigmoid(v):
            return 1 / (1 + np.exp(-v))

        x, fake = self.x, self.A * self.z
        d_gradient = (-sigmoid(-self.W * x) * x + sigmoid(self.W * fake) * fake).mean()
        expected_w = self.W - self.RATE * d_weight * d_gradient
        met = expected_w if update == "alternating" else self.W
        g_gradient = (-sigmoid(-met * fake) * met * self.z).mean()
        np.testing.assert_allclose(w, expected_w, rtol=1e-5)
        np.testing.assert_allclose(a, self.A - self.RATE * g_gradient, rtol=1e-5)

    def test_gradient_penalty(self):
        a, w = self.play("alternating")
        critic = (self.A * self.z - self.x).mean() + 10 * 2 * (abs(self.W) - 1)
        expected_w = self.W - self.RATE * critic
        np.testing.assert_allclose(w, expected_w, rtol=1e-5)
        np.testing.assert_allclose(a, self.A + self.RATE * (expected_w * self.z).mean(), rtol=1e-5)

    @pytest.mark.parametrize(
        "weight", [4.0, *(pytest.param(w, marks=pytest.mark.slow) for w in (None, 0.0))]
    )
    def test_r1(self, weight):
        """gamma / 2 w^2, whose slope is gamma w, beside the loss of the game."""
        a, w = self.play("alternating", "non_saturating", penalty_weight=None)
        a_r1, w_r1 = self.play("alternating", "non_saturating+r1", penalty_weight=weight)
        gamma = 10.0 if weight is None else weight
        # Terms of size 1 are subtracted, each rounded in float32.
        np.testing.assert_allclose(w_r1, w - self.RATE * gamma * self.W, rtol=0, atol=1e-6)
        assert (a_r1 == a) == (gamma == 0)

    @pytest.mark.slow
    def test_r1_by_the_jacobian(self):
        """Of a network that is not linear, on real images only."""
        keras.utils.set_random_seed(2)
        discriminator = keras.Sequential(
            [keras.Input((3,)), layers.Dense(5, "tanh"), layers.Dense(1)]
        )
        generator = keras.Sequential([keras.Input((2,), name="latent"), layers.Dense(3)])
        rng = np.random.default_rng(0)
        image, latent = (rng.normal(size=(4, n)).astype("float32") for n in (3, 2))
        variables = [v.value for v in discriminator.trainable_variables]
        with tf.GradientTape() as tape:
            with tf.GradientTape() as inner:
                inner.watch(x := tf.constant(image))
                y = discriminator(x)
            slopes = tf.reshape(inner.batch_jacobian(y, x), (4, 3))
            penalty = 3.0 / 2 * tf.reduce_mean(tf.reduce_sum(slopes**2, axis=1))
        # The output's bias is not in the slopes.
        slopes = tape.gradient(penalty, variables, unconnected_gradients="zero")
        ends = []
        for loss in ("lsgan", "lsgan+r1"):
            copies = [keras.models.clone_model(n) for n in (generator, discriminator)]
            for copy, network in zip(copies, (generator, discriminator), strict=True):
                copy.set_weights(network.get_weights())
            trainer = trainers.GAN(*copies)
            weight = 3.0 if "r1" in loss else None
            sgd = keras.optimizers.SGD
            trainer.compile(sgd(0.1), sgd(0.1), loss=loss, penalty_weight=weight)
            trainer.fit({"image": image, "latent": latent}, batch_size=4, verbose=0)
            ends.append(copies[1].get_weights())
        for plain, penalized, slope in zip(*ends, slopes, strict=True):
            np.testing.assert_allclose(penalized, plain - 0.1 * slope, rtol=1e-4, atol=1e-6)

    def test_a_pair_of_functions_is_a_loss(self):
        """The hinge loss, written by hand."""

        def discriminator_loss(real, fake):
            return keras.ops.relu(1 - real) + keras.ops.relu(1 + fake)

        pair = discriminator_loss, lambda fake: -fake
        np.testing.assert_allclose(
            self.play("alternating", pair), self.play("alternating", "hinge"), rtol=1e-6
        )

    def test_one_generator_forward_a_step(self):
        assert games.generator_forwards_in_three_steps() == 3

    def test_n_critic_updates_the_discriminator_so_often(self):
        trainer = gan(n_critic=5)
        trainer.fit(batches(3), verbose=0, shuffle=False)
        assert int(trainer.d_optimizer.iterations) == 15
        assert int(trainer.g_optimizer.iterations) == 3

    def test_steps_per_execution_changes_nothing(self):
        one, many = gan(), gan(steps_per_execution=4)
        many.set_weights(one.get_weights())
        for trainer in (one, many):
            trainer.fit(batches(8), verbose=0, shuffle=False)
        assert_equal(state(one), state(many), atol=ROUNDING)

    def test_eager_and_graph_agree(self):
        graph, eager = gan(), gan(run_eagerly=True)
        eager.set_weights(graph.get_weights())
        for trainer in (graph, eager):
            trainer.fit(batches(2), verbose=0, shuffle=False)
        assert_equal(weights(graph), weights(eager), atol=1e-5)

    def test_discriminator_does_not_move_with_the_generators_loss(self):
        """With D's learning rate at 0, only G moves, and the other way round."""
        for still, moving in (("discriminator", "generator"), ("generator", "discriminator")):
            trainer = gan()
            rates = {"generator": "g_optimizer", "discriminator": "d_optimizer"}
            getattr(trainer, rates[still]).learning_rate = 0.0
            before = {n: getattr(trainer, n).trainable_variables for n in (still, moving)}
            before = {n: [np.array(v) for v in variables] for n, variables in before.items()}
            trainer.fit(batches(2), verbose=0, shuffle=False)
            for old, new in zip(
                before[still], getattr(trainer, still).trainable_variables, strict=True
            ):
                np.testing.assert_array_equal(old, new)
            for old, new in zip(
                before[moving], getattr(trainer, moving).trainable_variables, strict=True
            ):
                assert not np.array_equal(old, new)


class TestPrecision:
    @pytest.fixture(params=["mixed_bfloat16", "mixed_float16"])
    def policy(self, request):
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(request.param)
        yield request.param
        keras.config.set_dtype_policy(before)

    @pytest.mark.slow
    @pytest.mark.parametrize("replicas", [1, 2])
    def test_trains_close_to_single_precision(self, policy, replicas, two_replicas):
        strategy = two_replicas if replicas == 2 else tf.distribute.get_strategy()
        with strategy.scope():
            trainer = trainers.GAN(*networks(synchronized=True), seed=3)
            trainer.compile(adam(), adam())
        history = trainer.fit(batches(3, with_noise=True), verbose=0, shuffle=False).history
        scaled = policy == "mixed_float16"
        for optimizer in trainer.optimizers.values():
            assert isinstance(optimizer, keras.optimizers.LossScaleOptimizer) == scaled
        assert {w.dtype for w in trainer.generator.weights} == {"float32"}
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy("float32")
        try:
            reference = gan()
        finally:
            keras.config.set_dtype_policy(before)
        reference.fit(batches(3, with_noise=True), verbose=0, shuffle=False)
        expected = reference.history.history
        for name in history:
            np.testing.assert_allclose(history[name], expected[name], rtol=0.05)

    def test_float16_overflow_skips_the_step_and_halves_the_scale(self):
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy("mixed_float16")
        try:
            trainer = gan(loss="lsgan")
        finally:
            keras.config.set_dtype_policy(before)
        # Gradients times this are beyond half precision's 65,504.
        trainer.d_optimizer.dynamic_scale.assign(2.0**40)
        scale = float(trainer.d_optimizer.dynamic_scale)
        old = weights(trainer)
        trainer.fit(batches(1, with_noise=True), verbose=0)
        assert float(trainer.d_optimizer.dynamic_scale) < scale
        trained = len(trainer.generator.get_weights())
        for a, b, variable in zip(
            old[trained:], weights(trainer)[trained:], trainer.discriminator.weights, strict=True
        ):
            if variable.trainable:
                np.testing.assert_array_equal(a, b)


class TestKerasModel:
    def test_saved_and_loaded_it_trains_on_the_same(self, tmp_path):
        trainer = gan(loss="hinge", n_critic=2, seed=11)
        trainer.fit(batches(3), verbose=0, shuffle=False)
        trainer.save(tmp_path / "gan.keras")
        loaded = keras.saving.load_model(tmp_path / "gan.keras")
        assert_equal(state(trainer), state(loaded))
        assert (loaded.adversarial_loss.name, loaded.n_critic) == ("hinge", 2)
        for each in (trainer, loaded):
            each.fit(batches(3, with_noise=True), verbose=0, shuffle=False)
        assert_equal(state(trainer), state(loaded), atol=ROUNDING)

    def test_a_custom_loss_is_saved(self, tmp_path):
        loss = losses.AdversarialLoss(
            discriminator=absolute, generator=negative, penalty="r1", penalty_weight=0.5
        )
        trainer = gan(loss=loss)
        trainer.save(tmp_path / "gan.keras")
        loaded = keras.saving.load_model(tmp_path / "gan.keras")
        assert loaded.adversarial_loss == loss
        assert loaded.get_compile_config() == trainer.get_compile_config()

    @pytest.mark.slow
    def test_with_a_lambda_the_weights_are_saved(self, tmp_path, caplog):
        trainer = gan(loss=(absolute, lambda fake: -fake))
        trainer.save(tmp_path / "gan.keras")
        assert "is saved without its compile arguments: generator of the" in caplog.text
        loaded = keras.saving.load_model(tmp_path / "gan.keras")
        assert_equal(weights(trainer), weights(loaded))
        with pytest.raises(ValueError, match="compile"):
            loaded.fit(batches(1), verbose=0)
        loaded.compile(adam(), adam(), loss=(absolute, lambda fake: -fake))
        loaded.fit(batches(1), verbose=0)

    def test_weights_file_brings_the_optimizers(self, tmp_path):
        trainer = gan()
        trainer.fit(batches(2), verbose=0, shuffle=False)
        trainer.save_weights(tmp_path / "gan.weights.h5")
        other = gan(seed=99)
        other.load_weights(tmp_path / "gan.weights.h5")
        assert_equal(state(trainer), state(other))

    def test_evaluate_repeats_and_changes_nothing(self):
        trainer = gan()
        trainer.fit(batches(2), verbose=0, shuffle=False)
        before = state(trainer)
        seeds = np.array(trainer.seed_generator.state)
        first = trainer.evaluate(batches(2), return_dict=True, verbose=0)
        second = trainer.evaluate(batches(2), return_dict=True, verbose=0)
        assert first == second
        np.testing.assert_array_equal(seeds, trainer.seed_generator.state)
        assert_equal(before, state(trainer))

    @pytest.mark.slow
    def test_labels_are_taken_and_ignored(self):
        data = batches(2, with_noise=True).map(lambda d: (d["image"], tf.zeros(20, tf.int64)))
        trainer, plain = gan(), gan()
        plain.set_weights(trainer.get_weights())
        trainer.fit(data, verbose=0, shuffle=False)
        plain.fit(data.map(lambda image, label: image), verbose=0, shuffle=False)
        assert_equal(weights(trainer), weights(plain), atol=ROUNDING)

    @pytest.mark.parametrize("latent", ["normal", "uniform"])
    def test_generate_repeats_with_the_seed_and_is_independent_of_batches(self, latent):
        trainer = trainers.GAN(*networks(), latent=latent)
        images = trainer.generate(5, seed=7)
        assert images.shape == (5, 16, 16, 1)
        assert images.dtype == np.float32
        assert np.abs(images).max() <= 1
        np.testing.assert_array_equal(images, trainer.generate(5, seed=7))
        np.testing.assert_allclose(images, trainer.generate(5, seed=7, batch_size=2), atol=ROUNDING)
        assert not np.array_equal(trainer.generate(5), trainer.generate(5))
        stateless = {
            "normal": tf.random.stateless_normal([5, LATENT], [7, 0]),
            "uniform": tf.random.stateless_uniform([5, LATENT], [7, 0], -1, 1),
        }
        np.testing.assert_allclose(trainer.generator(stateless[latent]), images, atol=ROUNDING)


class TestErrors:
    def test_networks_that_do_not_fit(self):
        generator = models.DCGANGenerator(image_shape=(16, 16, 1), latent_size=LATENT, filters=2)
        with pytest.raises(ArgumentError, match=r"\(16, 16, 1\).*\(32, 32, 1\)"):
            trainers.GAN(generator, models.DCGANDiscriminator(input_shape=(32, 32, 1), filters=2))

    @pytest.mark.parametrize(
        ("wrong", "word"),
        [
            ({"loss": "bce"}, "non_saturating"),
            ({"update": "both"}, "alternating"),
            ({"n_critic": 0}, "n_critic"),
            ({"n_critic": 2.0}, "n_critic"),
            ({"n_critic": True}, "n_critic"),
            ({"penalty_weight": 1}, "non_saturating has no gradient penalty"),
            ({"n_critic": 2, "update": "simultaneous"}, "simultaneous"),
            ({"g_optimizer": "adamm"}, "adamm"),
            ({"d_weight": 0}, "d_weight"),
        ],
    )
    def test_compile(self, wrong, word):
        with pytest.raises(ArgumentError, match=word):
            trainers.GAN(*networks()).compile(**wrong)

    def test_one_optimizer_for_both(self):
        optimizer = adam()
        with pytest.raises(ArgumentError, match="an optimizer object each"):
            trainers.GAN(*networks()).compile(optimizer, optimizer)

    def test_images_of_the_wrong_shape(self):
        with pytest.raises(DataError, match=r"\(16, 16, 1\).*28, 28"):
            gan().fit(np.zeros((4, 28, 28, 1), "float32"))

    def test_a_dictionary_without_images(self):
        with pytest.raises(DataError, match="'image'"):
            gan().fit(tf.data.Dataset.from_tensors({"picture": tf.zeros((2, 16, 16, 1))}))

    def test_unknown_latent(self):
        with pytest.raises(ArgumentError, match="normal, uniform"):
            trainers.GAN(*networks(), latent="gaussian")

    @pytest.mark.parametrize("count", [0, 2.0, True, "2"])
    def test_a_count_that_is_none(self, count):
        with pytest.raises(ArgumentError, match="count must be a positive whole number"):
            gan().generate(count)


def test_whole_numbers_of_numpy():
    trainer = gan(n_critic=np.int64(2))
    trainer.fit(batches(1), verbose=0)
    assert trainer.generate(np.int64(3), seed=0, batch_size=np.int32(2)).shape == (3, 16, 16, 1)
    assert trainers.class_labels(np.uint8(2), np.int16(5)).tolist() == [0, 1]


@pytest.mark.parametrize("seed", [-1, 2**63, 10**22, "a", 1.5, True])
def test_a_seed_is_checked(seed):
    generator, discriminator = networks()
    for use in (
        lambda: trainers.sample(generator, 1, seed=seed),
        lambda: trainers.GAN(generator, discriminator, seed=seed),
    ):
        with pytest.raises(ArgumentError, match="seed must be a whole number from 0 to 2"):
            use()
    assert trainers.sample(generator, 1, seed=2**63 - 1).shape == (1, 16, 16, 1)
