"""What `fit` and its kin are given, checked once whatever it is, and in the form that Keras takes.

Arrays are looked at as a whole. Of datasets, `PyDataset`s and generators the first batch is looked
at before anything is trained, and every batch when its turn comes.
"""

import inspect
from collections.abc import Mapping
from typing import Any

import keras

from keras_arch.data.checked_batches import checked_batches
from keras_arch.data.checks import BatchCheck, check_labels, static_shape, weights_error
from keras_arch.errors import DataError
from keras_arch.trainers.checks import batch_check
from keras_arch.trainers.stock_callbacks import with_companions


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
    if y is None and (data := checked_batches(check, x)) is not None:
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
