"""What lies in the exported folder, how it is numbered, and that it is whole or not there."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorflow.core.framework import tensor_pb2

from keras_arch import export, trainers
from keras_arch.errors import ArgumentError, StorageError
from keras_arch.export import versions, warmup
from keras_arch.preprocessing import Preprocessing
from tests.rounding import ROUNDING

from .conftest import PER_PIXEL, TANH, run

WARMUP = "assets.extra/tf_serving_warmup_requests"


@pytest.fixture(scope="module")
def prediction_log():
    """The message class as protobuf makes it from TensorFlow Serving's definition."""
    tensor_file = tensor_pb2.TensorProto.DESCRIPTOR.file
    pool = descriptor_pool.DescriptorPool()

    def add(file_descriptor):
        for dependency in file_descriptor.dependencies:
            add(dependency)
        proto = descriptor_pb2.FileDescriptorProto()
        file_descriptor.CopyToProto(proto)
        pool.Add(proto)

    add(tensor_file)
    file = descriptor_pb2.FileDescriptorProto(
        name="serving.proto", package="tensorflow.serving", syntax="proto3"
    )
    file.dependency.append(tensor_file.name)
    repeated, optional = 3, 1

    def message(name, *fields, parent=None):
        made = (parent.nested_type if parent else file.message_type).add(name=name)
        for number, field, kind, label in fields:
            if kind == "string":
                made.field.add(name=field, number=number, type=9, label=label)
            else:
                made.field.add(name=field, number=number, type=11, label=label, type_name=kind)
        return made

    package = ".tensorflow.serving"
    message("ModelSpec", (1, "name", "string", optional), (3, "signature_name", "string", optional))
    request = message(
        "PredictRequest",
        (1, "model_spec", f"{package}.ModelSpec", optional),
        (2, "inputs", f"{package}.PredictRequest.InputsEntry", repeated),
        (3, "output_filter", "string", repeated),
    )
    entry = message(
        "InputsEntry",
        (1, "key", "string", optional),
        (2, "value", ".tensorflow.TensorProto", optional),
        parent=request,
    )
    entry.options.map_entry = True
    message("PredictLog", (1, "request", f"{package}.PredictRequest", optional))
    message("PredictionLog", (6, "predict_log", f"{package}.PredictLog", optional))
    pool.Add(file)
    return message_factory.GetMessageClass(
        pool.FindMessageTypeByName("tensorflow.serving.PredictionLog")
    )


def array(proto):
    """A tensor of the private pool as an array."""
    return tf.make_ndarray(tensor_pb2.TensorProto.FromString(proto.SerializeToString()))


@pytest.mark.parametrize(
    "which",
    ["exported_classifier", "exported_generator", "exported_conditional", "exported_translator"],
)
def test_warmup_requests_are_requests_that_the_model_answers(which, request, prediction_log):
    path = request.getfixturevalue(which)
    loaded = tf.saved_model.load(path)
    asked = []
    for record in tf.data.TFRecordDataset(str(path / WARMUP)).as_numpy_iterator():
        log = prediction_log.FromString(record)
        sent = log.predict_log.request
        assert sent.model_spec.name == path.parent.name
        signature = loaded.signatures[sent.model_spec.signature_name]
        specs = signature.structured_input_signature[1]
        inputs = {
            key: tf.constant(array(value), specs[key].dtype) for key, value in sent.inputs.items()
        }
        assert set(inputs) == set(specs)
        for key, value in sent.inputs.items():
            assert value.dtype == specs[key].dtype.as_datatype_enum
        for output in signature(**inputs).values():
            assert output.shape[0] == 1
        asked.append(sent.model_spec.signature_name)
    assert sorted(asked) == sorted(loaded.signatures)


@settings(max_examples=30, deadline=None)
@given(
    name=st.text(min_size=1, max_size=300),
    inputs=st.dictionaries(
        st.text(max_size=20),
        st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=200),
        max_size=3,
    ),
)
def test_any_request_is_read_back(prediction_log, name, inputs):
    arrays = {key: np.array(value, np.float32) for key, value in inputs.items()}
    record = warmup.prediction_log(name, "serving_default", arrays)
    request = prediction_log.FromString(record).predict_log.request
    assert (request.model_spec.name, request.model_spec.signature_name) == (name, "serving_default")
    assert set(request.inputs) == set(arrays)
    for key, value in arrays.items():
        np.testing.assert_array_equal(array(request.inputs[key]), value)


def test_it_loads_where_neither_this_package_nor_keras_is(
    exported_classifier, exported_generator, exported_conditional, conditional, tmp_path
):
    script = f"""
import sys
sys.modules["keras_arch"] = sys.modules["keras"] = None
import numpy as np
import tensorflow as tf
loaded = tf.saved_model.load({str(exported_classifier)!r})
image = np.arange(2 * 20 * 30 * 3, dtype=np.float32).reshape(2, 20, 30, 3) % 256
out = loaded.signatures["serving_default"](image=tf.constant(image))
np.save("probabilities.npy", out["probabilities"].numpy())
open("labels", "wb").write(b"\\n".join(out["label"].numpy()))
loaded = tf.saved_model.load({str(exported_generator)!r})
out = loaded.signatures["generate"](seed=tf.constant(3, tf.int64), count=tf.constant(2))
np.save("image.npy", out["image"].numpy())
loaded = tf.saved_model.load({str(exported_conditional)!r})
out = loaded.signatures["generate"](seed=tf.constant(3, tf.int64), label=tf.constant([2, 0]))
np.save("conditional.npy", out["image_float"].numpy())
"""
    run(sys.executable, "-c", script, cwd=tmp_path)
    image = np.arange(2 * 20 * 30 * 3, dtype=np.float32).reshape(2, 20, 30, 3) % 256
    here = tf.saved_model.load(exported_classifier).signatures["serving_default"]
    out = here(image=tf.constant(image))
    there = np.load(tmp_path / "probabilities.npy")
    np.testing.assert_allclose(there, out["probabilities"], atol=ROUNDING)
    assert (tmp_path / "labels").read_bytes().split(b"\n") == list(out["label"].numpy())
    assert np.load(tmp_path / "image.npy").shape == (2, 16, 16, 1)
    expected = trainers.sample(conditional, 2, 3, "uniform01", labels=[2, 0])
    np.testing.assert_allclose(np.load(tmp_path / "conditional.npy"), expected, atol=ROUNDING)


