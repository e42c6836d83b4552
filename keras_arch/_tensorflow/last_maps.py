"""The maps at the end of a `tf.data.Dataset`, taken off: what is read, and how it is decoded.

A host that trains on some rows of each batch is to decode these only. Data sources give datasets of
decoded images, whose last maps decode: they are put behind the choice of the rows.
"""

from collections.abc import Callable
from typing import Any

from keras_arch._tensorflow.switch import FastPath

PATH = FastPath("decoding a host's own images only")
# Datasets with the elements of the one that they are made of.
_UNCHANGED = ("_AssertCardinalityDataset", "_OptionsDataset", "_PrefetchDataset")
_MAPS = ("_MapDataset", "_ParallelMapDataset")


def take_off(dataset: Any) -> tuple[Any, Callable[..., Any]]:
    """A dataset without its last maps, and a function that does to an element what they did.

    Maps at the end of datasets that are zipped count too. Where there are none, or this version of
    TensorFlow was not checked, the dataset itself and a function that changes nothing.

    Args:
        dataset: A `tf.data.Dataset`, of tuples or of single tensors.

    Returns:
        The dataset, and a function of one of its elements, as `Dataset.map` calls it.

    Example:
        >>> import tensorflow as tf
        >>> numbers = tf.data.Dataset.range(3)
        >>> base, function = take_off(numbers.map(lambda number: 2 * number))
        >>> base is numbers, [int(function(number)) for number in base]
        (True, [0, 2, 4])
    """
    if not PATH.enabled:
        return dataset, _same
    kind = type(dataset).__name__
    if kind in _UNCHANGED:
        return take_off(dataset._input_dataset)
    if kind in _MAPS:
        base, inner = take_off(dataset._input_dataset)
        outer = dataset._map_func._func
        return base, lambda *element: _call(outer, inner(*element))
    if kind == "_ZipDataset" and isinstance(dataset._datasets, tuple):
        import tensorflow as tf

        parts = [take_off(part) for part in dataset._datasets]
        if all(base is part for (base, _), part in zip(parts, dataset._datasets, strict=True)):
            return dataset, _same
        zipped = tf.data.Dataset.zip(tuple(base for base, _ in parts))
        return zipped, lambda *element: tuple(
            _call(function, part) for (_, function), part in zip(parts, element, strict=True)
        )
    return dataset, _same


def _same(*element: Any) -> Any:
    return element if len(element) > 1 else element[0]


def _call(function: Callable[..., Any], element: Any) -> Any:
    """Call a function of an element: the parts of a tuple are arguments of their own."""
    return function(*element) if isinstance(element, tuple) else function(element)
