"""Predictions of a segmentation network for images of any size, and mask files."""

import contextlib
import dataclasses
import functools
import io
import math
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, ClassVar

import keras
import numpy as np

from keras_arch import files, hub, tiling, visualization
from keras_arch.data.image_paths import PREDICTED
from keras_arch.data.image_reading import read_image, warn_of_alpha
from keras_arch.errors import ArgumentError, naming
from keras_arch.losses import IGNORE
from keras_arch.models.common.heads import check_classifier_output, class_probabilities
from keras_arch.preprocessing import Preprocessing
from keras_arch.tasks.predictions import output_paths, table_rows
from keras_arch.tiling.networks import network_of
from keras_arch.tiling.tile_size import tile_for
from keras_arch.tiling.windows import WithChannels

# A function from a shape to an array of float32.
Storage = Callable[[tuple[int, ...]], np.ndarray]
# Bytes of scores that are worked on at once, and that are kept in memory.
_BLOCK, _IN_MEMORY = 1 << 26, 1 << 28


@dataclasses.dataclass(frozen=True)
class SegmentationPrediction:
    """The classes of the pixels of one image.

    Attributes:
        path: The image file.
        mask: The PNG file with a class a pixel, in a palette of the classes' colors.
        overlay: The picture of the classes over the image, or `None`.
        shares: The share of the pixels of each class, by name.
        probabilities: The NumPy file `(height, width, classes)` of the probabilities, or `None`.
    """

    columns: ClassVar[tuple[str, ...]] = ("image", "label", "share")

    path: Path
    mask: Path
    overlay: Path | None
    shares: dict[str, float]
    probabilities: Path | None = None

    def records(self) -> list[dict[str, Any]]:
        """The share of each class."""
        return [{"label": label, "share": share} for label, share in self.shares.items()]

    def rows(self) -> list[tuple[str, ...]]:
        """Table rows, one a class."""
        return table_rows(self)

    @property
    def files(self) -> Mapping[str, Path]:
        """The mask, and the overlay and the probabilities if there are any."""
        found = {"mask": self.mask, "overlay": self.overlay, "probabilities": self.probabilities}
        return {kind: path for kind, path in found.items() if path is not None}


def predict_probabilities(
    model: keras.Model,
    image: np.ndarray,
    preprocessing: Preprocessing,
    crop_mode: str,
    progress: bool = False,
    *,
    tile: int | tuple[int, int] | None = None,
    batch_size: int = 1,
    out: Storage | None = None,
) -> np.ndarray:
    """Class probabilities of every pixel of one image.

    Args:
        model: From preprocessed images to probabilities or logits.
        image: `(height, width, channels)`, of any size.
        preprocessing: The preprocessing of the training.
        crop_mode: `"tiles"` works at the image's own resolution, tile by tile (`tiling.predict`);
            `"whole"` brings the image to the size of `preprocessing`, and the probabilities back.
        progress: Whether to draw a bar over the tiles.
        tile: Height and width of the tiles. Default: those of the training.
        batch_size: Tiles in a batch.
        out: A function from a shape to the float32 array for the result, such as an `np.memmap`.
            Default: an array in memory. Tiles are preprocessed one batch at a time.

    Returns:
        `float32` `(height, width, classes)`.
    """
    height, width = image.shape[:2]
    new = out or functools.partial(np.empty, dtype=np.float32)
    activation, classes = check_classifier_output(model)
    tiled = crop_mode == "tiles"
    if tiled:
        network, channels = network_of(model), preprocessing.channels
        tile = tile_for(network, tile or preprocessing.size, (height, width), channels, None)
        single = network.output_of(tile, channels)[-1] == 1
        outputs = tiling.predict(
            model,
            WithChannels(image, preprocessing),
            tile=tile,
            batch_size=batch_size,
            # One output becomes the probabilities of two classes, in another array.
            out=np.empty((height, width, 1), np.float32)
            if single
            else new((height, width, classes)),
            preprocessing=dataclasses.replace(preprocessing, size=(height, width), crop=None),
            progress=progress,
        )
    else:
        outputs = keras.ops.convert_to_numpy(model(preprocessing(image[None]), training=False))[
            0
        ].astype(np.float32)
    # After the tiles, as means of logits were always taken.
    found = outputs if outputs.shape[-1] == classes else new((*outputs.shape[:2], classes))
    if activation == "linear" or found is not outputs:
        for rows in _row_blocks(outputs.shape):
            block = class_probabilities(keras.ops.convert_to_tensor(outputs[rows]), activation)
            found[rows] = keras.ops.convert_to_numpy(block)
    outputs = found
    if not tiled:
        outputs = _resize_back(outputs, (height, width), preprocessing)
        if out is not None:
            stored = out(outputs.shape)
            stored[:] = outputs
            outputs = stored
    return outputs


