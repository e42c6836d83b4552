"""Parts of segmentation networks, and backbones that are frozen."""

import keras
import numpy as np
import pytest

from keras_arch import models
from keras_arch.errors import ArgumentError
from keras_arch.models.common import freezing


@pytest.fixture(scope="module")
def unet():
    return models.UNet(backbone="ResNet18", input_shape=(32, 32, 3), filters=2, norm="batch")


def test_a_frozen_backbone_learns_nothing_and_uses_its_statistics(unet):
    norm = unet.get_layer("stem_norm")
    norm.moving_mean.assign(keras.ops.full(norm.moving_mean.shape, 0.25))
    models.freeze_backbone(unet)
    before = {w.path: np.array(w) for w in unet.weights}
    unet.compile("sgd", keras.losses.SparseCategoricalCrossentropy())
    noise = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype("float32")
    unet.train_on_batch(noise, np.zeros((2, 32, 32), "int32"))
    changed = {w.path for w in unet.weights if not np.array_equal(before[w.path], np.array(w))}
    frozen = set(freezing.backbone_layers(unet))
    assert not {path for path in changed if path.split("/")[0] in frozen}
    assert {"logits/kernel", "up1_conv1/kernel", "up1_norm1/moving_mean"} <= changed
    # In inference mode: a batch of constants keeps its constant, which its own mean would take off.
    constant = np.full((2, *norm.input.shape[1:]), 3.0, "float32")
    np.testing.assert_array_equal(norm(constant, training=True), norm(constant, training=False))


@pytest.mark.parametrize(
    ("build", "head", "some", "decoder"),
    [
        (lambda: models.UNet(depth=1, filters=2, input_shape=(28, 28, 1)),
         ["logits"], "stage2_conv1", "up1"),
        (lambda: models.UNet("same", depth=1, filters=2, input_shape=(8, 8, 1), up="bilinear"),
         ["logits"], "stage1_conv2", "up1_reduce"),
        (lambda: models.FCN32s(input_shape=(32, 32, 3), units=2, classes=2),
         ["score_fr", "upscore"], "fc7", None),
        (lambda: models.FCN8s(input_shape=(64, 64, 3), backbone="ResNet18", classes=2),
         ["score_fr", "upscore2", "score_pool4", "upscore_pool4", "score_pool3", "upscore8"],
         "stage4_block2_2_conv", None),
    ],
)  # fmt: skip
def test_parts_of_every_family(build, head, some, decoder):
    model = build()
    assert set(freezing.head_layers(model)) == set(head)
    backbone = freezing.backbone_layers(model)
    assert some in backbone
    assert decoder not in backbone
    factors = freezing.layer_factors(model, 0.5)
    weighted = {layer.name for layer in model.layers if layer.weights}
    assert set(factors) == weighted - set(head)
    assert factors[backbone[0]] == min(factors.values())
    assert factors.get(decoder, 0.5) == 0.5


def test_another_network_is_refused():
    with pytest.raises(ArgumentError, match=r"'resnet8' is no UNet, FCN or DeepLabV3Plus of keras"):
        models.freeze_backbone(models.CIFARResNet(depth=8))
