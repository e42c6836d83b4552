"""The description that travels with the weights, against Pillow, closed forms and its inverse."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

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


def test_nearest_takes_pixels_that_are_there(photo):
    enlarged = Preprocessing((48, 72), 3, "nearest", scale=1.0)(photo).numpy()
    np.testing.assert_array_equal(enlarged, photo.repeat(2, axis=0).repeat(2, axis=1))


def test_pad_centres_on_black_and_crops_the_centre():
    image = np.full((28, 28, 1), 9, np.uint8)
    padded = Preprocessing((32, 32), 1, "pad").fit(image).numpy()
    assert padded.dtype == np.uint8
    np.testing.assert_array_equal(padded[2:30, 2:30], image)
    assert padded.sum() == image.sum(dtype=int)
    numbered = np.arange(36, dtype=np.uint8).reshape(6, 6, 1)
    cropped = Preprocessing((4, 2), 1, "pad").fit(numbered).numpy()
    np.testing.assert_array_equal(cropped, numbered[1:5, 2:4])


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
    np.testing.assert_allclose(to_input(photo), 0, atol=1e-7)


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


def test_to_pixels_clips_what_a_generator_overshoots():
    to_tanh = Preprocessing((1, 1), 1, scale=1 / 127.5, mean=1.0)
    pixels = to_tanh.to_pixels(np.array([-1.5, -1, 0.5, 1, 1.5]).reshape(5, 1, 1, 1))
    assert pixels.ravel().tolist() == [0, 0, 191, 255, 255]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"size": "88"}, "size must be .*'88'"),
        ({"size": None}, "size must be .*None"),
        ({"size": (8,)}, "size must be"),
        ({"size": (8, 0)}, "size must be"),
        ({"size": (8.0, 8.0)}, "size must be"),
        ({"size": True}, "size must be"),
        ({"channels": 4}, "channels must be 1 or 3, got 4"),
        ({"channels": "3"}, "channels must be 1 or 3, got '3'"),
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
        ({"channel_order": "grb"}, "channel_order must be rgb or bgr, got 'grb'"),
    ],
)
def test_wrong_values_are_told_in_one_line(arguments, told):
    with pytest.raises(ArgumentError, match=told) as caught:
        Preprocessing(**({"size": (8, 8)} | arguments))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 2), (2, 8, 8, 4), (1, 2, 8, 8, 3), ()])
def test_what_is_no_image_is_refused(shape):
    with pytest.raises(ArgumentError, match="1 or 3 channels"):
        Preprocessing((8, 8))(np.zeros(shape, np.uint8))


def test_descriptions_with_wrong_keys_are_refused():
    with pytest.raises(ArgumentError, match=r"no key 'means'; it has .*mean"):
        Preprocessing.from_dict({"size": [8, 8], "means": 0})
    with pytest.raises(ArgumentError, match="needs the key 'size'"):
        Preprocessing.from_dict({"channels": 3})
    assert Preprocessing.from_dict({"size": [8, 6]}).input_shape == (8, 6, 3)
    assert Preprocessing(8).size == (8, 8)