def tiny():
    latent = keras.Input((2,))
    return keras.Model(latent, keras.layers.Reshape((1, 2, 1))(latent))


TINY = {
    "name": "tiny",
    "preprocessing": Preprocessing(size=(1, 2), channels=1),
    "latent": {"size": 2, "distribution": "uniform"},
}


def test_versions_count_up_and_are_never_replaced(tmp_path):
    model = tiny()
    numbers = [export.saved_model(model, tmp_path, **TINY).name for _ in range(2)]
    numbers.append(export.saved_model(model, tmp_path, **TINY, version=12).name)
    numbers.append(export.saved_model(model, tmp_path, **TINY).name)
    assert numbers == ["1", "2", "12", "13"]
    with pytest.raises(ArgumentError, match="version 12 already; the next free one is 14"):
        export.saved_model(model, tmp_path, **TINY, version=12)
    # Nothing else lies there: no temporary folder, no file.
    assert sorted(entry.name for entry in (tmp_path / "tiny").iterdir()) == ["1", "12", "13", "2"]


def test_two_exports_at_once_get_two_numbers(tmp_path):
    def fill(folder):
        # Another export finishes while this one is written.
        versions.publish(tmp_path, "m", None, lambda inner: (inner / "first").touch())
        (folder / "second").touch()

    assert versions.publish(tmp_path, "m", None, fill).name == "2"
    with pytest.raises(ArgumentError, match="version 3 already"):
        versions.publish(
            tmp_path, "m", 3,
            lambda folder: versions.publish(tmp_path, "m", 3, lambda new: (new / "f").touch()),
        )  # fmt: skip
    assert sorted(
        p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()
    ) == [
        "m/1/first",
        "m/2/second",
        "m/3/f",
    ]


def test_an_unfinished_version_is_never_visible(tmp_path):
    def fill(folder):
        names = [entry.name for entry in (tmp_path / "m").iterdir()]
        assert not any(name.isdecimal() for name in names)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        versions.publish(tmp_path, "m", None, fill)
    assert not list(tmp_path.iterdir())


def test_a_file_in_the_way(tmp_path):
    (tmp_path / "served").write_text("not a folder")
    with pytest.raises(ArgumentError, match="served is a file"):
        export.saved_model(tiny(), tmp_path / "served", **TINY)
    assert (tmp_path / "served").read_text() == "not a folder"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc is Linux's")
def test_a_folder_that_cannot_be_written():
    with pytest.raises(StorageError, match=r"^cannot write /proc/sys/tiny: .*$"):
        export.saved_model(tiny(), "/proc/sys", **TINY)


FULL = """
import resource, sys
import keras
from keras_arch import errors, export
from keras_arch.preprocessing import Preprocessing

latent = keras.Input((200,))
model = keras.Model(latent, keras.layers.Reshape((100, 100, 1))(keras.layers.Dense(10_000)(latent)))
def attempt():
    return export.saved_model(
        model, sys.argv[1], name="large",
        preprocessing=Preprocessing(size=(100, 100), channels=1),
        latent={"size": 200, "distribution": "normal"},
    )
# From every size of file on that the export does not get by with.
for limit in map(int, sys.argv[2:]):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        print("written", attempt().name)
    except errors.StorageError as error:
        print("refused", str(error).count("\\n"), str(error)[:12])
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print("written", attempt().name)
"""


@pytest.mark.parametrize(
    "limits",
    [("2000", "4000000"), pytest.param(("0", "2000", "100000", "4000000"), marks=pytest.mark.slow)],
    ids=len,
)
def test_writes_that_fail_leave_nothing(limits, tmp_path):
    pytest.importorskip("resource")
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path), *limits],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.stdout.splitlines() == ["refused 0 cannot write"] * len(limits) + ["written 1"], (
        done.stderr
    )
    assert [entry.name for entry in (tmp_path / "large").iterdir()] == ["1"]


def test_names_with_figures_and_other_numbers(tmp_path):
    for name in ("007", "not-a-number", "3", ".9.tmp"):
        (tmp_path / name).mkdir()
    assert versions.next_version(tmp_path) == 8
    assert versions.next_version(tmp_path / "absent") == 1


def test_the_folder_has_what_a_server_looks_for(exported_classifier, exported_generator):
    for path, preprocessing in ((exported_classifier, PER_PIXEL), (exported_generator, TANH)):
        assert path.name == "1"
        files = {p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file()}
        assert {"saved_model.pb", WARMUP, "variables/variables.index"} <= files
        assert ("assets/labels.txt" in files) == (preprocessing is PER_PIXEL)
