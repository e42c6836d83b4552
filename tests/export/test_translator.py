"""An exported image translator makes the pictures that it makes in Python, every time."""

import functools
import io
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_arch import export, models, trainers
from keras_arch.errors import ArgumentError
from keras_arch.preprocessing import Preprocessing
from tests.rounding import ROUNDING

from .conftest import TRANSLATED, encode, run, stir

TANH = Preprocessing(size=(128, 128), scale=1 / 127.5, mean=1.0, resize="bicubic")
GREY = Preprocessing(size=(128, 128), channels=1)
# Each norm, with dropout and without.
KEPT = [
    ("batch", True),
    pytest.param("moving", False, marks=pytest.mark.slow),
    pytest.param("instance", True, marks=pytest.mark.slow),
]


@functools.cache
def generator(norm: str, dropout: bool) -> keras.Model:
    """Small, and not as it was built: statistics and seeds have moved."""
    model = stir(
        models.Pix2PixGenerator(
            "unet_128", filters=2, inference_norm=norm, inference_dropout=dropout
        )
    )
    noise = np.random.default_rng(0).normal(size=(1, 128, 128, 3)).astype(np.float32)
    model(noise, training=True)
    return model


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    """Two of them, of one size, which is not the model's."""
    rng = np.random.default_rng(7)
    coarse = rng.integers(0, 256, (2, 5, 6, 3), np.uint8)
    return np.stack([np.asarray(Image.fromarray(c).resize((150, 90))) for c in coarse])


def in_python(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """Each image by itself, which is how the function does it."""
    return trainers.translate(model, TANH(images))


SERVED = """
import sys
sys.modules["keras_arch"] = sys.modules["keras"] = None
import pathlib
import numpy as np
import tensorflow as tf

pictures = np.load("pictures.npy")
files = [pathlib.Path(f"{i}.png").read_bytes() for i in range(len(pictures))]
loaded = tf.saved_model.load(sys.argv[1])
pixels, files_of = loaded.signatures["serving_default"], loaded.signatures["serving_bytes"]
whole = tf.constant(pictures, tf.float32)
first, again = pixels(image=whole), pixels(image=whole)
alone = pixels(image=whole[1:])
bytewise = files_of(image_bytes=tf.constant(files))
pathlib.Path("out.png").write_bytes(bytewise["image_png_bytes"].numpy()[1])
np.savez(
    "out.npz",
    **{f"first_{key}": value for key, value in first.items()},
    again=again["image_float"],
    alone=alone["image_float"],
    bytewise=bytewise["image_float"],
    bytewise_image=bytewise["image"],
)
print("served")
"""


def serve_elsewhere(model: keras.Model, pictures: np.ndarray, folder: Path) -> None:
    """Write what another process gets, which knows neither this package nor Keras."""
    path = export.saved_model(
        model, folder, name="translator", preprocessing=TANH, task="image-to-image"
    )
    np.save(folder / "pictures.npy", pictures)
    for i, picture in enumerate(pictures):
        (folder / f"{i}.png").write_bytes(encode(picture))
    (folder / "serve.py").write_text(SERVED)
    assert run(sys.executable, "serve.py", str(path), cwd=folder) == "served\n"


@pytest.mark.parametrize(("norm", "dropout"), KEPT)
def test_the_served_picture_is_the_one_from_python(norm, dropout, pictures, tmp_path):
    model = generator(norm, dropout)
    serve_elsewhere(model, pictures, tmp_path)
    expected = in_python(model, pictures)
    assert expected.std() > 0.05
    with np.load(tmp_path / "out.npz") as out:
        np.testing.assert_allclose(out["first_image_float"], expected, atol=ROUNDING)
        np.testing.assert_array_equal(out["first_image_float"], out["again"])
        np.testing.assert_allclose(out["alone"], expected[1:], atol=ROUNDING)
        np.testing.assert_allclose(out["bytewise"], expected, atol=ROUNDING)
        # Where a value lies between two pixels, its last bit says which.
        scaled = (expected + 1) * 127.5
        between = np.abs(scaled - np.floor(scaled) - 0.5) < 1e-3
        same = out["first_image"] == TANH.to_pixels(expected)
        assert (same | between).all()
        png = np.asarray(Image.open(tmp_path / "out.png"))
        np.testing.assert_array_equal(png, out["bytewise_image"][1])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("batch", True), ("batch", False)),
        (("moving", False), ("batch", False)),
        (("instance", True), ("instance", False)),
    ],
)
def test_what_is_kept_makes_a_difference(one, other, pictures):
    same_weights = models.pix2pix.with_inference(generator(*one), *other)
    difference = in_python(generator(*one), pictures[:1]) - in_python(same_weights, pictures[:1])
    assert np.abs(difference).max() > 0.01


