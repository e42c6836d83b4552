"""DeepLabV3+ as a task: trained from its config, measured, loaded by stock Keras, exported."""

import subprocess
import sys

import numpy as np
import pytest

from keras_arch import api, config, data, hub, tiling
from tests.models.tester import forward

TINY = [
    "model.arguments.input_shape=[64,64,1]",
    "preprocessing.size=[64,64]",
    "data.train=train[:8]",
    "data.validation=val[:2]",
    "data.test=test[:2]",
    "recipe.epochs=1",
    "samples.count=2",
]
STOCK = """
import pathlib, sys
for name in ("keras_arch", "keras_cv"):
    sys.modules[name] = None
import json, keras, numpy as np
folder = pathlib.Path(sys.argv[1])
model = keras.saving.deserialize_keras_object(json.loads((folder / "config.json").read_text()))
model.load_weights(folder / "model.weights.h5")
x = np.load(sys.argv[2])
np.save(sys.argv[2], np.asarray(model(x, training=False)))
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("deeplab") / "run"
    return api.train("deeplabv3plus-cells", out, overrides=TINY, verbose=0)


def test_both_configs_are_valid():
    for name in ("deeplabv3plus-cells", "deeplabv3plus-pets"):
        assert config.load(name).model.name == "DeepLabV3Plus"


@pytest.mark.slow
def test_a_run_measures_and_evaluates_alike(run):
    assert {"mean_iu", "pixel_accuracy", "boundary_f_score", "rand_error"} <= set(run.metrics)
    assert all(np.isfinite(value) for value in run.metrics.values())
    again = api.evaluate(run.directory)
    # The loaded network, whose convolutions may sum in another order: pixels at a tie may flip.
    assert again["mean_iu"] == pytest.approx(run.metrics["mean_iu"], abs=1e-3)


@pytest.mark.slow
def test_stock_keras_loads_it_without_kerascv(run, tmp_path):
    model = hub.load(run.model)
    x = np.random.default_rng(0).normal(size=(2, 64, 64, 1)).astype("float32")
    np.save(tmp_path / "x.npy", x)
    command = [sys.executable, "-c", STOCK, str(run.model), str(tmp_path / "x.npy")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(np.load(tmp_path / "x.npy"), forward(model, x), atol=1e-5)


@pytest.mark.slow
def test_export_and_tiles(run, tmp_path):
    import tensorflow as tf

    served = tf.saved_model.load(api.export_model(run.directory, tmp_path))
    loaded = hub.load_with_card(run.model)
    image, _ = data.draw_cells(seed=7, size=(100, 90))
    expected = tiling.predict(
        loaded.model, np.asarray(loaded.card.preprocessing.normalize(image)), progress=False
    )
    assert expected.shape == (100, 90, 2)
    found = tiling.predict(served, image, progress=False)
    np.testing.assert_allclose(found, expected, atol=1e-4)
