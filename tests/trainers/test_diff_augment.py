"""All here is backend-neutral: it runs under any KERAS_BACKEND."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from keras_arch.errors import ArgumentError
from keras_arch.trainers import diff_augment

ALL = "color,translation,cutout"
SHAPE = (8, 16, 3)


def images(count=2, shape=SHAPE):
    return np.random.default_rng(0).uniform(-1, 1, (count, *shape)).astype("float32")


def numbers(policy=ALL, count=2, seed=1):
    rng = np.random.default_rng(seed)
    return {
        name: rng.uniform(size=(count, *shape)).astype("float32")
        for name, shape in diff_augment.noise(policy, SHAPE).items()
    }


def applied(policy, batch, given):
    return ops.convert_to_numpy(diff_augment.apply(policy, batch, given))


def shift_by_hand(image, down, right):
    out = np.zeros_like(image)
    height, width = image.shape[:2]
    for y in range(height):
        for x in range(width):
            if 0 <= y - down < height and 0 <= x - right < width:
                out[y, x] = image[y - down, x - right]
    return out


class TestPolicy:
    def test_numbers_of_the_whole(self):
        assert diff_augment.noise(ALL, SHAPE) == {
            "brightness": (1, 1, 1),
            "saturation": (1, 1, 1),
            "contrast": (1, 1, 1),
            "translation": (2,),
            "cutout": (2,),
        }

    def test_order_is_kept(self):
        assert diff_augment.steps("cutout, color") == ("cutout", "color")
        given = numbers("cutout,color")
        assert np.abs(
            applied("cutout,color", images(), given) - applied("color,cutout", images(), given)
        ).max()

    @pytest.mark.parametrize(
        ("policy", "message"),
        [
            ("color,blur", r"color, translation, cutout.*'color,blur' has 'blur'"),
            ("", r"'' has ''"),
            ("color,color", r"'color,color' names the same"),
        ],
    )
    def test_bad_policy(self, policy, message):
        with pytest.raises(ArgumentError, match=message):
            diff_augment.noise(policy, SHAPE)

    def test_an_unknown_size_is_refused(self):
        with pytest.raises(ArgumentError, match=r"\(None, None, 3\)"):
            diff_augment.noise(ALL, (None, None, 3))

    def test_missing_numbers_are_named(self):
        with pytest.raises(ArgumentError, match="'translation' is missing"):
            diff_augment.apply(ALL, images(), numbers("color"))


class TestColor:
    def test_halves_change_nothing(self):
        """A half is brightness + 0, saturation x 1, contrast x 1."""
        given = {name: np.full((2, 1, 1, 1), 0.5) for name in diff_augment.noise("color", SHAPE)}
        np.testing.assert_allclose(applied("color", images(), given), images(), atol=1e-6)

    def test_one_pixel_by_hand(self):
        """Of two pixels, (0.6, 0, 0) and black, with brightness 0.75, saturation 0.25,
        contrast 0."""
        picture = np.zeros((1, 1, 2, 3), "float32")
        picture[0, 0, 0, 0] = 0.6
        given = {"brightness": 0.75, "saturation": 0.25, "contrast": 0.0}
        given = {name: np.full((1, 1, 1, 1), value) for name, value in given.items()}
        # + 0.25: (0.85, 0.25, 0.25) with mean 0.45; half the way to it: (0.65, 0.35, 0.35);
        # the image's mean is (0.45 + 0.25) / 2 = 0.35; half the way to that.
        wanted = [[[[0.5, 0.35, 0.35], [0.3, 0.3, 0.3]]]]
        np.testing.assert_allclose(applied("color", picture, given), wanted, atol=1e-6)


class TestTranslation:
    @pytest.mark.parametrize(
        ("uniform", "down", "right"),
        [
            # A side of 8 moves by -1, 0 or 1, one of 16 by -2 ... 2.
            ((0.0, 0.0), -1, -2),
            ((0.3, 0.2), -1, -1),
            ((0.5, 0.5), 0, 0),
            ((0.7, 0.61), 1, 1),
            ((0.99999, 0.99999), 1, 2),
            # The largest number below 1 in single precision, times 5, rounds to 5.
            ((np.nextafter(np.float32(1), np.float32(0)),) * 2, 1, 2),
        ],
    )
    def test_by_hand(self, uniform, down, right):
        given = {"translation": np.array([uniform, (0.5, 0.5)], "float32")}
        found = applied("translation", images(), given)
        np.testing.assert_array_equal(found[0], shift_by_hand(images()[0], down, right))
        np.testing.assert_array_equal(found[1], images()[1])

    def test_all_shifts_are_equally_likely(self):
        """As integers from -4 to 4 for 32 pixels."""
        uniform = (np.arange(9000) + 0.5) / 9000
        line = np.zeros((9000, 32, 1, 1), "float32")
        line[:, 16] = 1
        given = {"translation": np.stack([uniform, np.full(9000, 0.5)], 1)}
        found = applied("translation", line, given).argmax(1).ravel() - 16
        assert np.unique(found, return_counts=True)[1].tolist() == [1000] * 9
        assert (found.min(), found.max()) == (-4, 4)


class TestCutout:
    @pytest.mark.parametrize(
        ("uniform", "rows", "columns"),
        [
            # 4 x 8 of 8 x 16; the middle is in 0 ... 8 and 0 ... 16.
            ((0.0, 0.0), slice(0, 2), slice(0, 4)),
            ((0.5, 0.5), slice(2, 6), slice(4, 12)),
            ((0.25, 0.99), slice(0, 4), slice(12, 16)),
            ((0.99, 0.3), slice(6, 8), slice(1, 9)),
        ],
    )
    def test_by_hand(self, uniform, rows, columns):
        given = {"cutout": np.array([(0.5, 0.5), uniform], "float32")}
        wanted = images()
        wanted[0, 2:6, 4:12] = 0
        wanted[1, rows, columns] = 0
        np.testing.assert_array_equal(applied("cutout", images(), given), wanted)

    def test_an_odd_size(self):
        """Of 6 pixels 3 are cut, with the middle in 0 ... 5."""
        line = np.ones((6, 6, 1, 1), "float32")
        given = {"cutout": np.stack([(np.arange(6) + 0.5) / 6, np.zeros(6)], 1)}
        assert [
            "".join(str(int(pixel)) for pixel in row)
            for row in applied("cutout", line, given).reshape(6, 6)
        ] == ["001111", "000111", "100011", "110001", "111000", "111100"]


@settings(deadline=None, max_examples=8)
@given(st.integers(0, 2**32 - 1))
def test_each_example_by_its_own_numbers_alone(seed):
    """The batch as a whole is each image alone, and the same again at a second call."""
    given = numbers(count=3, seed=seed)
    batch = images(3)
    whole = applied(ALL, batch, given)
    np.testing.assert_array_equal(whole, applied(ALL, batch, given))
    for i in range(3):
        alone = {name: value[i : i + 1] for name, value in given.items()}
        np.testing.assert_allclose(
            applied(ALL, batch[i : i + 1], alone), whole[i : i + 1], atol=1e-6
        )


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_comes_back_as_it_was(dtype):
    batch = ops.cast(images(), dtype)
    found = diff_augment.apply(ALL, batch, numbers())
    assert keras.backend.standardize_dtype(found.dtype) == dtype
    wanted = applied(ALL, ops.cast(batch, "float32"), numbers())
    np.testing.assert_allclose(ops.convert_to_numpy(ops.cast(found, "float32")), wanted, atol=0.02)


class Picture(keras.layers.Layer):
    """A batch of images that are weights, augmented by the numbers that are its input."""

    def build(self, shapes):
        self.images = self.add_weight(shape=(2, *SHAPE), initializer="zeros")

    def call(self, given):
        return diff_augment.apply(ALL, self.images, given)


def test_the_gradient_is_that_of_finite_differences():
    """Through a compiled step: SGD at a rate of 1 moves the images by minus the gradient."""
    given = numbers()
    direction = np.random.default_rng(2).normal(size=(2, *SHAPE)).astype("float32")
    inputs = {
        name: keras.Input(batch_shape=value.shape, name=name) for name, value in given.items()
    }
    layer = Picture()
    model = keras.Model(inputs, layer(inputs))
    layer.images.assign(images())
    model.compile(
        keras.optimizers.SGD(1.0), lambda wanted, found: ops.sum(wanted * found, axis=(1, 2, 3))
    )
    model.fit(given, direction, batch_size=2, shuffle=False, verbose=0)
    # The loss is the mean over the two.
    gradient = 2 * (images() - layer.get_weights()[0])
    # The augmentation is affine in the images, so that differences have no error of their own.
    rng = np.random.default_rng(3)
    for _ in range(5):
        along = rng.normal(size=gradient.shape).astype("float32")
        there = applied(ALL, images() + along, given) - applied(ALL, images(), given)
        wanted = (direction * there).sum(dtype=np.float64)
        assert (gradient * along).sum(dtype=np.float64) == pytest.approx(wanted, rel=1e-3, abs=1e-2)
