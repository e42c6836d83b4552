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
