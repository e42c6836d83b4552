import math

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_arch import models, registry
from keras_arch.errors import ArgumentError
from tests.models.tester import Case, ModelTester, forward

WRONG = (
    ({"variant": "other"}, "'mnist', 'cifar10', 'tfd' or 'tfd_stacked'"),
    ({"units": 0}, "units"),
)
WRONG_GENERATOR = (
    *WRONG,
    ({"image_shape": (8, 8)}, "(height, width, channels)"),
    ({"image_shape": (8, 0, 1)}, "image_shape"),
    ({"latent_size": -1}, "latent_size"),
    ({"output_activation": "relu"}, "'sigmoid', 'linear' or 'tanh'"),
)
WRONG_DISCRIMINATOR = (*WRONG, ({"input_shape": (8, 8)}, "input_shape"), ({"pieces": 0}, "pieces"))
SMALL = {"image_shape": (8, 8, 1), "units": 6}
SMALL_DISCRIMINATOR = {"input_shape": (8, 8, 1), "units": 6}
VARIANTS = ("mnist", "cifar10", "tfd", "tfd_stacked")
CASES = [
    Case("GANGenerator", SMALL | {"latent_size": 5}, (8, 8, 1), wrong=WRONG_GENERATOR),
    Case("GANGenerator", SMALL | {"variant": "cifar10"}, (8, 8, 1)),
    Case("GANGenerator", SMALL | {"variant": "tfd_stacked"}, (8, 8, 1)),
    Case("GANDiscriminator", SMALL_DISCRIMINATOR, (1,), wrong=WRONG_DISCRIMINATOR),
    Case("GANDiscriminator", SMALL_DISCRIMINATOR | {"variant": "tfd"}, (1,)),
]


@pytest.mark.parametrize("case", CASES, ids=str)
class TestGAN(ModelTester):
    pass


@given(
    variant=st.sampled_from(VARIANTS),
    shape=st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 4)),
    latent_size=st.integers(1, 9),
)
@settings(max_examples=12, deadline=None)
def test_every_image_shape(variant, shape, latent_size):
    generator = models.GANGenerator(variant, image_shape=shape, latent_size=latent_size, units=3)
    discriminator = models.GANDiscriminator(variant, input_shape=shape, units=3)
    assert generator.output_shape[1:] == discriminator.input_shape[1:] == shape
    assert discriminator(generator(np.zeros((1, latent_size), "float32"))).shape == (1, 1)


def test_generator_is_the_formula():
    """A perceptron on a latent that is widened to unit variance, written out in NumPy."""
    model = models.GANGenerator(image_shape=(2, 3, 1), latent_size=4, units=5)
    rng = np.random.default_rng(0)
    model.set_weights([rng.normal(size=w.shape) for w in model.get_weights()])
    w1, b1, w2, b2, w3, b3 = (w.astype(np.float64) for w in model.get_weights())
    latent = rng.uniform(-1, 1, (7, 4)).astype("float32")
    x = np.maximum(math.sqrt(3) * latent @ w1 + b1, 0)
    x = np.maximum(x @ w2 + b2, 0)
    image = 1 / (1 + np.exp(-(x @ w3 + b3)))
    np.testing.assert_allclose(forward(model, latent), image.reshape(7, 2, 3, 1), rtol=1e-4)


def test_registered_latent_has_unit_variance_at_the_first_layer():
    """U(-sqrt 3, sqrt 3) and N(0, 1), as the authors' `Generator.get_noise` draws them."""
    entry = registry.entry("GANGenerator")
    assert entry.latent == {
        "mnist": "uniform",
        "cifar10": "normal",
        "tfd": "normal",
        "tfd_stacked": "normal",
    }
    scale = models.GANGenerator(units=2).get_layer("unit_variance").scale
    # The variance of U(-a, a) is a^2 / 3.
    assert scale**2 / 3 == pytest.approx(1)
    for variant in VARIANTS[1:]:
        names = [x.name for x in models.GANGenerator(variant, units=2).layers]
        assert "unit_variance" not in names


def test_starts_as_the_authors_files_say():
    generator = models.GANGenerator("mnist", image_shape=(8, 8, 1))
    discriminator = models.GANDiscriminator("mnist", input_shape=(8, 8, 1))
    for model, limit in ((generator, 0.05), (discriminator, 0.005)):
        kernels = [w for w in model.get_weights() if w.ndim == 2]
        assert len(kernels) == 3
        for kernel in kernels:
            assert np.abs(kernel).max() <= limit
            assert kernel.std() == pytest.approx(limit / math.sqrt(3), rel=0.1)
    cifar = models.GANGenerator("cifar10", image_shape=(8, 8, 1), units=100)
    assert np.asarray(cifar.get_layer("pixels").kernel).std() == pytest.approx(
        0.5 / math.sqrt(3), rel=0.05
    )
    tfd = models.GANGenerator("tfd", units=10)
    np.testing.assert_array_equal(tfd.get_layer("hidden1").bias, np.zeros(10))
    np.testing.assert_array_equal(tfd.get_layer("hidden2").bias, np.full(10, -2))
    # 100 of 8000 weights N(0, 1) have the second moment 1/80.
    assert np.asarray(tfd.get_layer("pixels").kernel).var() == pytest.approx(1 / 80, rel=0.05)


def test_dropout_keeps_four_fifths_of_the_image_and_half_of_the_rest():
    model = models.GANDiscriminator(units=3)
    rates = {x.name: x.rate for x in model.layers if isinstance(x, keras.layers.Dropout)}
    assert rates == {"image_dropout": 0.2, "hidden1_dropout": 0.5, "hidden2_dropout": 0.5}
    generator = models.GANGenerator(units=3)
    assert not any(isinstance(x, keras.layers.Dropout) for x in generator.layers)


@pytest.mark.parametrize("variant", VARIANTS)
def test_columns_of_the_face_networks_are_held_to_a_norm(variant):
    networks = (models.GANGenerator(variant, units=4), models.GANDiscriminator(variant, units=4))
    for network in networks:
        for layer in network.layers:
            if not isinstance(layer, keras.layers.Dense):
                continue
            if not variant.startswith("tfd"):
                assert layer.kernel_constraint is None
                continue
            held = np.asarray(layer.kernel_constraint(layer.kernel + 10.0))
            norms = np.linalg.norm(held, axis=0)
            np.testing.assert_allclose(norms, 1.9365, rtol=1e-4)


def test_outputs_by_variant():
    rng = np.random.default_rng(0)
    latent = 30 * rng.normal(size=(50, 100)).astype("float32")
    mnist = forward(models.GANGenerator("mnist", image_shape=(8, 8, 1), units=50), latent)
    assert mnist.min() >= 0
    assert mnist.max() <= 1
    # Contrast-normalised images reach beyond both.
    cifar = forward(models.GANGenerator("cifar10", units=50), latent)
    assert cifar.min() < -1
    assert cifar.max() > 1
    tanh = models.GANGenerator("cifar10", units=50, output_activation="tanh")
    assert np.abs(forward(tanh, latent)).max() <= 1


def test_a_list_is_an_image_shape_too():
    # From a config, where there are no tuples.
    assert models.GANGenerator(image_shape=[4, 4, 1], units=2).output_shape == (None, 4, 4, 1)
    with pytest.raises(ArgumentError, match="image_shape"):
        models.GANGenerator(image_shape="28")
