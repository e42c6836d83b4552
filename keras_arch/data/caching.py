"""Reading data sets: resizing their images, and caching them in memory."""

import dataclasses
import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_arch._lazy import tf
from keras_arch.data import counting
from keras_arch.data.augment.basic import RandomJitter
from keras_arch.data.sources.unpaired import Unpaired
from keras_arch.errors import ArgumentError, DataError
from keras_arch.preprocessing import Preprocessing

# Images whose values are looked at before all are read, where they are not of 8 bits.
_LOOKED_AT = 16
# Side of a photograph of unknown size; ImageNet's are 400x350 in the mean.
_TYPICAL_SIDE = 400


@dataclasses.dataclass(frozen=True)
class Column:
    """One column of a batch."""

    # `None` for labels.
    preprocessing: Preprocessing | None
    # 0, or 1 for the second of two domains that are drawn independently.
    domain: int


def fit_images(
    dataset: Any,
    preprocessing: Preprocessing,
    target_preprocessing: Preprocessing | None = None,
    jitter: RandomJitter | None = None,
    whole: bool = False,
) -> tuple[list[Any], list[Column]]:
    """Bring the images of a data set to size.

    Args:
        dataset: As for `train_batches`. An `Unpaired` is two data sets of one column each.
        preprocessing: The size and channels of the images.
        target_preprocessing: The same for a target or a second domain. Default: the first.
        jitter: Enlarges the images, and rounds them as image libraries do.
        whole: Leave the images as they are.

    Returns:
        Data sets of tuples, one or one for each domain, and the columns of all.
    """
    second = target_preprocessing or preprocessing
    if isinstance(dataset, Unpaired):
        parts = [(dataset.image, [preprocessing]), (dataset.other, [second])]
    else:
        parts = [(dataset, _preprocessings(dataset, preprocessing, second))]
    columns = [Column(each, domain) for domain, (_, row) in enumerate(parts) for each in row]
    images = sum(column.preprocessing is not None for column in columns)
    if target_preprocessing is not None and images < 2:
        raise ArgumentError(
            "target_preprocessing is for pairs and unpaired images; the data set has one image in "
            "each element"
        )
    for part, row in parts:
        _check_values(part, row)
    if whole:
        return [part.map(lambda *row: row) for part, _ in parts], columns
    return [_fit(part, row, jitter) for part, row in parts], columns


def _check_values(dataset: Any, row: Sequence[Preprocessing | None]) -> None:
    """Look at the values of some images, which are no pixels in [0, 255] of themselves."""
    spec = dataset.element_spec
    specs = spec if isinstance(spec, tuple) else (spec,)
    wanted = [
        (place, each)
        for place, (each, column) in enumerate(zip(row, specs, strict=True))
        if each is not None and column.dtype != tf.uint8
    ]
    if not wanted:
        return
    found = [
        element if isinstance(element, tuple) else (element,)
        for element in counting.read(dataset.take(_LOOKED_AT))
    ]
    for place, preprocessing in wanted:
        values = [np.ravel(element[place]) for element in found]
        if values:
            preprocessing.check_values(np.concatenate(values))


def _preprocessings(
    dataset: Any, first: Preprocessing, second: Preprocessing
) -> list[Preprocessing | None]:
    spec = dataset.element_spec
    specs = spec if isinstance(spec, tuple) else (spec,)
    if not 1 <= len(specs) <= 2 or not all(isinstance(each, tf.TensorSpec) for each in specs):
        raise DataError(
            "the data set must hold image, (image, label) or (image, target), its elements are "
            f"{spec}"
        )
    return [first, *(second if each.shape.rank == 3 else None for each in specs[1:])]


def _fit(dataset: Any, row: Sequence[Preprocessing | None], jitter: RandomJitter | None) -> Any:
    targets = [each and (jitter.enlarged(each) if jitter else each) for each in row]

    def bring(values: Any, target: Preprocessing | None) -> Any:
        if target is None:
            return values
        image = target.fit(values)
        # Those of more bits keep them.
        is_deep = values.dtype == tf.uint16 or target.value_range is not None
        if jitter and image.dtype.is_floating and not is_deep:
            image = tf.cast(tf.round(image), tf.uint8)
        image.set_shape(target.input_shape)
        return image

    def fit(*columns: Any) -> Any:
        return tuple(map(bring, columns, targets))

    return dataset.map(fit, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)


def cache_in_memory(datasets: Sequence[Any], counts: Sequence[int]) -> list[tuple[Any, ...]]:
    """Read the columns of data sets into the host's memory, which must be large enough."""
    images = needed = 0
    for dataset, count in zip(datasets, counts, strict=True):
        images += count * sum(column.shape.rank == 3 for column in dataset.element_spec)
        needed += count * example_bytes(dataset)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > memory:
        raise DataError(
            f"{images} images need {needed / 2**30:.0f} GiB, and this machine has "
            f"{memory / 2**30:.0f}; set cache to false, and they are read again in every epoch"
        )
    return [_columns(dataset) for dataset in datasets]


def example_bytes(dataset: Any) -> int:
    """Bytes of the images of one example, estimated where they differ in size."""
    return sum(
        column.dtype.size * math.prod(side or _TYPICAL_SIDE for side in column.shape)
        for column in dataset.element_spec
        if column.shape.rank == 3
    )


def _columns(dataset: Any) -> tuple[Any, ...]:
    # A GPU's memory is too small for a data set; the gather happens on the host.
    with tf.device("CPU"):
        columns = [[tf.zeros([0, *each.shape], each.dtype)] for each in dataset.element_spec]
        for batch in counting.read(dataset.batch(64)):
            for column, values in zip(columns, batch, strict=True):
                column.append(values)
        return tuple(tf.concat(column, axis=0) for column in columns)
