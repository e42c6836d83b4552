"""An exported generator makes the images that it makes in Python."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_arch import export, models, trainers
from keras_arch.errors import ArgumentError
from keras_arch.preprocessing import Preprocessing
from tests.rounding import ROUNDING

from .conftest import LATENT, TANH, saved_model_cli, stir


@pytest.fixture(scope="module")
def loaded(exported_generator):
    # The module itself: its signatures do not keep it alive.
    return tf.saved_model.load(exported_generator)


@pytest.fixture
def signatures(loaded):
    return loaded.signatures


def test_signatures_are_named_as_documented(signatures):
    assert set(signatures) == {"serving_default", "generate"}
    assert signatures["serving_default"].structured_input_signature[1] == {
        "latent": tf.TensorSpec((None, 12), tf.float32, "latent")
    }
    assert signatures["generate"].structured_input_signature[1] == {
        "seed": tf.TensorSpec((), tf.int64, "seed"),
        "count": tf.TensorSpec((), tf.int32, "count"),
    }
    for signature in signatures.values():
        outputs = signature.structured_outputs
        assert outputs["image"].dtype == tf.uint8
        assert outputs["image_float"].dtype == tf.float32
        for output in outputs.values():
            assert output.shape.as_list() == [None, 16, 16, 1]


def test_latents_give_the_same_images(signatures, generator):
    latents = np.random.default_rng(3).normal(size=(5, 12)).astype(np.float32)
    out = signatures["serving_default"](latent=tf.constant(latents))
    expected = generator.predict(latents, verbose=0)
    assert expected.std() > 0.2
    np.testing.assert_allclose(out["image_float"], expected, atol=ROUNDING)
    np.testing.assert_array_equal(out["image"], TANH.to_pixels(out["image_float"]))


@pytest.mark.slow
def test_saved_model_cli_generates_from_a_seed(exported_generator, generator, tmp_path):
    saved_model_cli(
        *("run", "--dir", str(exported_generator), "--tag_set", "serve"),
        *("--signature_def", "generate", "--input_exprs", "seed=7;count=3", "--outdir", "."),
        cwd=tmp_path,
    )
    latents = tf.random.stateless_normal([3, 12], seed=[7, 0])
    expected = generator.predict(latents, verbose=0)
    np.testing.assert_allclose(np.load(tmp_path / "image_float.npy"), expected, atol=ROUNDING)
    pixels = np.load(tmp_path / "image.npy")
    assert pixels.dtype == np.uint8
    assert np.abs(pixels.astype(int) - TANH.to_pixels(expected)).max() <= 1


@pytest.mark.parametrize("distribution", ["normal", "uniform"])
def test_seeds_give_the_images_of_the_trainer(distribution, generator, tmp_path):
    path = export.saved_model(
        generator,
        tmp_path,
        name="m",
        preprocessing=TANH,
        latent={"size": 12, "distribution": distribution},
    )
    loaded = tf.saved_model.load(path)
    discriminator = models.DCGANDiscriminator("pytorch", input_shape=(16, 16, 1), filters=4)
    gan = trainers.GAN(generator, discriminator, latent=distribution)
    for seed in (0, 7, 2**31 - 2, 2**31 + 5, 2**40 + 1):
        out = loaded.signatures["generate"](seed=tf.constant(seed, tf.int64), count=tf.constant(3))
        np.testing.assert_allclose(out["image_float"], gan.generate(3, seed), atol=ROUNDING)
    none = loaded.signatures["generate"](seed=tf.constant(1, tf.int64), count=tf.constant(0))
    assert none["image"].shape == (0, 16, 16, 1)


@pytest.mark.parametrize(
    "preprocessing",
    [
        Preprocessing(size=(4, 4), scale=1 / 127.5, mean=1.0),
        Preprocessing(size=(4, 4), scale=1 / 255),
        Preprocessing(
            size=(4, 4), scale=1 / 255, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.1),
            channel_order="bgr",
        ),
    ],
    ids=["tanh", "uniform01", "bgr"],
)  # fmt: skip
def test_pixels_are_rounded_as_in_python(preprocessing, tmp_path):
    # Values on and around every rounding boundary, and beyond both ends.
    halves = (np.arange(-16, 529) / 2).astype(np.float32)
    values = (halves * preprocessing.scale - np.float32(np.mean(preprocessing.mean))).astype("f4")
    values = np.unique(
        np.concatenate([values, np.nextafter(values, np.float32(9)), np.float32([0, -0.5])])
    )
    values = np.resize(values, (len(values) // 48 + 1, 48))
    latent = keras.Input((48,))
    model = keras.Model(latent, keras.layers.Reshape((4, 4, 3))(latent))
    path = export.saved_model(
        model,
        tmp_path,
        name="m",
        preprocessing=preprocessing,
        latent={"size": 48, "distribution": "normal"},
    )
    loaded = tf.saved_model.load(path)
    out = loaded.signatures["serving_default"](latent=tf.constant(values))
    np.testing.assert_array_equal(out["image_float"], values.reshape(-1, 4, 4, 3))
    np.testing.assert_array_equal(out["image"], preprocessing.to_pixels(out["image_float"]))


def test_half_precision_generators_give_float32(tmp_path):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        latent = keras.Input((12,))
        x = keras.layers.Dense(16 * 16, activation="tanh")(latent)
        model = stir(keras.Model(latent, keras.layers.Reshape((16, 16, 1))(x)))
    finally:
        keras.config.set_dtype_policy(before)
    assert model.output.dtype == "bfloat16"
    path = export.saved_model(model, tmp_path, name="m", preprocessing=TANH, latent=LATENT)
    loaded = tf.saved_model.load(path)
    latents = tf.random.stateless_normal((2, 12), seed=(1, 1))
    out = loaded.signatures["serving_default"](latent=latents)
    assert out["image_float"].dtype == tf.float32
    np.testing.assert_allclose(out["image_float"], tf.cast(model(latents), tf.float32), atol=2e-2)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"latent": None}, "neither"),
        ({"latent": {"size": 100, "distribution": "normal"}}, "size 100"),
        ({"latent": {"size": 12, "distribution": "cauchy"}}, "'cauchy'"),
        ({"latent": {"size": 12}}, "keys size and distribution"),
        ({"preprocessing": Preprocessing(size=(16, 16))}, r"\(16, 16, 3\)"),
    ],
)
def test_mistakes_are_told_in_one_line(change, words, generator, tmp_path):
    good = {"name": "m", "preprocessing": TANH, "latent": LATENT}
    with pytest.raises(ArgumentError, match=words) as caught:
        export.saved_model(generator, tmp_path, **(good | change))
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())
