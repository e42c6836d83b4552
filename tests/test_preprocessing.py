"""The description that travels with the weights, against Pillow, closed forms and its inverse."""

import json
import math

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image
from sklearn.datasets import load_sample_image

from keras_arch.errors import ArgumentError
from keras_arch.preprocessing import RESIZE_METHODS, Preprocessing


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    """A smooth colour image of 24x36 pixels with one sharp edge."""
    y, x = np.mgrid[:24, :36]
    image = np.stack([x * 7, y * 10, 255 - x * 3], axis=-1).astype(np.uint8)
    image[:, 20:] = 255 - image[:, 20:]
    return image


@pytest.mark.parametrize("method", RESIZE_METHODS)
@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64", "int32"])
def test_every_method_takes_every_kind_of_pixel(method, dtype, photo):
    to_input = Preprocessing((16, 20), 3, method, scale=1.0)
    single = to_input(photo.astype(dtype))
    batch = to_input(photo[None].astype(dtype))
    assert single.dtype == "float32"
    assert single.shape == (16, 20, 3)
    np.testing.assert_array_equal(single, batch[0])
    np.testing.assert_array_equal(single, to_input(photo))
    assert single.numpy().min() >= 0
    assert single.numpy().max() <= 255


@pytest.mark.parametrize(
    ("method", "pillow"),
    [
        ("bilinear", Image.Resampling.BILINEAR),
        ("bicubic", Image.Resampling.BICUBIC),
        ("lanczos3", Image.Resampling.LANCZOS),
        ("area", Image.Resampling.BOX),
    ],
)
def test_shrinking_agrees_with_pillow(method, pillow, photo):
    ours = Preprocessing((8, 12), 3, method, scale=1.0)(photo).numpy()
    # One channel at a time as floats, which Pillow does not round between its two passes.
    theirs = np.stack(
        [
            np.asarray(Image.fromarray(channel).resize((12, 8), pillow))
            for channel in np.moveaxis(photo.astype(np.float32), -1, 0)
        ],
        axis=-1,
    )
    np.testing.assert_allclose(ours, np.clip(theirs, 0, 255), atol=0.02)


@pytest.fixture(scope="module")
def photograph() -> np.ndarray:
    """A photograph of 427x640 pixels, which scikit-learn ships."""
    return load_sample_image("china.jpg")


def cropped_by_pillow(image, size, crop, method):
    """What timm and torchvision do to a Pillow image before it becomes numbers."""
    least = math.floor(size / crop)
    height, width = image.shape[:2]
    scaled = (
        (least, int(least * width / height))
        if height <= width
        else (int(least * height / width), least)
    )
    resized = np.asarray(Image.fromarray(image).resize(scaled[::-1], method), np.float32)
    top, left = (round((side - size) / 2.0) for side in scaled)
    return resized[top : top + size, left : left + size]


@pytest.mark.parametrize(
    ("method", "pillow", "most", "mean"),
    [
        # Pillow rounds to bytes, and cuts what overshoots, after each of its two passes.
        ("bilinear", Image.Resampling.BILINEAR, 1.0, 0.28),
        ("bicubic", Image.Resampling.BICUBIC, 3.6, 0.28),
        ("lanczos3", Image.Resampling.LANCZOS, 7.7, 0.29),
    ],
)
@pytest.mark.parametrize(("size", "crop"), [(224, 0.95), (160, 0.875)])
def test_the_centre_of_a_photograph_is_pillows(photograph, method, pillow, most, mean, size, crop):
    ours = Preprocessing(size, 3, method, scale=1.0, crop=crop)(photograph).numpy()
    difference = np.abs(ours - cropped_by_pillow(photograph, size, crop, pillow))
    assert ours.shape == (size, size, 3)
    assert difference.max() <= most
    assert difference.mean() <= mean


@settings(deadline=None, max_examples=30)
@given(
    height=st.integers(5, 60),
    width=st.integers(5, 60),
    size=st.integers(5, 24),
    crop=st.sampled_from([0.8, 0.875, 0.9, 0.95, 1.0]),
)
def test_the_centre_is_where_pillow_has_it_for_every_shape(height, width, size, crop):
    """Of a ramp, whose every pixel says where it is from."""
    y, x = np.mgrid[:height, :width]
    ramp = np.stack([x * 4, y * 4, x + y], axis=-1).astype(np.uint8)
    ours = Preprocessing(size, 3, "bilinear", scale=1.0, crop=crop)(ramp).numpy()
    theirs = cropped_by_pillow(ramp, size, crop, Image.Resampling.BILINEAR)
    np.testing.assert_allclose(ours, theirs, atol=1.01)


