"""Small models with weights that matter, and a way to run things in another process."""

import io
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from keras_arch import export, models
from keras_arch.preprocessing import Preprocessing

LABELS = ["aeroplane", "car", "bird of prey", "Bär"]
PER_PIXEL = Preprocessing(
    size=(16, 16),
    scale=1 / 255,
    mean=np.random.default_rng(5).uniform(0.3, 0.6, (16, 16, 3)).round(3).tolist(),
    std=(0.2, 0.25, 0.3),
)
TANH = Preprocessing(size=(16, 16), channels=1, scale=1 / 127.5, mean=1.0)
LATENT = {"size": 12, "distribution": "normal"}
CONDITIONAL = {
    "name": "coins-gan",
    "preprocessing": Preprocessing(size=(8, 8), channels=1),
    "labels": ["heads", "tails", "Rand"],
    "latent": {"size": 5, "distribution": "uniform01"},
}
TRANSLATED = Preprocessing(size=(16, 16), scale=1 / 127.5, mean=1.0)


def stir(model: keras.Model, seed: int = 0) -> keras.Model:
    """Random numbers in every weight, moving statistics included."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        if "variance" in weight.path:
            weight.assign(rng.uniform(0.5, 2.0, weight.shape))
        elif weight.path.endswith(("gamma", "beta", "mean", "bias")):
            weight.assign(rng.normal(0.5, 0.3, weight.shape))
        else:
            fan_in = np.prod(weight.shape[:-1])
            weight.assign(rng.normal(0.0, fan_in**-0.5, weight.shape))
    return model


@pytest.fixture(scope="session")
def classifier() -> keras.Model:
    return stir(models.CIFARResNet(depth=8, input_shape=(16, 16, 3), classes=len(LABELS)))


@pytest.fixture(scope="session")
def exported_classifier(classifier, tmp_path_factory) -> Path:
    return export.saved_model(
        classifier,
        tmp_path_factory.mktemp("served"),
        name="vehicles",
        preprocessing=PER_PIXEL,
        labels=LABELS,
    )


@pytest.fixture(scope="session")
def generator() -> keras.Model:
    return stir(
        models.DCGANGenerator("pytorch", image_shape=(16, 16, 1), latent_size=12, filters=4)
    )


@pytest.fixture(scope="session")
def exported_generator(generator, tmp_path_factory) -> Path:
    return export.saved_model(
        generator,
        tmp_path_factory.mktemp("served"),
        name="digits-gan",
        preprocessing=TANH,
        latent=LATENT,
    )


@pytest.fixture(scope="session")
def conditional() -> keras.Model:
    widths = {"latent_size": 5, "latent_units": 8, "label_units": 8, "joint_units": 12}
    return stir(models.CGANGenerator(classes=3, image_shape=(8, 8, 1), **widths))


@pytest.fixture(scope="session")
def exported_conditional(conditional, tmp_path_factory) -> Path:
    return export.saved_model(
        conditional,
        tmp_path_factory.mktemp("served"),
        task="conditional-image-generation",
        **CONDITIONAL,
    )


@pytest.fixture(scope="session")
def translator() -> keras.Model:
    return stir(models.CycleGANGenerator(blocks=1, image_shape=(16, 16, 3), filters=2))


@pytest.fixture(scope="session")
def exported_translator(translator, tmp_path_factory) -> Path:
    return export.saved_model(
        translator,
        tmp_path_factory.mktemp("served"),
        name="seasons",
        preprocessing=TRANSLATED,
        task="image-to-image",
    )


def segmenter() -> keras.Model:
    """A network of two layers from pixels to three classes."""
    image = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(2, 3, padding="same", activation="relu")(image)
    return stir(keras.Model(image, keras.layers.Conv2D(3, 1, activation="softmax")(x)))


@pytest.fixture(scope="session")
def exported_segmenters(tmp_path_factory) -> dict[str, Path]:
    """Of whole images, and of tiles."""
    folder = tmp_path_factory.mktemp("served")
    return {
        name: export.saved_model(
            segmenter(),
            folder,
            name=name,
            preprocessing=Preprocessing(size=(8, 8)),
            labels=["sky", "road", "car"],
            task="image-segmentation",
            tiles=name == "tiles",
        )
        for name in ("whole", "tiles")
    }


@pytest.fixture(scope="session")
def photos() -> list[np.ndarray]:
    """Smooth uint8 pictures, wide and tall, colour and grey."""
    rng = np.random.default_rng(1)
    coarse = [rng.integers(0, 256, (*shape, 3), np.uint8) for shape in ((3, 4), (5, 3), (4, 4))]
    sizes = [(40, 30), (17, 55), (16, 16)]
    pictures = [Image.fromarray(c).resize(s) for c, s in zip(coarse, sizes, strict=True)]
    return [np.asarray(p) for p in pictures] + [np.asarray(pictures[0].convert("L"))[..., None]]


def encode(image: np.ndarray, kind: str = "PNG", **options) -> bytes:
    """A picture as a file's content, by another library than the one that will decode it."""
    buffer = io.BytesIO()
    Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image).save(
        buffer, kind, **options
    )
    return buffer.getvalue()


def run(*command: str, cwd: Path) -> str:
    """Run a command in another process and folder; its stdout, or a failure with all it said."""
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def saved_model_cli(*arguments: str, cwd: Path) -> str:
    """TensorFlow's own tool, which stands beside the interpreter."""
    return run(str(Path(sys.executable).parent / "saved_model_cli"), *arguments, cwd=cwd)
