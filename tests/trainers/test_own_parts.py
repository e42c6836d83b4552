"""What users bring to a game: networks, losses, regularizers, metrics and label inputs."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from keras_arch import losses, trainers
from keras_arch.errors import ArgumentError, DataError
from keras_arch.trainers.checks import last_activation
from tests.trainers import backend_step, games

SHAPE = backend_step.SHAPE
RATE = 0.1


def scalar(name, value, **options):
    """A network of one weight, from a number to its product with it."""
    layer = layers.Dense(1, use_bias=False, **options)
    model = keras.Sequential([keras.Input((1,), name=name), layer])
    model.weights[0].assign([[value]])
    return model


def gan_of(generator, discriminator, **compiled):
    trainer = trainers.GAN(generator, discriminator, seed=3)
    sgd = keras.optimizers.SGD
    trainer.compile(sgd(RATE), sgd(RATE), run_eagerly=True, **compiled)
    return trainer


def ends_in(*ending):
    return keras.Sequential([keras.Input(SHAPE), layers.Flatten(), layers.Dense(1), *ending])


def generator():
    return keras.Sequential(
        [keras.Input((games.LATENT,)), layers.Dense(16, "tanh"), layers.Reshape(SHAPE)]
    )


IMAGES = np.random.default_rng(0).uniform(-1, 1, (8, *SHAPE)).astype("float32")


class TestWhatALossReads:
    @pytest.mark.parametrize("loss", ["non_saturating", "minimax", "hinge+r1", "wgan-gp"])
    @pytest.mark.parametrize(
        "ending",
        [
            (layers.Activation("sigmoid"),),
            (layers.Activation("sigmoid"), layers.Reshape((1, 1)), layers.Flatten()),
            (layers.Dense(2), layers.Softmax()),
            (keras.Sequential([keras.Input((1,)), layers.Dense(1, "sigmoid")]),),
            (layers.Activation("sigmoid"), layers.Activation("linear")),
        ],
        ids=lambda ending: ending[-1].name,
    )
    def test_probabilities_under_a_loss_of_logits(self, ending, loss):
        with pytest.raises(ArgumentError, match=r"ends in s.* logits .* loss='lsgan'") as raised:
            gan_of(generator(), ends_in(*ending), loss=loss)
        assert "\n" not in str(raised.value)

    @pytest.mark.parametrize("name", ["pix2pix", "cyclegan", "lapgan"])
    def test_in_every_game(self, name):
        game = {
            "pix2pix": games.PIX2PIX["cgan"],
            "cyclegan": games.CYCLEGAN,
            "lapgan": games.LAPGAN,
        }
        trainer = game[name].make()
        for player in trainer.players():
            for network in player.networks if player.name.startswith("d") else ():
                network.layers[-1].activation = keras.activations.sigmoid
        with pytest.raises(ArgumentError, match="ends in sigmoid"):
            trainer.compile(loss="hinge")
        trainer.compile(loss="lsgan")

    def test_they_are_right_for_squares_and_for_probabilities(self):
        for loss in ("lsgan", keras.losses.BinaryCrossentropy(), keras.losses.binary_crossentropy):
            trainer = gan_of(generator(), ends_in(layers.Activation("sigmoid")), loss=loss)
            history = trainer.fit(IMAGES, batch_size=4, verbose=0).history
            assert np.isfinite(list(history.values())).all()

    def test_a_softmax_over_one_value(self):
        with pytest.raises(ArgumentError, match="always 1"):
            gan_of(generator(), ends_in(layers.Softmax()), loss="lsgan")

    def test_logits_under_a_loss_of_probabilities(self):
        loss = keras.losses.BinaryCrossentropy(label_smoothing=0.1)
        with pytest.raises(ArgumentError, match=r"no activation.*probabilities.*from_logits=True"):
            gan_of(generator(), ends_in(), loss=loss)

    def test_of_a_subclass_nothing_is_known(self):
        network = Discriminator()
        network(np.zeros((1, *SHAPE), "float32"))
        assert last_activation(network) is None


class TestLossesOfKeras:
    @pytest.mark.parametrize(
        ("name", "loss", "factor"),
        [
            ("non_saturating", keras.losses.BinaryCrossentropy(from_logits=True), 1),
            ("lsgan", keras.losses.MeanSquaredError(), 2),
            ("lsgan", keras.losses.mean_squared_error, 2),
        ],
    )
    def test_they_are_those_of_this_package(self, name, loss, factor):
        ours, theirs = losses.adversarial(name), losses.adversarial(loss)
        rng = np.random.default_rng(1)
        for shape in ((3, 1), (3, 4, 4, 1)):
            real, fake = rng.normal(size=(2, *shape)).astype("float32")
            for a, b in (
                (ours.for_discriminator(real, fake), theirs.for_discriminator(real, fake)),
                (ours.for_generator(fake), theirs.for_generator(fake)),
            ):
                np.testing.assert_allclose(factor * np.asarray(a), b, rtol=1e-5)

    def test_they_are_saved(self, tmp_path):
        loss = keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=0.2)
        trainer = gan_of(generator(), ends_in(), loss=loss)
        trainer.save(tmp_path / "gan.keras")
        loaded = keras.saving.load_model(tmp_path / "gan.keras")
        assert loaded.get_compile_config() == trainer.get_compile_config()
        assert loaded.adversarial_loss.reads == "logits"
        value = loaded.adversarial_loss.for_generator(np.zeros((2, 1), "float32"))
        np.testing.assert_allclose(value, np.log(2), rtol=1e-6)

    @pytest.mark.parametrize(
        ("loss", "words"),
        [
            (lambda real, fake: fake - real, "a pair of functions"),
            ("bce", "'non_saturating', the squared error 'lsgan'"),
            (keras.losses.BinaryCrossentropy, "a loss of Keras"),
        ],
    )
    def test_what_cannot_be_read_is_refused(self, loss, words):
        with pytest.raises(ArgumentError, match=words):
            losses.adversarial(loss)


class TestRegularizers:
    L2 = 0.25

    def trainer(self, regularized="d", **compiled):
        nets = {}
        for name, player, value in (("latent", "g", 0.5), ("image", "d", 0.8)):
            own = keras.regularizers.L2(self.L2) if player in regularized else None
            nets[player] = scalar(name, value, kernel_regularizer=own)
        return gan_of(nets["g"], nets["d"], **compiled)

    def weights(self, trainer):
        return {p.name: float(p.variables[0].value[0, 0]) for p in trainer.players()}

    def fitted(self, trainer):
        data = {"image": np.array([[1.0], [3.0]]), "latent": np.array([[2.0], [-1.0]])}
        data = {name: part.astype("float32") for name, part in data.items()}
        return trainer.fit(data, verbose=0, batch_size=2).history

    @pytest.mark.parametrize(
        "regularized", [*(pytest.param(x, marks=pytest.mark.slow) for x in "dg"), "dg"]
    )
    def test_each_player_has_those_of_its_own_networks(self, regularized):
        plain, trainer = self.trainer(""), self.trainer(regularized)
        for each in (plain, trainer):
            each.compile(*(keras.optimizers.SGD(RATE) for _ in "gd"), update="simultaneous")
        before, logs = self.fitted(plain), self.fitted(trainer)
        start = {"d": 0.8, "g": 0.5}
        for player, weight in start.items():
            term = self.L2 * weight**2 if player in regularized else 0.0
            moved = RATE * 2 * self.L2 * weight if player in regularized else 0.0
            expected = self.weights(plain)[player] - moved
            np.testing.assert_allclose(self.weights(trainer)[player], expected, rtol=1e-5)
            np.testing.assert_allclose(
                logs[f"{player}_loss"][0], before[f"{player}_loss"][0] + term, rtol=1e-5
            )
            name = f"{player}_regularization"
            assert (name in logs) == (player in regularized)
            if name in logs:
                np.testing.assert_allclose(logs[name], term, rtol=1e-6)

    def test_every_update_of_a_critic_has_them(self):
        ends = []
        for l2 in (0.0, self.L2):
            critic = scalar(
                "image", 0.8, kernel_regularizer=keras.regularizers.L2(l2) if l2 else None
            )
            # Without a slope in the images: only the regularizer moves it.
            flat = (lambda real, fake: 0 * (real + fake), lambda fake: 0 * fake)
            trainer = gan_of(scalar("latent", 0.5), critic, loss=flat, n_critic=2)
            trainer.fit(np.zeros((4, 1), "float32"), batch_size=4, verbose=0)
            ends.append(float(critic.weights[0].value[0, 0]))
        np.testing.assert_allclose(ends, [0.8, 0.8 * (1 - RATE * 2 * self.L2) ** 2], rtol=1e-5)

    @pytest.mark.slow
    def test_two_replicas_have_them_once(self, two_replicas):
        ends = []
        for strategy in (tf.distribute.get_strategy(), two_replicas):
            with strategy.scope():
                trainer = self.trainer("dg")
                trainer.compile(*(keras.optimizers.SGD(RATE) for _ in "gd"))
            logs = self.fitted(trainer)
            ends.append([*trainer.get_weights(), *(logs[name] for name in sorted(logs))])
        for one, two in zip(*ends, strict=True):
            np.testing.assert_allclose(one, two, rtol=1e-5)

    def test_evaluation_counts_them(self):
        trainer, plain = self.trainer("d"), self.trainer("")
        data = {"image": np.ones((2, 1), "float32"), "latent": np.ones((2, 1), "float32")}
        with_term, without = (
            each.evaluate(data, return_dict=True, verbose=0)["d_loss"] for each in (trainer, plain)
        )
        np.testing.assert_allclose(with_term - without, self.L2 * 0.8**2, rtol=1e-5)

    def test_those_of_activations_are_refused(self):
        network = ends_in(layers.Dense(1, activity_regularizer="l2"))
        with pytest.raises(ArgumentError, match=r"activity_regularizer.*kernel_reg"):
            gan_of(generator(), network)


@pytest.mark.parametrize(
    "given", [{"metrics": ["mae"]}, {"metrics": "mae"}, {"loss_weights": [1, 2]}]
)
@pytest.mark.parametrize("game", games.EACH, ids=str)
def test_arguments_of_compile_without_a_place(game, given):
    (name,) = given
    with pytest.raises(ArgumentError, match=f"takes no {name}: "):
        game.make(**given)


@keras.saving.register_keras_serializable("test_own_parts")
class Generator(keras.Model):
    def __init__(self, **options):
        super().__init__(**options)
        self.dense, self.reshape = layers.Dense(16, "tanh"), layers.Reshape(SHAPE)

    def call(self, latent, training=False):
        return self.reshape(self.dense(latent))


class ConditionalGenerator(Generator):
    def call(self, inputs, training=False):
        latent, label = inputs
        one_hot = keras.ops.one_hot(keras.ops.cast(label, "int32"), games.CLASSES)
        return self.reshape(self.dense(keras.ops.concatenate([latent, one_hot], -1)))


class Discriminator(keras.Model):
    def __init__(self, **options):
        super().__init__(**options)
        self.flatten, self.dense = layers.Flatten(), layers.Dense(1)

    def call(self, image, training=False):
        return self.dense(self.flatten(image))


class Translator(keras.Model):
    def __init__(self, **options):
        super().__init__(**options)
        self.conv = layers.Conv2D(1, 3, padding="same", activation="tanh")

    def call(self, image, training=False):
        return self.conv(image)


class TestSubclassedNetworks:
    def test_a_gan(self, tmp_path):
        own, critic = Generator(), Discriminator()
        for network in (own, critic):
            with pytest.raises(ArgumentError, match="call it once on a batch"):
                trainers.GAN(*((network, ends_in()) if network is own else (own, network)))
            own(np.zeros((1, games.LATENT), "float32"))
        critic(np.zeros((1, *SHAPE), "float32"))
        trainer = gan_of(own, critic)
        trainer.compile(keras.optimizers.SGD(RATE, use_ema=True), "sgd", run_eagerly=True)
        before = own.get_weights()
        trainer.fit(IMAGES, batch_size=4, verbose=0)
        assert any((a != b).any() for a, b in zip(before, own.get_weights(), strict=True))
        assert trainer.generate(3, seed=0).shape == (3, *SHAPE)
        with pytest.raises(DataError, match="batches of shape"):
            trainer.fit(IMAGES[:, :2], verbose=0)
        trainer.export(tmp_path / "served", verbose=False)
        served = tf.saved_model.load(tmp_path / "served")
        latent = np.ones((5, games.LATENT), "float32")
        np.testing.assert_allclose(
            served.serve(latent), trainer.ema_network(own)(latent), rtol=0, atol=1e-6
        )

    def test_a_conditional_gan(self):
        own = ConditionalGenerator()
        own([np.zeros((2, games.LATENT), "float32"), np.zeros(2, "int32")])
        network = games.discriminator(SHAPE, classes=games.CLASSES)
        trainer = trainers.ConditionalGAN(own, network, games.CLASSES, seed=1)
        trainer.compile(run_eagerly=True)
        trainer.fit(IMAGES, np.arange(8) % 3, batch_size=4, verbose=0)
        assert trainer.generate(3, seed=0).shape == (3, *SHAPE)

    def test_pix2pix(self):
        own = Translator()
        own(np.zeros((1, 4, 4, 2), "float32"))
        trainer = trainers.Pix2Pix(own, objective="l1")
        trainer.compile(run_eagerly=True)
        arrays = games.PIX2PIX["l1"].arrays(1)
        trainer.fit(arrays, verbose=0)
        assert trainer.translate(arrays["image"]).shape == (games.BATCH, 4, 4, 1)


def labelled(shape, name):
    """A generator and a discriminator whose label is an input of some shape."""
    keras.utils.set_random_seed(1)
    networks = []
    for first, end in (
        ((games.LATENT,), [layers.Dense(16, "tanh"), layers.Reshape(SHAPE)]),
        (SHAPE, [layers.Dense(1)]),
    ):
        value = keras.Input(first)
        label = keras.Input(shape, dtype="float32" if shape == (3,) else "int32", name=name)
        x = label
        if shape != (games.CLASSES,):
            x = layers.CategoryEncoding(games.CLASSES, output_mode="one_hot")(x)
        x = layers.Concatenate()([layers.Flatten()(value), x])
        for layer in end:
            x = layer(x)
        networks.append(keras.Model([value, label], x))
    return networks


class TestLabelInputs:
    def test_each_shape_of_a_plain_meaning_trains_alike(self, tmp_path):
        ends = []
        for shape in ((), (1,), (games.CLASSES,)):
            trainer = trainers.ConditionalGAN(*labelled(shape, "label"), games.CLASSES, seed=3)
            trainer.compile(games.adam(), games.adam(), run_eagerly=True)
            trainer.fit(IMAGES, np.arange(8) % 3, batch_size=4, verbose=0, shuffle=False)
            images = trainer.generate(4, seed=2, labels=[0, 1, 2, 1])
            ends.append([*trainer.get_weights(), images])
            again = trainers.sample(trainer.generator, 4, seed=2, labels=[0, 1, 2, 1])
            np.testing.assert_array_equal(images, again)
        for end in ends[1:]:
            for first, other in zip(ends[0], end, strict=True):
                np.testing.assert_allclose(first, other, rtol=0, atol=1e-6)

    @pytest.mark.parametrize("shape", [(4,), (1, 1), (None,)])
    def test_another_is_refused(self, shape):
        label = keras.Input(shape)
        latent = keras.Input((games.LATENT,))
        mean = keras.ops.mean(label, axis=tuple(range(1, 1 + len(shape))))
        x = layers.Concatenate()([latent, keras.ops.expand_dims(mean, -1)])
        own = keras.Model([latent, label], layers.Reshape(SHAPE)(layers.Dense(16)(x)))
        network = games.discriminator(SHAPE, classes=games.CLASSES)
        with pytest.raises(ArgumentError, match=r"\(batch, 1\), or \(batch, 3\) for one-hot"):
            trainers.ConditionalGAN(own, network, games.CLASSES)


class TestExport:
    @pytest.mark.parametrize("game", games.EACH, ids=str)
    def test_it_is_the_generators(self, game, monkeypatch, tmp_path):
        trainer = game.make()
        called = []
        monkeypatch.setattr(
            type(trainer.generator), "export", lambda *given, **more: called.append((given, more))
        )
        trainer.export(tmp_path, format="onnx")
        assert called == [((trainer.generator, tmp_path), {"format": "onnx"})]

    def test_a_game_without_one(self):
        with pytest.raises(ArgumentError, match="no network named generator"):
            trainers.AdversarialTrainer(name="own").export("nowhere")


class TestBatchesThatACriticDoesNotDivide:
    def parts(self, size, count):
        trainer = gan_of(generator(), ends_in())
        tensors = {"image": np.arange(size)}
        found = [trainer.micro_batch(tensors, index, count)["image"] for index in range(count)]
        # Of a size that is known when the step runs only.
        step = tf.function(
            lambda image: [
                trainer.micro_batch({"image": image}, i, count)["image"] for i in range(count)
            ],
            input_signature=[tf.TensorSpec([None], tf.int64)],
        )
        for one, other in zip(found, step(np.arange(size)), strict=True):
            np.testing.assert_array_equal(one, other)
        return [part.tolist() for part in found]

    def test_their_parts(self):
        assert self.parts(6, 3) == [[0, 3], [1, 4], [2, 5]]
        assert self.parts(7, 3) == [[0, 3, 6], [1, 4], [2, 5]]
        assert self.parts(2, 5) == [[0], [1], [0], [1], [0]]

    @pytest.mark.parametrize("known", [False, True])
    @pytest.mark.parametrize("left", [1, 3])
    def test_they_train(self, left, known):
        """A last batch of one or three examples, for a critic of two updates."""
        trainer = gan_of(generator(), ends_in(), n_critic=2, loss="wgan-gp")
        data = tf.data.Dataset.from_tensor_slices(IMAGES[: 4 + left]).batch(4)
        if known:
            data = tf.data.Dataset.from_tensors(IMAGES[:left])
        logs = trainer.fit(data, verbose=0).history
        assert np.isfinite(list(logs.values())).all()
        assert int(trainer.d_optimizer.iterations) == 2 * int(trainer.g_optimizer.iterations)