def test_the_centre_of_a_window_that_is_no_square():
    """Which side is brought to its length depends on both shapes; timm rounds the other one."""
    to_wide = Preprocessing((16, 20), 1, "nearest", crop=0.8)
    assert to_wide._scaled(40, 60) == (20, 30)
    assert to_wide._scaled(60, 40) == (38, 25)  # 37.5
    assert to_wide._scaled(33, 41) == (20, 25)  # 24.8
    assert to_wide._scaled(33, 42) == (20, 25)  # 25.45


def test_a_crop_is_the_same_in_a_graph_for_images_and_batches_of_any_size(photograph):
    to_input = Preprocessing(64, 3, "bicubic", crop=0.9, mean=[0.5] * 3, std=[0.25] * 3)
    in_graph = tf.function(
        to_input.__call__, input_signature=[tf.TensorSpec((None, None, None, 3), tf.uint8)]
    )
    for image in (
        photograph,
        photograph.swapaxes(0, 1),
        photograph[:64, :64],
        photograph[:71, :90],
    ):
        batch = np.stack([image, image[::-1]])
        found = in_graph(batch)
        np.testing.assert_allclose(found, to_input(batch), atol=2e-5)
        np.testing.assert_array_equal(to_input(batch)[0], to_input(image))
        assert found.shape == (2, 64, 64, 3)


def test_a_crop_without_interpolation_stays_bytes(photograph):
    whole = Preprocessing(427, crop=1.0).fit(photograph)
    assert whole.dtype == "uint8"
    np.testing.assert_array_equal(whole, photograph[:, 106 : 106 + 427])
    kept = Preprocessing((224, 224), crop=0.875)
    # Of an image of the size itself the border goes: that is how the weights were measured.
    assert not np.array_equal(kept.fit(photograph[:224, :224]), photograph[:224, :224])


def test_descriptions_from_before_there_was_a_crop_are_read():
    old = {"size": [8, 8], "channels": 3, "resize": "bilinear", "scale": 1 / 255}
    assert Preprocessing.from_dict(old).crop is None
    assert "crop" not in Preprocessing(8).to_dict()
    new = Preprocessing(8, crop=0.875)
    assert Preprocessing.from_dict(json.loads(json.dumps(new.to_dict()))) == new


def test_nearest_takes_pixels_that_are_there(photo):
    enlarged = Preprocessing((48, 72), 3, "nearest", scale=1.0)(photo).numpy()
    np.testing.assert_array_equal(enlarged, photo.repeat(2, axis=0).repeat(2, axis=1))


def test_pad_centres_on_black():
    image = np.full((28, 28, 1), 9, np.uint8)
    padded = Preprocessing((32, 32), 1, "pad").fit(image).numpy()
    assert padded.dtype == np.uint8
    np.testing.assert_array_equal(padded[2:30, 2:30], image)
    assert padded.sum() == image.sum(dtype=int)


@pytest.mark.parametrize("known", [True, False], ids=["known size", "dynamic size"])
def test_pad_shrinks_larger_images_and_cuts_nothing_off(known):
    pad = Preprocessing((4, 6), 1, "pad")
    fit = pad.fit if known else tf.function(pad.fit, [tf.TensorSpec((None, None, 1), tf.uint8)])
    blocks = np.arange(8, dtype=np.uint8).reshape(4, 2, 1) * 30
    fitted = np.asarray(fit(blocks.repeat(8, axis=0).repeat(8, axis=1)))
    # 32x16 become 4x2. Each block of one value keeps it, but for what its neighbours lend.
    assert not fitted[:, [0, 1, 4, 5]].any()
    wanted = np.asarray(tf.image.resize(blocks.repeat(8, 0).repeat(8, 1), (4, 2), antialias=True))
    np.testing.assert_allclose(fitted[:, 2:4], wanted, atol=1e-3)
    np.testing.assert_allclose(fitted[:, 2:4].mean(), blocks.mean(), rtol=0.02)
    # A line of pixels stays one.
    assert np.asarray(fit(np.full((400, 1, 1), 9, np.uint8))).sum() == pytest.approx(4 * 9)
    small = np.asarray(fit(np.full((2, 6, 1), 9, np.uint8)))
    np.testing.assert_array_equal(small[..., 0], [[0] * 6, [9] * 6, [9] * 6, [0] * 6])


