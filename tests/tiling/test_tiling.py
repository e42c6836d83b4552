"""Tiled prediction against the whole image at once, and against MONAI's formula written out."""

import math
import tracemalloc

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import example, given, settings
from hypothesis import strategies as st

from keras_arch import models, tiling
from keras_arch.errors import ArgumentError
from keras_arch.preprocessing import Preprocessing
from keras_arch.tiling import tile_size
from keras_arch.tiling.networks import network_of
from tests.models.tester import forward
from tests.rounding import ROUNDING


def unet(padding="valid", size=None, channels=1, **arguments):
    keras.utils.set_random_seed(0)
    arguments = {"depth": 2, "filters": 3, "dropout": 0.0} | arguments
    return models.UNet(padding, input_shape=(size, size, channels), **arguments)


@pytest.fixture(scope="module")
def unpadded():
    return unet()


@pytest.fixture(scope="module")
def padded():
    return unet("same", norm="batch")


def noise(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def whole(model, image, depth=2, up="deconvolution"):
    """The mirrored image in one piece, of the next size that the network takes."""
    sizes = models.unet_sizes(2000, depth, up)
    border = (sizes[0] - models.unet_output_size(sizes[0], depth, up)) // 2
    sides = []
    for side in image.shape[:2]:
        size = next(s for s in sizes if s >= side + 2 * border)
        sides.append((border, size - side - border))
    image = np.pad(image, (*sides, (0, 0)), mode="reflect")
    return forward(model, image[None])[0]


TILES = (60, 92, (76, 64))


@settings(max_examples=20, deadline=None)
@given(height=st.integers(1, 130), width=st.integers(1, 130), batch_size=st.integers(1, 3))
@example(height=1, width=2, batch_size=1)
@example(height=130, width=64, batch_size=2)
def test_unpadded_tiles_are_the_whole(unpadded, height, width, batch_size):
    image = noise(height, width, 1)
    expected = whole(unpadded, image)[:height, :width]
    for tile in TILES:
        found = tiling.predict(unpadded, image, tile=tile, batch_size=batch_size, progress=False)
        np.testing.assert_allclose(found, expected, atol=ROUNDING)


@pytest.mark.parametrize("limit", [48, 960])
def test_unpadded_tiles_that_the_image_chose(unpadded, limit, monkeypatch):
    monkeypatch.setattr(tile_size, "LARGEST", limit)
    image = noise(33, 41, 1)
    found = tiling.predict(unpadded, image, progress=False)
    np.testing.assert_allclose(found, whole(unpadded, image)[:33, :41], atol=ROUNDING)


@pytest.mark.slow
@pytest.mark.parametrize("tile", [204, 236, 380])
def test_four_stages_as_published(tile):
    model = unet(depth=4, filters=1)
    image = noise(150, 210, 1)
    expected = whole(model, image, 4)[:150, :210]
    found = tiling.predict(model, image, tile=tile, progress=False)
    np.testing.assert_allclose(found, expected, atol=ROUNDING)


def test_interpolating_unpadded_network():
    model = unet(up="bilinear")
    image = noise(60, 90, 1)
    expected = whole(model, image, up="bilinear")[:60, :90]
    found = tiling.predict(model, image, tile=64, progress=False)
    np.testing.assert_allclose(found, expected, atol=ROUNDING)


def test_tiles_a_pooling_apart_are_not_the_whole(unpadded):
    image = noise(60, 60, 1)
    found = tiling.predict(unpadded, image, tile=60, multiple=19, progress=False)
    assert np.abs(found - whole(unpadded, image)[:60, :60]).max() > 1e-3


def blended(model, image, tile, overlap):
    """MONAI's sliding window with Gaussian weights, in double precision and all at once."""
    height, width, _ = image.shape
    pads = [max(0, tile - side) for side in (height, width)]
    before = [pad // 2 for pad in pads]
    sides = [(b, pad - b) for b, pad in zip(before, pads, strict=True)]
    image = np.pad(image, (*sides, (0, 0)), mode="reflect")
    x = np.arange(tile) - (tile - 1) / 2
    line = np.exp(x**2 / (-2 * (0.125 * tile) ** 2))
    weight = np.outer(line, line)
    weight = np.clip(weight, max(weight.min(), 1e-3), None)[..., None]
    step = max(1, int(tile * (1 - overlap)))
    starts = [
        [min(i * step, side - tile) for i in range(int(np.ceil((side - tile) / step)) + 1)]
        for side in image.shape[:2]
    ]
    scores, total = 0, np.zeros((*image.shape[:2], 1))
    for top in starts[0]:
        for left in starts[1]:
            window = (slice(top, top + tile), slice(left, left + tile))
            part = forward(model, image[window][None])[0].astype("float64")
            if np.ndim(scores) == 0:
                scores = np.zeros((*image.shape[:2], part.shape[-1]))
            scores[window] += weight * part
            total[window] += weight
    result = scores / total
    return result[before[0] : before[0] + height, before[1] : before[1] + width]


@pytest.mark.slow
@settings(max_examples=6, deadline=None)
@given(
    height=st.integers(1, 60),
    width=st.integers(1, 60),
    batch_size=st.integers(1, 5),
    overlap=st.sampled_from([0.0, 0.25, 0.6]),
)
@example(height=7, width=60, batch_size=3, overlap=0.25)
def test_padded_tiles_are_blended_as_in_monai(padded, height, width, batch_size, overlap):
    image = noise(height, width, 1)
    found = tiling.predict(
        padded, image, tile=16, batch_size=batch_size, overlap=overlap, progress=False
    )
    np.testing.assert_allclose(found, blended(padded, image, 16, overlap), atol=1e-5)


def test_overlap_of_a_quarter_is_the_default(padded):
    image = noise(40, 50, 1)
    np.testing.assert_array_equal(
        tiling.predict(padded, image, tile=16, progress=False),
        tiling.predict(padded, image, tile=16, overlap=0.25, progress=False),
    )


@settings(max_examples=30, deadline=None)
@given(
    height=st.integers(5, 6000), width=st.integers(5, 6000), overlap=st.sampled_from([0, 0.25, 0.5])
)
@example(height=896, width=961, overlap=0.25)
def test_padded_tiles_are_few_and_no_larger_than_so_few_need(padded, height, width, overlap):
    def expected(side):
        count = 1 + max(0, math.ceil((side - 960) / (960 * (1 - overlap))))
        return 4 * math.ceil(side / (1 + (count - 1) * (1 - overlap)) / 4)

    found = tile_size.tile_for(network_of(padded), None, (height, width), 1, overlap)
    assert found == (expected(height), expected(width))


def test_tiles_that_the_image_chose_are_blended(padded, monkeypatch):
    monkeypatch.setattr(tile_size, "LARGEST", 32)
    image = noise(50, 50, 1)
    found = tiling.predict(padded, image, progress=False)
    # Two tiles of 32 are the fewest, and two of 28 cannot do it with a quarter of overlap: 49.
    np.testing.assert_allclose(found, blended(padded, image, 32, 0.25), atol=1e-5)
    found = tiling.predict(padded, image[:49, :49], progress=False)
    np.testing.assert_allclose(found, blended(padded, image[:49, :49], 28, 0.25), atol=1e-5)


def test_one_tile_is_the_network_itself(padded):
    image = noise(40, 48, 1)
    found = tiling.predict(padded, image, progress=False)
    np.testing.assert_allclose(found, forward(padded, image[None])[0], atol=ROUNDING)


class Parts:
    """An array that notes the largest part of it that is read or written."""

    def __init__(self, array):
        self.array, self.largest = array, 0
        self.shape, self.dtype = array.shape, array.dtype

    def __getitem__(self, part):
        found = self.array[part]
        self.largest = max(self.largest, found[..., 0].size if found.ndim == 3 else found.size)
        return found

    def __setitem__(self, part, values):
        self.largest = max(self.largest, self.array[part].shape[0] * self.array[part].shape[1])
        self.array[part] = values


@pytest.mark.parametrize(
    ("padding", "tile", "written"),
    [pytest.param("valid", 60, 400, marks=pytest.mark.slow), ("same", 32, 32 * 9)],
)
def test_images_are_read_and_written_in_parts(tmp_path, padding, tile, written):
    model = unet(padding)
    pixels = np.random.default_rng(0).integers(0, 256, (300, 9 * 30), "uint8")
    file = np.memmap(tmp_path / "in", "uint8", "w+", shape=pixels.shape)
    file[:] = pixels
    out = np.memmap(tmp_path / "out", "float32", "w+", shape=(*pixels.shape, 2))
    source, target = Parts(file), Parts(out)
    options = {"tile": tile, "preprocessing": lambda tiles: tiles / 255.0, "progress": False}
    assert tiling.predict(model, source, out=target, **options) is target
    assert source.largest <= tile**2
    assert target.largest <= written * 30
    out.flush()
    again = np.memmap(tmp_path / "out", "float32", "r", shape=out.shape)
    expected = tiling.predict(model, pixels / 255.0, tile=tile, progress=False)
    np.testing.assert_allclose(again, expected, atol=ROUNDING)


@pytest.mark.slow
def test_a_hundred_megapixels_in_constant_memory(tmp_path):
    file = np.memmap(tmp_path / "in", "uint8", "w+", shape=(10_000, 10_000))
    file[::7] = 200
    out = np.memmap(tmp_path / "out", "uint8", "w+", shape=(10_000, 10_000))

    def network(tiles):
        return np.concatenate([tiles, 255 - tiles], axis=-1)

    tracemalloc.start()
    try:
        tiling.predict(network, file, tile=512, output="classes", out=out, progress=False)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # One row of tiles; the scores of the image are 800 MB.
    assert peak < 200e6
    assert not out[::7].any()
    assert out[1::7].all()


@pytest.mark.parametrize("size", [pytest.param(None, marks=pytest.mark.slow), 48])
def test_a_saved_model(tmp_path, size):
    model = unet(size=size)
    model.export(tmp_path / "served", verbose=False)
    loaded = tf.saved_model.load(tmp_path / "served")
    image = noise(50, 40, 1)
    expected = tiling.predict(model, image, tile=48, progress=False)
    options = {"progress": False, "multiple": 4} | ({} if size else {"tile": 48})
    for served in (loaded, loaded.signatures["serving_default"]):
        found = tiling.predict(served, image, batch_size=2, **options)
        np.testing.assert_allclose(found, expected, atol=ROUNDING)


def test_functions_and_dictionaries(padded):
    image = noise(20, 30, 1)
    expected = tiling.predict(padded, image, tile=16, progress=False)

    def function(tiles):
        assert tiles.dtype == np.float32
        scores = padded(tiles, training=False)
        return {"label": np.zeros(len(tiles)), "probabilities": scores, "logits": 2 * scores}

    found = tiling.predict(function, image, tile=16, progress=False)
    np.testing.assert_allclose(found, expected, atol=ROUNDING)


def test_classes():
    image = noise(20, 30, 3)
    expected = image.argmax(-1)
    found = tiling.predict(lambda x: x, image, tile=16, output="classes", progress=False)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, expected)
    out = np.zeros((20, 30), "int32")
    tiling.predict(lambda x: x, image, tile=16, output="classes", out=out, progress=False)
    np.testing.assert_array_equal(out, expected)
    # One class is there or not.
    mask = tiling.predict(lambda x: x, image[..., :1], tile=16, output="classes", progress=False)
    np.testing.assert_array_equal(mask, image[..., 0] >= 0.5)
    many = tiling.predict(
        lambda x: np.repeat(x, 100, -1), image, tile=16, output="classes", progress=False
    )
    assert many.dtype == np.uint16


def test_pixels_go_through_the_preprocessing():
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), "uint8")
    bgr = Preprocessing((16, 16), mean=[1.0, 2.0, 3.0], std=2.0, scale=1.0, channel_order="bgr")
    found = tiling.predict(lambda x: x, pixels, tile=16, preprocessing=bgr, progress=False)
    np.testing.assert_allclose(found, (pixels[..., ::-1] - [1.0, 2.0, 3.0]) / 2, atol=1e-4)
    deep = pixels.astype("uint16") * 257
    found = tiling.predict(
        lambda x: x, deep, tile=16, preprocessing=lambda x: x / 65535, progress=True
    )
    np.testing.assert_allclose(found, pixels / 255, atol=1e-6)


