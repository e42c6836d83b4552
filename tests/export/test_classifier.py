"""An exported classifier says what the model says in Python."""

import functools
import io

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from keras_arch import export
from keras_arch.data.image_bytes import pixels_of
from keras_arch.errors import ArgumentError
from keras_arch.preprocessing import RESIZE_METHODS, Preprocessing
from tests.rounding import ROUNDING

from .conftest import LABELS, PER_PIXEL, encode, saved_model_cli, stir


def in_python(model, preprocessing, images):
    """Probabilities of images of any sizes."""
    inputs = np.concatenate([preprocessing(image[None]).numpy() for image in images])
    return model.predict(inputs, verbose=0)


def decoded(labels):
    return [label.decode() for label in np.asarray(labels)]


def test_signatures_are_named_as_documented(exported_classifier):
    loaded = tf.saved_model.load(exported_classifier)
    assert set(loaded.signatures) == {"serving_default", "serving_bytes"}
    default = loaded.signatures["serving_default"]
    assert default.structured_input_signature[1] == {
        "image": tf.TensorSpec((None, None, None, 3), tf.float32, "image")
    }
    by_bytes = loaded.signatures["serving_bytes"]
    assert by_bytes.structured_input_signature[1] == {
        "image_bytes": tf.TensorSpec((None,), tf.string, "image_bytes")
    }
    for signature in (default, by_bytes):
        outputs = signature.structured_outputs
        assert outputs["probabilities"].dtype == tf.float32
        assert outputs["probabilities"].shape.as_list() == [None, len(LABELS)]
        assert outputs["label"].dtype == tf.string
        assert outputs["label"].shape.as_list() == [None]


@pytest.mark.slow
def test_saved_model_cli_shows_and_runs_it(exported_classifier, classifier, photos, tmp_path):
    shown = saved_model_cli("show", "--dir", str(exported_classifier), "--all", cwd=tmp_path)
    for words in ("serving_default", "inputs['image'] tensor_info", "shape: (-1, -1, -1, 3)"):
        assert words in shown
    images = np.stack([photos[0], photos[0][::-1], 255 - photos[0]])
    np.save(tmp_path / "x.npy", images.astype(np.float32))
    saved_model_cli(
        *("run", "--dir", str(exported_classifier), "--tag_set", "serve"),
        *("--signature_def", "serving_default", "--inputs", "image=x.npy", "--outdir", "."),
        cwd=tmp_path,
    )
    expected = in_python(classifier, PER_PIXEL, images)
    assert np.ptp(expected, axis=0).max() > 0.01  # The images are told apart.
    np.testing.assert_allclose(np.load(tmp_path / "probabilities.npy"), expected, atol=ROUNDING)
    labels = np.load(tmp_path / "label.npy", allow_pickle=True)  # Written a moment ago.
    assert decoded(labels) == [LABELS[best] for best in expected.argmax(-1)]


@pytest.mark.slow
def test_saved_model_cli_runs_encoded_images(exported_classifier, classifier, photos, tmp_path):
    np.save(tmp_path / "x.npy", np.array([encode(photo) for photo in photos]))
    saved_model_cli(
        *("run", "--dir", str(exported_classifier), "--tag_set", "serve"),
        *("--signature_def", "serving_bytes", "--inputs", "image_bytes=x.npy", "--outdir", "."),
        cwd=tmp_path,
    )
    expected = in_python(classifier, PER_PIXEL, photos)
    np.testing.assert_allclose(np.load(tmp_path / "probabilities.npy"), expected, atol=ROUNDING)


