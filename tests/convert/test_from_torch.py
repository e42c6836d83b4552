"""Converted weights give the numbers of the PyTorch models that they are from."""

import keras
import numpy as np
import pytest

from keras_arch import convert
from tests.models import golden

GOLDENS = {
    "dcgan_netG": ("DCGANGenerator", {}),
    "dcgan_netD": ("DCGANDiscriminator", {}),
    "akamaster_resnet20": ("CIFARResNet", {"classifier_activation": None}),
    "junyanz_nlayer_d_n3": ("PatchDiscriminator", {}),
}


def channels_first(outputs):
    return np.moveaxis(np.asarray(outputs), -1, 1)


@pytest.mark.parametrize("peer", GOLDENS)
def test_golden_outputs(peer):
    meta, arrays = golden.load(peer)
    name, arguments = GOLDENS[peer]
    model = convert.from_torch(name, golden.weights(meta), **arguments)
    inputs = golden.inputs(meta)
    if name == "PatchDiscriminator":
        inputs = [inputs[..., :3], inputs[..., 3:]]
    ours = np.asarray(model(inputs), np.float64)
    if peer == "dcgan_netD":
        # The peer's discriminator ends in a sigmoid.
        ours = 1 / (1 + np.exp(-ours[:, 0]))
    ours = channels_first(ours) if ours.ndim == 4 else ours
    np.testing.assert_allclose(ours, arrays["output"], rtol=0, atol=meta["tolerance"]["atol"])


def test_golden_unet():
    meta, arrays = golden.load("junyanz_unet_256")
    model = convert.from_torch("Pix2PixGenerator", golden.weights(meta))
    probes = {"model.model.0": "down1_conv", "model.model.1.model.1": "down2_conv"}
    probes["model.model.1.model.5"] = "up7_conv"
    probes["model.model.3"] = "output_conv"
    watched = keras.Model(
        model.input, [model.output, *(model.get_layer(name).output for name in probes.values())]
    )
    output, *maps = watched(golden.inputs(meta))
    for name, ours in zip(probes, maps, strict=True):
        golden.assert_probe(meta, arrays, name, ours)
    ours = channels_first(output)
    atol = meta["tolerance"]["atol"]
    np.testing.assert_allclose(ours[:, :, ::5, ::5], arrays["output"], rtol=0, atol=atol)
    np.testing.assert_allclose(ours[:, :, :8, :8], arrays["corner_tl"], rtol=0, atol=atol)
    np.testing.assert_allclose(ours[:, :, -8:, -8:], arrays["corner_br"], rtol=0, atol=atol)