def test_tiles_are_as_large_as_the_image_asks_for(unpadded, padded):
    seen = []

    class Noting(keras.Model):
        def predict_on_batch(self, x):
            seen.append(x.shape)
            return super().predict_on_batch(x)

    for model, expected in (
        # An output of 104 rows is 144 in, one of 68 columns 108 in.
        (unpadded, (1, 144, 108, 1)),
        (padded, (1, 104, 68, 1)),
    ):
        seen.clear()
        tiling.predict(Noting(model.input, model.output), noise(101, 68, 1), progress=False)
        assert seen == [expected]


def test_interpolating_networks_take_one_size_after_another():
    model = unet("same", up="bilinear")
    for size in ((40, 48), (48, 40), (40, 48)):
        image = noise(*size, 1)
        found = tiling.predict(model, image, progress=False)
        np.testing.assert_allclose(found, forward(model, image[None])[0], atol=ROUNDING)


def test_a_network_inside_another_one(padded):
    model = keras.Sequential([keras.Input((None, None, 1)), keras.layers.Rescaling(2.0), padded])
    image = noise(30, 26, 1)
    np.testing.assert_allclose(
        tiling.predict(model, image, tile=16, progress=False),
        tiling.predict(padded, 2 * image, tile=16, progress=False),
        atol=1e-5,
    )
    assert tiling.predict(model, image, progress=False).shape == (30, 26, 2)
    with pytest.raises(ArgumentError, match="next that it takes are 64x64 and 68x68"):
        tiling.predict(model, image, tile=66, progress=False)


