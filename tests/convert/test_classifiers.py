"""Converted classifiers give the numbers of the PyTorch models that they are from."""

import functools

import keras
import numpy as np
import pytest

from keras_arch import convert
from keras_arch.models import googlenet
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


@functools.cache
def converted(peer):
    meta, _ = golden.load(peer)
    name, _ = GOLDENS[peer]
    return convert.from_torch(name, golden.weights(meta), classifier_activation=None)


@pytest.mark.parametrize("peer", GOLDENS)
def test_golden_outputs_and_stages(peer):
    meta, arrays = golden.load(peer)
    _, layers = GOLDENS[peer]
    model = converted(peer)
    probed = [feature["name"] for feature in meta["features"]]
    maps = [model.get_layer(layers[name]).output for name in probed]
    output, *ours = keras.Model(model.input, [model.output, *maps])(golden.inputs(meta))
    for name, map in zip(probed, ours, strict=True):
        golden.assert_probe(meta, arrays, name, map)
        golden.assert_statistics(meta, name, map)
    atol = meta["tolerance"]["atol"]
    np.testing.assert_allclose(output, arrays["output"], rtol=0, atol=atol)
    if peer == "torchvision_vgg16":
        converted.cache_clear()  # Half a gigabyte.
