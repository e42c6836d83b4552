import numpy as np
import pytest

from keras_arch import visualization
from keras_arch.errors import ArgumentError

# The first colors of the development kit of PASCAL VOC.
VOC = [(0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128), (128, 0, 128)]


def test_colors_of_voc():
    colors = visualization.class_colors(256)
    assert colors[:6] == VOC
    assert colors[20] == (0, 64, 128)  # tvmonitor
    assert colors[255] == (224, 224, 192)  # the rims of objects
    assert len(set(colors)) == 256


def test_an_overlay_mixes_and_draws_borders():
    image = np.full((20, 20, 1), 100, np.uint8)
    mask = np.zeros((20, 20), int)
    mask[5:15, 5:15] = 1
    picture = visualization.overlay(image, mask, [(0, 0, 0), (200, 0, 50)], share=0.25)
    np.testing.assert_array_equal(picture[0, 0], [100, 100, 100])
    np.testing.assert_array_equal(picture[10, 10], [125, 75, 88])
    np.testing.assert_array_equal(picture[5, 10], [200, 0, 50])
    assert (image == 100).all()


def test_an_error_map_is_red_where_it_is_wrong():
    truth, predicted = np.array([[0, 1, 1, 255]]), np.array([[0, 0, 1, 1]])
    picture = visualization.error_map(truth, predicted)
    assert (picture[0, 1] == (200, 30, 30)).all()
    assert (picture[0, 0] == picture[0, 2]).all()
    assert (picture[0, 3] == 255).all()
    with pytest.raises(ArgumentError, match="one size"):
        visualization.error_map(truth, predicted[:, :2])


def test_zoom_is_where_the_errors_are():
    image = np.zeros((60, 80, 3), np.uint8)
    image[..., 2] = np.arange(80)  # Blue is the column.
    truth = np.zeros((60, 80), int)
    truth[:, 10:20], truth[30:, 60:70] = 1, 1
    predicted = truth.copy()
    predicted[40:50, 66:70] = 0
    picture = visualization.zoom_on_errors(image, truth, predicted, size=20, enlarge=4)
    assert picture.shape == (80, 80, 3)
    plain = (picture[..., 0] == 0) & (picture[..., 1] == 0)
    assert 66 in picture[plain][:, 2]
    colors = {tuple(color) for color in picture[~plain].tolist()}
    assert {(0, 220, 0), (230, 0, 0), (255, 230, 0)} <= colors
    assert visualization.zoom_on_errors(image, truth, truth, size=200, enlarge=1).shape == (
        60,
        80,
        3,
    )


def test_wrong_arguments():
    with pytest.raises(ArgumentError, match="class 2 has no color; there are 2"):
        visualization.colorize_mask([[0, 2]], VOC[:2])
    with pytest.raises(ArgumentError, match="uint8 image"):
        visualization.overlay(np.zeros((4, 4, 3)), np.zeros((4, 4), int), VOC)
