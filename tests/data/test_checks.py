"""The one check of what comes in: its pieces, on arrays."""

import pickle

import numpy as np
import pytest
import tensorflow as tf

from keras_arch.data import checks, checks_in_graph
from keras_arch.data.checks_in_graph import translate_errors
from keras_arch.errors import DataError

CHECK = checks.BatchCheck(
    "Net",
    ("image", "label"),
    {
        "image": checks.Part((2, 2, 1), bounds=(-1.0, 1.0), why="net ends in tanh"),
        "label": checks.Part((), labels=True, classes=3),
    },
    ("latent",),
)
IMAGES = np.linspace(-1, 1, 16, dtype="float32").reshape(4, 2, 2, 1)
LABELS = np.array([0, 2, 1, 2])


def test_it_travels_to_other_processes():
    pickle.loads(pickle.dumps(CHECK)).check((IMAGES, LABELS))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "bfloat16", "int8"])
def test_numbers_of_any_type(dtype):
    images = tf.cast(IMAGES, dtype)
    CHECK.check({"image": images, "label": tf.constant(LABELS)})


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (IMAGES.astype(np.complex64), "numbers, got an array of type complex64"),
        (IMAGES.astype(object), "type object"),
        (IMAGES[0], r"add the axis of the batch: image\[None\]"),
        (IMAGES[..., 0], r"add the axis of channels: image\[\.\.\., None\]"),
        (IMAGES[:0], "empty"),
        (np.where(IMAGES > 0.9, np.inf, IMAGES), "NaN or infinite, first in example 3"),
        (3 * IMAGES, r"net ends in tanh .*\[-1, 1\].*from -3 to 3"),
        ((IMAGES + 1) / 2, "scale it"),
    ],
)
def test_images_that_are_refused(values, words):
    with pytest.raises(DataError, match=words) as raised:
        CHECK.check((values, LABELS[: max(1, len(values))]))
    assert "\n" not in str(raised.value)


def test_a_fault_far_into_a_large_array():
    values = np.zeros((5000, 2), "float32")
    values[4321, 1] = np.nan
    with pytest.raises(DataError, match="example 4321"):
        checks.extent("image", values)
    values[4321, 1] = 7
    assert checks.extent("image", values) == (0, 7)


@pytest.mark.parametrize(
    ("labels", "classes", "expected"),
    [
        ([[1], [0]], 3, [1, 0]),
        ([True, False], 2, [1, 0]),
        (np.eye(3)[[2, 0]], 3, [2, 0]),
        ([7.0, 0.0], None, [7, 0]),
        # A column, although a row of one class would look the same.
        ([[0], [0]], 1, [0, 0]),
    ],
)
def test_labels_that_are_taken(labels, classes, expected):
    found = checks.check_labels(labels, classes)
    assert found.dtype == np.int32
    assert found.tolist() == expected
    tensor = tf.convert_to_tensor(labels)
    numbers = checks_in_graph.label_numbers(tensor, classes)
    assert np.asarray(tf.cast(numbers, tf.int32)).tolist() == expected
    checks_in_graph.label_assertion(tensor, classes)


@pytest.mark.parametrize(
    ("labels", "classes", "words"),
    [
        ([0.0, 1.7], 3, r"got 1\.7 in example 1"),
        ([0.0, np.nan], 3, "got nan"),
        ([0.0, np.inf], 3, "got inf"),
        ([0, 3], 3, "the label 3 outside the classes: labels must be 0 to 2"),
        ([0, -1], None, "the label -1: labels must be 0 or more"),
        ([[0.5, 0.5]], 2, r"the row \[0\.5, 0\.5\]"),
        ([[1, 1, 0]], 3, "the row"),
        ([[0, 0, 0]], 3, "the row"),
        ([[2, 0, 0]], 3, "the row"),
    ],
)
def test_labels_that_are_refused(labels, classes, words):
    """By NumPy, and in a graph, where the line names no label."""
    with pytest.raises(DataError, match=words):
        checks.check_labels(labels, classes)
    with (
        pytest.raises(DataError, match=r"labels? .*must be|outside"),
        translate_errors(),
    ):
        checks_in_graph.label_assertion(tf.convert_to_tensor(labels), classes)


@pytest.mark.parametrize("labels", [np.array(["a", "b"]), np.array([b"a"]), ["a", "b"]])
def test_names_are_told_how_to_become_numbers(labels):
    with pytest.raises(DataError, match=r"text such as 'a'.*return_inverse=True"):
        checks.check_labels(labels, 3)


def test_a_dataset_checks_its_batches_on_the_host():
    """No step sees the wrong batch, whose compiled form could not refuse it."""
    labels = np.concatenate([LABELS, LABELS + 1])
    images = np.concatenate([IMAGES, IMAGES])
    data = tf.data.Dataset.from_tensor_slices({"image": images, "label": labels}).batch(4)
    checked = checks_in_graph.check_dataset(data, CHECK)
    assert checked.element_spec == data.element_spec
    assert int(checked.cardinality()) == 2
    seen = []
    with (
        pytest.raises(DataError, match="labels must be 0 to 2"),
        translate_errors(),
    ):
        seen.extend(checked)
    assert len(seen) == 1
    images[5, 0, 0, 0] = np.nan
    data = tf.data.Dataset.from_tensor_slices((images, np.zeros(8, np.int64))).batch(4)
    seen = []
    with (
        pytest.raises(DataError, match="image has values that are NaN"),
        translate_errors(),
    ):
        seen.extend(checks_in_graph.check_dataset(data, CHECK))
    assert len(seen) == 1