def _row_blocks(shape: tuple[int, ...]) -> Iterator[slice]:
    """Rows of a map of scores, some megabytes at a time."""
    step = max(1, _BLOCK // (4 * math.prod(shape[1:])))
    for first in range(0, shape[0], step):
        yield slice(first, first + step)


def _resize_back(
    outputs: np.ndarray, size: tuple[int, int], preprocessing: Preprocessing
) -> np.ndarray:
    """Probabilities at the size of the image before its preprocessing."""
    import tensorflow as tf

    if preprocessing.resize == "pad":
        inner = preprocessing.padded_size(*size)
        outputs = np.asarray(tf.image.resize_with_crop_or_pad(outputs, *inner))
        if inner == size:
            return outputs
    return np.asarray(tf.image.resize(outputs, size, method="bilinear"))


def predict(
    loaded: hub.LoadedModel,
    images: Sequence[Path],
    out: Path | None,
    overlay: bool,
    colors: visualization.Colors,
    crop_mode: str,
    *,
    probabilities: bool = False,
    tile: int | tuple[int, int] | None = None,
    batch_size: int | None = None,
) -> list[SegmentationPrediction]:
    """Write `NAME_mask.png` for each image, and what else is asked for.

    Arguments are those of `Segmentation.predict`.

    Raises:
        ArgumentError: If two of them would get one name, a file is there that no prediction
            wrote (a mask that was drawn by hand may have such a name, too), or tiles are asked for
            from a network that sees whole images.
    """
    card = loaded.card
    if (tile, batch_size) != (None, None) and crop_mode != "tiles":
        raise ArgumentError(
            f"tile and batch_size are of networks that see tiles; {card.name} sees whole images "
            f"of {card.preprocessing.size[0]}x{card.preprocessing.size[1]} pixels, one at a time"
        )
    masks = output_paths(images, out, "mask")
    overlays = output_paths(images, out, "overlay") if overlay else [None] * len(images)
    results = []
    for path, file, picture in zip(images, masks, overlays, strict=True):
        warn_of_alpha(path)
        image = read_image(path)
        maps = file.with_name(f"{path.stem}_probabilities.npy") if probabilities else None
        with naming(path), _storage(maps, file) as new:
            found = predict_probabilities(
                loaded.model,
                image,
                card.preprocessing,
                crop_mode,
                progress=True,
                tile=tile,
                batch_size=batch_size or 1,
                out=new,
            )
            mask = np.empty(found.shape[:2], np.uint8)
            for rows in _row_blocks(found.shape):
                mask[rows] = found[rows].argmax(axis=-1)
            # Before the file is closed and gets its name.
            del found
        write_mask(mask, colors, file)
        if picture is not None:
            present = np.unique(mask)
            legend = visualization.overlay_legend(
                [card.labels[number] for number in present], [colors[number] for number in present]
            )
            shown = visualization.displayable(card.preprocessing.display(image))
            shown = visualization.annotate(
                visualization.overlay(shown, mask, colors), legend=legend
            )
            visualization.save_png(shown, picture, note=PREDICTED)
        counts = np.bincount(mask.ravel(), minlength=len(card.labels)) / mask.size
        shares = dict(zip(card.labels, map(float, counts), strict=True))
        results.append(SegmentationPrediction(path, file, picture, shares, maps))
    return results


@contextlib.contextmanager
def _storage(maps: Path | None, beside: Path) -> Iterator[Storage]:
    """A maker of arrays for the probabilities of an image: the `.npy` file `maps`, or memory.

    What is large and not asked for lies in a temporary file in the folder of the file `beside`.
    """
    if maps is not None:
        with files.atomic_file(maps) as temporary:

            def mapped(shape: tuple[int, ...]) -> np.ndarray:
                array = np.lib.format.open_memmap(temporary, "w+", np.float32, shape)
                with open(temporary, "r+b") as file:
                    _allocate(file)
                return array

            yield mapped
        return
    with contextlib.ExitStack() as stack:

        def new(shape: tuple[int, ...]) -> np.ndarray:
            if 4 * math.prod(shape) <= _IN_MEMORY:
                return np.empty(shape, np.float32)
            beside.parent.mkdir(parents=True, exist_ok=True)
            file = stack.enter_context(tempfile.TemporaryFile(dir=beside.parent))
            array = np.memmap(file, np.float32, "w+", shape=shape)
            _allocate(file)
            return array

        yield new


def _allocate(file: IO[bytes]) -> None:
    """Reserve the disk space of a mapped file: a full disk is an error here, and later a crash."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, os.fstat(file.fileno()).st_size)


def write_mask(mask: np.ndarray, colors: visualization.Colors, path: Path) -> Path:
    """Write a mask as a PNG file with a palette, as PASCAL VOC has them.

    Args:
        mask: `uint8` `(height, width)` classes.
        colors: A color for each class.
        path: Where to.

    Returns:
        The path.
    """
    from PIL import Image, PngImagePlugin

    palette = np.zeros((256, 3), np.uint8)
    palette[: len(colors)] = colors
    palette[IGNORE] = (224, 224, 192)
    image = Image.fromarray(mask)
    image.putpalette(palette.ravel().tolist())
    content, note = io.BytesIO(), PngImagePlugin.PngInfo()
    note.add_text(*PREDICTED)
    image.save(content, format="PNG", pnginfo=note)
    return files.atomic_write(path, content.getvalue())
