import math

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_arch import models
from keras_arch.errors import ArgumentError
from tests.models import golden
from tests.models.tester import Case, ModelTester

SMALL = {"depth": 8, "input_shape": (16, 16, 1), "classes": 7}
CASES = [
    Case(
        "CIFARResNet",
        SMALL,
        (7,),
        wrong=(
            ({"depth": 21}, "6n+2"),
            ({"depth": "20"}, "6n+2"),
            ({"shortcut": "C"}, "'C'"),
            ({"classes": 0}, "classes"),
            ({"input_shape": (16, 16)}, "input_shape"),
            ({"input_shape": (2, 2, 3)}, "4x4"),
            ({"pooling": "avg"}, "include_top"),
            ({"weights": "missing.weights.h5"}, "missing.weights.h5"),
            ({"depht": 20}, "depht"),
        ),
    ),
    Case("CIFARResNet", SMALL | {"residual": False}, (7,)),
    Case("CIFARResNet", SMALL | {"shortcut": "B"}, (7,)),
]


@pytest.mark.parametrize("case", CASES, ids=str)
class TestCIFARResNet(ModelTester):
    pass


def test_depth_21_names_the_nearest():
    with pytest.raises(ArgumentError, match="20 and 26"):
        models.CIFARResNet(21)


@given(depth=st.integers(-5, 60))
@settings(max_examples=15, deadline=None)
def test_exactly_the_depths_6n_plus_2(depth):
    if depth >= 8 and (depth - 2) % 6 == 0:
        layers = models.CIFARResNet(depth).layers
        weighted = [x for x in layers if isinstance(x, keras.layers.Conv2D | keras.layers.Dense)]
        assert len(weighted) == depth
    else:
        with pytest.raises(ArgumentError):
            models.CIFARResNet(depth)


@pytest.mark.parametrize(("pooling", "shape"), [(None, (8, 8, 64)), ("avg", (64,)), ("max", (64,))])
def test_without_top(pooling, shape):
    model = models.CIFARResNet(8, include_top=False, pooling=pooling)
    assert model.output_shape[1:] == shape


@given(size=st.integers(4, 37))
@settings(max_examples=8, deadline=None)
def test_any_size_halves_twice_rounding_up(size):
    maps = models.features(models.CIFARResNet(8, input_shape=(size, size, 3))).output
    assert maps["stage2"].shape[1] == math.ceil(size / 2)
    assert maps["stage3"].shape[1] == math.ceil(math.ceil(size / 2) / 2)


def test_residual_is_the_plain_net_plus_identity():
    """With all residual branches at zero, a ResNet passes its stem through; a plain net not."""
    model = models.CIFARResNet(8)
    for layer in model.layers:
        if layer.name.endswith("_2_norm"):
            layer.gamma.assign(keras.ops.zeros_like(layer.gamma))
    stem = keras.Model(
        model.input, [model.get_layer("stem").output, model.get_layer("stage3").output]
    )
    x = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype("float32")
    first, last = (np.asarray(y) for y in stem(x))
    # Option A: every second pixel twice, zeros around the 16 channels: 8 + 16 of them each side.
    np.testing.assert_allclose(last[..., 24:40], first[:, ::4, ::4], rtol=1e-6)
    assert not last[..., :24].any()
    assert not last[..., 40:].any()


def test_golden_akamaster_resnet20():
    meta, arrays = golden.load("akamaster_resnet20")
    state = golden.weights(meta)
    model = models.CIFARResNet(20)

    def block(name, prefix, number):
        model.get_layer(f"{name}_conv").set_weights(
            [golden.convolution(state[f"{prefix}conv{number}.weight"])]
        )
        golden.set_norm(model.get_layer(f"{name}_norm"), state, f"{prefix}bn{number}")

    block("stem", "", 1)
    for stage in (1, 2, 3):
        for position in range(3):
            for number in (1, 2):
                name = f"stage{stage}_block{position + 1}_{number}"
                block(name, f"layer{stage}.{position}.", number)
    model.get_layer("logits").set_weights([state["linear.weight"].T, state["linear.bias"]])

    x = golden.inputs(meta)
    probes = ["stem_conv", "stem_norm", "stage1", "stage2", "stage3", "logits"]
    outputs = keras.Model(model.input, [model.get_layer(name).output for name in probes])(x)
    peers = ["conv1", "bn1", "layer1", "layer2", "layer3"]
    for name, ours in zip(peers, outputs, strict=False):
        golden.assert_probe(meta, arrays, name, ours)
    np.testing.assert_allclose(
        outputs[-1], arrays["output"], rtol=0, atol=meta["tolerance"]["atol"]
    )


@pytest.mark.slow
def test_depth_1202_builds_and_runs():
    model = models.CIFARResNet(1202)
    assert model(np.zeros((1, 32, 32, 3), "float32")).shape == (1, 10)
