"""Weights that were trained on photographs: VGG16's convolutions, as Keras published them."""

from pathlib import Path

import keras
import numpy as np
import pytest
from sklearn.datasets import load_sample_images
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from keras_arch import convert, data, models
from keras_arch.preprocessing import Preprocessing

SHARED = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture(scope="module")
def state():
    """The tensors by torchvision's names."""
    path = SHARED / "vgg16_features" / "vgg16_features_float16.npz"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    with np.load(path) as archive:
        return {name: archive[name].astype("float32") for name in archive.files}


@pytest.mark.slow
def test_features_of_photographs_equal_those_of_onnx_runtime(state, tmp_path):
    """Through Keras' own exporter; both runtimes sum float32 in an order of their own."""
    runtime = pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
    pytest.importorskip("tf2onnx", reason="tf2onnx is not installed")
    model = convert.from_torch("VGG16", state, include_top=False)
    prepare = Preprocessing((224, 224), crop=0.875)
    photos = np.stack([prepare(photo) for photo in load_sample_images().images])
    assert photos.shape == (2, 224, 224, 3)
    ours = np.asarray(model(photos))
    model.export(tmp_path / "vgg16.onnx", format="onnx", verbose=False)
    session = runtime.InferenceSession(tmp_path / "vgg16.onnx", providers=["CPUExecutionProvider"])
    (theirs,) = session.run(None, {"image": photos})
    assert ours.std() > 0.1
    assert np.abs(ours - theirs).max() < 1e-5 * np.abs(theirs).max()


# Pixels from 0 to 255, blue first, less the mean colour: what Keras' weights expect.
CAFFE = Preprocessing((32, 32), scale=1.0, mean=[103.939, 116.779, 123.68], channel_order="bgr")


@pytest.fixture(scope="module")
def probe(state):
    """Test accuracy of a linear probe on VGG16's features of CIFAR-10's images.

    Features are the means of the fourth stage's map; the fifth has one pixel for images of 32.
    """
    file = SHARED / "cifar10" / "cifar10_jpeg.npz"
    if not file.is_file():
        pytest.skip(f"{file} is not there")
    splits = [data.load(f"npz:{file}", split).batch(100) for split in ("train[:800]", "test[:500]")]
    arguments = {"include_top": False, "input_shape": (32, 32, 3)}

    def accuracy(weights: str, prepare: Preprocessing = CAFFE) -> float:
        keras.utils.set_random_seed(0)
        model = (
            convert.from_torch("VGG16", state, **arguments)
            if weights == "trained"
            else models.VGG16(**arguments)
        )
        maps = model.get_layer("stage4").output
        network = keras.Model(model.input, keras.ops.mean(maps, axis=(1, 2)))
        (x, y), (u, v) = (
            (
                np.concatenate([network(prepare(images)) for images, _ in split]),
                np.concatenate([labels for _, labels in split]),
            )
            for split in splits
        )
        classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=500))
        return classifier.fit(x, y).score(u, v)

    return accuracy


@pytest.mark.slow
def test_a_linear_probe_on_them_is_better_than_on_random_features(probe):
    assert probe("trained") > probe("random") + 0.05


@pytest.mark.slow
def test_they_expect_pixels_up_to_255_and_not_up_to_1(probe):
    """The package that the weights were found in gives them pixels from 0 to 1."""
    assert probe("trained") > probe("trained", Preprocessing((32, 32))) + 0.05
