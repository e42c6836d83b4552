"""Requests to exported models are checked before anything runs; none ends the server."""

import functools
import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_arch import export
from keras_arch.errors import ArgumentError
from keras_arch.export import encoded_images, request_checks
from keras_arch.preprocessing import Preprocessing

from . import hostile
from .conftest import LATENT, TANH

REFUSED = tf.errors.InvalidArgumentError
KINDS = ("classifier", "whole", "tiles", "generator", "conditional", "translator")


@pytest.fixture(scope="module")
def exported(request):
    segmenters = request.getfixturevalue("exported_segmenters")
    others = {
        kind: request.getfixturevalue(f"exported_{kind}")
        for kind in KINDS
        if kind not in segmenters
    }
    return segmenters | others


def attack(paths, requests, seed):
    """Results by path, of a process that must not die."""
    command = [sys.executable, "-m", "tests.export.hostile", *map(str, paths)]
    done = subprocess.run(
        [*command, "--requests", str(requests), "--seed", str(seed)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout[-600:] + done.stderr[-2000:]
    lines = map(json.loads, done.stdout.splitlines())
    return [line["counts"] for line in lines if "counts" in line]


@pytest.mark.parametrize(
    ("kinds", "requests", "seed"),
    [
        (("classifier", "tiles", "conditional"), 12, 1),
        pytest.param(KINDS, 300, 0, marks=pytest.mark.slow),
    ],
)
def test_hostile_requests(exported, kinds, requests, seed):
    found = attack([exported[kind] for kind in kinds], requests, seed)
    assert [sum(counts.values()) for counts in found] == [requests] * len(kinds)
    for counts in found:
        assert counts["refused"] > requests / 5
        assert counts["answered"] > requests / 20


@pytest.fixture(scope="module")
def tiles(exported_segmenters):
    """Tiles in a session that checks no shapes, as servers have."""
    return hostile.Served(str(exported_segmenters["tiles"]))


@pytest.mark.parametrize("shape", [(1, 12, 12, 3), (1, 8, 8, 1), (1, 8, 8), (3,), (), (1, 0, 8, 3)])
def test_shapes_are_refused_with_input_got_and_wanted(tiles, shape):
    wanted = r"image must be of shape \(batch, 8, 8, 3\) .*tiles of 8x8 pixels.*, got the shape\]"
    with pytest.raises(REFUSED, match=wanted) as caught:
        tiles("serving_default", {"image": np.zeros(shape, np.float32)})
    assert f"[{' '.join(map(str, shape))}]" in str(caught.value)


@functools.cache
def loaded(path):
    return tf.saved_model.load(path)


LABELLED = {"latent": np.zeros((2, 5), np.float32), "label": np.zeros(2, np.int32)}
PIXELS = np.full((2, 9, 7, 3), 128, np.float32)


def pixels(value):
    image = PIXELS.copy()
    image[1, 2, 3, 0] = value
    return {"image": image}


@pytest.mark.parametrize(
    ("kind", "signature", "request_", "words"),
    [
        ("classifier", "serving_default", pixels(np.nan), r"image must have finite pixels in "
         r"\[0, 255\], got\] \[128\] \[to\] \[128\] \[and values that are not finite:\] \[1\]"),
        ("classifier", "serving_default", pixels(np.inf), "finite pixels"),
        ("whole", "serving_default", pixels(-0.5), r"in \[0, 255\], got\] \[-0.5\] \[to\] \[128\]"),
        ("translator", "serving_default", pixels(255.5), r"\[to\] \[255.5\]"),
        ("generator", "generate", {"seed": 1, "count": -1},
         r"count must be 0 to \d+, got\] \[-1\]"),
        ("generator", "generate", {"seed": 1, "count": 2_000_000_000}, "count must be 0 to"),
        ("generator", "serving_default", {"latent": np.full((3, 12), np.nan, np.float32)},
         r"latent must be finite, got values that are not:\] \[36\]"),
        ("conditional", "serving_default", LABELLED | {"label": np.array([0, 3], np.int32)},
         r"label must be 0 to 2, got\] \[3\]"),
        ("conditional", "generate", {"seed": 1, "label": np.zeros(10**7, np.int32)},
         r"label must be at most \d+ in one request, got\] \[10000000\]"),
    ],
)  # fmt: skip
def test_values_are_refused_with_input_got_and_wanted(exported, kind, signature, request_, words):
    call = loaded(exported[kind]).signatures[signature]
    specs = call.structured_input_signature[1]
    given = {key: tf.constant(value, specs[key].dtype) for key, value in request_.items()}
    with pytest.raises(REFUSED, match=words):
        call(**given)


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=pytest.mark.slow if kind in ("whole", "translator") else ())
        for kind in KINDS
    ],
)
def test_a_request_of_no_examples_is_answered_with_none(exported, kind):
    for call in loaded(exported[kind]).signatures.values():
        specs = call.structured_input_signature[1]
        sizes = {
            key: [0 if i == 0 else n or 8 for i, n in enumerate(spec.shape)]
            for key, spec in specs.items()
        }
        empty = {key: tf.zeros(sizes[key], spec.dtype) for key, spec in specs.items()}
        wanted = call.structured_outputs
        for key, output in call(**empty).items():
            assert output.shape == (0, *wanted[key].shape[1:])
            assert output.dtype == wanted[key].dtype


