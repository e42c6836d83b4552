"""Batches of any source that check themselves: datasets, `PyDataset`s, generators, loaders.

The first batch is looked at before anything is trained, and every batch when its turn comes.
"""

import itertools
import types
from collections.abc import Iterable, Iterator
from typing import Any

import keras
import numpy as np

from keras_arch.data.checks import BatchCheck, array_of
from keras_arch.data.checks_in_graph import check_dataset
from keras_arch.errors import DataError

# As many examples tell that a range is filled by half only.
ENOUGH = 4


def checked_batches(check: BatchCheck, data: Any) -> Any:
    """The batches, which check themselves; `None` for what is not made of batches.

    The first batch is checked here, without using up a generator.

    Raises:
        DataError: If it does not fit.
    """
    kinds = {(base.__name__, base.__module__.partition(".")[0]) for base in type(data).__mro__}
    if ("DatasetV2", "tensorflow") in kinds:
        check.check_shapes(check.named(data.element_spec))
        _check_first(check, iter(data.take(ENOUGH)))
        return check_dataset(data, check)
    if ("DistributedDatasetInterface", "tensorflow") in kinds:
        # Its batches are divided among replicas already; the step looks at their labels.
        return data
    if isinstance(data, keras.utils.PyDataset):
        count = ENOUGH if data.num_batches is None else min(ENOUGH, data.num_batches)
        _check_first(check, (data[index] for index in range(count)))
        return CheckedPyDataset(data, check)
    if isinstance(data, types.GeneratorType):
        return _chained(check, _check_first(check, data), data)
    if ("DataLoader", "torch") in kinds:
        _check_first(check, map(_of_loader, data))
        return data
    return None


def _check_first(check: BatchCheck, batches: Iterable[Any]) -> list[Any]:
    """Check the first batch, of small ones several, and return those that were read."""
    read, parts, count = [], [], 0
    for batch in batches:
        named = check.named(batch)
        check.check_shapes(named)
        read.append(batch)
        parts.append({name: named[name] for name in check.parts})
        count += len(named[check.keys[0]])
        if count >= ENOUGH:
            break
    if not read:
        raise DataError(f"{check.owner} is given no batches: the data is empty or used up")
    try:
        joined = {
            name: np.concatenate([array_of(part[name]) for part in parts]) for name in check.parts
        }
    except ValueError as error:
        if isinstance(error, DataError):
            raise
        # Images of several sizes cannot be joined.
        for batch in read:
            check.check(batch, whole=False)
    else:
        check.check(joined)
    return read


def _chained(check: BatchCheck, read: list[Any], rest: Iterator[Any]) -> Iterator[tuple[Any, ...]]:
    """The batches of a generator, those that were read first, as tuples, which Keras asks for."""
    for batch in itertools.chain(read, rest):
        check.check(batch, whole=False)
        yield tuple(batch) if isinstance(batch, list | tuple) else (batch,)


def _of_loader(batch: Any) -> Any:
    if not isinstance(batch, list | tuple):
        raise DataError(
            f"a DataLoader must give its batches as tuples, got {type(batch).__name__}, which "
            "Keras would take apart; let its dataset return (image,) or (image, label)"
        )
    return batch


class CheckedPyDataset(keras.utils.PyDataset):
    """A `PyDataset` whose batches are checked when they are made."""

    def __init__(self, dataset: keras.utils.PyDataset, check: BatchCheck) -> None:
        super().__init__(dataset.workers, dataset.use_multiprocessing, dataset.max_queue_size)
        self._dataset, self._check = dataset, check

    @property
    def num_batches(self) -> int | None:
        """Those of the dataset."""
        return self._dataset.num_batches

    def __getitem__(self, index: int) -> Any:
        batch = self._dataset[index]
        self._check.check(batch, whole=False)
        return batch

    def on_epoch_begin(self) -> None:
        """As the dataset has it."""
        self._dataset.on_epoch_begin()

    def on_epoch_end(self) -> None:
        """As the dataset has it."""
        self._dataset.on_epoch_end()
