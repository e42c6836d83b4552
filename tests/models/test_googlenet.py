import keras
import numpy as np
import pytest

from keras_arch import models
from keras_arch.errors import ArgumentError
from tests.models.tester import WRONG_CLASSIFIER, Case, ModelTester, forward, unallocated
from tests.rounding import ROUNDING

SMALL = {"input_shape": (32, 32, 3), "classes": 7}
WRONG = (
    ({"variant": "bn"}, "'paper', 'torchvision' or None"),
    ({"input_shape": (31, 31, 3)}, "32x32"),
    ({"input_shape": (78, 79, 3), "auxiliary": True}, "79x79"),
    ({"input_shape": (None, None, 3), "auxiliary": True}, "leaves the size open"),
    ({"input_shape": (1, 64, 64)}, "(64, 64, 1)"),
    ({"auxiliary": True, "include_top": False}, "include_top"),
    *WRONG_CLASSIFIER,
)
CASES = [
    Case("GoogLeNet", SMALL, (7,), wrong=WRONG),
    Case("GoogLeNet", SMALL | {"variant": "torchvision"}, (7,)),
]
# Table 1: output of every module for an image of 224x224.
TABLE = {
    "3a": (28, 256),
    "3b": (28, 480),
    "4a": (14, 512),
    "4b": (14, 512),
    "4c": (14, 512),
    "4d": (14, 528),
    "4e": (14, 832),
    "5a": (7, 832),
    "5b": (7, 1024),
}
HEADS = ("probabilities", "auxiliary1_probabilities", "auxiliary2_probabilities")


@pytest.mark.parametrize(
    "case", [CASES[0], pytest.param(CASES[1], marks=pytest.mark.slow)], ids=str
)
class TestGoogLeNet(ModelTester):
    pass


@pytest.mark.parametrize("variant", ["paper", "torchvision"])
def test_maps_of_table_1(variant):
    with unallocated():
        model = models.GoogLeNet(variant=variant, auxiliary=True)
    sides = {"conv1": 112, "pool1": 56, "conv2": 56, "pool2": 28, "pool3": 14, "pool4": 7}
    assert {name: model.get_layer(name).output.shape[1] for name in sides} == sides
    for module, (side, channels) in TABLE.items():
        shape = model.get_layer(f"inception_{module}").output.shape
        assert shape[1:] == (side, side, channels)
    assert model.get_layer("auxiliary1_pool").output.shape[1:] == (4, 4, 512)
    assert model.get_layer("auxiliary2_pool").output.shape[1:] == (4, 4, 528)
    five = {model.get_layer(f"inception_{m}_5x5_conv").kernel_size for m in TABLE}
    assert five == {(5, 5) if variant == "paper" else (3, 3)}
    norms = [x for x in model.layers if isinstance(x, keras.layers.BatchNormalization)]
    # 57 convolutions, and one in each head.
    assert len(norms) == (0 if variant == "paper" else 57 + 2)
    assert {norm.epsilon for norm in norms} == (set() if variant == "paper" else {1e-3})
    rates = {x.name: x.rate for x in model.layers if isinstance(x, keras.layers.Dropout)}
    main = 0.4 if variant == "paper" else 0.2
    assert rates == {"drop": main, "auxiliary1_drop": 0.7, "auxiliary2_drop": 0.7}


@pytest.mark.slow
def test_auxiliary_heads_train_with_weight_a_third_and_are_left_out_after():
    arguments = {"input_shape": (79, 79, 3), "classes": 5}
    model = models.GoogLeNet(**arguments, auxiliary=True)
    assert set(model.output) == set(HEADS)
    model.compile(
        keras.optimizers.SGD(1e-3),
        loss=dict.fromkeys(HEADS, "sparse_categorical_crossentropy"),
        loss_weights={head: 0.3 if head.startswith("auxiliary") else 1.0 for head in HEADS},
        # One step does not pay for a graph.
        run_eagerly=True,
    )
    x = np.random.default_rng(0).normal(size=(2, 79, 79, 3)).astype("float32")
    y = np.array([1, 4])
    outputs = forward_heads(model, x)
    logs = model.evaluate(x, dict.fromkeys(HEADS, y), verbose=0, return_dict=True)
    losses = {head: -np.log(outputs[head][[0, 1], y]).mean() for head in HEADS}
    expected = losses[HEADS[0]] + 0.3 * (losses[HEADS[1]] + losses[HEADS[2]])
    np.testing.assert_allclose(logs["loss"], expected, rtol=1e-4)
    before = {head: model.get_layer(head.replace("probabilities", "logits")) for head in HEADS}
    before = {head: layer.get_weights()[0] for head, layer in before.items()}
    model.fit(x, dict.fromkeys(HEADS, y), verbose=0)
    for head, kernel in before.items():
        layer = model.get_layer(head.replace("probabilities", "logits"))
        assert not np.array_equal(layer.get_weights()[0], kernel)
    alone = models.GoogLeNet(**arguments, weights=model)
    np.testing.assert_allclose(
        forward(alone, x), forward_heads(model, x)["probabilities"], atol=ROUNDING
    )


def forward_heads(model, x):
    return {name: np.asarray(y) for name, y in model(x, training=False).items()}


def test_heads_stacked_for_training_and_the_main_one_alone():
    arguments = {"input_shape": (79, 79, 3), "classes": 5, "classifier_activation": None}
    network = models.GoogLeNet(**arguments, auxiliary=True)
    x = np.random.default_rng(0).normal(size=(2, 79, 79, 3)).astype("float32")
    heads = forward_heads(network, x)
    stacked = models.stack_heads(network)
    order = ("logits", "auxiliary1_logits", "auxiliary2_logits")
    expected = np.stack([heads[name] for name in order], axis=1)
    np.testing.assert_allclose(forward(stacked, x), expected, rtol=1e-5, atol=1e-6)
    alone = models.main_head(stacked)
    np.testing.assert_allclose(forward(alone, x), heads["logits"], rtol=1e-5, atol=1e-6)
    for one in (alone, models.CIFARResNet(8)):
        assert models.stack_heads(one) is one
        assert models.main_head(one) is one


def test_least_size_with_heads_leaves_them_one_pixel():
    with unallocated():
        model = models.GoogLeNet(input_shape=(79, 79, 3), auxiliary=True)
    assert model.get_layer("auxiliary1_pool").output.shape[1:3] == (1, 1)
    with pytest.raises(ArgumentError, match="79x79"):
        models.GoogLeNet(input_shape=(79, 78, 3), auxiliary=True)
    with unallocated():
        logits = models.GoogLeNet(
            input_shape=(32, 32, 3),
            variant="torchvision",
            auxiliary=True,
            classifier_activation=None,
        )
    assert set(logits.output) == {"logits", "auxiliary1_logits", "auxiliary2_logits"}


@pytest.mark.slow
def test_open_size_gives_what_a_fixed_one_does():
    for case in CASES:
        fixed = case.shared()
        open_ = models.create(
            "GoogLeNet", **(case.arguments | {"input_shape": (None, None, 3)}), weights=fixed
        )
        x = case.input(fixed)
        np.testing.assert_allclose(forward(open_, x), forward(fixed, x), atol=ROUNDING)
