import math

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_arch import hub, models
from keras_arch.errors import ArgumentError
from keras_arch.preprocessing import Preprocessing
from tests.models.tester import (
    WRONG_CLASSIFIER,
    Case,
    ModelTester,
    forward,
    layers_of,
    outline,
    unallocated,
)
from tests.rounding import ROUNDING

WRONG = (
    ({"variant": "v2"}, "'v1.5'"),
    ({"shortcut": "D"}, "'D'"),
    ({"input_shape": (31, 32, 3)}, "32x32"),
    ({"input_shape": (3, 224, 224)}, "channels come last: (224, 224, 3)"),
    ({"pooling": "mean", "include_top": False}, "'mean'"),
    ({"classifier_activation": "softmaxx"}, "'softmaxx'"),
    ({"weights": 3}, "got 3"),
    ({"depth": 18}, "depth"),
    *WRONG_CLASSIFIER,
)
CASES = [
    Case("ResNet18", {"input_shape": (32, 32, 3), "classes": 7}, (7,), wrong=WRONG),
]
DEPTHS = {18: 512, 34: 512, 50: 2048, 101: 2048, 152: 2048}


@pytest.mark.parametrize("case", CASES, ids=str)
class TestResNet(ModelTester):
    pass


@pytest.mark.parametrize(
    ("depth", "width"),
    [pytest.param(*row, marks=pytest.mark.slow if row[0] > 50 else ()) for row in DEPTHS.items()],
)
def test_depth_counts_weighted_layers_and_maps_halve_as_in_table_1(depth, width):
    model = outline(f"ResNet{depth}")
    weighted = [
        layer
        for layer in layers_of(model, keras.layers.Conv2D | keras.layers.Dense)
        if "shortcut" not in layer.name
    ]
    assert len(weighted) == depth
    names = ("stem", "stage1", "stage2", "stage3", "stage4")
    sides = [model.get_layer(name).output.shape[1] for name in names]
    assert sides == [112, 56, 28, 14, 7]
    assert model.get_layer("stage4").output.shape[-1] == width
    assert model.name == f"resnet{depth}"


@pytest.mark.parametrize(("variant", "strided"), [("v1", 1), ("v1.5", 2)])
def test_variants_differ_in_where_a_block_halves(variant, strided):
    with unallocated():
        model = models.ResNet50(input_shape=(64, 64, 3), variant=variant)
    for stage in (2, 3, 4):
        strides = [
            model.get_layer(f"stage{stage}_block1_{part}_conv").strides for part in (1, 2, 3)
        ]
        assert strides == [(2, 2) if part == strided else (1, 1) for part in (1, 2, 3)]


@given(height=st.integers(32, 90), width=st.integers(32, 90))
@settings(max_examples=5, deadline=None)
def test_any_size_halves_five_times_rounding_up(height, width):
    with unallocated():
        model = models.ResNet18(include_top=False, input_shape=(height, width, 3))
    assert model.output_shape[1:3] == (math.ceil(height / 32), math.ceil(width / 32))


def test_open_size_gives_what_a_fixed_one_does():
    fixed = CASES[0].shared()
    open_ = models.ResNet18(input_shape=(None, None, 3), classes=7, weights=fixed)
    x = CASES[0].input(fixed)
    np.testing.assert_allclose(forward(open_, x), forward(fixed, x), atol=ROUNDING)
    assert forward(open_, np.zeros((1, 50, 33, 3), "float32")).shape == (1, 7)


def test_with_branches_at_zero_option_a_passes_the_stem_on_and_a_plain_net_does_not():
    arguments = {"input_shape": (32, 32, 3), "include_top": False}
    x = np.random.default_rng(0).normal(size=(1, 32, 32, 3)).astype("float32")
    for residual in (True, False):
        model = models.ResNet18(**arguments, shortcut="A", residual=residual)
        for layer in model.layers:
            if layer.name.endswith("_2_norm"):
                layer.gamma.assign(keras.ops.zeros_like(layer.gamma))
        names = ("stem", "stem_pool", "stage1", "stage4")
        maps = models.features(model, names)(x)
        stem, pooled, first, last = (np.asarray(maps[name]) for name in names)
        if not residual:
            assert not last.any()
            continue
        padded = np.pad(stem, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-np.inf)
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
        np.testing.assert_array_equal(pooled, windows[:, ::2, ::2].max((-1, -2)))
        np.testing.assert_array_equal(first, pooled)
        # Three stages take every second pixel and put as many channels of zeros around.
        np.testing.assert_array_equal(last[..., 224:288], pooled[:, ::8, ::8])
        assert np.count_nonzero(last) == np.count_nonzero(pooled[:, ::8, ::8])


