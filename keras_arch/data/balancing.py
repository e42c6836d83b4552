"""Balance of classes: how many examples each has, weights for rare ones, and balanced epochs."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_arch._lazy import tf
from keras_arch.data import counting
from keras_arch.data.seeds import branches
from keras_arch.errors import ArgumentError

# What `class_weights` may be: one for each class, some by name, or from the frequencies.
ClassWeights = str | Sequence[float] | Mapping[str, float] | None


def labels_of(dataset: Any) -> np.ndarray:
    """The labels of a data set of `(image, label)`, which is read once.

    Args:
        dataset: A `tf.data.Dataset` whose second column is a class number.

    Returns:
        `int64` `(examples,)`.

    Raises:
        ArgumentError: If it has no such column.
        DataError: If an image cannot be decoded.
    """
    spec = dataset.element_spec
    label = spec[1] if isinstance(spec, tuple) and len(spec) > 1 else None
    if label is None or label.shape.rank != 0 or not label.dtype.is_integer:
        raise ArgumentError(
            f"classes are balanced by a class number for each image; the data set holds {spec}"
        )
    labels = dataset.map(lambda image, label, *more: label)
    return np.array([int(each) for each in counting.read(labels)], np.int64)


def class_weights(given: ClassWeights, labels: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """The weight of the loss of each class.

    Args:
        given: `"balanced"` for `examples / (classes * examples of the class)`, as in scikit-learn,
            under which all classes count alike and the mean over the examples is 1; a weight for
            each class; or weights by name, where classes that are not named weigh 1.
        labels: Class numbers of the training examples; only `"balanced"` needs them.
        names: A name for each class.

    Returns:
        `float32` `(classes,)`.

    Raises:
        ArgumentError: If the weights do not fit the classes, or a class has no example to balance.

    Example:
        >>> class_weights("balanced", np.array([0, 0, 0, 1]), ["cat", "dog"]).round(3).tolist()
        [0.6669999957084656, 2.0]
        >>> class_weights({"dog": 3}, np.array([]), ["cat", "dog"]).tolist()
        [1.0, 3.0]
    """
    if isinstance(given, str):
        if given != "balanced":
            raise ArgumentError(
                f"class_weights must be balanced, a list or weights by name, got {given!r}"
            )
        counts = np.bincount(labels, minlength=len(names))
        if not counts.all():
            missing = names[int(np.argmin(counts))]
            raise ArgumentError(
                f"class_weights balanced needs an image of each class, {missing!r} has none in "
                "the training split; give its weight by name"
            )
        return (len(labels) / (len(names) * counts)).astype(np.float32)
    if isinstance(given, Mapping):
        unknown = sorted(set(given) - set(names))
        if unknown:
            shown = ", ".join(names[:10]) + ", ..." * (len(names) > 10)
            raise ArgumentError(f"class_weights names {unknown[0]!r}; the classes are {shown}")
        given = [given.get(name, 1.0) for name in names]
    weights = np.asarray(given, np.float32)
    if weights.shape != (len(names),):
        raise ArgumentError(
            f"class_weights must have one weight for each of {len(names)} classes, got "
            f"{weights.size}"
        )
    if not np.isfinite(weights).all() or (weights < 0).any() or not weights.any():
        raise ArgumentError(
            "class_weights must be numbers of at least 0, and not all of them 0, got "
            f"{weights.tolist()}"
        )
    return weights


class Balance:
    """Epochs in which all classes are equally frequent, and which are as long as the data set.

    Of a class with more than its share each epoch takes a part, another one each time; the images
    of a class with fewer occur several times, equally often but for one.

    Args:
        labels: Class numbers of all examples. Classes without examples do not count.

    Example:
        >>> balance = Balance(np.array([0, 0, 0, 0, 0, 1]))
        >>> int(balance.repeats([0, 0])[-1])
        3
    """

    def __init__(self, labels: np.ndarray) -> None:
        _, self._classes, self._counts = np.unique(labels, return_inverse=True, return_counts=True)

    def repeats(self, seed: Any) -> Any:
        """How often each example occurs in an epoch, `int64` `(examples,)`.

        Args:
            seed: Of the epoch; two whole numbers.
        """
        examples, classes = len(self._classes), len(self._counts)
        within, over = branches(seed, 2)
        # A random order within each class: the place in it decides who occurs once more.
        drawn = tf.random.stateless_uniform([examples], within, dtype=tf.float64, alg="philox")
        order = tf.argsort(self._classes + drawn, stable=True)
        places = tf.math.invert_permutation(order)
        firsts = np.cumsum(self._counts) - self._counts
        rank = tf.cast(places, tf.int64) - tf.gather(firsts, self._classes)
        # What is left of an even share goes to some of the classes.
        share, left = divmod(examples, classes)
        turn = tf.random.stateless_uniform([], over, 0, classes, tf.int64, alg="philox")
        more = (tf.range(classes, dtype=tf.int64) + turn) % classes < left
        shares = tf.gather(share + tf.cast(more, tf.int64), self._classes)
        counts = tf.gather(self._counts, self._classes)
        return (rank + 1) * shares // counts - rank * shares // counts
