"""Images with masks as batches: tiles cut at random for training, tiles that cover for measuring.

As with `keras_arch.data.train_batches`, what the batch at (epoch, step) holds follows from (seed, epoch,
step) alone, so that a run that was interrupted goes on exactly.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_arch.data import counting
from keras_arch.data.augment.with_masks import (
    mask_augmentations,
    mirrored,
    moved,
    moves,
    sample,
    shaded,
)
from keras_arch.data.border_weights import IGNORE, border_weights, class_balance, instances_of
from keras_arch.data.pipelines import Batches, prefetch
from keras_arch.errors import ArgumentError, DataError
from keras_arch.preprocessing import Preprocessing

_ORDER, _AUGMENT = 0, 1
_FOREVER = np.iinfo(np.int64).max
CUTS = ("tiles", "whole")


@dataclasses.dataclass(frozen=True)
class WeightMap:
    """What pixels weigh in training; see `keras_arch.data.border_weights`.

    Args:
        w0: Of the gaps between cells, 0 for none.
        sigma: How far these reach, in pixels.
        balance: Whether all classes count alike, by their frequencies in the whole training set.

    Example:
        >>> WeightMap().w0
        10.0
    """

    w0: float = 10.0
    sigma: float = 5.0
    balance: bool = True


@dataclasses.dataclass(frozen=True)
class _Held:
    """Images of any sizes with masks, and weights where there are some, one after another."""

    pixels: Any
    masks: Any
    weights: Any | None
    sizes: np.ndarray
    starts: np.ndarray
    channels: int

    def __len__(self) -> int:
        return len(self.sizes)

    def example(self, index: Any) -> tuple[Any, Any, Any]:
        """`(height, width, channels)` pixels, `(height, width, 1)` mask and weights or `None`."""
        import tensorflow as tf

        height, width = tf.unstack(tf.gather(tf.constant(self.sizes), index))
        start = tf.gather(tf.constant(self.starts), index)
        count = tf.cast(height * width, tf.int64)

        def cut(flat: Any, channels: int) -> Any:
            part = flat[start * channels : (start + count) * channels]
            return tf.reshape(part, tf.stack([height, width, channels]))

        weights = None if self.weights is None else cut(self.weights, 1)
        return cut(self.pixels, self.channels), cut(self.masks, 1), weights


def segmentation_train_batches(
    dataset: Any,
    preprocessing: Preprocessing,
    batch_size: int,
    *,
    seed: int,
    output: tuple[int, int] | None = None,
    cut: str = "tiles",
    augment: Sequence[Any] = (),
    weights: WeightMap | None = None,
    classes: int | None = None,
    crops_per_image: int = 1,
    order: int = 1,
    start_epoch: int = 0,
    start_step: int = 0,
) -> Batches:
    """Shuffle, cut, change, normalise and batch images with masks without end.

    Images are read once, here. Weight maps are computed once, on the masks as they are, and move
    with them.

    Args:
        dataset: `tf.data.Dataset` of `(image, mask)` as `load` gives: `uint8` `(height, width,
            channels)` and `(height, width)`, of any sizes.
        preprocessing: What the network expects; its size is that of the network's input.
        batch_size: Tiles in a batch, over all replicas.
        seed: Non-negative whole number that decides every draw.
        output: Height and width of what the network gives, which may be smaller than its input, as
            of an unpadded U-Net. Masks and weights are those of this part in the middle. Default:
            the size of the input.
        cut: `"tiles"` cuts windows at random places out of images at their own resolution. The
            part in the middle lies within the image wherever the image is as large; what the rest
            and smaller images lack is mirrored. `"whole"` brings images to the size as
            `preprocessing` says, and masks by nearest neighbours; what `resize="pad"` adds is
            ignored.
        augment: As for `mask_augmentations`, for example `["rotate:180", "elastic:10"]`.
        weights: What pixels weigh, or `None` for no weights.
        classes: How many classes there are, for their balance. Default: those in the masks.
        crops_per_image: How often an epoch goes over the images.
        order: How images are sampled where they move: 1 bilinear, 3 bicubic.
        start_epoch: The epoch to begin with.
        start_step: Batches of that epoch to leave out; where they are all, the next one follows.

    Returns:
        `Batches` of `(images, masks)` or `(images, masks, weights)`: `float32` `(batch, height,
        width, channels)`, `uint8` and `float32` `(batch, *output)`.

    Raises:
        DataError: If there are fewer images than a batch needs, or they cannot be decoded.
        ArgumentError: If an argument is out of range, or sizes do not fit.

    Example:
        >>> from keras_arch import data
        >>> from keras_arch.preprocessing import Preprocessing
        >>> batches = data.segmentation_train_batches(
        ...     data.load("cells", "train[:4]"), Preprocessing((124, 124), 1), 2, seed=0,
        ...     output=(84, 84), augment=["elastic:10"], weights=data.WeightMap(),
        ... )
        >>> [tuple(part.shape) for part in next(iter(batches.dataset))]
        [(2, 124, 124, 1), (2, 84, 84), (2, 84, 84)]
    """
    import tensorflow as tf

    changes = mask_augmentations(augment)
    size, output = preprocessing.size, _output(preprocessing, output, cut)
    if batch_size < 1 or crops_per_image < 1:
        raise ArgumentError(
            f"batch_size and crops_per_image must be at least 1, got {batch_size} and "
            f"{crops_per_image}"
        )
    if not 0 <= seed < 2**63:
        raise ArgumentError(f"seed must be a whole number from 0 to 2**63 - 1, got {seed}")
    held = _hold(dataset, preprocessing, cut, weights, classes)
    tiles = len(held) * crops_per_image
    steps = tiles // batch_size
    if not steps:
        raise DataError(
            f"an epoch over {len(held)} images has {tiles} tiles, fewer than one batch of "
            f"{batch_size}; give a batch size of at most {tiles}, or more crops_per_image"
        )
    if start_epoch < 0 or not 0 <= start_step <= steps:
        raise ArgumentError(
            f"training cannot start at epoch {start_epoch}, step {start_step}: an epoch has "
            f"{steps} steps"
        )
    margin = [(whole - part) // 2 for whole, part in zip(size, output, strict=True)]

    def key(stream: int, *path: Any) -> Any:
        result = tf.stack([tf.constant(seed, tf.int64), tf.constant(stream, tf.int64)])
        for part in path:
            result = _folded(result, part)
        return result

    def epoch_of(epoch: Any) -> Any:
        first = tf.where(epoch == start_epoch, np.int64(start_step), np.int64(0)) * batch_size
        numbers = tf.range(tiles, dtype=tf.int64)
        chosen = tf.random.experimental.stateless_shuffle(numbers, key(_ORDER, epoch), alg="philox")
        chosen = chosen[: steps * batch_size] % len(held)
        places = tf.range(first, steps * batch_size, dtype=tf.int64)
        return tf.data.Dataset.from_tensor_slices((places, chosen[first:])).map(
            lambda place, index: (epoch, place, index)
        )

    def tile(epoch: Any, place: Any, index: Any) -> Any:
        drawn = key(_AUGMENT, epoch, place)
        image, mask, weight = held.example(index)
        corner = _corner(tf.shape(image)[:2], output, drawn) if cut == "tiles" else [0, 0]
        parts = [mask] if weight is None else [mask, weight]
        if moves(changes):
            middle = [
                tf.cast(at, tf.float32) + (side - 1) / 2
                for at, side in zip(corner, output, strict=True)
            ]
            places = moved(changes, *size, drawn) + tf.stack(middle)[:, None, None]
            pixels = sample(image, places, order)
            inner = places[:, margin[0] : margin[0] + output[0], margin[1] : margin[1] + output[1]]
            parts = [sample(part, inner, 0) for part in parts]
        else:
            start = [at - side for at, side in zip(corner, margin, strict=True)]
            pixels = tf.cast(_window(image, start, size), tf.float32)
            parts = [_window(part, corner, output) for part in parts]
        pixels = shaded(changes, pixels, drawn)
        pixels.set_shape([*size, held.channels])
        done = [preprocessing.normalize(pixels)]
        for part in parts:
            part.set_shape([*output, 1])
            done.append(part[..., 0])
        return tuple(done)

    with tf.device("CPU"):
        batches = (
            tf.data.Dataset.range(start_epoch, _FOREVER)
            .flat_map(epoch_of)
            .map(tile, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
            .batch(batch_size, drop_remainder=True)
            .apply(tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY))
        )
        return Batches(prefetch(batches), steps, tiles)


def segmentation_eval_batches(
    dataset: Any,
    preprocessing: Preprocessing,
    batch_size: int,
    *,
    output: tuple[int, int] | None = None,
    cut: str = "tiles",
    replicas: int = 1,
) -> Any:
    """Cover images with tiles, in their order, so that every pixel of a mask is in one of them.

    Figures of pixels over these batches are those of whole images. What lies beyond an image is
    mirrored in tiles, and ignored in masks.

    Args:
        dataset: As for `segmentation_train_batches`.
        preprocessing: As for `segmentation_train_batches`.
        batch_size: Tiles in a batch, over all replicas.
        output: As for `segmentation_train_batches`.
        cut: As for `segmentation_train_batches`.
        replicas: How many share a batch. To the last one, tiles that are ignored throughout are
            added until each has as many.

    Returns:
        A finite `tf.data.Dataset` of `(images, masks)`.

    Raises:
        DataError: If the data set is empty or cannot be decoded.
        ArgumentError: If an argument is out of range.

    Example:
        >>> from keras_arch import data
        >>> from keras_arch.preprocessing import Preprocessing
        >>> tiles = data.segmentation_eval_batches(
        ...     data.load("cells", "test[:2]"), Preprocessing((124, 124), 1), 8, output=(84, 84)
        ... )
        >>> sum(int((masks != 255).numpy().sum()) for _, masks in tiles) == 2 * 128 * 128
        True
    """
    import tensorflow as tf

    size, output = preprocessing.size, _output(preprocessing, output, cut)
    if batch_size < 1:
        raise ArgumentError(f"batch_size must be at least 1, got {batch_size}")
    held = _hold(dataset, preprocessing, cut, None, None)
    margin = [(whole - part) // 2 for whole, part in zip(size, output, strict=True)]
    places = [
        (index, top, left)
        for index, (height, width) in enumerate(held.sizes.tolist())
        for top in range(0, height, output[0])
        for left in range(0, width, output[1])
    ]
    # Below the first image.
    filling = (0, int(held.sizes[0, 0]), 0)
    places += [filling] * (-len(places) % replicas)

    def tile(place: Any) -> Any:
        index, *corner = tf.unstack(place, 3)
        image, mask, _ = held.example(index)
        start = [at - side for at, side in zip(corner, margin, strict=True)]
        pixels = _window(image, start, size)
        part = mask[corner[0] : corner[0] + output[0], corner[1] : corner[1] + output[1], 0]
        missing = tf.stack([output[0], output[1]]) - tf.shape(part)
        part = tf.pad(part, [[0, missing[0]], [0, missing[1]]], constant_values=IGNORE)
        pixels.set_shape([*size, held.channels])
        part.set_shape(output)
        return preprocessing.normalize(pixels), part

    with tf.device("CPU"):
        tiles = tf.data.Dataset.from_tensor_slices(np.array(places, np.int32))
        batches = tiles.map(tile, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        return prefetch(batches.batch(batch_size))


def fit_mask(mask: Any, preprocessing: Preprocessing) -> np.ndarray:
    """A mask brought to a size as its image is, by nearest neighbours; what is added is ignored.

    Args:
        mask: `uint8` `(height, width)` classes.
        preprocessing: What the image is brought to its size by.

    Returns:
        `uint8` `(height, width)`.

    Example:
        >>> fit_mask(np.ones((1, 2), np.uint8), Preprocessing((1, 4), 1, resize="pad")).tolist()
        [[255, 1, 1, 255]]
    """
    method = "pad" if preprocessing.resize == "pad" else "nearest"
    plain = dataclasses.replace(
        preprocessing, channels=1, resize=method, mean=0.0, std=1.0, channel_order="rgb"
    )
    # Padded with zeros, which are 255 when it is turned round.
    return 255 - np.asarray(plain.fit(255 - np.asarray(mask, np.uint8)[..., None]))[..., 0]


def _output(
    preprocessing: Preprocessing, output: tuple[int, int] | None, cut: str
) -> tuple[int, int]:
    size = preprocessing.size
    output = size if output is None else tuple(output)
    if cut not in CUTS:
        raise ArgumentError(f"cut must be tiles or whole, got {cut!r}")
    gaps = [whole - part for whole, part in zip(size, output, strict=True)]
    if min(output) < 1 or any(gap < 0 or gap % 2 for gap in gaps):
        raise ArgumentError(
            f"an output of {output} pixels cannot be the middle of an input of {size}"
        )
    if cut == "whole" and any(gaps):
        raise ArgumentError(
            f"the network gives {output} of {size} pixels; cut whole images only for a network "
            "that gives all, else tiles"
        )
    return output


def _hold(
    dataset: Any,
    preprocessing: Preprocessing,
    cut: str,
    weights: WeightMap | None,
    classes: int | None,
) -> _Held:
    """All images and masks in the host's memory."""
    import tensorflow as tf

    spec = dataset.element_spec
    if not isinstance(spec, tuple) or [
        getattr(part, "shape", tf.TensorShape(None)).rank for part in spec
    ] != [3, 2]:
        raise DataError(
            "the data set must hold (image, mask) of shapes (height, width, channels) and (height, "
            f"width), its elements are {spec}"
        )
    images, masks = [], []
    for image, mask in counting.read(dataset):
        mask = np.asarray(mask, np.uint8)
        if tuple(image.shape[:2]) != mask.shape:
            raise DataError(
                f"image {len(images)} has {tuple(image.shape[:2])} pixels and its mask {mask.shape}"
            )
        how = preprocessing
        if cut == "tiles":
            how = dataclasses.replace(preprocessing, size=mask.shape, crop=None, mean=0.0, std=1.0)
        else:
            mask = fit_mask(mask, how)
        pixels = np.asarray(how.fit(image))
        images.append(np.rint(pixels).astype(np.uint8) if pixels.dtype != np.uint8 else pixels)
        masks.append(mask)
    if not images:
        raise DataError("the data set holds no image")
    sizes = np.array([mask.shape for mask in masks], np.int32)
    starts = np.concatenate([[0], np.cumsum(sizes.astype(np.int64).prod(axis=1))[:-1]])
    maps = None if weights is None else _weight_maps(masks, weights, classes)
    with tf.device("CPU"):
        return _Held(
            tf.constant(np.concatenate([image.ravel() for image in images])),
            tf.constant(np.concatenate([mask.ravel() for mask in masks])),
            None if maps is None else tf.constant(np.concatenate([each.ravel() for each in maps])),
            sizes,
            starts.astype(np.int64),
            preprocessing.channels,
        )


