import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers

from keras_arch import models, trainers
from keras_arch.callbacks import checkpoint_files as state
from keras_arch.errors import ArgumentError, DataError
from keras_arch.trainers.image_pool import ImagePool
from tests.trainers import games

SHAPE = (games.SIZE, games.SIZE, 2)


class PlainPool:
    """The rule as it is written: one image after the other."""

    def __init__(self, size):
        self.size = size
        self.kept = []

    def query(self, images, numbers):
        shown = []
        for image, (coin, which) in zip(images, numbers, strict=True):
            if len(self.kept) < self.size:
                self.kept.append(image)
                shown.append(image)
            elif self.size and coin > 0.5:
                place = int(np.float32(which) * np.float32(self.size))
                shown.append(self.kept[place])
                self.kept[place] = image
            else:
                shown.append(image)
        return shown


def pool_of(size, shape=(1,)):
    return ImagePool(keras.Sequential([keras.Input((1,)), layers.Dense(1)]), size, shape, "pool")


# Their products with a size are exact in single precision.
NUMBER = st.integers(0, 1023).map(lambda number: number / 1024)


class TestPool:
    @pytest.mark.slow
    @given(
        size=st.integers(0, 5),
        batches=st.lists(
            st.lists(st.tuples(NUMBER, NUMBER), min_size=1, max_size=7), min_size=1, max_size=4
        ),
    )
    @settings(max_examples=60, deadline=None)
    def test_a_batch_is_one_image_after_the_other(self, size, batches):
        pool, plain = pool_of(size), PlainPool(size)
        new = 0.0
        for numbers in batches:
            images = [[new := new + 1] for _ in numbers]
            shown = pool.query(np.array(images, "float32"), np.array(numbers, "float32"))
            assert np.asarray(shown).tolist() == plain.query(images, numbers)
            if size:
                assert int(pool.count) == len(plain.kept)
                assert np.asarray(pool.images)[: len(plain.kept)].tolist() == plain.kept

    def test_numbers_at_the_end_of_their_range(self):
        pool = pool_of(3)
        pool.query(np.array([[1.0], [2.0], [3.0]]), np.zeros((3, 2)))
        last = np.nextafter(np.float32(1), np.float32(0))
        assert np.asarray(pool.query(np.array([[4.0]]), np.array([[last, last]]))) == [[3.0]]

    def test_one_graph_for_batches_of_any_size(self):
        pool, plain = pool_of(2, (1, 1, 1)), PlainPool(2)
        traces = []

        @tf.function(input_signature=[tf.TensorSpec((None, 1, 1, 1)), tf.TensorSpec((None, 2))])
        def query(images, numbers):
            traces.append(1)
            return pool.query(images, numbers)

        rng = np.random.default_rng(0)
        for size in (1, 5, 2, 3):
            images = rng.normal(size=(size, 1, 1, 1)).astype("float32")
            numbers = rng.uniform(size=(size, 2)).astype("float32")
            np.testing.assert_array_equal(query(images, numbers), plain.query(images, numbers))
        assert len(traces) == 1

    def test_half_of_what_is_shown_is_older(self):
        pool = pool_of(50)
        rng = np.random.default_rng(0)
        images = np.arange(2050, dtype="float32")[:, None]
        shown = np.asarray(pool.query(images, rng.uniform(size=(2050, 2))))
        np.testing.assert_array_equal(shown[:50], images[:50])
        older = (shown[50:] != images[50:]).mean()
        assert abs(older - 0.5) < 4 * 0.5 / np.sqrt(2000)
        ages = (images[50:] - shown[50:])[shown[50:] != images[50:]]
        # A place is taken anew every 2 * 50 images on average.
        assert 80 < ages[-500:].mean() < 120