def test_images_of_the_right_size_stay_bytes(photo):
    fitted = Preprocessing((24, 36)).fit(photo)
    assert fitted.dtype == "uint8"
    np.testing.assert_array_equal(fitted, photo)


def test_grey_from_colour_is_luma_rounded_and_equal_for_bytes_and_floats(photo):
    to_grey = Preprocessing((24, 36), 1, scale=1.0)
    grey = to_grey(photo).numpy()
    assert grey.shape == (24, 36, 1)
    np.testing.assert_array_equal(grey, to_grey(photo.astype(np.float32)))
    theirs = np.asarray(Image.fromarray(photo).convert("L"), np.float32)
    assert np.abs(grey[..., 0] - theirs).max() <= 1
    white = np.full((24, 36, 3), 255, np.uint8)
    assert (to_grey(white).numpy() == 255).all()


def test_colour_from_grey_repeats_the_channel():
    grey = np.arange(16, dtype=np.uint8).reshape(4, 4, 1)
    colour = Preprocessing((4, 4), 3, scale=1.0)(grey).numpy()
    np.testing.assert_array_equal(colour, grey.repeat(3, axis=-1))


def test_normalising_is_scale_then_mean_then_std_in_the_order_of_the_channels():
    image = np.array([[[10, 20, 30]]], np.uint8)
    caffe = Preprocessing((1, 1), scale=1.0, mean=[100, 110, 120], channel_order="bgr")
    np.testing.assert_array_equal(caffe(image).numpy().ravel(), [30 - 100, 20 - 110, 10 - 120])
    torch = Preprocessing((1, 1), mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
    expected = (np.array([10, 20, 30]) / 255 - torch.mean) / torch.std
    np.testing.assert_allclose(torch(image).numpy().ravel(), expected, rtol=1e-6)


def test_a_mean_for_every_pixel_takes_the_mean_image_to_zero(photo):
    to_input = Preprocessing((24, 36), mean=(photo / 255.0).tolist())
    # Two roundings of numbers up to 1.
    np.testing.assert_allclose(to_input(photo), 0, atol=2.5e-7)


@settings(deadline=None, max_examples=25)
@given(
    images=hnp.arrays(np.uint8, st.sampled_from([(4, 6, 3), (2, 4, 6, 3)])),
    scale=st.sampled_from([1.0, 1 / 255, 1 / 127.5]),
    mean=st.one_of(
        st.floats(-2, 2),
        st.lists(st.floats(-2, 2), min_size=3, max_size=3),
        hnp.arrays(np.float32, (4, 6, 3), elements=st.floats(-1, 1, width=32)).map(
            np.ndarray.tolist
        ),
    ),
    std=st.one_of(st.floats(0.1, 4), st.lists(st.floats(0.1, 4), min_size=3, max_size=3)),
    order=st.sampled_from(["rgb", "bgr"]),
)
def test_to_pixels_undoes_normalising_exactly_and_json_keeps_it(images, scale, mean, std, order):
    to_input = Preprocessing((4, 6), 3, scale=scale, mean=mean, std=std, channel_order=order)
    np.testing.assert_array_equal(to_input.to_pixels(to_input(images)), images)
    again = Preprocessing.from_dict(json.loads(json.dumps(to_input.to_dict())))
    assert again == to_input
    np.testing.assert_array_equal(again(images), to_input(images))


def test_to_pixels_clips_out_of_range_values():
    to_tanh = Preprocessing((1, 1), 1, scale=1 / 127.5, mean=1.0)
    pixels = to_tanh.to_pixels(np.array([-1.5, -1, 0.5, 1, 1.5]).reshape(5, 1, 1, 1))
    assert pixels.ravel().tolist() == [0, 0, 191, 255, 255]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": "88"}, "size must be .*'88'"),
        ({"size": None}, "size must be .*None"),
        ({"size": (8,)}, "size must be"),
        ({"size": (8, 0)}, "size must be"),
        ({"size": (8.0, 8.0)}, "size must be"),
        ({"size": True}, "size must be"),
        ({"channels": 0}, "channels must be a positive whole number, got 0"),
        ({"channels": "3"}, "channels must be a positive whole number, got '3'"),
        ({"channels": 4, "channel_order": "bgr"}, "channel_order bgr is of 3 channels, .* has 4"),
        ({"resize": "cubic"}, "resize must be one of .*bicubic.*'cubic'"),
        ({"scale": 0}, "scale must be a positive number, got 0"),
        ({"scale": float("nan")}, "scale must be"),
        ({"scale": float("inf")}, "scale must be"),
        ({"scale": "1/255"}, "scale must be .*'1/255'"),
        ({"mean": "imagenet"}, "mean must be .*'imagenet'"),
        ({"mean": [0.5, 0.5]}, r"mean of shape \(2,\) does not fit"),
        ({"mean": [[1], [2, 3]]}, "mean must be"),
        ({"mean": np.zeros((9, 8, 3))}, r"mean of shape \(9, 8, 3\) does not fit"),
        ({"mean": None}, "mean must be finite"),
        ({"std": 0.0}, "std must be finite and positive"),
        ({"std": [1, 1, float("nan")]}, "std must be finite and positive"),
        ({"crop": 0}, r"crop must be a number in \(0, 1\].*got 0"),
        ({"crop": 1.01}, "crop must be"),
        ({"crop": "0.9"}, "crop must be .*'0.9'"),
        ({"crop": float("nan")}, "crop must be"),
        ({"crop": 0.9, "resize": "pad"}, "'pad' does not interpolate; leave crop=0.9 out"),
        ({"channels": 1, "mean": [0.5, 0.4, 0.3]}, r"mean of shape \(3,\) .* with 1 channels"),
        ({"channels": 1, "std": [0.5, 0.4, 0.3]}, r"std of shape \(3,\) .* with 1 channels"),
        ({"std": [0.2] * 4}, r"std of shape \(4,\) does not fit an image of 8x8 with 3 channels"),
        ({"channel_order": "grb"}, "channel_order must be rgb or bgr, got 'grb'"),
    ],
)
def test_wrong_values_are_named_in_one_line(arguments, message):
    with pytest.raises(ArgumentError, match=message) as caught:
        Preprocessing(**({"size": (8, 8)} | arguments))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 2), (2, 8, 8, 4), (1, 2, 8, 8, 3), ()])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ArgumentError, match="1 or 3 channels"):
        Preprocessing((8, 8))(np.zeros(shape, np.uint8))