def test_strided_convolutions_pad_every_side_alike():
    """Against the definition, at even sizes, where Keras' "same" pads below and right only."""
    model = CASES[0].shared()
    x = CASES[0].input(model)
    names = ("stem_conv", "stage1", "stage2_block1_1_conv")
    maps = {name: np.asarray(y) for name, y in models.features(model, names)(x).items()}
    for before, name in ((x, "stem_conv"), (maps["stage1"], "stage2_block1_1_conv")):
        kernel = np.asarray(model.get_layer(name).kernel)
        reach = kernel.shape[0] // 2
        padded = np.pad(before, ((0, 0), (reach, reach), (reach, reach), (0, 0)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, kernel.shape[:2], axis=(1, 2))
        direct = np.einsum("bhwcij,ijco->bhwo", windows[:, ::2, ::2], kernel)
        np.testing.assert_allclose(maps[name], direct, rtol=1e-3, atol=1e-4)


def test_pooled_without_top():
    for pooling, kind in (("avg", "GlobalAveragePooling2D"), ("max", "GlobalMaxPooling2D")):
        with unallocated():
            model = models.ResNet50(include_top=False, input_shape=(32, 32, 3), pooling=pooling)
        assert model.output_shape[1:] == (2048,)
        assert type(model.layers[-1]).__name__ == kind


@pytest.mark.parametrize("name", ["ResNet20", "resnet18", "ResNet1001"])
def test_wrong_depths_name_the_right_ones(name):
    with pytest.raises(ArgumentError) as caught:
        models.create(name)
    for known in ("ResNet18", "ResNet34", "ResNet50", "ResNet101", "ResNet152", "CIFARResNet"):
        assert known in str(caught.value)


@pytest.mark.slow
def test_the_variant_is_that_of_the_weights_else_the_papers():
    arguments = {"input_shape": (32, 32, 1), "classes": 2}
    torchvision = models.ResNet50("v1.5", **arguments)

    def strides(model):
        return [model.get_layer(f"stage2_block1_{n}_conv").strides[0] for n in (1, 2)]

    assert strides(models.ResNet50(**arguments)) == [2, 1]
    again = models.ResNet50(**arguments, weights=torchvision)
    assert strides(again) == [1, 2]
    for a, b in zip(again.get_weights(), torchvision.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(ArgumentError, match=r"strides .* it may be of another variant"):
        models.ResNet50("v1", **arguments, weights=torchvision)
    # Through a network on it as a backbone, too.
    fcn = models.FCN32s(
        input_shape=(32, 32, 1), backbone="ResNet50", backbone_weights=torchvision, classes=2
    )
    assert strides(fcn) == [1, 2]


@pytest.mark.slow
def test_the_variant_of_a_saved_model(tmp_path):
    arguments = {"input_shape": [32, 32, 1], "classes": 2}
    card = hub.Card(
        "small",
        "ResNet50",
        arguments | {"variant": "v1.5"},
        "image-classification",
        Preprocessing(size=(32, 32), channels=1),
        labels=["a", "b"],
    )
    hub.save(models.ResNet50("v1.5", **arguments), tmp_path / "torchvision", card)
    again = models.ResNet50(**arguments, weights=tmp_path / "torchvision")
    assert again.get_layer("stage2_block1_2_conv").strides == (2, 2)
    with pytest.raises(ArgumentError, match=r"with variant='v1.5', .* give variant='v1.5'"):
        models.ResNet50("v1", **arguments, weights=tmp_path / "torchvision")


@pytest.mark.parametrize("name", ["ResNet50", "ResNet101", "ResNet152"])
def test_bottlenecks_have_no_plain_network(name):
    with pytest.raises(ArgumentError, match=f"has no plain{name[6:]}"):
        models.create(name, residual=False)
