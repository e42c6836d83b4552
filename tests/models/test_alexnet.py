import keras
import numpy as np
import pytest

from keras_arch import models
from tests.models.tester import WRONG_CLASSIFIER, Case, ModelTester, forward, layers_of, unallocated
from tests.rounding import ROUNDING

SMALL = {"input_shape": (67, 67, 3), "classes": 7, "units": 16}
WRONG = (
    ({"variant": "caffe"}, "'paper', 'bvlc', 'one_tower', 'torchvision' or None"),
    ({"input_shape": (66, 67, 3)}, "67x67"),
    ({"input_shape": (62, 63, 3), "variant": "torchvision"}, "63x63"),
    ({"input_shape": (None, 227, 3)}, "include_top=False"),
    ({"input_shape": (3, 227, 227)}, "(227, 227, 3)"),
    ({"units": -4}, "units"),
    *WRONG_CLASSIFIER,
)
CASES = [
    Case("AlexNet", SMALL, (7,), wrong=WRONG),
    Case("AlexNet", SMALL | {"variant": "torchvision"}, (7,)),
]


@pytest.mark.parametrize("case", CASES, ids=str)
class TestAlexNet(ModelTester):
    pass


@pytest.mark.parametrize(
    ("variant", "size", "filters"),
    [
        ("paper", 227, (96, 256, 384, 384, 256)),
        ("bvlc", 227, (96, 256, 384, 384, 256)),
        ("one_tower", 227, (96, 256, 384, 384, 256)),
        ("torchvision", 224, (64, 192, 384, 256, 256)),
    ],
)
def test_maps_of_the_figure(variant, size, filters):
    with unallocated():
        model = models.AlexNet(variant=variant)
    assert model.input_shape[1:] == (size, size, 3)
    maps = [model.get_layer(f"conv{number}").output.shape[1:] for number in range(1, 6)]
    sides = (55, 27, 13, 13, 13)
    assert maps == [(side, side, count) for side, count in zip(sides, filters, strict=True)]
    assert model.get_layer("stage3").output.shape[1:] == (6, 6, 256)
    order = [
        layer.name for layer in model.layers if layer.name in ("conv1", "relu1", "norm1", "pool1")
    ]
    norm = [] if variant == "torchvision" else ["norm1"]
    assert order == ["conv1", "relu1", *norm, "pool1"]
    dropout = ["drop6", "fc6", "relu6", "drop7", "fc7", "relu7"]
    if variant != "torchvision":
        dropout = ["fc6", "relu6", "drop6", "fc7", "relu7", "drop7"]
    assert [layer.name for layer in model.layers if layer.name in dropout] == dropout


def test_two_towers_are_a_grouped_convolution():
    """Against the definition: output channels of a half see input channels of that half only."""
    model = CASES[0].shared()
    x = CASES[0].input(model)
    names = ["pool1", "conv2", "pool2", "conv3", "relu3", "conv4"]
    maps = {name: np.asarray(y) for name, y in models.features(model, names)(x).items()}
    for number, before in ((2, "pool1"), (4, "relu3")):
        halves = []
        for tower, half in enumerate(np.split(maps[before], 2, axis=-1), start=1):
            kernel, bias = model.get_layer(f"conv{number}_tower{tower}").get_weights()
            reach = kernel.shape[0] // 2
            padded = np.pad(half, ((0, 0), (reach, reach), (reach, reach), (0, 0)))
            windows = np.lib.stride_tricks.sliding_window_view(
                padded, kernel.shape[:2], axis=(1, 2)
            )
            halves.append(np.einsum("bhwcij,ijco->bhwo", windows, kernel) + bias)
        np.testing.assert_allclose(
            maps[f"conv{number}"], np.concatenate(halves, -1), rtol=1e-4, atol=1e-5
        )
    # The third sees both.
    assert model.get_layer("conv3").kernel.shape == (3, 3, 256, 384)


def test_starts_as_section_5_says():
    model = CASES[0].shared()
    ones = {"conv2_tower1", "conv2_tower2", "conv4_tower1", "conv4_tower2"}
    ones |= {"conv5_tower1", "conv5_tower2", "fc6", "fc7"}
    for layer in model.layers:
        if layer.weights:
            kernel, bias = layer.get_weights()
            assert set(bias) == ({1.0} if layer.name in ones else {0.0})
            assert abs(kernel.std() / 0.01 - 1) < 5 / np.sqrt(2 * kernel.size)


def test_normalisation_of_paper_and_caffe_differ():
    """One pixel of equal activations a: k + 5 alpha a^2 against 1 + alpha a^2, inside."""
    for variant, k, alpha in (("paper", 2, 1e-4), ("bvlc", 1, 2e-5)):
        model = models.AlexNet(include_top=False, input_shape=(67, 67, 3), variant=variant)
        model.get_layer("conv1").set_weights([np.zeros((11, 11, 3, 96)), np.full(96, 100.0)])
        norm = models.features(model, "norm1")
        y = np.asarray(norm(np.zeros((1, 67, 67, 3), "float32"))["norm1"])
        np.testing.assert_allclose(y[0, 0, 0, 2:-2], 100 / (k + alpha * 5e4) ** 0.75, rtol=1e-5)
        np.testing.assert_allclose(y[0, 0, 0, 0], 100 / (k + alpha * 3e4) ** 0.75, rtol=1e-5)


def test_a_training_step():
    model = CASES[0].build()
    model.compile("sgd", "sparse_categorical_crossentropy")
    before = model.get_layer("conv2_tower2").get_weights()[0]
    model.fit(CASES[0].input(model), np.array([0, 6]), verbose=0)
    assert not np.array_equal(before, model.get_layer("conv2_tower2").get_weights()[0])


def test_torchvision_pools_any_size_to_six_pixels():
    small = CASES[1].shared()
    larger = models.AlexNet(**(CASES[1].arguments | {"input_shape": (95, 80, 3)}), weights=small)
    assert larger.get_layer("fc6").kernel.shape == (9216, 16)
    assert larger.output_shape == (None, 7)


def test_open_size_without_top():
    for variant in ("paper", "torchvision"):
        model = models.AlexNet(include_top=False, input_shape=(None, None, 3), variant=variant)
        fixed = models.AlexNet(
            include_top=False, input_shape=(80, 101, 3), variant=variant, weights=model
        )
        x = np.random.default_rng(0).normal(size=(1, 80, 101, 3)).astype("float32")
        np.testing.assert_allclose(forward(model, x), forward(fixed, x), atol=ROUNDING)


@pytest.mark.parametrize("variant", ["paper", "torchvision"])
def test_dense_layers_keep_their_names(variant):
    with unallocated():
        model = models.AlexNet(variant=variant)
    dense = [layer.name for layer in layers_of(model, keras.layers.Dense)]
    assert dense == ["fc6", "fc7", "logits"]


@pytest.mark.parametrize("size", [(63, 95), (94, 63)])
def test_torchvision_pools_a_single_pixel_to_six(size):
    """As PyTorch's adaptive pooling: a row or column of one pixel is repeated."""
    model = models.AlexNet("torchvision", input_shape=(*size, 3), classes=3, units=4)
    pooled = keras.Model(model.input, [model.get_layer(n).output for n in ("stage3", "pool6")])
    x = np.random.default_rng(0).normal(size=(2, *size, 3)).astype("float32")
    small, large = pooled.predict(x, verbose=0)
    assert 1 in small.shape[1:3]
    wanted = np.repeat(np.repeat(small, 6 // small.shape[1], 1), 6 // small.shape[2], 2)
    np.testing.assert_allclose(large, wanted, rtol=1e-6)
