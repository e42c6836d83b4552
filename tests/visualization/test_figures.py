"""Grids pixel by pixel; plots by reading the files back."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from keras_arch import visualization
from keras_arch.errors import ArgumentError


@settings(deadline=None, max_examples=50)
@given(
    count=st.integers(1, 13),
    columns=st.one_of(st.none(), st.integers(1, 15)),
    padding=st.integers(0, 3),
    height=st.integers(1, 5),
    width=st.integers(1, 5),
    channels=st.sampled_from([1, 3]),
)
def test_grid_places_every_image_and_the_rest_is_white(
    count, columns, padding, height, width, channels
):
    rng = np.random.default_rng(count)
    images = rng.integers(0, 255, (count, height, width, channels), dtype=np.uint8)
    sheet = visualization.grid(images, columns, padding)
    assert sheet.shape[-1] == channels
    across = min(columns or int(np.ceil(count**0.5)), count)
    left = sheet.copy()
    for index, image in enumerate(images):
        row, column = divmod(index, across)
        top = padding + row * (height + padding)
        start = padding + column * (width + padding)
        cut = np.s_[top : top + height, start : start + width]
        np.testing.assert_array_equal(sheet[cut], image)
        left[cut] = 255
    assert (left == 255).all()
    assert sheet.shape[1] == across * (width + padding) + padding


def test_grid_takes_grey_images_without_a_channel():
    assert visualization.grid(np.zeros((4, 8, 8), np.uint8), padding=0).shape == (16, 16, 1)


@pytest.mark.parametrize(
    ("images", "options", "message"),
    [
        (np.zeros((0, 8, 8, 1), np.uint8), {}, "at least one image"),
        (np.zeros((4, 8, 8, 1)), {}, "uint8 images .*got float64"),
        (np.zeros((4, 8, 8, 2), np.uint8), {}, r"\(4, 8, 8, 2\)"),
        (np.zeros((8, 8), np.uint8), {}, r"\(8, 8\)"),
        (np.zeros((4, 8, 8, 1), np.uint8), {"columns": 0}, "columns >= 1"),
        (np.zeros((4, 8, 8, 1), np.uint8), {"padding": -1}, "padding >= 0"),
    ],
)
def test_grid_of_wrong_arguments(images, options, message):
    with pytest.raises(ArgumentError, match=message):
        visualization.grid(images, **options)


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 1), (5, 7, 3)])
def test_png_files_keep_every_pixel(tmp_path, shape):
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    path = visualization.save_png(pixels, tmp_path / "new" / "folder" / "picture.png")
    with Image.open(path) as image:
        assert image.format == "PNG"
        np.testing.assert_array_equal(np.asarray(image).reshape(shape), pixels)
    assert [file.name for file in path.parent.iterdir()] == ["picture.png"]


@pytest.mark.parametrize("shape", [(5,), (5, 7, 2), (2, 5, 7, 3), (0, 7, 3)])
def test_arrays_that_are_no_image_are_not_written(tmp_path, shape):
    with pytest.raises(ArgumentError, match="PNG file takes uint8"):
        visualization.save_png(np.zeros(shape, np.uint8), tmp_path / "picture.png")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["picture.jpg", "picture", "picture.png.txt"])
def test_the_name_of_a_picture_says_png(tmp_path, name):
    with pytest.raises(ArgumentError, match=r"ends in \.png, got"):
        visualization.save_png(np.zeros((4, 4), np.uint8), tmp_path / name)
    with pytest.raises(ArgumentError, match=r"ends in \.png, got"):
        visualization.bar_chart([1.0], ["a"], tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def _ink(path) -> int:
    with Image.open(path) as image:
        assert image.format == "PNG"
        return int((np.asarray(image.convert("L")) < 250).sum())


def test_history_draws_a_panel_for_each_kind_of_metric(tmp_path):
    gan = [{"epoch": e, "d_loss": 1.0, "g_loss": 2.0, "d_real": 0.6} for e in range(3)]
    with Image.open(visualization.history(gan, tmp_path / "gan.png")) as two_panels:
        width = two_panels.width
    with Image.open(visualization.history(gan[:1] * 2, tmp_path / "flat.png")) as image:
        assert image.width == width
    losses = [{"loss": 1 / (e + 1), "val_loss": 1.2 / (e + 1)} for e in range(3)]
    with Image.open(visualization.history(losses, tmp_path / "losses.png")) as one_panel:
        assert one_panel.width * 2 == width


def test_history_takes_rows_with_holes_and_numbers_as_text(tmp_path):
    rows = [
        {"epoch": "0", "loss": "2.5", "val_loss": "", "learning_rate": "0.1"},
        {"epoch": "1", "loss": "nan", "val_loss": "2.0", "learning_rate": "0.01"},
        {"epoch": "2", "loss": float("inf"), "learning_rate": None},
    ]
    assert _ink(visualization.history(rows, tmp_path / "history.png")) > 1000


@pytest.mark.parametrize("rows", [[], [{}], [{"epoch": 3}]])
def test_history_without_a_metric_is_refused(tmp_path, rows):
    with pytest.raises(ArgumentError, match="at least one row with a metric"):
        visualization.history(rows, tmp_path / "history.png")


def test_history_leaves_no_global_state(tmp_path):
    from matplotlib import pyplot

    visualization.history([{"loss": 1.0}], tmp_path / "history.png")
    assert pyplot.get_fignums() == []


def test_confusion_matrix_is_darker_on_the_diagonal_of_a_good_classifier(tmp_path):
    labels = ["ankle boot", "bag", "coat"]
    good = visualization.confusion_matrix(np.eye(3) * 50, labels, tmp_path / "good.png")
    bad = visualization.confusion_matrix(np.ones((3, 3)), labels, tmp_path / "bad.png")
    with Image.open(good) as image:
        dark = (np.asarray(image.convert("L")) < 60).sum()
    with Image.open(bad) as image:
        assert dark > 2 * (np.asarray(image.convert("L")) < 60).sum()


def test_confusion_matrix_of_a_class_without_images_and_of_many_classes(tmp_path):
    visualization.confusion_matrix([[0, 0], [1, 3]], ["a", "b"], tmp_path / "two.png")
    visualization.confusion_matrix(
        np.eye(100, dtype=int), [f"class {i}" for i in range(100)], tmp_path / "hundred.png"
    )
    assert _ink(tmp_path / "hundred.png") > 1000


@pytest.mark.parametrize(
    ("matrix", "labels"), [([[1, 2]], ["a", "b"]), (np.eye(3), ["a", "b"]), ([], [])]
)
def test_confusion_matrix_of_the_wrong_shape_is_refused(tmp_path, matrix, labels):
    with pytest.raises(ArgumentError, match="confusion matrix of"):
        visualization.confusion_matrix(matrix, labels, tmp_path / "matrix.png")


def test_small_images_are_enlarged_by_whole_pixels():
    images = np.arange(2 * 16 * 16, dtype=np.uint8).reshape(2, 16, 16, 1)
    sheet = visualization.grid(images, columns=1, padding=0, enlarge=True)
    assert sheet.shape == (128, 64, 1)
    np.testing.assert_array_equal(sheet[:64:4, ::4], images[0])
    np.testing.assert_array_equal(sheet[3:64:4, 3::4], images[0])
    large = np.zeros((1, 65, 65, 3), np.uint8)
    assert visualization.grid(large, padding=0, enlarge=True).shape == (65, 65, 3)


def test_bars_are_as_high_as_their_values(tmp_path):
    low = visualization.bar_chart([1, 1, 10], ["a", "b", "c"], tmp_path / "low.png")
    high = visualization.bar_chart(
        [10, 10, 10], ["a", "b", "c"], tmp_path / "high.png", level=5, title="t"
    )
    assert _ink(high) > 2 * _ink(low)
    visualization.bar_chart(range(100), [f"class {i}" for i in range(100)], tmp_path / "many.png")
    with pytest.raises(ArgumentError, match="one label each, got 1 labels for values of shape"):
        visualization.bar_chart([1, 2], ["a"], tmp_path / "bars.png")


@pytest.mark.parametrize(
    ("columns", "captions", "message"),
    [
        ({}, None, "at least one column"),
        (
            {"a": np.zeros((2, 8, 8, 1), np.uint8), "b": np.zeros((3, 8, 8, 1), np.uint8)},
            None,
            r"\(2, 8, 8\) of 'a' and \(3, 8, 8\) of 'b'",
        ),
        ({"a": np.zeros((2, 8, 8, 1))}, None, "uint8 images .*got float64"),
        ({"a": np.zeros((2, 8, 8), np.uint8)}, [["one"]], r"1 columns of 2 texts, got \[1\]"),
    ],
)
def test_side_by_side_of_wrong_arguments(tmp_path, columns, captions, message):
    with pytest.raises(ArgumentError, match=message):
        visualization.side_by_side(columns, tmp_path / "table.png", captions=captions)
    assert list(tmp_path.iterdir()) == []
