"""Tiled prediction of a whole image in constant memory."""

import importlib.util
import itertools
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from keras_arch.errors import ArgumentError, whole_number
from keras_arch.preprocessing import Preprocessing
from keras_arch.tiling.networks import Network, Size, network_of
from keras_arch.tiling.tile_size import OVERLAP, tile_for
from keras_arch.tiling.windows import Places, cut, importance, overlapping, side_by_side

OUTPUTS = ("probabilities", "classes")
# Least probability of the class 1, for a network with one output channel.
THRESHOLD = 0.5


def predict(
    model: Any,
    image: Any,
    *,
    tile: int | Size | None = None,
    batch_size: int = 1,
    overlap: float | None = None,
    multiple: int | None = None,
    output: str = "probabilities",
    out: Any = None,
    preprocessing: Preprocessing | Callable[[np.ndarray], Any] | None = None,
    progress: bool = True,
) -> Any:
    """Classify every pixel of an image of any size.

    For an unpadded network (its output is smaller than its input, as in U-Net) the outputs lie side
    by side: each pixel is predicted once, from the image around it. At the border the image is
    mirrored. The result is equal to that of the whole mirrored image at once, up to float rounding.
    Source: Ronneberger et al. 2015, section 2 and figure 2.

    For a padded network the tiles overlap, and their outputs are averaged with Gaussian weights,
    largest in the middle of a tile (sigma is an eighth of its side). An image smaller than a tile
    is mirrored to the tile's size. Source: `sliding_window_inference` of MONAI with
    `mode="gaussian"`, which pads with zeros instead.

    The image is read and the result is written tile by tile, so both may be an `np.memmap` of any
    size. Only one batch of tiles is in memory, and for padded networks one row of tiles.

    Args:
        model: A Keras model, a SavedModel (as `tf.saved_model.load` returns it) or one of its
            signatures, or any function from tiles `(batch, height, width, channels)` of float32 to
            scores `(batch, height, width, classes)`.
        image: `(height, width, channels)`, for one channel also `(height, width)`: an array, a
            memmap, or an object with the same slicing. Its values are those of the model's input,
            unless `preprocessing` is given.
        tile: Height and width of the tiles in pixels, or one number for square tiles. Default:
            those of the model. Where they are open: the smallest tiles that need as few of them
            as tiles of 960 pixels.
        batch_size: Tiles in a batch.
        overlap: For a padded network, the overlap of tiles as a fraction of their side, in [0, 1).
            Default 0.25.
        multiple: For an unpadded network, the multiple of pixels at which tiles start: its coarsest
            stride. Default: that of a Keras model, 32 for others.
        output: `"probabilities"` for the output of the model, or `"classes"` for the most probable
            class of every pixel (of one class: 1 where it is at least 0.5).
        out: Array or memmap for the result: `(height, width, classes)` of floats, for
            `output="classes"` `(height, width)` of integers. Default: a new float32 array, for
            classes uint8 (uint16 for more than 256 classes).
        preprocessing: A function from tiles of pixels to the model's input, or a `Preprocessing`,
            whose scale, mean, std and channel order are applied.
        progress: Whether to show a progress bar in the terminal.

    Returns:
        `out`.

    Raises:
        ArgumentError: If the model does not accept such tiles (the message names sizes that fit),
            the image has other channels than the model or 16-bit values without a scale, or
            `out` has another shape or type.

    Example:
        >>> from keras_arch import models
        >>> model = models.UNet(input_shape=(None, None, 1), depth=2, filters=2)
        >>> predict(model, np.zeros((100, 70)), output="classes", progress=False).shape
        (100, 70)
    """
    batch_size = whole_number("batch_size", batch_size)
    if output not in OUTPUTS:
        raise ArgumentError(f"output must be {' or '.join(map(repr, OUTPUTS))}, got {output!r}")
    network = network_of(model)
    image = _checked(image, network, preprocessing)
    height, width, channels = image.shape
    tile = tile_for(network, tile, (height, width), channels, overlap)
    *inner, classes = network.output_of(tile, channels)
    border = tuple((whole - part) // 2 for whole, part in zip(tile, inner, strict=True))
    if border == (0, 0):
        if multiple is not None:
            raise ArgumentError(
                f"multiple={multiple!r} is for networks with an output smaller than their tile; "
                f"that of {network.name} is as large, and its tiles overlap"
            )
        places = overlapping((height, width), tile, OVERLAP if overlap is None else overlap)
    else:
        places = side_by_side((height, width), inner, _multiple(network, multiple, tile, inner))
    out = _checked_out((height, width), classes, output, out)
    writer = _Blended(out, places, tile, classes) if border == (0, 0) else _SideBySide(out)
    prepare = _preparation(preprocessing, channels)
    corners = list(itertools.product(*places))
    batches = [corners[n : n + batch_size] for n in range(0, len(corners), batch_size)]
    for batch in _with_progress(batches, progress):
        tiles = [cut(image, row - border[0], column - border[1], tile) for row, column in batch]
        scores = network(prepare(np.stack(tiles)))
        for place, score in zip(batch, scores, strict=True):
            writer.put(place, score)
    writer.finish()
    if hasattr(out, "flush"):
        out.flush()
    return out


class _SideBySide:
    def __init__(self, out: Any) -> None:
        self._out = out

    def put(self, place: Size, scores: np.ndarray) -> None:
        row, column = place
        height, width = self._out.shape[:2]
        values = _as(self._out, scores[: height - row, : width - column])
        self._out[row : row + len(values), column : column + values.shape[1]] = values

    def finish(self) -> None:
        pass


class _Blended:
    """Writer of the weighted mean of overlapping outputs, row by row."""

    def __init__(self, out: Any, places: Places, tile: Size, classes: int) -> None:
        self._out = out
        self._top, self._left = places.rows[0], places.columns[0]
        width = places.columns[-1] + tile[1] - self._left
        self._weights = importance(tile)[..., None]
        self._scores = np.zeros((tile[0], width, classes), np.float32)
        self._total = np.zeros((tile[0], width, 1), np.float32)

    def put(self, place: Size, scores: np.ndarray) -> None:
        row, column = place
        self._write(row - self._top)
        columns = slice(column - self._left, column - self._left + scores.shape[1])
        self._scores[:, columns] += scores * self._weights
        self._total[:, columns] += self._weights

    def finish(self) -> None:
        self._write(len(self._total))

    def _write(self, count: int) -> None:
        """Write the first lines, which no further tile overlaps."""
        if not count:
            return
        height, width = self._out.shape[:2]
        first, last = max(0, self._top), min(height, self._top + count)
        lines = slice(first - self._top, last - self._top)
        columns = slice(-self._left, width - self._left)
        mean = self._scores[lines, columns] / self._total[lines, columns]
        self._out[first:last] = _as(self._out, mean)
        for sums in (self._scores, self._total):
            sums[:-count] = sums[count:]
            sums[-count:] = 0
        self._top += count


def _as(out: Any, scores: np.ndarray) -> np.ndarray:
    """Values of the result: the scores, or the most probable class."""
    if len(out.shape) == 3:
        return scores
    return scores.argmax(-1) if scores.shape[-1] > 1 else scores[..., 0] >= THRESHOLD


def _checked(image: Any, network: Network, preprocessing: Any) -> Any:
    if not all(hasattr(image, name) for name in ("shape", "dtype", "__getitem__")):
        image = np.asarray(image)
    if len(image.shape) == 2:
        image = _Grey(image)
    if len(image.shape) != 3 or not all(image.shape):
        raise ArgumentError(
            "image must be one image (height, width, channels) or (height, width), got shape "
            f"{tuple(image.shape)}" + ("; give one at a time" if len(image.shape) == 4 else "")
        )
    dtype = np.dtype(image.dtype)
    if dtype.kind not in "buif":
        raise ArgumentError(f"image must be of numbers, got {dtype.name}")
    if dtype.kind in "ui" and dtype.itemsize > 1:
        scaled = isinstance(preprocessing, Preprocessing)
        if preprocessing is None or scaled:
            after = "preprocessing.normalize(tiles / 257)" if scaled else "tiles / 65535"
            raise ArgumentError(
                f"image is of {dtype.name}, and its largest value is not known"
                f"{' (a Preprocessing takes 255)' if scaled else ''}; give a function that scales "
                f"it, such as preprocessing=lambda tiles: {after}"
            )
    channels = image.shape[2]
    # A function may change the channels.
    counts = preprocessing is None or isinstance(preprocessing, Preprocessing)
    if counts and network.channels not in (None, channels):
        hint = ""
        if channels == 4 and network.channels == 3:
            hint = "; leave alpha out with image[..., :3]"
        elif image.shape[0] == network.channels:
            hint = "; channels come last"
        elif network.channels == 1:
            hint = "; give one of them, or their mean"
        raise ArgumentError(
            f"image has {channels} channel{'s' * (channels > 1)}, {network.name} takes "
            f"{network.channels}{hint}"
        )
    return image


class _Grey:
    """View of a two-dimensional image with a channel axis."""

    def __init__(self, image: Any) -> None:
        self._image = image
        self.shape = (*image.shape, 1)
        self.dtype = image.dtype

    def __getitem__(self, part: Any) -> np.ndarray:
        return np.asarray(self._image[part])[..., None]


def _preparation(preprocessing: Any, channels: int) -> Callable[[np.ndarray], np.ndarray]:
    if isinstance(preprocessing, Preprocessing):
        if np.ndim(preprocessing.mean) == 3 and np.shape(preprocessing.mean)[:2] != (1, 1):
            raise ArgumentError(
                "preprocessing subtracts the mean of a whole image, of which a tile is a part; "
                "give one with a mean for each channel"
            )
        if preprocessing.channels != channels:
            raise ArgumentError(
                f"image has {channels} channel{'s' * (channels > 1)}, preprocessing has "
                f"{preprocessing.channels}"
            )
        function = preprocessing.normalize
    elif preprocessing is None or callable(preprocessing):
        function = preprocessing or (lambda tiles: tiles)
    else:
        raise ArgumentError(
            f"preprocessing must be a Preprocessing or a function of tiles, got {preprocessing!r}"
        )
    return lambda tiles: np.asarray(function(tiles)).astype(np.float32, copy=False)


def _multiple(network: Network, multiple: int | None, tile: Size, output: Size) -> int:
    """Multiple of pixels at which tiles start: the user's, else the network's stride."""
    multiple = whole_number("multiple", network.multiple if multiple is None else multiple)
    if min(output) < multiple:
        least = max(
            side + multiple * -(-(multiple - inner) // multiple)
            for side, inner in zip(tile, output, strict=True)
        )
        raise ArgumentError(
            f"a tile of {tile[0]}x{tile[1]} gives {output[0]}x{output[1]} pixels, and tiles lie a "
            f"multiple of {multiple} apart, so that pooling falls on the same pixels in all of "
            f"them; take a tile of {least} pixels or more"
        )
    return multiple


def _checked_out(size: Size, classes: int, output: str, out: Any) -> Any:
    shape = size if output == "classes" else (*size, classes)
    if out is None:
        whole = np.uint8 if classes <= 256 else np.uint16
        return np.empty(shape, whole if output == "classes" else np.float32)
    dtype = np.dtype(getattr(out, "dtype", object))
    kind = "ui" if output == "classes" else "f"
    if tuple(getattr(out, "shape", ())) != shape or dtype.kind not in kind:
        wanted = "whole numbers" if output == "classes" else "floats"
        raise ArgumentError(
            f"out for {output} must be an array {shape} of {wanted}, got "
            f"{tuple(getattr(out, 'shape', ()))} of {dtype.name}"
        )
    if not getattr(getattr(out, "flags", None), "writeable", True):
        raise ArgumentError('out is read-only; open it for writing, such as np.memmap(..., "r+")')
    if output == "classes" and np.iinfo(dtype).max < classes - 1:
        raise ArgumentError(f"out of {dtype.name} is too small for {classes} classes; take int32")
    return out


def _with_progress(batches: list[list[Size]], shown: bool) -> Iterable[list[Size]]:
    """The batches, with a progress bar in the terminal."""
    from rich.console import Console
    from rich.progress import track

    # In a notebook rich draws by ipywidgets, and warns in the page where there are none.
    plain = importlib.util.find_spec("ipywidgets") is None
    console = Console(stderr=True, force_jupyter=False if plain else None)
    return track(batches, "Tiles", console=console, transient=True, disable=not shown)
