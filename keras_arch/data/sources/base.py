"""Where images come from: one entrance for every kind of source."""

import dataclasses
import functools
import os
from pathlib import Path
from typing import Any, Protocol

from keras_arch.data import splits
from keras_arch.errors import DataError

SCHEMES = (
    "a TensorFlow Datasets name, digits, cells, folder:PATH, npz:PATH, pairs:PATH, unpaired:PATH "
    "or masks:PATH"
)
_DIRECTIONS = ("AtoB", "BtoA")


@dataclasses.dataclass(frozen=True)
class Source:
    """What is known of a data source before its images are read.

    Attributes:
        name: The source as it was asked for.
        classes: Class names by label, or `None` when the images have no labels.
        splits: Number of images in each split; of unpaired images, in the larger domain.
        image_shape: `(height, width, channels)`; `None` where images differ.
        license: SPDX identifier where there is one, else what the source states.
        kind: `"images"` (with labels or without), `"pairs"`, `"unpaired"` or `"masks"`.
        other_shape: As `image_shape`, of the target of a pair or of the other domain; `None` where
            there is no second image.
        colors: Red, green and blue of each class of masks, where the source tells.
    """

    name: str
    classes: tuple[str, ...] | None
    splits: dict[str, int]
    image_shape: tuple[int | None, int | None, int]
    license: str
    kind: str = "images"
    other_shape: tuple[int | None, int | None, int] | None = None
    colors: tuple[tuple[int, int, int], ...] | None = None


class Reader(Protocol):
    """One opened source."""

    source: Source

    def part(self, split: str, start: int, stop: int) -> Any:
        """Images `start` to `stop` of a split, in their order, as a `tf.data.Dataset`."""


def describe(
    source: str, *, data_dir: str | os.PathLike[str] | None = None, download: bool = False
) -> Source:
    """Tell a source's classes, splits and image shape, without reading its images.

    Args:
        source: As for `load`.
        data_dir: As for `load`.
        download: Whether to download a set of TensorFlow Datasets that is not there yet, as `load`
            does.

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
    return _open(source, data_dir, download=download).source


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
              `class_names`;
            - `"pairs:PATH"`: image files that hold A and B side by side, each half the width, in
              PATH or in PATH/train, PATH/test and PATH/val, as the pix2pix authors keep them; or
              single images of equal names and sizes in two folders A and B in those places. A is
              the network's input and B its target; `"pairs:PATH?direction=BtoA"` turns that
              round (the facades go from the right half, the labels, to the left one, the photo);
            - `"unpaired:PATH"`: two domains without a correspondence in PATH/trainA, PATH/trainB,
              PATH/testA and PATH/testB, as the CycleGAN authors keep them; or, as
              `"unpaired:pairs:PATH"`, the two sides of pairs taken apart; or, as
              `"unpaired:tfds:NAME"`, a TensorFlow Datasets set with such splits
              (`"unpaired:tfds:cycle_gan/horse2zebra"`). `?direction=BtoA` as above;
            - `"masks:PATH"`: images and masks of equal names and sizes in folders `images` and
              `masks`, in PATH or in PATH/train, PATH/test and PATH/val. Masks are PNG files: 0 and
              255 (background and foreground), a class a pixel, or a palette, with 255 where nothing
              is known; or any values or colours that are named,
              `"masks:PATH?classes=background:0,cell:128"` or
              `?classes=road:#804080,ignore:#000000`. `?images=image&masks=label` names other
              folders (joined by `&`);
            - `"masks:tfds:NAME"`: a segmentation set of TensorFlow Datasets, `oxford_iiit_pet` or
              one with a LabeledImage;
            - `"cells"`: 96 drawn pictures of cells that touch, 128x128 pixels, no network needed.
        split: A split's name, or a slice such as `"train[:90%]"` or `"train[100:200]"`, or a sum
            of these. Of unpaired images, a slice is one of each domain.
        data_dir: Where TensorFlow Datasets keeps its sets. Default: `TFDS_DATA_DIR`, or
            `~/tensorflow_datasets`.

    Returns:
        A `tf.data.Dataset` of `(image, label)`, or of `image` where there are no labels: `uint8`
        `(height, width, channels)` and `int64`, always in the same order. Pairs give
        `(image, target)`, both `uint8`. Masks give `(image, mask)`, the mask `uint8` `(height,
        width)` with classes from 0 and 255 where nothing is known. Unpaired images give a
        `keras_arch.data.Unpaired`, which iterates over `(image, other)` and which `train_batches`
        shuffles each domain of.

    Raises:
        DataError: If the source or the split is not there or is malformed.

    Example:
        >>> from keras_arch import data
        >>> image, label = next(iter(data.load("digits", "test[:10]")))
        >>> image.shape, image.dtype, int(label)
        (TensorShape([8, 8, 1]), tf.uint8, 0)
    """
    from keras_arch.data.sources.unpaired import Domains, Unpaired

    reader = _open(source, data_dir, download=True)
    if isinstance(reader, Domains):
        return Unpaired(_dataset(reader.image, split), _dataset(reader.other, split))
    return _dataset(reader, split)


