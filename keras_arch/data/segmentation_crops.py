"""Batches of images with masks: random crops for training, tiles of whole images for evaluation.

As with `keras_arch.data.train_batches`, the content of the batch at (epoch, step) follows from
(seed, epoch, step) alone, so that a run that was interrupted continues exactly.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_arch._lazy import tf
from keras_arch._pixel_classes import IGNORE, checked_classes
from keras_arch.data import counting
from keras_arch.data.augment.sampling import mirrored, sample
from keras_arch.data.augment.with_masks import mask_augmentations, moved, moves, shaded
from keras_arch.data.border_weights import WeightMap, weight_maps
from keras_arch.data.epochs import FOREVER, Batches, Epochs, check_enough, prefetch
from keras_arch.data.seeds import fold_in
from keras_arch.data.shares import WHOLE, Share
from keras_arch.errors import ArgumentError, DataError, checked_seed, whole_number
from keras_arch.preprocessing import Preprocessing

# Streams of random numbers.
_ORDER, _AUGMENT = 0, 1
CROP_MODES = ("tiles", "whole")


@dataclasses.dataclass(frozen=True)
class _Cache:
    """Images of any sizes with masks in memory, and weights where there are some."""

    sizes: np.ndarray
    channels: int
    pixels: Any
    masks: Any
    weights: Any | None

    def example(self, index: Any) -> tuple[Any, Any, Any]:
        """`(height, width, channels)` pixels, `(height, width, 1)` mask and weights or `None`."""
        size = tf.gather(tf.constant(self.sizes), index)
        image = tf.reshape(self.pixels[index], tf.concat([size, [self.channels]], axis=0))
        mask, weights = (
            part if part is None else tf.reshape(part[index], tf.concat([size, [1]], axis=0))
            for part in (self.masks, self.weights)
        )
        return image, mask, weights


def segmentation_train_batches(
    dataset: Any,
    preprocessing: Preprocessing,
    batch_size: int,
    *,
    seed: int,
    output: tuple[int, int] | None = None,
    crop_mode: str = "tiles",
    augment: Sequence[Any] = (),
    weights: WeightMap | None = None,
    classes: int | None = None,
    ignore: int = IGNORE,
    crops_per_image: int = 1,
    order: int = 1,
    start_epoch: int = 0,
    start_step: int = 0,
    share: Share = WHOLE,
) -> Batches:
    """Shuffle, crop, augment, normalise and batch images with masks without end.

    Images are read once, here. Weight maps are computed once, on the masks as they are, and are
    augmented with them.

    Args:
        dataset: `tf.data.Dataset` of `(image, mask)` as `load` gives: `(height, width, channels)`
            pixels as `Preprocessing` takes them and `(height, width)` classes, of any sizes. Images
            of `uint8` are kept as such in memory, others as they are preprocessed. A third column
            numbers the objects of each mask for the weights of borders, by default its connected
            regions.
        preprocessing: That of the network's input, whose size it has.
        batch_size: Tiles in a batch, over all replicas.
        seed: Non-negative whole number that decides all random draws.
        output: Height and width of the network's output, which may be smaller than its input, as
            of an unpadded U-Net. Masks and weights are those of this part in the middle. Default:
            the size of the input.
        crop_mode: `"tiles"` crops windows at random places out of images at their own resolution.
            The part in the middle lies within the image wherever the image is as large; pixels
            beyond the image are mirrored. `"whole"` resizes images by `preprocessing`, and masks
            by nearest neighbours; pixels that `resize="pad"` adds are ignored.
        augment: As for `mask_augmentations`, for example `["rotate:180", "elastic:10"]`.
        weights: The weights of pixels, or `None` for no weights.
        classes: Number of classes. Default: those in the masks.
        ignore: Value of mask pixels without a class, also of those that padding adds.
        crops_per_image: Crops of each image in an epoch.
        order: Interpolation of images that are moved: 1 bilinear, 3 bicubic.
        start_epoch: The epoch to begin with.
        start_step: Batches of that epoch to leave out; where they are all, the next one follows.
        share: The tiles of each global batch that this host takes; the others are not cropped. All
            images are kept, for each epoch gives a host tiles of others.

    Returns:
        `Batches` of `(images, masks)` or `(images, masks, weights)`: `float32` `(batch, height,
        width, channels)`, `uint8` (`int32` where `ignore` or a class is above 255) and `float32`
        `(batch, *output)`.

    Raises:
        DataError: If there are fewer images than a batch needs, they cannot be decoded or hold NaN,
            or a mask holds another value than classes and `ignore`.
        ArgumentError: If an argument is out of range, or sizes do not fit.

    Example:
        >>> from keras_arch import data
        >>> batches = data.segmentation_train_batches(
        ...     data.load("cells", "train[:4]"), Preprocessing((124, 124), 1), 2, seed=0,
        ...     output=(84, 84), augment=["elastic:10"], weights=data.WeightMap(),
        ... )
        >>> [tuple(part.shape) for part in next(iter(batches.dataset))]
        [(2, 124, 124, 1), (2, 84, 84), (2, 84, 84)]
    """
    changes = mask_augmentations(augment)
    size, output, margin = _sizes(preprocessing, output, crop_mode)
    batch_size, seed = whole_number("batch_size", batch_size), checked_seed(seed)
    crops_per_image = whole_number("crops_per_image", crops_per_image)
    cache = _read(dataset, preprocessing, crop_mode, weights, classes=classes, ignore=ignore)
    _check_several(cache.masks, ignore)
    images = len(cache.sizes)
    tiles = images * crops_per_image
    whole = f"an epoch over {images} images has {tiles} tiles"
    check_enough(tiles, batch_size, whole, ", or more crops_per_image")
    epochs = Epochs(tiles, batch_size, seed, start_epoch, start_step, share)

    def rows_of(epoch: Any) -> Any:
        first, end = epochs.first_step(epoch) * batch_size, epochs.steps * batch_size
        numbers, order = tf.range(tiles, dtype=tf.int64), epochs.seed_of(_ORDER, epoch)
        chosen = tf.random.experimental.stateless_shuffle(numbers, order, alg="philox")
        chosen = chosen[:end] % images
        places = tf.range(first, end, dtype=tf.int64)
        own = tf.reshape(places, [-1, batch_size])[:, slice(*share.rows(batch_size))]
        places = tf.reshape(own, [-1])
        return tf.data.Dataset.from_tensor_slices((places, tf.gather(chosen, places))).map(
            lambda place, index: (epoch, place, index)
        )

    def tile(epoch: Any, place: Any, index: Any) -> Any:
        drawn = epochs.seed_of(_AUGMENT, epoch, place)
        image, mask, weight = cache.example(index)
        corner = _corner(tf.shape(image)[:2], output, drawn) if crop_mode == "tiles" else [0, 0]
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
        pixels.set_shape([*size, cache.channels])
        done = [preprocessing.normalize(pixels)]
        for part in parts:
            part.set_shape([*output, 1])
            done.append(part[..., 0])
        return tuple(done)

    return epochs.batches(rows_of, tile, batched=False)


def segmentation_eval_batches(
    dataset: Any,
    preprocessing: Preprocessing,
    batch_size: int,
    *,
    output: tuple[int, int] | None = None,
    crop_mode: str = "tiles",
    classes: int | None = None,
    ignore: int = IGNORE,
    replicas: int = 1,
    share: Share = WHOLE,
) -> Any:
    """Cover images with tiles, in their order, so that every pixel of a mask is in one of them.

    Metrics of pixels over these batches are those of whole images. Pixels beyond an image are
    mirrored in tiles, and ignored in masks.

    Args:
        dataset: As for `segmentation_train_batches`.
        preprocessing: As for `segmentation_train_batches`.
        batch_size: Tiles in a batch, over all replicas.
        output: As for `segmentation_train_batches`.
        crop_mode: As for `segmentation_train_batches`.
        classes: As for `segmentation_train_batches`.
        ignore: As for `segmentation_train_batches`.
        replicas: Number of replicas that share a batch. Tiles of ignored pixels only are added to
            the last batch until each replica has as many.
        share: The tiles of each batch that this host takes. All images are kept: their sizes decide
            which tiles there are. With as many `replicas` as hosts, or more, each host has tiles in
            each batch.

    Returns:
        A finite `tf.data.Dataset` of `(images, masks)`.

    Raises:
        DataError: If the data set is empty, or as for `segmentation_train_batches`.
        ArgumentError: If an argument is out of range.

    Example:
        >>> from keras_arch import data
        >>> tiles = data.segmentation_eval_batches(
        ...     data.load("cells", "test[:2]"), Preprocessing((124, 124), 1), 8, output=(84, 84)
        ... )
        >>> sum(int((masks != 255).numpy().sum()) for _, masks in tiles) == 2 * 128 * 128
        True
    """
    size, output, margin = _sizes(preprocessing, output, crop_mode)
    batch_size = whole_number("batch_size", batch_size)
    replicas = whole_number("replicas", replicas)
    cache = _read(dataset, preprocessing, crop_mode, classes=classes, ignore=ignore)
    places = [
        (index, top, left)
        for index, (height, width) in enumerate(cache.sizes.tolist())
        for top in range(0, height, output[0])
        for left in range(0, width, output[1])
    ]
    # Below the first image, where all pixels are ignored.
    filling = (0, int(cache.sizes[0, 0]), 0)
    places += [filling] * (-len(places) % replicas)
    counts = share.counts(len(places), batch_size)
    own = np.array(places, np.int32)[share.places(len(places), batch_size)]

    def tile(place: Any) -> Any:
        index, *corner = tf.unstack(place, 3)
        image, mask, _ = cache.example(index)
        start = [at - side for at, side in zip(corner, margin, strict=True)]
        pixels = _window(image, start, size)
        part = mask[corner[0] : corner[0] + output[0], corner[1] : corner[1] + output[1], 0]
        missing = tf.stack([output[0], output[1]]) - tf.shape(part)
        part = tf.pad(part, [[0, missing[0]], [0, missing[1]]], constant_values=ignore)
        pixels.set_shape([*size, cache.channels])
        part.set_shape(output)
        return preprocessing.normalize(pixels), part

    with tf.device("CPU"):
        tiles = tf.data.Dataset.from_tensor_slices(own)
        batches = tiles.map(tile, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        return prefetch(batches.batch(max(counts[0], 1)))


def fit_mask(mask: Any, preprocessing: Preprocessing, ignore: int = IGNORE) -> np.ndarray:
    """Resize a mask as its image is, by nearest neighbours; pixels that are added are ignored.

    Args:
        mask: `(height, width)` classes as integers.
        preprocessing: That of the image.
        ignore: The value of pixels that are added.

    Returns:
        `(height, width)` of the type of `mask`, which holds `ignore`.

    Example:
        >>> fit_mask(np.ones((1, 2), np.uint8), Preprocessing((1, 4), 1, resize="pad")).tolist()
        [[255, 1, 1, 255]]
    """
    mask = np.asarray(mask)
    pads = preprocessing.resize == "pad"
    size = preprocessing.padded_size(*mask.shape) if pads else preprocessing.size
    plain = Preprocessing(size, 1, resize="nearest", crop=preprocessing.crop)
    canvas = Preprocessing(preprocessing.size, 1, resize="pad")
    fitted = np.zeros(preprocessing.size, mask.dtype)
    # Byte by byte, as images have. Padding adds zeros, which stand for `ignore` here.
    for shift in range(0, 8 * mask.dtype.itemsize, 8):
        part = ((mask ^ ignore) >> shift & 255).astype(np.uint8)[..., None]
        part = canvas.fit(plain.fit(part))
        fitted |= np.asarray(part)[..., 0].astype(mask.dtype) << shift
    return fitted ^ ignore


def _sizes(
    preprocessing: Preprocessing, output: tuple[int, int] | None, crop_mode: str
) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    """Sizes of the input and of the output, and the margin of the first around the second."""
    size = preprocessing.size
    output = size if output is None else tuple(whole_number("output", side) for side in output)
    if crop_mode not in CROP_MODES:
        raise ArgumentError(f"crop_mode must be tiles or whole, got {crop_mode!r}")
    gaps = [whole - part for whole, part in zip(size, output, strict=True)]
    if min(output) < 1 or any(gap < 0 or gap % 2 for gap in gaps):
        raise ArgumentError(
            f"an output of {output} pixels cannot be the middle of an input of {size}"
        )
    if crop_mode == "whole" and any(gaps):
        raise ArgumentError(
            f"the network gives {output} of {size} pixels; crop_mode whole is for a network whose "
            "output is as large as its input, else take tiles"
        )
    return size, output, tuple(gap // 2 for gap in gaps)


def _read(
    dataset: Any,
    preprocessing: Preprocessing,
    crop_mode: str,
    weights: WeightMap | None = None,
    *,
    classes: int | None,
    ignore: int,
) -> _Cache:
    ignore = whole_number("ignore", ignore, 0)
    if classes is not None and ignore < whole_number("classes", classes):
        raise ArgumentError(
            f"ignore={ignore} is one of {classes} classes; give a value that is none, such as "
            f"ignore={np.iinfo(np.uint16).max}, here and to losses and metrics"
        )
    spec = dataset.element_spec
    parts = spec if isinstance(spec, tuple) else (spec,)
    ranks = [getattr(part, "shape", tf.TensorShape(None)).rank for part in parts]
    if ranks not in ([3, 2], [3, 2, 2]):
        raise DataError(
            "the data set must hold (image, mask) or (image, mask, instances) of shapes (height, "
            f"width, channels) and (height, width), its elements are {spec}"
        )
    images, masks, objects = [], [], []
    for number, (image, mask, *instances) in enumerate(counting.read(dataset)):
        mask = _checked_mask(number, mask, classes, ignore)
        if tuple(image.shape[:2]) != mask.shape:
            raise DataError(
                f"image {number} has {tuple(image.shape[:2])} pixels and its mask {mask.shape}"
            )
        images.append(_fit_image(number, image, mask.shape, preprocessing, crop_mode))
        masks.append(mask if crop_mode == "tiles" else fit_mask(mask, preprocessing, ignore))
        for numbers in instances:
            objects.append(np.asarray(numbers))
            if crop_mode == "whole":
                objects[-1] = fit_mask(objects[-1], preprocessing, 0)
    if not images:
        raise DataError("the data set holds no image")
    sizes = np.array([mask.shape for mask in masks], np.int32)
    maps = None
    if weights is not None:
        maps = _ragged(weight_maps(masks, weights, classes, objects or None, ignore))
    return _Cache(sizes, preprocessing.channels, _ragged(images), _ragged(masks), maps)


def _checked_mask(number: int, mask: Any, classes: int | None, ignore: int) -> np.ndarray:
    """A mask as the smallest type that holds all classes, which all masks of a set have."""
    try:
        mask = checked_classes(mask, classes, ignore, f"mask of image {number}")
    except ArgumentError as error:
        raise DataError(str(error)) from None
    small = ignore <= IGNORE and (classes is not None or mask.max(initial=0) <= IGNORE)
    return mask.astype(np.uint8 if small else np.int32)


def _check_several(masks: Any, ignore: int) -> None:
    """Refuse masks of one class beside ignored pixels: those of 0 and 255 look like that."""
    found = np.unique(masks.flat_values).tolist()
    if ignore in found and len(found) < 3:
        raise DataError(
            f"the masks hold {' and '.join(map(str, found))} only, and {ignore} stands for pixels "
            "without a class, so that there is nothing to learn; divide masks of 0 and 255 by 255"
        )


def _fit_image(
    number: int, image: Any, size: tuple[int, int], preprocessing: Preprocessing, crop_mode: str
) -> np.ndarray:
    """An image as it is cached: of `uint8` where it was, else `float32`."""
    if crop_mode == "tiles":
        plain = dataclasses.replace(preprocessing, size=size, crop=None, mean=0.0, std=1.0)
        fitted = np.asarray(plain.fit(image))
    else:
        fitted = np.asarray(preprocessing.fit(image))
        if image.dtype == tf.uint8:
            fitted = np.rint(fitted).astype(np.uint8)
    if fitted.dtype != np.uint8:
        fitted = fitted.astype(np.float32)
        if not np.isfinite(fitted).all():
            raise DataError(f"image {number} holds NaN or infinity; give finite pixels")
    return fitted


def _ragged(arrays: Sequence[np.ndarray]) -> Any:
    """Arrays of any shapes as the rows of one ragged tensor."""
    with tf.device("CPU"):
        values = np.concatenate([array.ravel() for array in arrays])
        return tf.RaggedTensor.from_row_lengths(values, [array.size for array in arrays])


def _corner(size: Any, output: tuple[int, int], seed: Any) -> list[Any]:
    """First row and column of the output: anywhere within the image, or around a smaller one."""
    room = size - tf.constant(output)
    at = tf.random.stateless_uniform([2], fold_in(seed, FOREVER), alg="philox")
    drawn = tf.cast(tf.floor(at * tf.cast(room + 1, tf.float32)), tf.int32)
    return tf.unstack(tf.where(room >= 0, tf.minimum(drawn, room), room // 2))


def _window(image: Any, start: Sequence[Any], size: tuple[int, int]) -> Any:
    """A window of an image, mirrored beyond its border."""
    shape = tf.shape(image)
    rows, columns = (
        mirrored(tf.range(side) + at, shape[axis])
        for axis, (at, side) in enumerate(zip(start, size, strict=True))
    )
    return tf.gather(tf.gather(image, rows), columns, axis=1)
