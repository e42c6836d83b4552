"""The check of data for a plain Keras model, before it is given to `model.fit`."""

from typing import TYPE_CHECKING, Any

import numpy as np

from keras_arch._lazy import lazy_modules
from keras_arch.data.checks import BatchCheck, Part
from keras_arch.errors import ArgumentError

if TYPE_CHECKING:
    from keras_arch.data import checked_batches
    from keras_arch.preprocessing import Preprocessing
else:
    # It loads Keras, which data as such does not need.
    (checked_batches,) = lazy_modules("keras_arch.data.checked_batches")

KEYS = ("image", "label", "sample_weight")


def check_data(
    model: Any,
    x: Any,
    y: Any = None,
    *,
    classes: int | None = None,
    ignore: int | None = None,
    preprocessing: "Preprocessing | None" = None,
) -> Any:
    """Check data for `model.fit` or `model.evaluate` of a classifier or a segmentation network.

    Keras' `fit` takes what it gets: values of 0 to 255 and NaN, labels that are cut to whole
    numbers. This looks at arrays as a whole, and at the first batch of anything else; later
    batches check themselves when their turn comes.

    Args:
        model: A model from images to classes, `(batch, classes)` or `(batch, height, width,
            classes)`.
        x: Images, or batches of images and labels: a dataset, a `PyDataset` or a generator.
        y: Labels or masks of images that are an array.
        classes: Number of classes. Default the last axis of the output, 2 where that is 1.
        ignore: The value of pixels in masks that do not count.
        preprocessing: What brings images to the range that the model takes; the data must be in
            it. Without it a range that networks are not made for is told in the log.

    Returns:
        What to pass to `fit` in place of `x`. A generator is used up by its check and must be
        passed as it is returned.

    Raises:
        DataError: In one line, with what came and what is wanted.
        ArgumentError: If the model does not give classes.

    Example:
        >>> import keras, numpy as np
        >>> from keras_arch import models
        >>> model = models.CIFARResNet(8, classes=10)
        >>> images, labels = np.zeros((4, 32, 32, 3), "float32"), np.array([0, 9, 10, 1])
        >>> check_data(model, images, labels)
        Traceback (most recent call last):
        keras_arch.errors.DataError: the data has the label 10 outside the classes: labels must be \
0 to 9; give the model as many classes as the data has
    """
    check = check_of_model(model, classes, ignore, preprocessing)
    if y is None and (batches := checked_batches.checked_batches(check, x)) is not None:
        return batches
    check.check(x if y is None else (x, y))
    return x


def pixel_range(preprocessing: "Preprocessing") -> tuple[float, float]:
    """The values of the darkest and the brightest pixel after preprocessing.

    Example:
        >>> from keras_arch.preprocessing import Preprocessing
        >>> pixel_range(Preprocessing((8, 8), 1, scale=1 / 127.5, mean=1.0))
        (-1.0, 1.0)
    """
    ends = [preprocessing.normalize(np.full(preprocessing.input_shape, v)) for v in (0, 255)]
    return float(np.min(ends[0])), float(np.max(ends[1]))


def check_of_model(
    model: Any,
    classes: int | None = None,
    ignore: int | None = None,
    preprocessing: "Preprocessing | None" = None,
) -> BatchCheck:
    """What the batches of a classifier or a segmentation network must be; see `check_data`."""
    if not getattr(model, "inputs", None) or len(model.inputs) != 1:
        raise ArgumentError(
            f"{model.name} must take one image; its inputs are {getattr(model, 'inputs', None)}"
        )
    outputs = model.outputs[0].shape
    if len(outputs) not in (2, 4):
        raise ArgumentError(
            f"{model.name} must give (batch, classes) or (batch, height, width, classes), its "
            f"output is {tuple(outputs)}"
        )
    if classes is None:
        classes = max(2, outputs[-1])
    bounds = None if preprocessing is None else pixel_range(preprocessing)
    return BatchCheck(
        model.name,
        KEYS,
        {
            "image": Part(
                tuple(model.inputs[0].shape[1:]),
                bounds=bounds,
                why="preprocessing scales pixels",
            ),
            "label": Part(
                tuple(outputs[1:-1]), labels=True, classes=classes, ignore=ignore, soft=True
            ),
        },
    )
