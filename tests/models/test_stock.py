"""A saved model opens in stock Keras, in a process where this package cannot be imported."""

import subprocess
import sys

import numpy as np
import pytest

from keras_arch import models, registry
from tests.models import (
    test_alexnet,
    test_cgan,
    test_cifar_resnet,
    test_cyclegan,
    test_dcgan,
    test_deeplab_v3_plus,
    test_fcn,
    test_gan,
    test_googlenet,
    test_lapgan,
    test_patch_discriminator,
    test_pix2pix,
    test_resnet,
    test_unet,
    test_vgg,
)
from tests.models.tester import forward, modules_of, unallocated
from tests.rounding import ROUNDING

CASES = [
    *test_alexnet.CASES,
    *test_cgan.CASES,
    *test_cifar_resnet.CASES,
    *test_cyclegan.CASES,
    *test_dcgan.CASES,
    *test_deeplab_v3_plus.CASES,
    *test_fcn.CASES,
    *test_gan.CASES,
    *test_googlenet.CASES,
    *test_lapgan.CASES,
    *test_patch_discriminator.CASES,
    *test_pix2pix.CASES,
    *test_resnet.CASES,
    *test_unet.CASES,
    *test_vgg.CASES,
]
# Of the same function as one of the cases, and differ from it in their numbers of layers.
SIBLINGS = ("ResNet34", "ResNet50", "ResNet101", "ResNet152", "VGG13", "VGG16", "VGG19")
STOCK = """
import pathlib, sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "keras_arch":
            raise ImportError("keras_arch must not be needed")
sys.meta_path.insert(0, Blocker())
import keras, numpy as np
for file in pathlib.Path(sys.argv[1]).glob("*.keras"):
    model = keras.saving.load_model(file)
    x = list(np.load(file.with_suffix(".npz")).values())
    np.save(file.with_suffix(".out.npy"), np.asarray(model(x if x[1:] else x[0], training=False)))
"""


@pytest.mark.parametrize(
    "part", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in range(1, 5))]
)
def test_every_architecture(part, tmp_path):
    assert {case.name for case in CASES} | {*SIBLINGS} == {e.name for e in registry.entries()}
    firsts = {case.name: case for case in reversed(CASES)}
    opens_in_stock_keras([*firsts.values()][part::5], tmp_path)


@pytest.mark.slow
def test_every_case(tmp_path):
    opens_in_stock_keras(CASES, tmp_path)


def opens_in_stock_keras(cases, tmp_path):
    expected = {}
    for number, case in enumerate(cases):
        model = case.shared()
        x = case.input(model)
        model.save(tmp_path / f"{number}.keras")
        np.savez(tmp_path / f"{number}.npz", *(x if isinstance(x, list) else [x]))
        expected[number] = forward(model, x)
    done = subprocess.run(
        [sys.executable, "-c", STOCK, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for number, output in expected.items():
        stock = np.load(tmp_path / f"{number}.out.npy")
        np.testing.assert_allclose(stock, output, atol=ROUNDING, err_msg=str(cases[number]))


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(n, marks=pytest.mark.slow if n in ("ResNet101", "ResNet152") else ())
        for n in SIBLINGS
    ],
)
def test_siblings_are_of_the_same_layers(name):
    with unallocated():
        model = models.create(name)
    modules, config = modules_of(model)
    assert all(module == "keras" or module.startswith("keras.") for module in modules)
    assert "Lambda" not in config
    case = next(case for case in CASES if case.name[:3] == name[:3])
    assert {type(layer) for layer in model.layers} == {type(x) for x in case.shared().layers}