class TestStep:
    """G(x) = a x and F(y) = b y against D(y) = w y and E(x) = v x, steps of SGD by hand."""

    RATE, CYCLE, IDENTITY = 0.01, 10.0, 0.5

    def play(self, pool_size, steps, identity):
        def scalar(value):
            model = keras.Sequential([keras.Input((1,)), layers.Dense(1, use_bias=False)])
            model.weights[0].assign([[value]])
            return model

        networks = [scalar(value) for value in (0.5, 0.7, 0.8, -0.4)]
        trainer = trainers.CycleGAN(*networks, pool_size=pool_size)
        sgd = keras.optimizers.SGD
        trainer.compile(sgd(self.RATE), sgd(self.RATE), identity_weight=identity)
        rng = np.random.default_rng(0)
        data = {
            "image": rng.uniform(0.5, 2, (2 * steps, 1)),
            "other": rng.uniform(-2, 2, (2 * steps, 1)),
            "other_numbers": rng.uniform(size=(2 * steps, 2)),
            "image_numbers": rng.uniform(size=(2 * steps, 2)),
        }
        data = {name: array.astype("float32") for name, array in data.items()}
        history = trainer.fit(
            tf.data.Dataset.from_tensor_slices(data).batch(2), verbose=0, shuffle=False
        ).history
        return [float(network.weights[0].value[0, 0]) for network in networks], data, history

    def by_hand(self, data, pool_size, identity):
        a, b, w, v = 0.5, 0.7, 0.8, -0.4
        pools = PlainPool(pool_size), PlainPool(pool_size)
        logged = []
        for step in range(len(data["image"]) // 2):
            part = {name: array[2 * step : 2 * step + 2] for name, array in data.items()}
            x, y = part["image"], part["other"]
            there, back = np.sign(b * a * x - x), np.sign(a * b * y - y)
            weight = self.CYCLE * identity
            a_slope = 2 * (w * a * x - 1) * w * x + self.CYCLE * (there * b * x + back * b * y)
            a_slope = a_slope + weight * np.sign(a * y - y) * y
            b_slope = 2 * (v * b * y - 1) * v * y + self.CYCLE * (there * a * x + back * a * y)
            b_slope = b_slope + weight * np.sign(b * x - x) * x
            # The discriminators see what was made before the generators moved.
            fake_y = np.array(pools[0].query(a * x, part["other_numbers"]))
            fake_x = np.array(pools[1].query(b * y, part["image_numbers"]))
            w_slope = 0.5 * (2 * (w * y - 1) * y + 2 * w * fake_y**2)
            v_slope = 0.5 * (2 * (v * x - 1) * x + 2 * v * fake_x**2)
            gan = ((w * a * x - 1) ** 2).mean()
            gan_back = ((v * b * y - 1) ** 2).mean()
            cycle = (abs(b * a * x - x) + abs(a * b * y - y)).mean()
            same = (abs(b * x - x) + abs(a * y - y)).mean()
            d_loss = 0.5 * (
                (w * y - 1) ** 2 + (w * fake_y) ** 2 + (v * x - 1) ** 2 + (v * fake_x) ** 2
            )
            row = {
                "g_gan": gan,
                "g_gan_back": gan_back,
                "g_cycle": cycle,
                "g_loss": gan + gan_back + self.CYCLE * cycle + weight * same,
                "d_loss": d_loss.mean(),
                "d_real": (w * y + v * x).mean() / 2,
                "d_fake": (w * fake_y + v * fake_x).mean() / 2,
            }
            logged.append(row | ({"g_identity": same} if identity else {}))
            a, b = a - self.RATE * a_slope.mean(), b - self.RATE * b_slope.mean()
            w, v = w - self.RATE * w_slope.mean(), v - self.RATE * v_slope.mean()
        return [a, b, w, v], {n: np.mean([row[n] for row in logged]) for n in logged[0]}

    @pytest.mark.parametrize(
        ("pool_size", "steps", "identity"),
        [
            (3, 6, 0.5),
            *(pytest.param(*p, marks=pytest.mark.slow) for p in ((50, 1, 0.5), (0, 2, 0.0))),
        ],
    )
    def test_steps(self, pool_size, steps, identity):
        found, data, history = self.play(pool_size, steps, identity)
        expected, logged = self.by_hand(data, pool_size, identity)
        np.testing.assert_allclose(found, expected, rtol=1e-5)
        assert set(history) == set(logged)
        for name, value in logged.items():
            np.testing.assert_allclose(history[name][0], value, rtol=1e-4)


class TestNetworks:
    @pytest.mark.slow
    def test_the_papers_networks_train_and_translate(self):
        shape = (16, 16, 3)
        trainer = trainers.CycleGAN(
            *(models.CycleGANGenerator(1, image_shape=shape, filters=2) for _ in range(2)),
            *(
                models.PatchDiscriminator(
                    16, input_shape=shape, target_channels=None, norm="instance", filters=2
                )
                for _ in range(2)
            ),
            pool_size=2,
        )
        trainer.compile(run_eagerly=True)
        rng = np.random.default_rng(0)
        images, others = rng.uniform(-1, 1, (2, 3, *shape)).astype("float32")
        history = trainer.fit(images, others, batch_size=1, verbose=0).history
        assert np.isfinite([value for values in history.values() for value in values]).all()
        for backward, generator in ((False, trainer.generator), (True, trainer.generator_back)):
            translated = trainer.translate(images, backward=backward)
            np.testing.assert_allclose(translated, generator(images), atol=1e-5)
            assert np.abs(translated).max() <= 1

    def test_other_channels_without_identity(self):
        gray, color = (games.SIZE, games.SIZE, 1), SHAPE
        trainer = trainers.CycleGAN(
            games.translator(2, 1),
            games.translator(1, 2),
            games.discriminator(gray),
            games.discriminator(color),
        )
        with pytest.raises(ArgumentError, match=r"identity_weight must be 0 .*\(4, 4, 2\)"):
            trainer.compile()
        trainer.compile(identity_weight=0, run_eagerly=True)
        data = {"image": np.zeros((2, *color)), "other": np.zeros((2, *gray))}
        trainer.fit(data, batch_size=2, verbose=0)
        assert trainer.translate(data["other"], backward=True).shape == (2, *color)

    def test_the_pools_are_part_of_a_checkpoint(self):
        paths = [variable.path for variable in state.variables_of(games.cyclegan())]
        for name in ("other_pool_images", "other_pool_count", "image_pool_images"):
            assert sum(path.endswith(name) for path in paths) == 1

    @pytest.mark.slow
    def test_half_precision(self):
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy("mixed_bfloat16")
        try:
            half = games.CYCLEGAN.make(run_eagerly=True)
        finally:
            keras.config.set_dtype_policy(before)
        whole = games.CYCLEGAN.make(run_eagerly=True)
        data = games.CYCLEGAN.batches(2)
        expected = whole.fit(data, verbose=0).history
        for name, value in half.fit(data, verbose=0).history.items():
            np.testing.assert_allclose(value, expected[name], rtol=0.1, atol=0.02)


class TestErrors:
    def test_networks(self):
        g, f, d, e = (
            games.translator(),
            games.translator(),
            games.discriminator(SHAPE),
            games.discriminator(SHAPE),
        )
        small = games.discriminator((2, 2, 2))
        with pytest.raises(ArgumentError, match="stands in two places"):
            trainers.CycleGAN(g, g, d, e)
        with pytest.raises(ArgumentError, match=r"discriminator_back must take.*\(4, 4, 2\)"):
            trainers.CycleGAN(g, f, d, small)
        with pytest.raises(ArgumentError, match=r"discriminator must take \(4, 4, 2\), "):
            trainers.CycleGAN(g, f, games.discriminator(SHAPE, SHAPE), e)
        with pytest.raises(ArgumentError, match="generator must take"):
            trainers.CycleGAN(games.translator(3, 2), f, d, e)
        with pytest.raises(ArgumentError, match="pool_size"):
            trainers.CycleGAN(g, f, d, e, pool_size=-1)

    def test_a_pool_for_images_of_any_size(self):
        def free():
            image = keras.Input((None, None, 2))
            return keras.Model(image, layers.Conv2D(2, 1)(image))

        with pytest.raises(ArgumentError, match="pool_size=0"):
            trainers.CycleGAN(free(), free(), free(), free())
        trainers.CycleGAN(free(), free(), free(), free(), pool_size=0)

    def test_one_kind_of_image_only(self):
        images = np.zeros((4, *SHAPE), "float32")
        for data in (images, tf.data.Dataset.from_tensors(images), {"image": images}):
            with pytest.raises(DataError, match="needs 'other'") as raised:
                games.cyclegan().fit(data, verbose=0)
            assert "\n" not in str(raised.value)

    def test_translating_images_of_another_size(self):
        with pytest.raises(ArgumentError, match=r"\(2, 8, 8, 2\)"):
            games.cyclegan().translate(np.zeros((2, 8, 8, 2)))
