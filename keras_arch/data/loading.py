"""Opening data sources: `load`, `describe`, and how a source is written as text."""

import inspect
import os
from pathlib import Path
from typing import Any

from keras_arch.data.sources.base import Source, unknown_source
from keras_arch.errors import DataError
from keras_arch.registry import SOURCES


def load(
    source: str, split: str = "train", *, data_dir: str | os.PathLike[str] | None = None
) -> Any:
    """Open a split of a data source.

    Args:
        source: One of

            - the name of any TensorFlow Datasets image set (`"fashion_mnist"`, or
              `"tfds:fashion_mnist"`), which is downloaded when it is not prepared under `data_dir`;
            - `"digits"`: 1,797 handwritten digits of 8x8 pixels from scikit-learn, no network
              needed; every fifth image of each digit is the test split;
            - `"folder:PATH"`: one sub-folder of image files a class, either in PATH or in
              PATH/train and PATH/test (also PATH/val, valid or validation); images alone are
              unlabelled. Whatever Pillow reads is taken (JPEG, PNG, BMP, GIF, TIFF, WebP, HEIC
              with pillow-heif) and arrays (.npy), in folders inside too, upright as their EXIF
              says; one line is logged about what was taken and what was left out;
            - `"npz:PATH"`: a NumPy archive with `x_train`, `y_train`, `x_test`, `y_test`, or with
              JPEG bytes in `train_jpeg`, `train_offsets`, `train_labels` and the same for `test`
              (image i is `jpeg[offsets[i]:offsets[i + 1]]`), either with an optional `class_names`;
            - `"pairs:PATH"`: image files that hold A and B side by side, each half the width, in
              PATH or in PATH/train, PATH/test and PATH/val, as the pix2pix authors store them; or
              single images of equal names and sizes in two folders A and B in those places. A is
              the network's input and B its target; `"pairs:PATH?direction=BtoA"` swaps the two
              (the facades go from the right half, the labels, to the left one, the photo);
            - `"unpaired:PATH"`: two domains without a correspondence in PATH/trainA, PATH/trainB,
              PATH/testA and PATH/testB, as the CycleGAN authors store them; or, as
              `"unpaired:pairs:PATH"`, the two sides of pairs taken apart; or, as
              `"unpaired:tfds:NAME"`, a TensorFlow Datasets set with such splits
              (`"unpaired:tfds:cycle_gan/horse2zebra"`). `?direction=BtoA` as above;
            - `"masks:PATH"`: images and masks of equal names and sizes in folders `images` and
              `masks`, in PATH or in PATH/train, PATH/test and PATH/val. Masks are PNG, BMP, GIF,
              TIFF or `.npy` files: 0 and 255 (background and foreground), a class a pixel, or a
              palette, with 255 for ignored pixels; or any values or colours that are named,
              `"masks:PATH?classes=background:0,cell:128"` or
              `?classes=road:#804080,ignore:#000000`. Options are joined by `&`:
              `?images=image&masks=label` names other folders; `?suffix=_mask` takes `a_mask.png`
              for `a.jpg`, in the folder of masks or beside it;
              `?images=train&masks=train_masks/{name}_mask.gif` is any pattern of names; with
              `?instances=true` masks number objects (0 is the background), as napari and Cellpose
              save them. TIFF and `.npy` images have any number of channels;
            - `"masks:tfds:NAME"`: a segmentation set of TensorFlow Datasets, `oxford_iiit_pet` or
              one with a LabeledImage;
            - `"cells"`: 96 drawn pictures of cells that touch, 128x128 pixels, no network needed;
            - `"SCHEME:..."` of another package; see `register_source`.
        split: A split's name, or a slice such as `"train[:90%]"` or `"train[100:200]"`, or a sum
            of these. Of unpaired images, a slice is one of each domain.
        data_dir: Folder of TensorFlow Datasets. Default: `TFDS_DATA_DIR`, or
            `~/tensorflow_datasets`.

    Returns:
        A `tf.data.Dataset` of `(image, label)`, or of `image` where there are no labels: `uint8`
        `(height, width, channels)` and `int64`, always in the same order. Files of 16 bits are
        `uint16`, of 8 and 16 bits together `float32` in [0, 255], of other values as they are in
        the files. Pairs give
        `(image, target)`, both `uint8`. Masks give `(image, mask)`, the mask `uint8` `(height,
        width)` with classes from 0 and 255 for ignored pixels, and instances as a third column,
        `int32` of that shape, where masks number them. Unpaired images give a
        `keras_arch.data.Unpaired`, which iterates over `(image, other)` and of which
        `train_batches` shuffles each domain.

    Raises:
        DataError: If the source or the split is not there or is malformed.

    Example:
        >>> from keras_arch import data
        >>> image, label = next(iter(data.load("digits", "test[:10]")))
        >>> image.shape, image.dtype, int(label)
        (TensorShape([8, 8, 1]), tf.uint8, 0)
    """
    return describe(source, data_dir=data_dir, download=True).load(split)


def describe(
    source: str, *, data_dir: str | os.PathLike[str] | None = None, download: bool = False
) -> Source:
    """Open a data source for its classes, splits and image shape, without reading its images.

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
    if not source:
        raise unknown_source(source)
    scheme, _, path = source.partition(":")
    if scheme not in SOURCES:
        scheme, path = "tfds", source
    factory = SOURCES.get(scheme)
    arguments = dict(inspect.signature(factory).parameters)
    reserved = {"data_dir": data_dir, "download": download}
    filled = {name: value for name, value in reserved.items() if arguments.pop(name, None)}
    first = next(iter(arguments.values()), None)
    takes_path = first is not None and first.kind is not first.KEYWORD_ONLY
    known = list(arguments)[1:] if takes_path else list(arguments)
    options: dict[str, Any] = {}
    if known:
        path, options = _split_options(source, path, known)
    if path and not takes_path:
        raise DataError(f"data source {source!r} takes no path; write {scheme!r}")
    if not path and takes_path and first.default is first.empty:
        raise DataError(f"data source {source!r} names no path; write {scheme}:PATH")
    opened = factory(*([path] if path else []), **options, **filled)
    if not isinstance(opened, Source) or not getattr(opened, "splits", None):
        raise DataError(
            f"data source {scheme!r} is not a keras_arch.data.Source with at least one split, got "
            f"{opened!r}"
        )
    opened.name = source
    if opened.image_shape is None:
        split = next(iter(opened.splits))
        spec = opened.load(f"{split}[:1]").element_spec
        opened.image_shape = tuple(spec[0].shape if isinstance(spec, tuple) else spec.shape)
    return opened


def _split_options(source: str, path: str, known: list[str]) -> tuple[str, dict[str, str]]:
    """A path and the options behind it; a question mark in the name of a file is none."""
    inner = path.partition(":")[2]
    exists = any(Path(each).expanduser().exists() for each in (path, inner) if each)
    if "?" not in path or exists:
        return path, {}
    path, _, text = path.rpartition("?")
    options: dict[str, str] = {}
    for option in text.split("&"):
        key, _, value = option.partition("=")
        if key not in known or not value or key in options:
            names = ", ".join(f"{name}=..." for name in known)
            raise DataError(
                f"data source {source!r}: the options after ? are {names}, joined by &; got "
                f"{option!r}"
            )
        options[key] = value
    return path, options