def _weight_maps(
    masks: Sequence[np.ndarray], weights: WeightMap, classes: int | None
) -> list[np.ndarray]:
    known = [int(mask[mask != IGNORE].max(initial=0)) + 1 for mask in masks]
    balance = class_balance(masks, classes or max(known)) if weights.balance else False
    return [
        border_weights(
            instances_of(mask) if weights.w0 else np.zeros(mask.shape, np.int32),
            weights.w0,
            weights.sigma,
            balance,
            mask,
        )
        for mask in masks
    ]


def _corner(size: Any, output: tuple[int, int], seed: Any) -> list[Any]:
    """Where the part in the middle begins: anywhere within the image, or around a smaller one."""
    import tensorflow as tf

    room = size - tf.constant(output)
    at = tf.random.stateless_uniform([2], _folded(seed, _FOREVER), alg="philox")
    drawn = tf.cast(tf.floor(at * tf.cast(room + 1, tf.float32)), tf.int32)
    return tf.unstack(tf.where(room >= 0, tf.minimum(drawn, room), room // 2))


def _window(image: Any, start: Sequence[Any], size: tuple[int, int]) -> Any:
    """A window of an image, mirrored where it is beyond."""
    import tensorflow as tf

    shape = tf.shape(image)
    rows, columns = (
        mirrored(tf.range(side) + at, shape[axis])
        for axis, (at, side) in enumerate(zip(start, size, strict=True))
    )
    return tf.gather(tf.gather(image, rows), columns, axis=1)


def _folded(seed: Any, data: Any) -> Any:
    import tensorflow as tf

    return tf.random.experimental.stateless_fold_in(seed, data, alg="philox")