def _dataset(reader: Reader, split: str) -> Any:
    """The examples of a split expression."""
    import tensorflow as tf

    parts = splits.parse(split, reader.source.splits, reader.source.name)
    # Reading belongs to the host; without this, constants land on a GPU when there is one.
    with tf.device("CPU"):
        datasets = [reader.part(*part) for part in parts]
        dataset = functools.reduce(lambda first, second: first.concatenate(second), datasets)
    count = sum(stop - start for _, start, stop in parts)
    return dataset.apply(tf.data.experimental.assert_cardinality(count))


def _open(source: str, data_dir: str | os.PathLike[str] | None, *, download: bool) -> Any:
    """The reader for a source; each kind's module is loaded only when it is asked for."""
    kind, colon, path = source.partition(":")
    if source == "digits":
        from keras_arch.data.sources.digits import Digits

        return Digits()
    if source == "cells":
        from keras_arch.data.sources.cells import Cells

        return Cells()
    if colon and kind == "masks":
        return _open_masks(source, path, data_dir, download=download)
    if colon and kind == "npz":
        from keras_arch.data.sources.npz import open_archive

        return open_archive(_existing(source, path))
    if colon and kind == "folder":
        from keras_arch.data.sources.folder import Folder

        return Folder(_existing(source, path))
    if colon and kind == "pairs":
        from keras_arch.data.sources.pairs import Pairs

        path, swap = _directed(source, path)
        return Pairs(source, _existing(source, path), swap)
    if colon and kind == "unpaired":
        return _open_domains(source, path, data_dir, download=download)
    from keras_arch.data.sources.tfds import TFDSSource

    return TFDSSource(source, data_dir, download=download)


def _open_masks(
    source: str, path: str, data_dir: str | os.PathLike[str] | None, *, download: bool
) -> Any:
    """The reader of a `masks:` source."""
    from keras_arch.data.sources import masks

    if path.startswith("tfds:"):
        from keras_arch.data.sources.tfds import TFDSSource

        catalog = TFDSSource(path.removeprefix("tfds:"), data_dir, download=download)
        return masks.TFDSMasks(source, catalog)
    options = ""
    if "?" in path and not Path(path).expanduser().exists():
        path, _, options = path.rpartition("?")
    layout = masks.layout_of(source, options)
    return masks.Masks(source, _existing(source, path), layout)


def _open_domains(
    source: str, path: str, data_dir: str | os.PathLike[str] | None, *, download: bool
) -> Any:
    """The two readers of an `unpaired:` source."""
    from keras_arch.data.sources import unpaired

    if path.startswith("pairs:"):
        return unpaired.of_pairs(source, _open(path, data_dir, download=download))
    path, swap = _directed(source, path)
    if path.startswith("tfds:"):
        from keras_arch.data.sources.tfds import TFDSSource

        catalog = TFDSSource(path.removeprefix("tfds:"), data_dir, download=download)
        return unpaired.of_tfds(source, catalog, swap)
    return unpaired.in_folders(source, _existing(source, path), swap)


def _directed(source: str, path: str) -> tuple[str, bool]:
    """A path without `?direction=...`, and whether that says that B is the input."""
    if "?" not in path or Path(path).expanduser().exists():
        return path, False
    path, _, option = path.rpartition("?")
    key, _, direction = option.partition("=")
    if key != "direction" or direction not in _DIRECTIONS:
        raise DataError(
            f"data source {source!r}: after ? comes direction=AtoB or direction=BtoA, got "
            f"{option!r}"
        )
    return path, direction == "BtoA"


def _existing(source: str, path: str) -> Path:
    """The path of a `kind:PATH` source."""
    if not path:
        kind = source.partition("?")[0]
        raise DataError(f"data source {source!r} names no path; write {kind}PATH")
    expanded = Path(path).expanduser()
    if not expanded.exists():
        raise DataError(f"data source {source!r}: there is no {expanded.absolute()}")
    return expanded
