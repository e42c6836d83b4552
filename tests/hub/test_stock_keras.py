"""What others do with a repository: plain Keras, and the code in its README."""

import os
import re
import subprocess
import sys

import keras
import numpy as np
import pytest

from keras_arch import hub, models
from keras_arch.preprocessing import Preprocessing


@pytest.fixture(scope="module")
def networks():
    keras.utils.set_random_seed(3)
    classifier = models.create("CIFARResNet", depth=20, classes=10, input_shape=(8, 8, 1))
    generator = models.create("DCGANGenerator", image_shape=(16, 16, 1), filters=4)
    return classifier, generator


@pytest.fixture
def cards():
    return (
        hub.Card(
            "resnet20-digits",
            "CIFARResNet",
            {"depth": 20, "classes": 10, "input_shape": [8, 8, 1]},
            "image-classification",
            Preprocessing(size=(8, 8), channels=1),
            labels=[str(digit) for digit in range(10)],
        ),
        hub.Card(
            "dcgan-digits",
            "DCGANGenerator",
            {"image_shape": [16, 16, 1], "filters": 4},
            "unconditional-image-generation",
            Preprocessing(size=(16, 16), channels=1, scale=1 / 127.5, mean=1.0),
            latent={"size": 100, "distribution": "normal"},
        ),
    )


def run(code, folder, *arguments, **environment):
    (folder / "as_a_user.py").write_text(code)
    done = subprocess.run(
        [sys.executable, *arguments, str(folder / "as_a_user.py")],
        cwd=folder,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": ""} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


STOCK = """
import sys
sys.modules["keras_arch"] = None  # Importing it is an error.
import keras
import numpy as np

data = np.load("data.npz")
for name in ("classifier", "generator"):
    model = keras.saving.load_model(f"hf://alice/{name}")
    np.testing.assert_allclose(model(data[f"{name}_in"]), data[f"{name}_out"], atol=1e-5)
    assert not model.compiled
try:
    import keras_arch
except ImportError:
    print("equal without keras_arch")
"""


@pytest.mark.slow
def test_a_pushed_repository_opens_in_stock_keras(server, alice, tmp_path, networks, cards):
    draws = np.random.default_rng(0)
    data = {
        "classifier_in": draws.uniform(size=(4, 8, 8, 1)).astype("float32"),
        "generator_in": draws.normal(size=(4, 100)).astype("float32"),
    }
    for name, network, card in zip(("classifier", "generator"), networks, cards, strict=True):
        network.compile("adam", "mse")
        hub.push(network, f"alice/{name}", card=card)
        data[f"{name}_out"] = np.asarray(network(data[f"{name}_in"]))
        np.testing.assert_array_equal(
            hub.load(f"hf://alice/{name}")(data[f"{name}_in"]), data[f"{name}_out"]
        )
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    np.savez(folder / "data.npz", **data)
    assert run(STOCK, folder, "-I") == "equal without keras_arch\n"
    assert server.leaks == []


def snippets(readme):
    found = re.findall(r"```python\n(.*?)```", readme.read_text(), re.DOTALL)
    assert len(found) == 2, "with keras_arch, and without"
    return found


def test_the_code_in_the_readme_runs(server, alice, tmp_path, networks, cards, root):
    """The classifier's from the Hub, the generator's from inside its directory."""
    classifier, generator = networks
    hub.push(classifier, "alice/classifier", card=cards[0])
    published = hub.pull("hf://alice/classifier", tmp_path / "pulled")
    saved = hub.save(generator, tmp_path / "saved", cards[1])
    code = "\n".join(
        [
            "labels = None",
            *snippets(published / "README.md"),
            "assert len(labels) == 1 and model.output_shape == (None, 10)",
            *snippets(saved / "README.md"),
            "assert images.shape == (16, 16, 16, 1) and images.dtype == 'uint8'",
            "assert model.output_shape == (None, 16, 16, 1)",
            "print('all run')",
        ]
    )
    assert run(code, saved, PYTHONPATH=root) == "all run\n"
