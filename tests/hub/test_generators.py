"""Conditional generators and image translators keep what they make: on the Hub, in plain Keras,
exported."""

import os
import re
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_arch import export, hub, models, trainers
from keras_arch.preprocessing import Preprocessing
from keras_arch.trainers.inference import infer
from tests.rounding import ROUNDING

CLASSES = ["zero", "one", "two"]
KINDS = ("cgan", "cdcgan", "lapgan", "pix2pix", "cyclegan")


def build(kind: str) -> tuple[str, dict, str | None]:
    """Architecture, arguments and the latent's distribution."""
    return {
        "cgan": (
            "CGANGenerator",
            {"classes": 3, "image_shape": [8, 8, 1], "latent_size": 5, "joint_units": 12},
            "uniform01",
        ),
        "cdcgan": (
            "DCGANGenerator",
            {"image_shape": [16, 16, 1], "latent_size": 5, "filters": 4, "classes": 3},
            "normal",
        ),
        "lapgan": (
            "LAPGANGenerator",
            {
                "image_shape": [9, 9, 1],
                "coarser_sizes": [4],
                "classes": 3,
                "filters": 2,
                "units": 4,
            },
            "uniform",
        ),
        "pix2pix": ("Pix2PixGenerator", {"variant": "unet_128", "filters": 1}, None),
        "cyclegan": (
            "CycleGANGenerator",
            {"blocks": 1, "image_shape": [16, 16, 3], "filters": 2},
            None,
        ),
    }[kind]


@pytest.fixture(scope="module")
def networks():
    """A trained-looking network of each kind with its card and inputs for it."""
    draws = np.random.default_rng(5)
    made = {}
    for kind in KINDS:
        name, arguments, distribution = build(kind)
        model = models.create(name, **arguments)
        for weight in model.weights:
            moved = weight.numpy() + draws.normal(0, 0.1, weight.shape)
            weight.assign(np.abs(moved) if weight.path.endswith("variance") else moved)
        latent = None
        if distribution:
            size = model.inputs[0].shape[1]
            latent = {"size": size, "distribution": distribution}
            inputs = [draws.uniform(size=(3, size)).astype("f"), np.array([2, 0, 1], "int32")]
        else:
            inputs = [draws.uniform(-1, 1, size=(1, *model.input_shape[1:])).astype("f")]
            # The seeds of dropout and the moving statistics go on, as in training.
            model(inputs[0], training=True)
        height, width, channels = model.output_shape[1:]
        scale = {} if kind == "cgan" else {"scale": 1 / 127.5, "mean": 1.0}
        card = hub.Card(
            f"{kind}-small",
            name,
            arguments,
            "conditional-image-generation" if distribution else "image-to-image",
            Preprocessing(size=(height, width), channels=channels, **scale),
            labels=CLASSES if distribution else None,
            latent=latent,
        )
        made[kind] = model, card, inputs
    return made


def outputs(model: keras.Model, inputs: list[np.ndarray]) -> np.ndarray:
    return infer(model, inputs if len(inputs) > 1 else inputs[0]).numpy()


STOCK = """
import sys
sys.modules["keras_arch"] = None  # Importing it is an error.
import keras
import numpy as np

for kind in sys.argv[1:]:
    with np.load(f"{kind}.npz") as data:
        *names, expected = sorted(data.files, key=lambda name: (name == "expected", name))
        inputs, expected = [data[name] for name in names], data[expected]
    model = keras.saving.load_model(f"hf://alice/{kind}")
    for _ in range(2):
        with keras.StatelessScope():
            made = model(inputs if len(inputs) > 1 else inputs[0])
        np.testing.assert_allclose(made, expected, atol=1e-5)
print("equal without keras_arch")
"""


@pytest.mark.slow
def test_on_the_hub_and_in_stock_keras_they_make_the_same(server, alice, tmp_path, networks):
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    for kind, (model, card, inputs) in networks.items():
        expected = outputs(model, inputs)
        assert expected.std() > 0.01, kind
        hub.push(model, f"alice/{kind}", card=card)
        opened = hub.load_with_card(f"hf://alice/{kind}")
        np.testing.assert_array_equal(outputs(opened.model, inputs), expected, err_msg=kind)
        assert opened.card == hub.Card.from_dict(card.to_dict() | {"repository": f"alice/{kind}"})
        np.savez(folder / f"{kind}.npz", *inputs, expected=expected)
    (folder / "as_a_user.py").write_text(STOCK)
    done = subprocess.run(
        [sys.executable, "-I", "as_a_user.py", *KINDS],
        cwd=folder,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "equal without keras_arch\n", done.stderr[-3000:]
    assert server.leaks == []


@pytest.mark.parametrize(
    "kind",
    [pytest.param(k, marks=pytest.mark.slow if k != "cgan" else ()) for k in KINDS],
)
def test_saved_loaded_and_exported_they_make_the_same(kind, tmp_path, networks):
    model, card, inputs = networks[kind]
    expected = outputs(model, inputs)
    # As trained: the optimizer is left out, which goes by way of a copy.
    model.compile("sgd", "mse")
    loaded = hub.load(hub.save(model, tmp_path / "saved", card))
    np.testing.assert_array_equal(outputs(loaded, inputs), expected)
    path = export.saved_model(
        loaded,
        tmp_path / "served",
        name=card.name,
        preprocessing=card.preprocessing,
        labels=card.labels,
        latent=card.latent,
        task=card.task,
        target_preprocessing=card.target_preprocessing,
    )
    served = tf.saved_model.load(path)
    if card.latent:
        given = {"latent": tf.constant(inputs[0]), "label": tf.constant(inputs[1])}
        made = served.signatures["serving_default"](**given)["image_float"]
    else:
        pixels = card.preprocessing.to_pixels(inputs[0])
        given = card.preprocessing(pixels).numpy()
        expected = outputs(model, [given])
        np.testing.assert_array_equal(trainers.translate(loaded, given), expected)
        made = served.signatures["serving_default"](image=tf.cast(pixels, "float32"))["image_float"]
    np.testing.assert_allclose(made, expected, atol=ROUNDING)


@pytest.mark.parametrize("kind", ["cgan", "cyclegan"])
def test_the_code_in_the_readme_runs(kind, tmp_path, networks, monkeypatch):
    model, card, _ = networks[kind]
    saved = hub.save(model, tmp_path / "saved", card)
    monkeypatch.chdir(saved)
    code = re.findall(r"```python\n(.*?)```", (saved / "README.md").read_text(), re.DOTALL)
    assert len(code) == 2, "with keras_arch, and without"
    names = {}
    for part in code:
        exec(part, names)
    pixels = names["images" if kind == "cgan" else "pixels"]
    assert pixels.dtype == np.uint8
    assert pixels.shape == ((16, 8, 8, 1) if kind == "cgan" else (1, 16, 16, 3))
    assert names["model"].output_shape == model.output_shape