@pytest.mark.parametrize("channels", [pytest.param(1, marks=pytest.mark.slow), 3])
@pytest.mark.parametrize(
    ("resize", "crop"),
    # The other methods, and crops that are resized, take longer together.
    [
        *(pytest.param(m, None, marks=pytest.mark.slow) for m in RESIZE_METHODS if m != "pad"),
        ("pad", None),
        *(pytest.param(*p, marks=pytest.mark.slow) for p in (("bicubic", 0.875), ("nearest", 0.7))),
    ],
)
def test_preprocessing_inside_the_graph(resize, crop, channels, photos, tmp_path):
    preprocessing = Preprocessing(
        size=(9, 12),
        channels=channels,
        resize=resize,
        crop=crop,
        scale=1 / 100,
        mean=0.7,
        std=1.3,
        channel_order="bgr" if channels == 3 else "rgb",
    )
    # Large weights: what differs in a pixel differs in the probabilities.
    image = keras.Input((9, 12, channels))
    outputs = keras.layers.Dense(5, activation="softmax")(keras.layers.Flatten()(image))
    model = stir(keras.Model(image, outputs))
    path = export.saved_model(
        model, tmp_path, name="m", preprocessing=preprocessing, labels=list("abcde")
    )
    signatures = tf.saved_model.load(path).signatures
    expected = in_python(model, preprocessing, photos)
    by_bytes = signatures["serving_bytes"](image_bytes=[encode(photo) for photo in photos])
    np.testing.assert_allclose(by_bytes["probabilities"], expected, atol=2e-5)
    assert decoded(by_bytes["label"]) == ["abcde"[best] for best in expected.argmax(-1)]
    fitting = [photo for photo in photos if photo.shape[-1] == channels]
    for photo in [*fitting, np.zeros((9, 12, channels), np.uint8) + fitting[0][0, 0]]:
        out = signatures["serving_default"](image=tf.cast(photo[None], tf.float32))
        np.testing.assert_allclose(
            out["probabilities"], in_python(model, preprocessing, [photo]), atol=2e-5
        )


def test_every_grey_level_is_the_same_encoded_and_decoded():
    # Grey files are decoded to three channels and brought back to one.
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    preprocessing = Preprocessing(size=(16, 16), channels=1, scale=1.0)
    np.testing.assert_array_equal(preprocessing(pixels_of(encode(ramp))), ramp)


