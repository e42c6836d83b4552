import io

import h5py
import keras
import numpy as np
import pytest

from keras_arch import models
from keras_arch._tensorflow import model_files


@pytest.fixture(scope="module")
def network():
    return models.CIFARResNet(depth=8, input_shape=(8, 8, 1), classes=3)


def datasets(path):
    found = {}

    def visit(name, item):
        if isinstance(item, h5py.Dataset):
            found[name] = item[()]

    with h5py.File(path) as file:
        file.visititems(visit)
    return found


def test_the_files_are_those_of_keras(network, tmp_path):
    keras.saving.save_model(network, str(tmp_path / "keras"), zipped=False)
    (tmp_path / "ours").mkdir()
    model_files.save_model(network, tmp_path / "ours")
    assert (tmp_path / "ours/config.json").read_text() == (
        tmp_path / "keras/config.json"
    ).read_text()
    names = [{file.name for file in (tmp_path / side).iterdir()} for side in ("ours", "keras")]
    assert names[0] == names[1] - {"assets"}
    ours, theirs = (datasets(tmp_path / side / model_files.WEIGHTS) for side in ("ours", "keras"))
    assert list(ours) == list(theirs)
    for name, value in ours.items():
        np.testing.assert_array_equal(value, theirs[name])


def test_a_loaded_model_is_the_one_that_keras_loads(network, tmp_path):
    (tmp_path / "m").mkdir()
    model_files.save_model(network, tmp_path / "m")
    ours = model_files.load_model(tmp_path / "m")
    theirs = keras.saving.load_model(str(tmp_path / "m"), compile=False)
    assert ours.get_config() == theirs.get_config()
    assert [v.path for v in ours.variables] == [v.path for v in theirs.variables]
    for one, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert [v.trainable for v in ours.variables] == [v.trainable for v in theirs.variables]
    assert not ours.compiled


def test_after_a_refusal_nothing_waits_to_be_allocated(network, tmp_path):
    (tmp_path / "m").mkdir()
    model_files.save_model(network, tmp_path / "m")
    (tmp_path / "m" / model_files.WEIGHTS).write_bytes(b"short")
    with pytest.raises(ValueError, match=r"declares [\d,]+ weights, more than the 5 bytes"):
        model_files.load_model(tmp_path / "m")
    with keras.StatelessScope():
        layer = keras.layers.Dense(2)
        layer.build((None, 3))
    assert layer.kernel.shape == (3, 2)


def test_float16_files_open_in_stock_keras_as_float32_of_half_precision(network, tmp_path):
    (tmp_path / "m").mkdir()
    model_files.save_model(network, tmp_path / "m", float16=True)
    theirs = keras.saving.load_model(str(tmp_path / "m"), compile=False)
    for one, other in zip(network.get_weights(), theirs.get_weights(), strict=True):
        assert other.dtype == np.float32
        # Rounding to 11 bits.
        np.testing.assert_allclose(one, other, rtol=0, atol=2**-11 * np.abs(one).max())
    stored = datasets(tmp_path / "m" / model_files.WEIGHTS).values()
    assert {str(each.dtype) for each in stored if each.dtype.kind == "f"} == {"float16"}


@pytest.mark.parametrize("values", [[1.0, 70_000.0], [1e-5, 2e-5]])
def test_what_float16_cannot_hold_stays_as_it_is(values, tmp_path):
    net = keras.Sequential([keras.Input((1,)), keras.layers.Dense(2)])
    net.set_weights([np.array([values], "float32"), np.ones(2, "float32")])
    content = io.BytesIO(model_files.save_weights(net, tmp_path / "n.weights.h5").read_bytes())
    (tmp_path / "half.weights.h5").write_bytes(model_files.halved(content).getbuffer())
    dtypes = sorted(str(each.dtype) for each in datasets(tmp_path / "half.weights.h5").values())
    assert dtypes == ["float16", "float32"]
    net.set_weights([np.zeros((1, 2)), np.zeros(2)])
    net.load_weights(tmp_path / "half.weights.h5")
    np.testing.assert_array_equal(net.get_weights()[0], np.array([values], "float32"))
