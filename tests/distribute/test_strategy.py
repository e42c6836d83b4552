import pytest
import tensorflow as tf

from keras_arch import distribute
from keras_arch.errors import ArgumentError


def test_names():
    assert distribute.strategy("none").num_replicas_in_sync == 1
    assert distribute.strategy("auto").num_replicas_in_sync == 1


def test_mirrored_over_two_devices(two_replicas):
    assert two_replicas.num_replicas_in_sync == 2
    assert distribute.strategy("mirrored", devices=["CPU:0", "CPU:1"]) is two_replicas


def test_mirrored_with_one_device_works_and_says_so(caplog):
    strategy = distribute.strategy("mirrored", devices=["CPU:0"])
    assert strategy.num_replicas_in_sync == 1
    assert "one device" in caplog.text


@pytest.mark.parametrize("device", ["GPU:7", "CPU:2", "cpu0", "TPU:0"])
def test_a_device_that_is_not_there_is_refused(device):
    with pytest.raises(ArgumentError, match=f"no device '{device}' here.*CPU:0, CPU:1") as caught:
        distribute.strategy("mirrored", devices=["CPU:0", device])
    assert "\n" not in str(caught.value)


def test_several_hosts_come_before_all_else(monkeypatch):
    """TensorFlow has started already here."""
    config = '{"cluster": {"worker": ["localhost:1", "localhost:2"]}, '
    config += '"task": {"type": "worker", "index": 0}}'
    monkeypatch.setenv("TF_CONFIG", config)
    tf.config.list_logical_devices()
    with pytest.raises(ArgumentError, match="first in the program"):
        distribute.strategy("auto")


def test_unknown_name_lists_those_there_are():
    with pytest.raises(ArgumentError, match="auto, none, mirrored, multi_worker, tpu"):
        distribute.strategy("ddp")


def test_parameter_server_is_refused_by_name():
    with pytest.raises(ArgumentError, match=r"parameter_server.*multi_worker"):
        distribute.strategy("parameter_server")


def test_multi_worker_needs_its_variable(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(ArgumentError, match="TF_CONFIG"):
        distribute.strategy("multi_worker")


def test_no_tpu_here():
    with pytest.raises(ArgumentError, match="no TPU"):
        distribute.strategy("tpu")