def test_strides_of_all_convolutions_count():
    model = keras.Sequential(
        [
            keras.Input((None, None, 1)),
            keras.layers.SeparableConv2D(4, 3, strides=4, padding="same"),
            keras.layers.DepthwiseConv2D(3, strides=2, padding="same"),
            keras.layers.Conv2DTranspose(2, 8, strides=8, padding="same"),
        ]
    )
    assert network_of(model).multiple == 8
    assert tiling.predict(model, noise(50, 30, 1), progress=False).shape == (50, 30, 2)


def test_tiles_that_would_give_more_than_they_are_do_not_fit():
    model = models.UNet(backbone="ResNet18", input_shape=(None, None, 3), filters=1)
    with pytest.raises(ArgumentError, match="next that it takes are 96x96 and 128x128"):
        tiling.predict(model, noise(30, 30, 3), tile=100, progress=False)


def test_sizes_are_of_any_integer_type(padded, unpadded):
    image = noise(20, 20, 1)
    for tile in (np.int64(16), np.array([16, 16])):
        np.testing.assert_array_equal(
            tiling.predict(padded, image, tile=tile, batch_size=np.int32(2), progress=False),
            tiling.predict(padded, image, tile=(16, 16), batch_size=2, progress=False),
        )
    np.testing.assert_array_equal(
        tiling.predict(unpadded, image, tile=60, multiple=np.int64(4), progress=False),
        tiling.predict(unpadded, image, tile=60, multiple=4, progress=False),
    )


