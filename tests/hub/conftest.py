import importlib.util
import os
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from huggingface_hub import constants
from huggingface_hub.utils import disable_progress_bars

from keras_arch import hub
from keras_arch.preprocessing import Preprocessing

# pytest's importlib mode puts no folder of tests on the path.
_spec = importlib.util.spec_from_file_location(
    "keras_arch_tests_hub_server", Path(__file__).parent / "server.py"
)
_server = importlib.util.module_from_spec(_spec)
sys.modules[_spec.name] = _server
_spec.loader.exec_module(_server)


@pytest.fixture(autouse=True)
def client(tmp_path, monkeypatch):
    """The real client with an empty home, no token and an address that nobody listens at.

    It reads its environment once, when something imports it first (Keras does): set here is what
    it made of it, and the environment of processes that a test starts.
    """
    home = tmp_path / "huggingface"
    point_at(monkeypatch, "http://127.0.0.1:9")
    for name, value in {
        "HF_HUB_CACHE": home / "hub",
        "HF_TOKEN_PATH": home / "token",
        "HF_STORED_TOKENS_PATH": home / "stored_tokens",
    }.items():
        monkeypatch.setattr(constants, name, str(value))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_CACHE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(home))
    monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
    monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    disable_progress_bars()
    return home


def point_at(monkeypatch, url):
    monkeypatch.setenv("HF_ENDPOINT", url)
    monkeypatch.setattr(constants, "ENDPOINT", url)
    template = url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)


@pytest.fixture
def server(client, monkeypatch):
    """A Hub that is up."""
    running = _server.Hub()
    point_at(monkeypatch, running.url)
    yield running
    running.stop()


@pytest.fixture
def alice(monkeypatch):
    """Being logged in, with permission to write."""
    monkeypatch.setenv("HF_TOKEN", "hf_alice")
    return "hf_alice"


@pytest.fixture
def down(monkeypatch):
    """Call it, and the Hub is out of reach."""
    return lambda: point_at(monkeypatch, "http://127.0.0.1:9")


@pytest.fixture(scope="session")
def model():
    """Small, but with the kinds of state that real ones have."""
    keras.utils.set_random_seed(7)
    image = keras.Input((8, 8, 1), name="image")
    x = keras.layers.Conv2D(4, 3, padding="same", use_bias=False)(image)
    x = keras.layers.BatchNormalization()(x)
    x = keras.ops.pad(keras.layers.ReLU()(x), [[0, 0], [1, 1], [1, 1], [0, 0]], mode="reflect")
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(image, keras.layers.Dense(3, activation="softmax")(x), name="small")
    draws = np.random.default_rng(0)
    model.set_weights([np.abs(draws.normal(size=w.shape)).astype("f") for w in model.get_weights()])
    return model


@pytest.fixture(scope="session")
def card():
    return hub.Card(
        name="small-digits",
        architecture="Small",
        arguments={"depth": 2},
        task="image-classification",
        preprocessing=Preprocessing(size=(8, 8), channels=1, mean=0.5, std=0.25),
        labels=["zero", "one", "two"],
        description="Three digits.",
        datasets=["digits", "folder:/home/somebody/pictures"],
        recipe={"epochs": 2, "optimizer": {"name": "sgd", "learning_rate": 0.1}},
        metrics={"accuracy": 0.975},
        paper="Nobody, Nothing, 2026",
        activation="softmax",
    )


@pytest.fixture(scope="session")
def images():
    return np.random.default_rng(1).uniform(size=(4, 8, 8, 1)).astype("float32")


@pytest.fixture
def folder(tmp_path, model, card):
    """A saved model directory."""
    return hub.save(model, tmp_path / "saved", card)


@pytest.fixture
def root():
    return str(Path(__file__).parents[2])


@pytest.fixture
def no_secrets(tmp_path, caplog, capfd):
    """Afterwards, no token is in a log, on the screen or in a file."""
    caplog.set_level("DEBUG")
    yield
    out = capfd.readouterr()
    assert "hf_" not in caplog.text.replace("hf_hub", "").replace("hf_xet", "")
    assert "hf_alice" not in out.out + out.err
    for name, _, files in os.walk(tmp_path):
        for file in files:
            assert b"hf_alice" not in (Path(name) / file).read_bytes(), file
