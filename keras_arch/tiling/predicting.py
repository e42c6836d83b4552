"""The prediction of a whole image, tile by tile, in constant memory."""

import contextlib
import importlib.util
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from keras_arch.errors import ArgumentError, whole_number
from keras_arch.preprocessing import Preprocessing
from keras_arch.tiling.choosing import OVERLAP, tile_for
from keras_arch.tiling.networks import Network, Size, network_of
from keras_arch.tiling.windows import Places, cut, importance, overlapping, side_by_side

WHAT = ("probabilities", "classes")
# One class is there from this probability on.
THRESHOLD = 0.5


def predict(
    model: Any,
    image: Any,
    *,
    tile: int | Size | None = None,
    batch_size: int = 1,
    overlap: float | None = None,
    multiple: int | None = None,
    what: str = "probabilities",
    out: Any = None,
    preprocessing: Preprocessing | Callable[[np.ndarray], Any] | None = None,
    progress: bool = True,
) -> Any:
    """Classify every pixel of an image of any size.

    Of an unpadded network (its output is smaller than its tile, as the U-Net's) the outputs lie
    side by side and each pixel is predicted once, from the image around it; at the border the image
    is mirrored. The result is that of the whole mirrored image at once, to the rounding of floats.
    Source: Ronneberger et al. 2015, section 2 and figure 2.

    Of a padded network tiles overlap, and their outputs are averaged with Gaussian weights, which
    count the middle of a tile most (sigma an eighth of its side). An image that is smaller than a
    tile is mirrored to its size. Source: `sliding_window_inference` of MONAI with
    `mode="gaussian"`, which pads with zeros instead.

    The image is read and the result written a tile at a time, so that both may be files of any size
    behind `np.memmap`. Held in between are one batch of tiles and, of padded networks, one row of
    them.

    Args:
        model: A Keras model; a SavedModel that `tf.saved_model.load` loaded, or one of its
            signatures; or any function from tiles `(batch, height, width, channels)` of float32 to
            scores `(batch, height, width, classes)`.
        image: `(height, width, channels)`, for one channel also `(height, width)`: an array, a
            memmap, or anything that is sliced like one. Values as the model takes them, unless
            `preprocessing` makes them so.
        tile: Height and width of the tiles in pixels, one number for squares. Default: those of the
            model; where it leaves them open, as few as there are of 960 pixels or a little less,
            and no larger than so few need to be.
        batch_size: Tiles that the model sees at once.
        overlap: Part of a padded network's tile that lies on its neighbour, in [0, 1). Default
            0.25.
        multiple: Of an unpadded network: pixels by which tiles may be moved so that its pooling
            falls on the same pixels, which is its coarsest stride. Default: read from a Keras
            model, 32 for what is no Keras model.
        what: `"probabilities"` for what the model gives, or `"classes"` for the most probable class
            of every pixel (of one class: 1 where it is at least 0.5).
        out: Where to write: an array or memmap `(height, width, classes)` of floats, for classes
            `(height, width)` of whole numbers. Default: a new array of float32, for classes of
            uint8 (uint16 over 256 classes).
        preprocessing: What makes tiles of pixels into the model's input: a function, or a
            `Preprocessing`, of which the scale, mean, std and channel order are applied.
        progress: Draw a bar on the terminal.

    Returns:
        `out`.

    Raises:
        ArgumentError: If the model takes no such tiles (the message names sizes that it takes), the
            image has other channels than the model or values of 16 bits that nothing scales, or
            `out` has another shape or type.

    Example:
        >>> from keras_arch import models
        >>> model = models.UNet(input_shape=(None, None, 1), depth=2, filters=2)
        >>> predict(model, np.zeros((100, 70)), what="classes", progress=False).shape
        (100, 70)
    """
    batch_size = whole_number("batch_size", batch_size)
    if what not in WHAT:
        raise ArgumentError(f"what must be {' or '.join(map(repr, WHAT))}, got {what!r}")
    network = network_of(model)
    image = _checked(image, network, preprocessing)
    height, width, channels = image.shape
    tile = tile_for(network, tile, (height, width), channels, overlap)
    *output, classes = network.output_of(tile, channels)
    border = tuple((side - inner) // 2 for side, inner in zip(tile, output, strict=True))
    if border == (0, 0):
        if multiple is not None:
            raise ArgumentError(
                f"multiple={multiple!r} is for networks that give less than their tile; "
                f"{network.name} gives as much, and its tiles overlap"
            )
        places = overlapping((height, width), tile, OVERLAP if overlap is None else overlap)
    else:
        places = side_by_side((height, width), output, _multiple(network, multiple, tile, output))
    out = _output((height, width), classes, what, out)
    writer = _Blended(out, places, tile, classes) if border == (0, 0) else _Apart(out)
    prepare = _preparation(preprocessing, channels)
    with _bar(len(places), progress) as advance:
        for batch in _batches(places, batch_size):
            tiles = [cut(image, row - border[0], column - border[1], tile) for row, column in batch]
            scores = network(prepare(np.stack(tiles)))
            for place, score in zip(batch, scores, strict=True):
                writer.put(place, score)
            advance(len(batch))
    writer.finish()
    if hasattr(out, "flush"):
        out.flush()
    return out


class _Apart:
    """Writes outputs that do not lie on each other."""

    def __init__(self, out: Any) -> None:
        self._out = out

    def put(self, place: Size, scores: np.ndarray) -> None:
        row, column = place
        height, width = self._out.shape[:2]
        scores = scores[: height - row, : width - column]
        self._out[row : row + scores.shape[0], column : column + scores.shape[1]] = _as(
            self._out, scores
        )

    def finish(self) -> None:
        pass


class _Blended:
    """Writes the weighted mean of outputs that lie on each other, a row when it is whole."""

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
        """The first lines: no tile is going to lie on them any more."""
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
    """Scores as what is written: themselves, or the most probable class."""
    if len(out.shape) == 3:
        return scores
    return scores.argmax(-1) if scores.shape[-1] > 1 else scores[..., 0] >= THRESHOLD


def _checked(image: Any, network: Network, preprocessing: Any) -> Any:
    """The image as something of three axes that is read in parts."""
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
                f"image is of {dtype.name}, and nothing tells what its largest value is"
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
    """An image of two axes as one of three, still read in parts."""

    def __init__(self, image: Any) -> None:
        self._image = image
        self.shape = (*image.shape, 1)
        self.dtype = image.dtype

    def __getitem__(self, part: Any) -> np.ndarray:
        return np.asarray(self._image[part])[..., None]


def _preparation(preprocessing: Any, channels: int) -> Callable[[np.ndarray], np.ndarray]:
    """From tiles of pixels to the model's input."""
    if isinstance(preprocessing, Preprocessing):
        if np.ndim(preprocessing.mean) == 3 and np.shape(preprocessing.mean)[:2] != (1, 1):
            raise ArgumentError(
                "preprocessing subtracts the mean of a whole image, of which a tile is a part; "
                "give one with a mean for each channel"
            )
        if preprocessing.channels != channels:
            raise ArgumentError(
                f"image has {channels} channel{'s' * (channels > 1)}, preprocessing makes "
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
    """Distance of tiles in pixels: the user's, else the network's stride."""
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


def _output(size: Size, classes: int, what: str, out: Any) -> Any:
    """Where the result goes."""
    shape = size if what == "classes" else (*size, classes)
    if out is None:
        whole = np.uint8 if classes <= 256 else np.uint16
        return np.empty(shape, whole if what == "classes" else np.float32)
    dtype = np.dtype(getattr(out, "dtype", object))
    kind = "ui" if what == "classes" else "f"
    if tuple(getattr(out, "shape", ())) != shape or dtype.kind not in kind:
        wanted = "whole numbers" if what == "classes" else "floats"
        raise ArgumentError(
            f"out for {what} must be an array {shape} of {wanted}, got "
            f"{tuple(getattr(out, 'shape', ()))} of {dtype.name}"
        )
    if not getattr(getattr(out, "flags", None), "writeable", True):
        raise ArgumentError('out is read-only; open it for writing, such as np.memmap(..., "r+")')
    if what == "classes" and np.iinfo(dtype).max < classes - 1:
        raise ArgumentError(f"out of {dtype.name} does not hold {classes} classes; take int32")
    return out


def _batches(places: Places, size: int) -> Iterator[list[Size]]:
    remaining = iter(places)
    while batch := list(itertools.islice(remaining, size)):
        yield batch


@contextlib.contextmanager
def _bar(total: int, shown: bool) -> Iterator[Callable[[int], None]]:
    """A bar on the terminal: what to call after so many tiles."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = ("Tiles", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    # In a notebook rich draws by ipywidgets, and warns in the page where there are none.
    plain = importlib.util.find_spec("ipywidgets") is None
    console = Console(stderr=True, force_jupyter=False if plain else None)
    with Progress(*columns, console=console, transient=True, disable=not shown) as bar:
        task = bar.add_task("tiles", total=total)
        yield lambda count: bar.advance(task, count)
