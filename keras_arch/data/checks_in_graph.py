"""Checks inside the graphs of TensorFlow: of the batches of a dataset, and of labels in a step."""

import contextlib
import re
from collections.abc import Iterator
from typing import Any

from keras_arch._lazy import tf
from keras_arch.data.checks import BatchCheck, label_error, not_finite_error
from keras_arch.errors import DataError

# Words of the assertions, before the number of classes (0: unknown) and the part's name.
_LABELS = "labels must be whole numbers below"
_FINITE = "values must be finite in"


@contextlib.contextmanager
def translate_errors() -> Iterator[None]:
    """Raise our line of an error that reached Python through a pipeline or a step of TensorFlow.

    Checks in Python are found by the name of their exception, checks in a graph by their words.
    """
    try:
        yield
    except Exception as error:
        if not type(error).__module__.startswith("tensorflow"):
            raise
        text = str(error)
        if found := re.search(r"(?:DataError|ArgumentError): ([^\n]+)", text):
            refusal = DataError(found[1])
        elif found := re.search(rf"{_LABELS} (\d+)", text):
            refusal = label_error(int(found[1]) or None)
        elif found := re.search(rf"{_FINITE} (\w+)", text):
            refusal = not_finite_error(found[1])
        else:
            raise
        raise refusal from None


def label_numbers(labels: Any, classes: int | None) -> Any:
    """Labels `(batch,)` of labels `(batch,)`, `(batch, 1)` or one-hot, as they are otherwise."""
    if len(labels.shape) == 2 and labels.shape[1] == 1:
        return tf.reshape(labels, [-1])
    if len(labels.shape) == 2 and labels.shape[1] == classes:
        return tf.argmax(labels, axis=1)
    return labels


def label_assertion(labels: Any, classes: int | None) -> Any:
    """An operation that fails for labels that are not numbers of classes."""
    if labels.dtype == tf.bool:
        labels = tf.cast(labels, tf.int32)
    zero = tf.zeros((), labels.dtype)
    numbers = label_numbers(labels, classes)
    right = numbers >= tf.zeros((), numbers.dtype)
    if classes is not None:
        right &= numbers < tf.cast(classes, numbers.dtype)
    if numbers.dtype.is_floating:
        right &= tf.equal(numbers, tf.floor(numbers))
    right = tf.reduce_all(right)
    if len(labels.shape) == 2 and labels.shape[1] != 1:
        ones = tf.reduce_sum(tf.cast(labels == tf.ones((), labels.dtype), tf.int32), axis=1)
        others = tf.reduce_sum(tf.cast(labels != zero, tf.int32), axis=1)
        right &= tf.reduce_all((ones == 1) & (others == 1))
    return tf.debugging.Assert(right, [f"{_LABELS} {classes or 0}"])


def mask_assertion(masks: Any, classes: int | None, ignore: int | None) -> Any:
    """An operation that fails for masks whose pixels are not numbers of classes."""
    right = masks >= tf.zeros((), masks.dtype)
    if classes is not None:
        right &= masks < tf.cast(classes, masks.dtype)
    if ignore is not None:
        right |= masks == tf.cast(ignore, masks.dtype)
    if masks.dtype.is_floating:
        right &= tf.equal(masks, tf.floor(masks))
    return tf.debugging.Assert(tf.reduce_all(right), [f"{_LABELS} {classes or 0}"])


def check_dataset(dataset: Any, check: BatchCheck) -> Any:
    """The dataset, whose batches are checked on the host before they reach a step.

    A step on an accelerator refuses nothing. Labels and values that are not finite are looked at
    in every batch, all else in the first one.
    """

    def checked(*batch: Any) -> Any:
        named = check.named(batch if len(batch) > 1 else batch[0])
        assertions = []
        for name, part in check.parts.items():
            values = named[name]
            if part.labels and part.shape:
                assertions.append(mask_assertion(values, part.classes, part.ignore))
            elif part.labels and not part.soft:
                assertions.append(label_assertion(values, part.classes))
            elif values.dtype.is_floating:
                finite = tf.reduce_all(tf.math.is_finite(values))
                assertions.append(tf.debugging.Assert(finite, [f"{_FINITE} {name}"]))
        with tf.control_dependencies(assertions):
            kept = tf.nest.map_structure(tf.identity, batch)
        return kept if len(kept) > 1 else kept[0]

    return dataset.map(checked, num_parallel_calls=tf.data.AUTOTUNE)