def test_descriptions_with_wrong_keys_are_refused():
    with pytest.raises(ArgumentError, match=r"no key 'means'; it has .*mean"):
        Preprocessing.from_dict({"size": [8, 8], "means": 0})
    with pytest.raises(ArgumentError, match="needs the key 'size'"):
        Preprocessing.from_dict({"channels": 3})
    assert Preprocessing.from_dict({"size": [8, 6]}).input_shape == (8, 6, 3)
    assert Preprocessing(8).size == (8, 8)


@pytest.mark.parametrize("integer", [int, np.int64, np.int32, np.uint8])
def test_sizes_and_channels_are_of_any_integer_type(integer):
    for size in (integer(8), (integer(8), integer(8)), [integer(8)] * 2, np.array([8, 8], integer)):
        found = Preprocessing(size, integer(1))
        assert found == Preprocessing((8, 8), 1)
        # JSON writes plain numbers only.
        assert json.loads(json.dumps(found.to_dict()))["size"] == [8, 8]
        assert found(np.zeros((9, 9, 3), np.uint8)).shape == (8, 8, 1)


def test_many_channels_are_scaled_and_not_converted():
    five = Preprocessing((4, 4), 5, scale=1.0, mean=[0, 1, 2, 3, 4], resize="nearest")
    pixels = np.random.default_rng(0).integers(0, 255, (2, 4, 4, 5), np.uint8)
    np.testing.assert_array_equal(five(pixels), pixels - np.arange(5, dtype=np.float32))
    np.testing.assert_array_equal(five.to_pixels(five(pixels)), pixels)
    assert Preprocessing.from_dict(five.to_dict()) == five
    for channels in (1, 3, 4):
        with pytest.raises(ArgumentError, match=r"must have 5 channels, got an array of shape \(4"):
            five(np.zeros((4, 4, channels), np.uint8))
    with pytest.raises(ArgumentError, match="must have 1 or 3 channels"):
        Preprocessing((4, 4), 3)(pixels)
