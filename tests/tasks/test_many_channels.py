"""Segmentation of images with five channels, from files to training, prediction and export."""

import numpy as np
import pytest
import tensorflow as tf

from keras_arch import api, config, tiling

NET = {
    "name": "bands",
    "task": "image-segmentation",
    "model": {
        "name": "UNet",
        "arguments": {"padding": "same", "input_shape": [8, 8, 5], "depth": 1, "filters": 2},
    },
    "preprocessing": {"size": [8, 8], "channels": 5, "value_range": [0, 4000]},
    "recipe": {"epochs": 1, "batch_size": 2, "optimizer": {"name": "adam", "learning_rate": 0.01}},
    "samples": {"count": 1},
}


@pytest.fixture(scope="module")
def bands(tmp_path_factory):
    """Images of 12 bits in five channels, with masks beside them."""
    folder = tmp_path_factory.mktemp("bands")
    rng = np.random.default_rng(0)
    for number in range(4):
        np.save(folder / f"{number}.npy", rng.integers(0, 4000, (8, 12, 5)).astype(np.uint16))
        np.save(folder / f"{number}_mask.npy", np.repeat([[0] * 6 + [1] * 6], 8, axis=0))
    return folder


@pytest.mark.slow
def test_a_run_predicts_and_exports(bands, tmp_path):
    settings = {"source": f"masks:{bands}?suffix=_mask", "train": "train[:2]",
                "test": "train[2:]"}  # fmt: skip
    run = api.train(config.parse(NET | {"data": settings}), tmp_path / "run", verbose=0)
    loaded = api.load_model(run.directory)
    assert "images of 5 channels" in (run.model / "README.md").read_text()
    (found,) = api.predict(run.model, [bands / "0.npy"], out=tmp_path, overlay=True)
    assert found.mask.exists()
    assert found.overlay.exists()
    image = np.load(bands / "0.npy")
    classes = tiling.predict(
        loaded.model, image / np.float32(4000), output="classes", progress=False
    )
    share = np.mean(classes == 1)
    assert found.shares["1"] == pytest.approx(share, abs=1e-6)
    exported = tf.saved_model.load(str(api.export_model(run.directory, tmp_path / "served")))
    assert set(exported.signatures) == {"serving_default"}
