"""Where images come from: one entrance for every kind of source."""

import dataclasses
import functools
import os
from pathlib import Path
from typing import Any, Protocol

from keras_arch.data import splits
from keras_arch.errors import DataError

SCHEMES = "a TensorFlow Datasets name, digits, folder:PATH or npz:PATH"


@dataclasses.dataclass(frozen=True)
class Source:
    """What is known of a data source before its images are read.

    Attributes:
        name: The source as it was asked for.
        classes: Class names by label, or `None` when the images have no labels.
        splits: Number of images in each split.
        image_shape: `(height, width, channels)`; `None` where images differ.
        license: SPDX identifier where there is one, else what the source states.
    """

    name: str
    classes: tuple[str, ...] | None
    splits: dict[str, int]
    image_shape: tuple[int | None, int | None, int]
    license: str


class Reader(Protocol):
    """One opened source."""

    source: Source

    def part(self, split: str, start: int, stop: int) -> Any:
        """Images `start` to `stop` of a split, in their order, as a `tf.data.Dataset`."""


def describe(source: str, *, data_dir: str | os.PathLike[str] | None = None) -> Source:
    """Tell a source's classes, splits and image shape, without reading its images.

    Args:
        source: As for `load`.
        data_dir: As for `load`.

    Returns:
        A `Source`.

    Raises:
        DataError: If the source is not there or is malformed.

    Example:
        >>> from keras_arch import data
        >>> digits = data.describe("digits")
        >>> digits.splits, digits.image_shape
        ({'train': 1438, 'test': 359}, (8, 8, 1))
    """
    return _open(source, data_dir, download=False).source


def load(
    source: str, split: str = "train", *, data_dir: str | os.PathLike[str] | None = None
) -> Any:
    """Open a split of a data source.

    Args:
        source: One of

            - the name of any TensorFlow Datasets image set (`"fashion_mnist"`), which is
              downloaded when it is not prepared under `data_dir`;
            - `"digits"`: 1,797 handwritten digits of 8x8 pixels from scikit-learn, no network
              needed; every fifth image of each digit is the test split;
            - `"folder:PATH"`: one sub-folder of JPEG, PNG or BMP files a class, either in PATH or
              in PATH/train and PATH/test (also PATH/val); images alone are unlabelled;
            - `"npz:PATH"`: a NumPy archive with `x_train`, `y_train`, `x_test`, `y_test`, or with
              JPEG bytes in `train_jpeg`, `train_offsets`, `train_labels` and the same for `test`
              (image i is `jpeg[offsets[i]:offsets[i + 1]]`), either with an optional
              `class_names`.
        split: A split's name, or a slice such as `"train[:90%]"` or `"train[100:200]"`, or a sum
            of these.
        data_dir: Where TensorFlow Datasets keeps its sets. Default: `TFDS_DATA_DIR`, or
            `~/tensorflow_datasets`.

    Returns:
        A `tf.data.Dataset` of `(image, label)`, or of `image` where there are no labels: `uint8`
        `(height, width, channels)` and `int64`, always in the same order.

    Raises:
        DataError: If the source or the split is not there or is malformed.

    Example:
        >>> from keras_arch import data
        >>> image, label = next(iter(data.load("digits", "test[:10]")))
        >>> image.shape, image.dtype, int(label)
        (TensorShape([8, 8, 1]), tf.uint8, 0)
    """
    import tensorflow as tf

    reader = _open(source, data_dir, download=True)
    parts = splits.parse(split, reader.source.splits, reader.source.name)
    # Reading belongs to the host; without this, constants land on a GPU when there is one.
    with tf.device("CPU"):
        datasets = [reader.part(*part) for part in parts]
        dataset = functools.reduce(lambda first, second: first.concatenate(second), datasets)
    count = sum(stop - start for _, start, stop in parts)
    return dataset.apply(tf.data.experimental.assert_cardinality(count))


def _open(source: str, data_dir: str | os.PathLike[str] | None, *, download: bool) -> Reader:
    """The reader for a source; each kind's module is loaded only when it is asked for."""
    kind, colon, path = source.partition(":")
    if source == "digits":
        from keras_arch.data.digits import Digits

        return Digits()
    if colon and kind == "npz":
        from keras_arch.data.archives import open_archive

        return open_archive(_existing(source, path))
    if colon and kind == "folder":
        from keras_arch.data.folders import Folder

        return Folder(_existing(source, path))
    from keras_arch.data.catalog import Catalog

    return Catalog(source, data_dir, download=download)


def _existing(source: str, path: str) -> Path:
    """The path of a `kind:PATH` source."""
    if not path:
        raise DataError(f"data source {source!r} names no path; write {source}PATH")
    expanded = Path(path).expanduser()
    if not expanded.exists():
        raise DataError(f"data source {source!r}: there is no {expanded.absolute()}")
    return expanded