@pytest.mark.parametrize(("norm", "dropout"), [("batch", True), ("moving", False)])
def test_looking_moves_nothing(norm, dropout, pictures):
    model = generator(norm, dropout)
    before = [variable.numpy() for variable in model.variables]
    first, again = in_python(model, pictures), in_python(model, pictures)
    np.testing.assert_array_equal(first, again)
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)


def test_signatures_are_named_as_documented(exported_translator):
    loaded = tf.saved_model.load(exported_translator)
    assert set(loaded.signatures) == {"serving_default", "serving_bytes"}
    default, by_bytes = (loaded.signatures[k] for k in ("serving_default", "serving_bytes"))
    assert default.structured_input_signature[1] == {
        "image": tf.TensorSpec((None, None, None, 3), tf.float32, "image")
    }
    assert by_bytes.structured_input_signature[1] == {
        "image_bytes": tf.TensorSpec((None,), tf.string, "image_bytes")
    }
    assert set(default.structured_outputs) == {"image", "image_float"}
    for signature in (default, by_bytes):
        outputs = signature.structured_outputs
        assert outputs["image"].shape.as_list() == [None, 16, 16, 3]
        assert (outputs["image"].dtype, outputs["image_float"].dtype) == (tf.uint8, tf.float32)
    # The suffix makes TensorFlow Serving's REST interface send {"b64": "..."}.
    assert by_bytes.structured_outputs["image_png_bytes"].dtype == tf.string
    assert not (exported_translator / "assets" / "labels.txt").exists()


@pytest.mark.slow
def test_other_channels_come_out_by_the_target_s_preprocessing(tmp_path):
    preprocessing = Preprocessing(size=(8, 8), scale=1 / 127.5, mean=1.0)
    image = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(1, 3, padding="same", activation="sigmoid")(image)
    model = stir(keras.Model(image, x))
    target = Preprocessing(size=(8, 8), channels=1)
    good = {"name": "m", "preprocessing": preprocessing, "task": "image-to-image"}
    with pytest.raises(ArgumentError, match="give target_preprocessing"):
        export.saved_model(model, tmp_path, **good)
    path = export.saved_model(model, tmp_path, **good, target_preprocessing=target)
    loaded = tf.saved_model.load(path)
    photo = np.random.default_rng(0).integers(0, 256, (1, 8, 8, 3), np.uint8)
    out = loaded.signatures["serving_bytes"](image_bytes=[encode(photo[0])])
    expected = model.predict(preprocessing(photo), verbose=0)
    np.testing.assert_allclose(out["image_float"], expected, atol=ROUNDING)
    np.testing.assert_array_equal(out["image"], target.to_pixels(out["image_float"]))
    png = np.asarray(Image.open(io.BytesIO(out["image_png_bytes"].numpy()[0])))
    np.testing.assert_array_equal(png, out["image"][0, ..., 0])


def test_without_what_a_batch_changes_images_go_together(exported_translator, translator):
    loaded = tf.saved_model.load(exported_translator)
    photos = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), np.uint8)
    out = loaded.signatures["serving_default"](image=tf.cast(photos, tf.float32))
    expected = trainers.translate(translator, TRANSLATED(photos))
    assert expected.std() > 0.05
    np.testing.assert_allclose(out["image_float"], expected, atol=ROUNDING)
    operations = {
        node.op for node in loaded.signatures["serving_default"].graph.as_graph_def().node
    }
    assert not operations & {"While", "StatelessWhile"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"task": None}, "neither labels nor latent"),
        ({"labels": ["a"]}, "comes with labels; image-to-image takes neither"),
        ({"preprocessing": GREY}, r"takes images of shape \(128, 128, 3\)"),
        ({"target_preprocessing": GREY}, r"makes images of shape \(128, 128, 3\)"),
        ({"target_preprocessing": (8, 8)}, "without its target_preprocessing"),
    ],
)
def test_mistakes_are_told_in_one_line(change, words, tmp_path):
    good = {"name": "m", "preprocessing": TANH, "task": "image-to-image"}
    with pytest.raises(ArgumentError, match=words) as caught:
        export.saved_model(generator("moving", False), tmp_path, **(good | change))
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())
