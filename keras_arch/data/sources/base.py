"""Base class of data sources, and their registration."""

import difflib
import functools
import os
import re
from pathlib import Path
from typing import Any, TypeVar

from keras_arch._lazy import tf
from keras_arch.data import splits
from keras_arch.data.image_files import Shape
from keras_arch.errors import ArgumentError, DataError
from keras_arch.registry import SOURCES

_Factory = TypeVar("_Factory")


class Source:
    """Base class of data sources.

    A subclass sets the attributes below, in its class or in its constructor, and implements
    `examples`. Only `splits` has no default.

    `keras_arch.data.load("scheme:PATH?option=value", split)` calls the constructor with the text
    between colon and question mark as the first argument and each option as a keyword argument,
    both as text. The constructor's arguments say which options there are. If it has arguments named
    `data_dir` or `download`, it also gets those of `load`.

    Attributes:
        name: The source as the user wrote it; `load` sets it.
        kind: Kind of the examples: `"images"` (alone or with labels), `"pairs"` of images,
            `"unpaired"` images of two domains, images with `"masks"`, or a word of your own such as
            `"regression"`.
        splits: Number of examples in each split; of unpaired images, in the larger domain.
        classes: Class names by label, or `None` where there are no classes.
        image_shape: `(height, width, channels)`, `None` for sides that differ. Default: read from
            the first split.
        other_shape: As `image_shape`, of the second image of a pair or of the other domain; `None`
            where there is no second image.
        license: SPDX identifier where there is one, else the text of the source.
        colors: Red, green and blue of each class of masks, where the source has them.

    Example:
        >>> import numpy as np
        >>> from keras_arch import data
        >>> @data.register_source("gradients")
        ... class Gradients(data.Source):
        ...     kind = "regression"
        ...
        ...     def __init__(self, count, *, width="8"):
        ...         self.slopes = np.linspace(-1, 1, int(count), dtype=np.float32)
        ...         self.splits = {"train": int(count)}
        ...         self.columns = np.linspace(-127, 127, int(width))
        ...
        ...     def examples(self, split, start, stop):
        ...         slopes = self.slopes[start:stop]
        ...         images = np.zeros((len(slopes), 8, len(self.columns), 1)) + 127
        ...         images += np.multiply.outer(slopes, self.columns)[:, None, :, None]
        ...         return images.astype(np.uint8), slopes
        >>> for image, slope in data.load("gradients:100?width=16", "train[-1:]"):
        ...     print(image.shape, float(slope))
        (8, 16, 1) 1.0
    """

    name: str = ""
    kind: str = "images"
    splits: dict[str, int]
    classes: tuple[str, ...] | None = None
    image_shape: Shape | None = None
    other_shape: Shape | None = None
    license: str = "not stated"
    colors: tuple[tuple[int, int, int], ...] | None = None

    def examples(self, split: str, start: int, stop: int) -> Any:
        """Examples `start` to `stop` of a split, always in the same order.

        Returns:
            A `tf.data.Dataset`, or an array or a tuple of arrays with one row an example. An
            example is `image` or `(image, target)`: `uint8` `(height, width, channels)`, or other
            values that a `Preprocessing` takes, and a target of the kind of the source (see
            `keras_arch.data.load`).
        """
        raise NotImplementedError(f"{type(self).__name__} must implement examples")

    def load(self, split: str = "train") -> Any:
        """The examples of a split expression such as `"train[:90%]"`, as a `tf.data.Dataset`."""
        parts = splits.parse(split, self.splits, self.name)
        # Reading belongs to the host; without this, constants land on a GPU when there is one.
        with tf.device("CPU"):
            found = [self.examples(*part) for part in parts]
            datasets = [
                each
                if isinstance(each, tf.data.Dataset)
                else tf.data.Dataset.from_tensor_slices(each)
                for each in found
            ]
            dataset = functools.reduce(tf.data.Dataset.concatenate, datasets)
        count = sum(stop - start for _, start, stop in parts)
        return dataset.apply(tf.data.experimental.assert_cardinality(count))

    def __repr__(self) -> str:
        names = ("name", "kind", "splits", "classes", "image_shape", "license")
        fields = ", ".join(f"{name}={getattr(self, name, None)!r}" for name in names)
        return f"{type(self).__name__}({fields})"


def register_source(scheme: str) -> Any:
    """Register a data source, so that `"scheme:..."` opens it in `load`, configs and commands.

    `Source` has an example. Other packages name the class in the entry-point group
    `keras_arch.sources`, where it is found without an import.

    Args:
        scheme: The word before the colon: lower-case letters, digits and underscores.

    Returns:
        A decorator for a subclass of `Source`, or for a function that returns an instance of one.

    Raises:
        ArgumentError: If the scheme is taken or no such word, or the class is no `Source`.
    """
    if not isinstance(scheme, str) or not re.fullmatch(r"[a-z][a-z0-9_]*", scheme):
        raise ArgumentError(
            f"the scheme of a data source is a word of lower-case letters, got {scheme!r}"
        )

    def decorate(factory: _Factory) -> _Factory:
        if isinstance(factory, type) and not issubclass(factory, Source):
            raise ArgumentError(
                f"{factory.__name__} must be a subclass of keras_arch.data.Source to be a data "
                "source"
            )
        return SOURCES.register(scheme)(factory)

    return decorate


def unknown_source(name: str) -> DataError:
    """The error for a text that is no data source, with the schemes there are."""
    schemes = SOURCES.names()
    close = difflib.get_close_matches(name.partition(":")[0], schemes, n=1)
    return DataError(
        f"data source {name!r} is not known{f' (did you mean {close[0]}?)' if close else ''}; give "
        "the name of a TensorFlow Datasets set, or a scheme and its path such as folder:PATH; the "
        f"schemes are {', '.join(schemes)}"
    )


def existing_path(path: str | os.PathLike[str], folder_of: str | None = None) -> Path:
    """The path of files to read, with `~` expanded; a `DataError` if there is none.

    `folder_of` is the content of a folder, for messages, where it must be one.
    """
    expanded = Path(path).expanduser()
    if not expanded.exists():
        raise DataError(
            f"there is no {expanded.absolute()}; name what is there in the data source (train: "
            "--set data.source=..., evaluate and others: --source)"
        )
    if folder_of and not expanded.is_dir():
        raise DataError(f"{expanded} is not a folder; give one with {folder_of}")
    return expanded
