"""Gallery of augmented images, drawn by KerasCV.

`keras_cv.visualization.plot_image_gallery` works on Keras 3 when it is given the number of rows and
columns and three channels. It draws into a pyplot figure.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np

from keras_arch import data, kerascv
from keras_arch.data.augment.imagenet_crops import WindowCrop
from keras_arch.errors import ArgumentError, whole_number
from keras_arch.metrics.checks import check_image_batch
from keras_arch.preprocessing import Preprocessing
from keras_arch.visualization.figures import save_figure

# Inches of an image: 150 pixels in the PNG file.
_SIDE = 1.5


def augmentation_gallery(
    images: Any,
    augment: Any,
    path: str | os.PathLike[str],
    *,
    preprocessing: Preprocessing | None = None,
    count: int = 4,
    draws: int = 5,
    seed: int = 0,
) -> Path:
    """Draw images and their augmented versions: a row for each image.

    The images come from `keras_arch.data.train_batches` and are what a network is trained on, with
    the normalisation undone. It needs the extra `kerascv`.

    Args:
        images: `uint8` `(n, height, width, 1 or 3)`, or a `tf.data.Dataset` as
            `keras_arch.data.load` gives it; labels are not used.
        augment: Names such as `["crop:4", "flip"]` or callables, as for `train_batches`.
        path: The PNG file to write; it is returned.
        preprocessing: What the network expects. Default: the images' own size, values in [0, 1].
        count: The first so many images are shown; `mixup` and `cutmix` mix them with each other.
        draws: Augmented versions of each, those of the first so many epochs.
        seed: As for `train_batches`.

    Raises:
        KerasArchError: If KerasCV is not installed or too old.
        ArgumentError: If there is no image, a number is below 1, or as `train_batches`.
        DataError: As `train_batches`.

    Example:
        >>> digits = data.load("digits")
        >>> augmentation_gallery(digits, ["crop:1", "flip"], "digits.png", draws=2).name
        'digits.png'
    """
    keras_cv = kerascv.package()
    count, draws = whole_number("count", count), whole_number("draws", draws)
    dataset = _numbered(images, count)
    count = int(dataset.cardinality())
    if preprocessing is None:
        shape = dataset.element_spec[0].shape
        if not shape.is_fully_defined():
            raise ArgumentError("images of several sizes need preprocessing= to bring them to one")
        preprocessing = Preprocessing(tuple(shape[:2]), shape[2])
    drawn = _augmented(dataset, data.augmentations(augment), preprocessing, count, draws, seed)
    # The images as they are evaluated, without augmentation.
    ((originals, _),) = data.eval_batches(dataset, preprocessing, count)
    shown = np.stack([preprocessing.to_pixels(originals), *drawn], axis=1)
    shown = np.broadcast_to(shown, (*shown.shape[:-1], 3)).reshape(-1, *shown.shape[2:-1], 3)

    import matplotlib.pyplot

    # Or an interactive backend would show the figure at once.
    with matplotlib.pyplot.ioff():
        figure = keras_cv.visualization.plot_image_gallery(
            shown, value_range=(0, 255), rows=count, cols=draws + 1, scale=_SIDE
        )
    try:
        titles = ["original", *(f"draw {number}" for number in range(1, draws + 1))]
        for axes, title in zip(figure.axes, titles, strict=False):
            axes.set_title(title, fontsize=9)
        return save_figure(figure, path)
    finally:
        matplotlib.pyplot.close(figure)


def _numbered(images: Any, count: int) -> Any:
    """The first images with their numbers as labels, held in memory."""
    import tensorflow as tf

    if not isinstance(images, tf.data.Dataset):
        array = check_image_batch(images, "a gallery without a tf.data.Dataset")
        images = tf.data.Dataset.from_tensor_slices(array[:count])
    first = images.take(count).map(lambda *row: row[0])
    found = len(list(first))
    if not found:
        raise ArgumentError("the gallery needs at least one image, got none")
    numbered = tf.data.Dataset.zip((first, tf.data.Dataset.range(found)))
    return numbered.apply(tf.data.experimental.assert_cardinality(found))


def _augmented(
    dataset: Any,
    changes: tuple[Any, ...],
    preprocessing: Preprocessing,
    count: int,
    draws: int,
    seed: int,
) -> list[np.ndarray]:
    """The images after augmentation in the order of the data set, one array an epoch."""
    cache = not any(isinstance(change, WindowCrop) for change in changes)
    common: dict[str, Any] = {"seed": seed, "cache": cache}
    classes = count if data.mixes_labels(changes) else None
    batches = data.train_batches(
        dataset, preprocessing, count, augment=changes, classes=classes, **common
    )
    # Mixed labels hide which image is which. The order follows from the seed alone.
    plain = data.train_batches(dataset, preprocessing, count, **common)
    drawn = []
    pairs = zip(batches.dataset.take(draws), plain.dataset.take(draws), strict=True)
    for (images, _), (_, numbers) in pairs:
        ordered = np.empty(images.shape, np.float32)
        ordered[numbers.numpy()] = images
        drawn.append(preprocessing.to_pixels(ordered))
    return drawn