FILES = {
    "animation": (
        lambda image: hostile.saved(
            image, "GIF", save_all=True, append_images=[Image.new("RGB", (16, 16), "red")]
        ),
        "must hold one picture, not an animation",
    ),
    "TIFF": (
        lambda image: hostile.saved(image, "TIFF"),
        r"PNG, BMP, GIF or WebP files .*got\] \[TIFF\]",
    ),
    "palette": (
        lambda image: hostile.saved(image.convert("P"), "BMP"),
        r"24 or 32 bits without compression; .*got\] \[an unusual BMP\]",
    ),
    "text": (lambda image: b"no image", r"got\] \[an unknown kind\]"),
    "nothing": (lambda image: b"", r"got\] \[an unknown kind\]"),
    "bomb": (
        lambda image: hostile.png_header(60_000, 50_000),
        r"image_bytes must be images of 1 to 67108864 pixels, before and after they are resized to "
        r"16x16, got height\] \[50000\] \[and width\] \[60000\]",
    ),
    # Not many pixels, but 16 rows of 10**7 when it is resized.
    "line": (
        lambda image: hostile.png_header(10**7, 1),
        r"height\] \[1\] \[and width\] \[10000000\]",
    ),
    "cut": (lambda image: hostile.saved(image, "PNG")[:-40], "Invalid PNG"),
}


@pytest.mark.parametrize("kind", FILES)
def test_files_are_refused_by_name(exported, kind):
    make, words = FILES[kind]
    file = make(Image.fromarray(np.zeros((16, 16, 3), np.uint8)))
    with pytest.raises(REFUSED, match=words):
        loaded(exported["classifier"]).signatures["serving_bytes"](image_bytes=tf.constant([file]))


@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        *((kind, mode) for kind in ("PNG", "JPEG", "GIF", "WebP") for mode in ("RGB", "L")),
        ("BMP", "RGB"),
    ],
)
def test_sizes_in_headers_are_those_of_the_pictures(kind, mode):
    image = Image.new(mode, (31, 300))
    files = tf.constant([hostile.saved(image, kind)] * 2)
    names, decoded = encoded_images.kinds(files)
    assert names.numpy().tolist() == [kind.encode()] * 2
    assert decoded.numpy().all()
    heights, widths = encoded_images.sizes(files, "image_bytes")
    assert (heights.numpy().tolist(), widths.numpy().tolist()) == ([300] * 2, [31] * 2)


def test_limits_are_arguments(generator, tmp_path):
    good = {"name": "m", "preprocessing": TANH, "latent": LATENT}
    path = export.saved_model(generator, tmp_path, **good, max_batch=3)
    signatures = tf.saved_model.load(path).signatures
    assert len(signatures["generate"](seed=tf.constant(0, tf.int64), count=tf.constant(3))["image"])
    with pytest.raises(REFUSED, match=r"count must be 0 to 3, got\] \[4\]"):
        signatures["generate"](seed=tf.constant(0, tf.int64), count=tf.constant(4))
    with pytest.raises(REFUSED, match=r"latent must be at most 3 in one request, got\] \[4\]"):
        signatures["serving_default"](latent=tf.zeros((4, 12)))
    for change, words in (
        ({"max_batch": 0}, "max_batch must be a positive whole number, got 0"),
        ({"max_batch": 2**31}, "max_batch must be at most 2147483647"),
        ({"max_pixels": 2.5}, "max_pixels must be a positive whole number"),
    ):
        with pytest.raises(ArgumentError, match=words):
            export.saved_model(generator, tmp_path, **good, **change)


def test_pixels_are_limited_before_and_after_the_resizing():
    flat, cropped = (
        request_checks.signature(
            lambda image: {"image": image},
            {"image": request_checks.images(Preprocessing(size=(8, 16), crop=crop), 1024)},
            2,
        )
        for crop in (None, 0.5)
    )

    def refuses(signature, height, width):
        try:
            signature(tf.zeros((1, height, width, 3)))
        except REFUSED:
            return True
        return False

    assert not refuses(flat, 32, 32)
    assert refuses(flat, 32, 33)
    assert not refuses(flat, 1, 128)  # 8 rows of 128 pixels.
    assert refuses(flat, 1, 129)
    assert not refuses(cropped, 16, 32)
    assert not refuses(cropped, 1, 4)  # 16 rows of 64 pixels.
    assert refuses(cropped, 1, 5)
    with pytest.raises(ArgumentError, match=r"max_pixels must be at least 512, .*got 511"):
        request_checks.images(Preprocessing(size=(8, 16), crop=0.5), 511)
    with pytest.raises(ArgumentError, match="needs an input that is a batch or a count, got seed"):
        request_checks.signature(lambda seed: {}, {"seed": request_checks.seeds()}, 1)


def test_the_default_batch_has_256_mebibytes_of_inputs_and_outputs():
    image = keras.Input((224, 224, 3))
    outputs = keras.layers.Dense(1000)(keras.layers.GlobalAveragePooling2D()(image))
    found = export.spec.default_max_batch(keras.Model(image, outputs), Preprocessing((224, 224)))
    assert found == 2**28 // (4 * (224 * 224 * 3 + 1000)) == 442
