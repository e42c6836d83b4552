import json
import subprocess
import sys

import pytest

from keras_arch import distribute
from keras_arch.distribute.cluster import read_tf_config
from keras_arch.errors import ArgumentError

TWO = {"worker": ["a:1", "b:2"]}
FIRST = {"type": "worker", "index": 0}


def text(cluster=TWO, task=FIRST, **more):
    return json.dumps({"cluster": cluster, "task": task} | more)


def test_workers():
    found = read_tf_config({"TF_CONFIG": text(task={"type": "worker", "index": 1})})
    assert (found.workers, found.rank, found.is_chief) == (2, 1, False)
    assert found.tasks == (("worker", 0, "a:1"), ("worker", 1, "b:2"))


def test_the_chief_is_first():
    cluster = {"worker": ["a:1", "b:2"], "chief": ["c:3"]}
    found = read_tf_config({"TF_CONFIG": text(cluster, {"type": "worker", "index": 0})})
    assert (found.workers, found.rank, found.is_chief) == (3, 1, False)
    assert read_tf_config({"TF_CONFIG": text(cluster, {"type": "chief", "index": 0})}).is_chief


@pytest.mark.parametrize(
    "content",
    [
        text({"chief": ["a:1"]}, {"type": "chief", "index": 0}),
        # As Vertex AI and others add, and with an index that a shell wrote.
        text({"worker": ["a:1"]}, {"type": "worker", "index": "0"}, environment="cloud"),
    ],
)
def test_one_alone_is_a_cluster(content, monkeypatch):
    assert read_tf_config({"TF_CONFIG": content}).workers == 1
    monkeypatch.setenv("TF_CONFIG", content)
    assert distribute.is_chief()
    assert distribute.strategy("auto").num_replicas_in_sync == 1


@pytest.mark.parametrize("content", [None, "", " ", "{}", '{"task": {}}'])
def test_none(content):
    assert read_tf_config({} if content is None else {"TF_CONFIG": content}) is None


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("{", "no JSON"),
        ("[1]", "an object"),
        (text([1]), "lists of addresses"),
        (text({"worker": "a:1"}), "must be a list"),
        (text({"worker": ["a"]}), r"worker\[0\] must be HOST:PORT, got 'a'"),
        (text({"worker": ["a:99999"]}), "HOST:PORT"),
        (text({"worker": ["a:1", "a:1"]}), "one address, a:1"),
        (text({"worker": []}), "no worker"),
        (text({"chief": ["a:1", "b:1"]}, {"type": "chief", "index": 0}), "one chief, got 2"),
        (text(task=None), "task must be"),
        (text(task={"type": "worker"}), "task.index must be a whole number"),
        (text(task={"type": "worker", "index": True}), "task.index"),
        (text(task={"type": "worker", "index": 2}), "worker 2 is none of the cluster"),
        (text(task={"type": "master", "index": 0}), "chief or worker, got 'master'"),
        (text({**TWO, "ps": ["c:3"]}), "parameter servers"),
        (text({**TWO, "evaluator": ["c:3"]}), "evaluator"),
        (text(task={"type": "evaluator", "index": 0}), "evaluator"),
    ],
)
def test_a_malformed_one_is_refused_in_one_line(content, fault, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", content)
    for name in ("auto", "multi_worker"):
        with pytest.raises(ArgumentError, match=fault) as caught:
            distribute.check_name(name)
        assert "\n" not in str(caught.value)
        # With a right one to copy.
        right = str(caught.value)
        right = right[right.rindex('{"cluster"') :]
        assert read_tf_config({"TF_CONFIG": right}).workers == 2
    distribute.check_name("mirrored")


def test_the_command_line_tells_it_without_tensorflow(tmp_path):
    program = (
        "import sys\n"
        "from keras_arch import distribute\n"
        "try:\n    distribute.check_name('auto')\n"
        "finally:\n    assert 'tensorflow' not in sys.modules and 'keras' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"TF_CONFIG": "{", "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
    )
    assert "ArgumentError: TF_CONFIG is malformed" in done.stderr
