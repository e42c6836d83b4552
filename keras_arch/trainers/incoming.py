"""What `fit` and its kin are given, checked once whatever it is, and in the form that Keras takes.

Arrays are looked at as a whole. Of datasets, `PyDataset`s and generators the first batch is looked
at before anything is trained, and every batch when its turn comes.
"""

import inspect
import itertools
import types
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import keras
import numpy as np

from keras_arch.data.checks import BatchCheck, array_of, check_labels, static_shape, weights_error
from keras_arch.errors import DataError
from keras_arch.trainers.checks import batch_check
from keras_arch.trainers.stock_callbacks import with_companions

# As many examples tell that a range is filled by half only.
ENOUGH = 4


def of_fit(trainer: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
    """The arguments of `keras.Model.fit` by name, with checked data."""
    arguments = _bound(keras.Model.fit, trainer, *args, **kwargs)
    check = batch_check(trainer)
    arguments |= _checked(check, arguments)
    validation = arguments.get("validation_data")
    if validation is not None:
        x, y, weight = keras.utils.unpack_x_y_sample_weight(validation)
        if weight is not None:
            raise weights_error(check.owner, "validation_data has three parts", check.keys)
        # A pair of images is the two parts of a batch.
        x, y = _data(check, x, y)
        arguments["validation_data"] = (x,) if y is None else (x, y)
    arguments["callbacks"] = with_companions(arguments.get("callbacks"))
    return arguments


def of_evaluate(trainer: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
    """The arguments of `keras.Model.evaluate` by name, with checked data."""
    arguments = _bound(keras.Model.evaluate, trainer, *args, **kwargs)
    arguments |= arguments.pop("kwargs", {})
    return arguments | _checked(batch_check(trainer), arguments)


def of_train_on_batch(trainer: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
    """The arguments of `keras.Model.train_on_batch` by name, with a checked batch."""
    arguments = _bound(keras.Model.train_on_batch, trainer, *args, **kwargs)
    return arguments | _checked(batch_check(trainer), arguments)


def of_test_on_batch(trainer: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
    """The arguments of `keras.Model.test_on_batch` by name, with a checked batch."""
    arguments = _bound(keras.Model.test_on_batch, trainer, *args, **kwargs)
    return arguments | _checked(batch_check(trainer), arguments)


def _bound(function: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
    arguments = inspect.signature(function).bind(*args, **kwargs).arguments
    arguments.pop("self")
    return arguments


def _checked(check: BatchCheck, arguments: Mapping[str, Any]) -> dict[str, Any]:
    for name in ("sample_weight", "class_weight"):
        if arguments.get(name) is not None:
            raise weights_error(check.owner, f"{name} is given", check.keys)
    x, y = _data(check, arguments.get("x"), arguments.get("y"))
    return {"x": x, "y": y}


def _data(check: BatchCheck, x: Any, y: Any) -> tuple[Any, Any]:
    """The data as Keras takes it, checked as far as it can be before training."""
    if x is None:
        raise DataError(f"{check.owner} is given no data: pass images or batches as x")
    if y is None and (data := _batches(check, x)) is not None:
        return data, None
    arrays = _named(check, x, y)
    if any(static_shape(part) is None for part in keras.tree.flatten(arrays)):
        # Another kind of data, of which Keras knows; the step looks at its labels.
        return x, y
    check.check(arrays)
    for name, part in check.parts.items():
        if part.labels:
            arrays[name] = check_labels(arrays[name], part.classes, name)
    return arrays, None


def _named(check: BatchCheck, x: Any, y: Any) -> dict[str, Any]:
    if y is None:
        return check.named(x)
    if isinstance(x, Mapping):
        return check.named(x) | {check.keys[1]: y}
    return check.named((x, y))


def _batches(check: BatchCheck, data: Any) -> Any:
    """The batches, which check themselves; `None` for what is not made of batches."""
    kinds = {(base.__name__, base.__module__.partition(".")[0]) for base in type(data).__mro__}
    if ("DatasetV2", "tensorflow") in kinds:
        # Not at the top: on JAX and PyTorch TensorFlow is loaded for its datasets only.
        from keras_arch.trainers.engines.datasets import check_dataset

        check.check_shapes(check.named(data.element_spec))
        _check_first(check, iter(data.take(ENOUGH)))
        return check_dataset(data, check)
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
        # Images of several sizes.
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
