"""The output of a fully connected generator that starts at the mean image."""

import numpy as np
import pytest

from keras_arch import models
from keras_arch.errors import ArgumentError

SHAPE = (2, 3, 1)


def small(name, **arguments):
    sizes = {
        "GANGenerator": {"units": 5},
        "CGANGenerator": {"latent_units": 3, "label_units": 3, "joint_units": 4},
    }
    return models.create(name, image_shape=SHAPE, latent_size=4, **sizes[name], **arguments)


@pytest.mark.parametrize("name", ["GANGenerator", "CGANGenerator"])
def test_without_its_weights_the_generator_gives_the_mean_image(name):
    generator = small(name)
    mean = np.array([0.1, 0.25, 0.5, 0.75, 0.9, 0.999]).reshape(SHAPE)
    models.start_at_mean_image(generator, mean)
    pixels = generator.get_layer("pixels")
    pixels.kernel.assign(np.zeros(pixels.kernel.shape))
    inputs = [np.zeros((1, *part.shape[1:]), "float32") for part in generator.inputs]
    made = generator(inputs[0] if len(inputs) == 1 else inputs)
    np.testing.assert_allclose(made[0], mean, rtol=1e-6)


def test_pixels_that_never_change_get_a_finite_bias():
    generator = small("GANGenerator")
    models.start_at_mean_image(generator, np.array([0, 1, 0, 1, 0, 1.0]).reshape(SHAPE))
    # log(1e-7 / (1 - 1e-7))
    expected = np.array([-16.118095, 16.118095] * 3)
    np.testing.assert_allclose(generator.get_layer("pixels").bias, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("mean", "word"),
    [
        (np.zeros((3, 2, 1)), r"\(3, 2, 1\), the generator's is \(2, 3, 1\)"),
        (np.full(SHAPE, 127.5), r"\[127.5, 127.5\]"),
        (np.full(SHAPE, -0.1), r"in \[0, 1\]"),
        (np.full(SHAPE, np.nan), "finite"),
    ],
)
def test_wrong_means_change_nothing(mean, word):
    generator = small("GANGenerator")
    with pytest.raises(ArgumentError, match=word):
        models.start_at_mean_image(generator, mean)
    np.testing.assert_array_equal(generator.get_layer("pixels").bias, np.zeros(6))


@pytest.mark.parametrize(
    "generator",
    [
        lambda: small("GANGenerator", output_activation="tanh"),
        lambda: models.DCGANGenerator(image_shape=(16, 16, 1), filters=2),
    ],
)
def test_other_generators_are_refused(generator):
    with pytest.raises(ArgumentError, match="only GANGenerator and CGANGenerator"):
        models.start_at_mean_image(generator(), np.full((16, 16, 1), 0.5))