def identity(tiles):
    return tiles


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"image": noise(30, 30, 3)}, "image has 3 channels, model 'unet' takes 1; give one of"),
        ({"image": noise(1, 30, 30)}, "channels come last"),
        ({"image": noise(2, 30, 30, 1)}, "one at a time"),
        ({"image": noise(0, 30, 1)}, "(0, 30, 1)"),
        ({"image": np.zeros((30, 30), "uint16")}, "lambda tiles: tiles / 65535"),
        (
            {
                "image": np.zeros((30, 30), "uint16"),
                "preprocessing": Preprocessing((8, 8), channels=1),
            },
            "preprocessing.normalize(tiles / 257)",
        ),
        ({"image": np.zeros((30, 30), "complex64")}, "complex64"),
        ({"tile": 50}, "does not take a tile of 50x50 pixels; the next that it takes are 48x48 "),
        ({"tile": 50}, "and 52x52"),
        ({"tile": 0}, "tile must be"),
        ({"tile": (60, 60, 1)}, "(60, 60, 1)"),
        ({"tile": 44, "multiple": 8}, "gives 4x4 pixels, and tiles lie a multiple of 8 apart"),
        ({"overlap": 0.25}, "side by side"),
        ({"batch_size": 0}, "batch_size"),
        ({"output": "logits"}, "'probabilities' or 'classes'"),
        ({"out": np.zeros((30, 30))}, "an array (30, 30, 2) of floats, got (30, 30) of float64"),
        ({"out": np.zeros((30, 30)), "output": "classes"}, "of whole numbers"),
        ({"preprocessing": 255}, "preprocessing must be"),
        ({"model": "unet"}, "got str"),
        ({"model": identity}, "give the size that it was trained on, such as tile=512"),
        ({"tile": 16.0}, "got 16.0"),
        ({"tile": "16"}, "got '16'"),
        ({"out": np.broadcast_to(np.zeros((), "float32"), (30, 30, 2))}, "read-only"),
        ({"model": lambda x: x[:, 1:], "tile": 16}, "gives 15x16 pixels of a tile of 16x16"),
        ({"model": lambda x: {"a": x, "b": x}, "tile": 16}, "gives a, b, none of them called"),
        ({"model": lambda x: x[..., 0], "tile": 16}, "(1, 16, 16) for a batch"),
        ({"model": identity, "tile": 16, "overlap": 1.0}, "[0, 1)"),
        ({"model": identity, "tile": 16, "multiple": 4}, "its tiles overlap"),
    ],
)
def test_clear_errors(unpadded, changes, word):
    arguments = {"model": unpadded, "image": noise(30, 30, 1), "progress": False} | changes
    with pytest.raises(ArgumentError) as caught:
        tiling.predict(arguments.pop("model"), arguments.pop("image"), **arguments)
    assert word in str(caught.value)
    assert "\n" not in str(caught.value)