@settings(max_examples=15, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(1, 40),
            st.integers(1, 40),
            st.sampled_from(["RGB", "L", "JPEG", "RGBA", "P"]),
            st.integers(0, 999),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_any_mixture_of_encoded_images(exported_classifier, classifier, drawn):
    files, images = [], []
    for height, width, kind, seed in drawn:
        pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
        picture = Image.fromarray(pixels)
        buffer = io.BytesIO()
        if kind == "JPEG":
            picture.save(buffer, "JPEG", quality=50 + seed % 50)
        else:
            picture.convert(kind).save(buffer, "PNG")
        files.append(buffer.getvalue())
        images.append(np.asarray(Image.open(buffer).convert("RGB")))
    signature = _loaded(exported_classifier)["serving_bytes"]
    out = signature(image_bytes=tf.constant(files))
    expected = in_python(classifier, PER_PIXEL, images)
    np.testing.assert_allclose(out["probabilities"], expected, atol=ROUNDING)


@functools.cache
def _module(path):
    return tf.saved_model.load(path)


def _loaded(path):
    # Signatures do not keep their module alive; the cache does.
    return _module(path).signatures


def test_what_is_no_image_is_refused(exported_classifier):
    with pytest.raises(tf.errors.InvalidArgumentError):
        _loaded(exported_classifier)["serving_bytes"](image_bytes=tf.constant([b"GIF? no."]))


def test_labels_are_an_asset(exported_classifier):
    text = (exported_classifier / "assets" / "labels.txt").read_text("utf-8")
    assert text.splitlines() == LABELS


@pytest.mark.slow
def test_logits_become_probabilities(classifier, exported_classifier, photos, tmp_path):
    logits = keras.Model(classifier.input, classifier.get_layer("logits").output)
    path = export.saved_model(logits, tmp_path, name="m", preprocessing=PER_PIXEL, labels=LABELS)
    batch = {"image": tf.cast(photos[0][None], tf.float32)}
    np.testing.assert_allclose(
        _loaded(path)["serving_default"](**batch)["probabilities"],
        _loaded(exported_classifier)["serving_default"](**batch)["probabilities"],
        atol=ROUNDING,
    )


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision_models_give_float32(policy, photos, tmp_path):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        image = keras.Input((16, 16, 3))
        x = keras.layers.Flatten()(keras.layers.Conv2D(4, 3, strides=4)(image))
        model = stir(keras.Model(image, keras.layers.Dense(4, activation="softmax")(x)))
    finally:
        keras.config.set_dtype_policy(before)
    assert model.output.dtype == policy.removeprefix("mixed_")
    path = export.saved_model(model, tmp_path, name="m", preprocessing=PER_PIXEL, labels=LABELS)
    out = _loaded(path)["serving_default"](image=tf.cast(photos[0][None], tf.float32))
    assert out["probabilities"].dtype == tf.float32
    expected = in_python(model, PER_PIXEL, photos[:1]).astype(np.float32)
    np.testing.assert_allclose(out["probabilities"], expected, atol=1e-2)


def test_dropout_and_batch_statistics_are_off(tmp_path, photos):
    image = keras.Input((16, 16, 3))
    x = keras.layers.BatchNormalization()(keras.layers.Dropout(0.5)(image))
    x = keras.layers.Dense(4, activation="softmax")(keras.layers.Flatten()(x))
    model = stir(keras.Model(image, x))
    path = export.saved_model(model, tmp_path, name="m", preprocessing=PER_PIXEL, labels=LABELS)
    batch = tf.cast(photos[2][None], tf.float32)
    alone = _loaded(path)["serving_default"](image=batch)["probabilities"]
    among = tf.concat([batch, 255 - batch, batch * 0], axis=0)
    together = _loaded(path)["serving_default"](image=among)["probabilities"]
    np.testing.assert_allclose(alone[0], together[0], atol=ROUNDING)
    np.testing.assert_allclose(alone, in_python(model, PER_PIXEL, photos[2:3]), atol=ROUNDING)


GOOD = {"name": "m", "preprocessing": PER_PIXEL, "labels": LABELS}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"labels": None}, "labels"),
        ({"preprocessing": None}, "without its preprocessing"),
        ({"labels": LABELS[:3]}, "got 3 labels"),
        ({"labels": "abcd"}, "list of strings"),
        ({"labels": ["a", "b", "c", "d\ne"]}, r"'d\\ne'"),
        ({"labels": ["a", "b", "c", ""]}, "one line"),
        ({"latent": {"size": 3, "distribution": "normal"}}, "with 2 inputs and 1 output"),
        ({"preprocessing": Preprocessing(size=(16, 16), channels=1)}, r"\(16, 16, 1\)"),
        ({"preprocessing": Preprocessing(size=(8, 16))}, r"\(8, 16, 3\)"),
        ({"name": "../m"}, "'../m'"),
        ({"name": ""}, "name must be"),
        ({"version": 0}, "positive whole number, got 0"),
        ({"version": "1"}, "'1'"),
    ],
)
def test_mistakes_are_told_in_one_line(change, words, classifier, tmp_path):
    with pytest.raises(ArgumentError, match=words) as caught:
        export.saved_model(classifier, tmp_path / "new", **(GOOD | change))
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_models_that_cannot_be_served(tmp_path):
    a, b = keras.Input((16, 16, 3)), keras.Input((16, 16, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.Add()([a, b]))
    two_inputs = keras.Model([a, b], keras.layers.Dense(4)(pooled))
    flat = keras.layers.Flatten()(a)
    sigmoid = keras.Model(a, keras.layers.Dense(4, activation="sigmoid")(flat))
    for model, words in [
        ("resnet", "keras.Model, got str"),
        (keras.Sequential([keras.layers.Dense(4)]), "no weights yet"),
        (two_inputs, "2 inputs"),
        (sigmoid, "sigmoid"),
    ]:
        with pytest.raises(ArgumentError, match=words):
            export.saved_model(model, tmp_path, **GOOD)
