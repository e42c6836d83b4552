import keras
import numpy as np
import pytest

from keras_arch import models
from keras_arch.errors import ArgumentError
from tests.models.tester import WRONG_CLASSIFIER, Case, ModelTester, forward, layers_of, outline

SMALL = {"input_shape": (32, 32, 3), "classes": 7, "units": 16}
WRONG = (
    ({"variant": "B"}, "'A-LRN'"),
    ({"units": 0}, "units"),
    ({"input_shape": (16, 16, 3)}, "32x32"),
    ({"input_shape": (None, None, 3)}, "include_top=False"),
    ({"input_shape": (3, 64, 64)}, "(64, 64, 3)"),
    *WRONG_CLASSIFIER,
)
CASES = [
    Case("VGG11", SMALL, (7,), wrong=WRONG),
    Case("VGG11", SMALL | {"variant": "A-LRN", "norm": "batch", "synchronized": True}, (7,)),
]
# The columns of table 1: convolutions of each stage.
COLUMNS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}


@pytest.mark.parametrize("case", CASES, ids=str)
class TestVGG(ModelTester):
    pass


@pytest.mark.parametrize("depth", COLUMNS)
def test_names_and_sizes_of_table_1(depth):
    model = outline(f"VGG{depth}")
    convolutions = layers_of(model, keras.layers.Conv2D)
    expected = [
        f"conv{stage}_{number}"
        for stage, count in enumerate(COLUMNS[depth], start=1)
        for number in range(1, count + 1)
    ]
    assert [layer.name for layer in convolutions] == expected
    assert all(layer.kernel_size == (3, 3) for layer in convolutions)
    for number, filters in enumerate((64, 128, 256, 512, 512), start=1):
        side = 224 // 2**number
        assert model.get_layer(f"pool{number}").output.shape[1:] == (side, side, filters)
    assert [model.get_layer(name).units for name in ("fc6", "fc7", "logits")] == [4096, 4096, 1000]
    assert [layer.rate for layer in layers_of(model, keras.layers.Dropout)] == [0.5, 0.5]


def test_column_c_has_1x1_last_in_three_stages():
    model = outline("VGG16", variant="C", include_top=False)
    convolutions = layers_of(model, keras.layers.Conv2D)
    pointwise = [layer.name for layer in convolutions if layer.kernel_size == (1, 1)]
    assert pointwise == ["conv3_3", "conv4_3", "conv5_3"]


def test_open_size_without_top():
    model = models.VGG11(include_top=False, input_shape=(None, None, 3))
    assert forward(model, np.zeros((1, 70, 40, 3), "float32")).shape == (1, 2, 1, 512)


def test_other_depths_are_refused_by_name():
    with pytest.raises(ArgumentError, match="VGG11, VGG13, VGG16, VGG19"):
        models.create("VGG12")
    with pytest.raises(ArgumentError, match="variant of VGG19 must be 'E', got 'A'"):
        models.create("VGG19", variant="A")