def test_clear_errors_of_models_and_images():
    colour = unet("same", 16, channels=3)
    with pytest.raises(ArgumentError, match=r"leave alpha out with image\[\.\.\., :3\]"):
        tiling.predict(colour, noise(20, 20, 4), progress=False)
    with pytest.raises(ArgumentError, match="takes tiles of 16x16 pixels, got tile=32x32"):
        tiling.predict(colour, noise(20, 20, 3), tile=32, progress=False)
    classifier = models.CIFARResNet(8)
    with pytest.raises(ArgumentError, match=r"model 'resnet8' gives \(batch, 10\)"):
        tiling.predict(classifier, noise(40, 40, 3), progress=False)
    whole_mean = Preprocessing((8, 8), channels=1, mean=np.zeros((8, 8, 1)))
    with pytest.raises(ArgumentError, match="mean of a whole image"):
        tiling.predict(identity, noise(9, 9, 1), tile=8, preprocessing=whole_mean, progress=False)
    with pytest.raises(ArgumentError, match="300 classes; take int32"):
        tiling.predict(
            lambda x: np.repeat(x, 300, -1),
            noise(9, 9, 1),
            tile=8,
            output="classes",
            out=np.zeros((9, 9), "uint8"),
            progress=False,
        )


def test_570_pixels_for_the_published_network():
    model = unet(depth=4, filters=1)
    with pytest.raises(ArgumentError, match=r"570x570 pixels.* are 556x556 and 572x572"):
        tiling.predict(model, noise(30, 30, 1), tile=570, progress=False)
    padded = unet("same", depth=4, filters=1)
    with pytest.raises(ArgumentError, match=r"100x100 pixels.* are 96x96 and 112x112"):
        tiling.predict(padded, noise(30, 30, 1), tile=100, progress=False)
    with pytest.raises(ArgumentError, match=r"gives 4x4 pixels.* take a tile of 204 pixels"):
        tiling.predict(model, noise(30, 30, 1), tile=188, progress=False)
