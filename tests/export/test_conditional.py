"""An exported conditional generator makes the images of the classes asked for, as in Python."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_arch import export, models, trainers
from keras_arch.errors import ArgumentError
from keras_arch.preprocessing import Preprocessing
from tests.rounding import ROUNDING

from .conftest import CONDITIONAL, stir

SIZE = CONDITIONAL["latent"]["size"]
UNIT, CLASSES = CONDITIONAL["preprocessing"], CONDITIONAL["labels"]


@pytest.fixture(scope="module")
def loaded(exported_conditional):
    return tf.saved_model.load(exported_conditional)


def test_signatures_are_named_as_documented(loaded, exported_conditional):
    assert set(loaded.signatures) == {"serving_default", "generate"}
    label = tf.TensorSpec((None,), tf.int32, "label")
    assert loaded.signatures["serving_default"].structured_input_signature[1] == {
        "latent": tf.TensorSpec((None, 5), tf.float32, "latent"),
        "label": label,
    }
    assert loaded.signatures["generate"].structured_input_signature[1] == {
        "seed": tf.TensorSpec((), tf.int64, "seed"),
        "label": label,
    }
    for signature in loaded.signatures.values():
        outputs = signature.structured_outputs
        assert (outputs["image"].dtype, outputs["image_float"].dtype) == (tf.uint8, tf.float32)
        for output in outputs.values():
            assert output.shape.as_list() == [None, 8, 8, 1]
    assert (exported_conditional / "assets" / "labels.txt").read_text(
        "utf-8"
    ).splitlines() == CLASSES


def test_latents_and_labels_give_the_same_images(loaded, conditional):
    latents = np.random.default_rng(3).uniform(size=(6, 5)).astype(np.float32)
    labels = np.array([0, 1, 2, 2, 1, 0], np.int32)
    out = loaded.signatures["serving_default"](
        latent=tf.constant(latents), label=tf.constant(labels)
    )
    expected = conditional.predict([latents, labels], verbose=0)
    others = conditional.predict([latents, (labels + 1) % 3], verbose=0)
    assert np.abs(expected - others).min(axis=0).max() > 0.01  # Classes are told apart.
    np.testing.assert_allclose(out["image_float"], expected, atol=ROUNDING)
    np.testing.assert_array_equal(out["image"], UNIT.to_pixels(out["image_float"]))


@pytest.mark.parametrize("distribution", ["normal", "uniform01"])
def test_seeds_and_labels_give_the_images_of_the_trainer(distribution, conditional, tmp_path):
    latent = {"size": SIZE, "distribution": distribution}
    path = export.saved_model(conditional, tmp_path, **(CONDITIONAL | {"latent": latent}))
    loaded = tf.saved_model.load(path)
    labels = np.array([2, 0, 1, 1], np.int32)
    for seed in (0, 2**31 + 5):
        out = loaded.signatures["generate"](
            seed=tf.constant(seed, tf.int64), label=tf.constant(labels)
        )
        expected = trainers.sample(conditional, 4, seed, distribution, labels=labels)
        np.testing.assert_allclose(out["image_float"], expected, atol=ROUNDING)
    none = loaded.signatures["generate"](seed=tf.constant(1, tf.int64), label=tf.zeros(0, tf.int32))
    assert none["image"].shape == (0, 8, 8, 1)


@pytest.mark.parametrize("label", [-1, 3, 2**31 - 1])
def test_a_label_outside_the_classes_is_refused(loaded, label):
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"label must be 0 to 2, got") as told:
        loaded.signatures["generate"](seed=tf.constant(0, tf.int64), label=tf.constant([0, label]))
    assert str(label) in str(told.value)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"label must be 0 to 2, got"):
        loaded.signatures["serving_default"](latent=tf.zeros((1, 5)), label=tf.constant([label]))


def test_latents_without_labels_are_refused(loaded):
    with pytest.raises(
        tf.errors.InvalidArgumentError,
        match="latent and label must have the same number of items, got",
    ):
        loaded.signatures["serving_default"](latent=tf.zeros((2, 5)), label=tf.zeros(1, tf.int32))


def test_the_pyramid_is_drawn_from_one_seed(tmp_path):
    generator = stir(
        models.LAPGANGenerator(
            image_shape=(9, 9, 1), coarser_sizes=(4,), classes=3, latent_size=3, filters=2, units=4
        )
    )
    size = generator.inputs[0].shape[1]
    assert size == 3 + 81
    path = export.saved_model(
        generator,
        tmp_path,
        name="pyramid",
        preprocessing=Preprocessing(size=(9, 9), channels=1, scale=1 / 127.5, mean=1.0),
        labels=CLASSES,
        latent={"size": size, "distribution": "uniform"},
    )
    loaded = tf.saved_model.load(path)
    labels = np.array([0, 2], np.int32)
    out = loaded.signatures["generate"](seed=tf.constant(4, tf.int64), label=tf.constant(labels))
    expected = trainers.sample(generator, 2, 4, "uniform", labels=labels)
    assert expected.std() > 0.05
    np.testing.assert_allclose(out["image_float"], expected, atol=ROUNDING)


def wide_labels():
    latent, label = keras.Input((5,)), keras.Input((2,), dtype="int32")
    x = keras.layers.Concatenate()([latent, keras.layers.Rescaling(1.0)(label)])
    return keras.Model([latent, label], keras.layers.Reshape((8, 8, 1))(keras.layers.Dense(64)(x)))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"labels": CLASSES[:2]}, "has 3 classes, got 2 labels"),
        ({"labels": []}, "got 0 labels"),
        ({"labels": ["a", "b\n", "c"]}, "one line"),
        ({"latent": {"size": 4, "distribution": "uniform01"}}, "latent size 4"),
        ({"latent": None}, "3 classes|takes images|2 inputs"),
        ({"labels": None}, "2 inputs"),
        ({"preprocessing": Preprocessing(size=(8, 8))}, r"\(8, 8, 3\)"),
        ({"task": "image-to-image"}, "comes with labels and latent; image-to-image takes neither"),
        ({"task": "discriminator"}, "task must be one of .*, got 'discriminator'"),
        ({"target_preprocessing": UNIT}, "target_preprocessing is for image-to-image"),
        ({"model": wide_labels()}, r"labels have shape \(2,\)"),
    ],
)
def test_mistakes_are_told_in_one_line(change, words, conditional, tmp_path):
    with pytest.raises(ArgumentError, match=words) as caught:
        export.saved_model(**({"model": conditional, "directory": tmp_path} | CONDITIONAL | change))
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())
