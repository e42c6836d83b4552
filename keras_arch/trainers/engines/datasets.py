"""Checks inside the graphs of TensorFlow: of the batches of a dataset, and of labels in a step."""

from typing import Any

import tensorflow as tf

from keras_arch.data.checks import BatchCheck
from keras_arch.trainers.engines.common import FINITE, LABELS


def label_numbers(labels: tf.Tensor, classes: int | None) -> tf.Tensor:
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
    return tf.debugging.Assert(right, [f"{LABELS} {classes or 0}"])


def check_dataset(dataset: tf.data.Dataset, check: BatchCheck) -> tf.data.Dataset:
    """The dataset, whose batches are checked on the host before they reach a step.

    A step on an accelerator refuses nothing. Labels and values that are not finite are looked at
    in every batch, all else in the first one.
    """

    def checked(*batch: Any) -> Any:
        named = check.named(batch if len(batch) > 1 else batch[0])
        assertions = []
        for name, part in check.parts.items():
            values = named[name]
            if part.labels:
                assertions.append(label_assertion(values, part.classes))
            elif values.dtype.is_floating:
                finite = tf.reduce_all(tf.math.is_finite(values))
                assertions.append(tf.debugging.Assert(finite, [f"{FINITE} {name}"]))
        with tf.control_dependencies(assertions):
            kept = tf.nest.map_structure(tf.identity, batch)
        return kept if len(kept) > 1 else kept[0]

    return dataset.map(checked, num_parallel_calls=tf.data.AUTOTUNE)
