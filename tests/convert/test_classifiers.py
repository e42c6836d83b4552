"""Converted classifiers give the numbers of the PyTorch models that they are from."""

import keras
import numpy as np
import pytest

from keras_arch import convert
from keras_arch.models import googlenet
from tests.convert import reference, states
from tests.models import golden

# The maps that the golden outputs probe, and where ours has them.
STAGES = {"bn1": "stem_norm", "maxpool": "stem_pool", "conv1": "stem_conv", "avgpool": "pool"}
STAGES |= {f"layer{n}": f"stage{n}" for n in range(1, 5)}
POOLS = {"features.4": 1, "features.9": 2, "features.16": 3, "features.23": 4, "features.30": 5}
GOLDENS = {
    "akamaster_resnet20": ("CIFARResNet", STAGES),
    "torchvision_resnet18": ("ResNet18", STAGES),
    "torchvision_resnet50": ("ResNet50", STAGES),
    "torchvision_vgg16": (
        "VGG16",
        {module: f"pool{n}" for module, n in POOLS.items()}
        | {"avgpool": "pool5", "classifier.0": "fc6", "classifier.3": "fc7"},
    ),
    "torchvision_googlenet": (
        "GoogLeNet",
        {"conv1": "conv1", "conv2": "conv2_reduce", "conv3": "conv2", "avgpool": "pool"}
        | {f"maxpool{n}": f"pool{n}" for n in range(1, 5)}
        | {f"inception{m}": f"inception_{m}" for m in googlenet.MODULES},
    ),
}


@pytest.mark.parametrize(
    # The largest ones; VGG-16 is of the layers of FCN-8s, which has a golden of its own.
    "peer",
    [
        pytest.param(p, marks=pytest.mark.slow if p.endswith(("_vgg16", "_resnet50")) else ())
        for p in GOLDENS
    ],
)
def test_golden_outputs_and_stages(peer):
    meta, arrays = golden.load(peer)
    name, layers = GOLDENS[peer]
    model = convert.from_torch(name, golden.weights(meta), classifier_activation=None)
    probed = [feature["name"] for feature in meta["features"]]
    maps = [model.get_layer(layers[name]).output for name in probed]
    output, *ours = keras.Model(model.input, [model.output, *maps])(golden.inputs(meta))
    for name, map in zip(probed, ours, strict=True):
        golden.assert_probe(meta, arrays, name, map)
        golden.assert_statistics(meta, name, map)
    atol = meta["tolerance"]["atol"]
    np.testing.assert_allclose(output, arrays["output"], rtol=0, atol=atol)


@pytest.mark.slow
def test_auxiliary_heads_are_left_out_unless_they_are_asked_for():
    """torchvision's checkpoint has them; `eval()` does not use them."""
    meta, arrays = golden.load("torchvision_googlenet")
    state = golden.weights(meta)
    heads = states.auxiliary(1, 512, 1000) | states.auxiliary(2, 528, 1000)
    state |= states.drawn(heads)
    model = convert.from_torch("GoogLeNet", state, auxiliary=True, classifier_activation=None)
    outputs = model(golden.inputs(meta))
    atol = meta["tolerance"]["atol"]
    np.testing.assert_allclose(outputs["logits"], arrays["output"], rtol=0, atol=atol)
    # The head by hand: 14x14 pooled to 4x4 by overlapping windows, flattened channels first.
    maps = keras.Model(model.input, model.get_layer("inception_4d").output)(golden.inputs(meta))
    maps = np.moveaxis(np.asarray(maps, np.float64), -1, 1)
    edges = [(int(np.floor(i * 14 / 4)), int(np.ceil((i + 1) * 14 / 4))) for i in range(4)]
    x = np.array([[maps[:, :, a:b, c:d].mean((2, 3)) for c, d in edges] for a, b in edges])
    x = reference.convolution(x.transpose(2, 3, 0, 1), state["aux2.conv.conv.weight"])
    gain, beta, mean, variance = (
        state[f"aux2.conv.bn.{part}"][:, None, None]
        for part in ("weight", "bias", "running_mean", "running_var")
    )
    x = reference.relu((x - mean) / np.sqrt(variance + 1e-3) * gain + beta)
    expected = reference.dense(x, state, "aux2.fc1", "aux2.fc2")
    scale = np.abs(expected).max()
    np.testing.assert_allclose(outputs["auxiliary2_logits"] / scale, expected / scale, atol=1e-5)
    assert "auxiliary1_logits" in {layer.name for layer in model.layers}
    plain = convert.from_torch("GoogLeNet", state, classifier_activation=None)
    assert "auxiliary1_logits" not in {layer.name for layer in plain.layers}
