"""Checks of requests to served models, in the graph and before anything else runs there.

Servers feed tensors of any shape: the shapes of a signature are checked by Python only, and some
kernels end the process on a rank that they do not expect. Graph optimizers, on the other hand,
compute from the declared shape what a check compares. So the checks see a tensor whose shape is
hidden, and every check is a control dependency of the value that the model gets. A failed check
answers INVALID_ARGUMENT with the input, what is wanted and what came. (Of single numbers the
optimizer of sessions sees through that; for them TensorFlow's own check of the shape remains, in
other words: "Shape of tensor .../checked_count [2] is not compatible with expected shape []".)
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from keras_arch.errors import ArgumentError
from keras_arch.export import encoded_images
from keras_arch.preprocessing import Preprocessing

Outputs = dict[str, tf.Tensor]
Check = Callable[[str, tf.Tensor], Sequence[Any]]
# Most elements of a tensor that a message shows.
_SHOWN = 10


def require(condition: tf.Tensor, *message: Any) -> tf.Operation:
    """An operation that fails with a message, texts and tensors, where a condition is false."""
    return tf.debugging.Assert(condition, message, summarize=_SHOWN)


@dataclasses.dataclass(frozen=True)
class Input:
    """An input of a signature.

    Attributes:
        example: A value that is accepted, of one example where the input is a batch. It is the
            warm-up request, and what the model computes when a request is empty.
        axes: What each axis is called in messages; `"batch"` is the examples of a request.
        sizes: Size of each axis; `None` where any but zero (of the batch: any) is accepted.
        check: From the input's name and a value of that shape to further checks: operations or
            tensors that fail.
        remedy: End of the message about a wrong shape.
        is_count: Whether the value is the number of examples.
    """

    example: np.ndarray
    axes: tuple[str, ...] = ()
    sizes: tuple[int | None, ...] = ()
    check: Check | None = None
    remedy: str = ""
    is_count: bool = False

    @property
    def dtype(self) -> tf.DType:
        """Type of the values: that of the example."""
        return tf.as_dtype(self.example.dtype)

    @property
    def is_batch(self) -> bool:
        """Whether the first axis is the examples of a request."""
        return self.axes[:1] == ("batch",)

    def shape_check(self, name: str, value: tf.Tensor, max_batch: int) -> list[tf.Operation]:
        """The checks of rank, sizes and the number of examples, for a value of any shape."""
        given = tf.shape(value)
        rank = len(self.sizes)
        # Of a value of lower rank the absent axes count as -1.
        sizes = tf.concat([given, tf.fill([rank], -1)], 0)[:rank]
        least = [0 if axis == "batch" else 1 for axis in self.axes]
        least = [low if size is None else size for low, size in zip(least, self.sizes, strict=True)]
        most = [tf.int32.max if size is None else size for size in self.sizes]
        least, most = (tf.constant(bound, tf.int32, (rank,)) for bound in (least, most))
        fits = (tf.size(given) == rank) & tf.reduce_all((sizes >= least) & (sizes <= most))
        axes = [
            axis if size is None else str(size)
            for axis, size in zip(self.axes, self.sizes, strict=True)
        ]
        wanted = f"of shape ({', '.join(axes)}{',' * (rank == 1)})" if axes else "one number"
        checks = [require(fits, f"{name} must be {wanted}{self.remedy}, got the shape", given)]
        if self.is_batch:
            with tf.control_dependencies(checks):
                count = tf.identity(sizes[0])
            text = f"{name} must be at most {max_batch} in one request, got"
            checks.append(require(count <= max_batch, text, count))
        return checks

    def checked(self, name: str, value: tf.Tensor, max_batch: int) -> tf.Tensor:
        """The value after all checks, with its shape known."""
        # An identity without a static shape. `ensure_shape` tells its name.
        value = tf.compat.v1.placeholder_with_default(value, shape=None, name=f"checked_{name}")
        with tf.control_dependencies(self.shape_check(name, value, max_batch)):
            value = tf.ensure_shape(tf.identity(value), self.sizes)
        checks = list(self.check(name, value) if self.check else ())
        if self.is_count:
            text = f"{name} must be 0 to {max_batch}, got"
            checks.append(require((value >= 0) & (value <= max_batch), text, value))
        with tf.control_dependencies(checks):
            return tf.identity(value)

    def or_example(self, value: tf.Tensor, is_empty: tf.Tensor) -> tf.Tensor:
        """The value, or the example in a request of no examples."""
        if self.is_count:
            return tf.maximum(value, 1)
        if not self.is_batch:
            return value
        chosen = tf.cond(is_empty, self._example_tensor, lambda: value)
        return tf.ensure_shape(chosen, self.sizes)

    def _example_tensor(self) -> tf.Tensor:
        if self.dtype != tf.string and not self.example.any():
            return tf.zeros(self.example.shape, self.dtype)  # Small in the file.
        return tf.constant(self.example, self.dtype)


def signature(function: Callable[..., Outputs], inputs: Mapping[str, Input], max_batch: int) -> Any:
    """A signature that computes a function of checked inputs.

    A request of no examples is answered with outputs of no examples: kernels that refuse empty
    batches get an example instead.

    Args:
        function: From the inputs, by position, to outputs with an item an example.
        inputs: By name; at least one is a batch or a count.
        max_batch: Most examples of a request.

    Returns:
        A `tf.function` that a SavedModel takes as a signature.

    Raises:
        ArgumentError: If no input says how many examples a request has.

    Example:
        >>> halve = signature(lambda latent: {"half": latent / 2}, {"latent": latents(3)}, 8)
        >>> halve(tf.zeros((0, 3)))["half"].shape, halve(tf.ones((2, 3)))["half"].shape
        (TensorShape([0, 3]), TensorShape([2, 3]))
    """
    counting = [name for name, each in inputs.items() if each.is_batch or each.is_count]
    if not counting:
        raise ArgumentError(
            f"a signature needs an input that is a batch or a count, got {', '.join(inputs)}"
        )
    declared = [tf.TensorSpec(each.sizes, each.dtype, name) for name, each in inputs.items()]

    @tf.function(input_signature=declared)
    def served(*values: tf.Tensor) -> Outputs:
        given = {
            name: each.checked(name, value, max_batch)
            for (name, each), value in zip(inputs.items(), values, strict=True)
        }
        numbers = {
            name: given[name] if inputs[name].is_count else tf.shape(given[name])[0]
            for name in counting
        }
        number, *others = numbers.values()
        text = f"{' and '.join(numbers)} must have the same number of items, got"
        same = [require(each == number, text, *numbers.values()) for each in others]
        with tf.control_dependencies([*given.values(), *same]):
            number = tf.identity(number)
            arguments = [
                each.or_example(tf.identity(given[name]), number == 0)
                for name, each in inputs.items()
            ]
        return {key: output[:number] for key, output in function(*arguments).items()}

    return served


def warmup_request(inputs: Mapping[str, Input]) -> dict[str, Any]:
    """The request of one example, by name."""
    return {name: each.example for name, each in inputs.items()}


def images(preprocessing: Preprocessing, max_pixels: int, exact_size: bool = False) -> Input:
    """Pixels in [0, 255] or the `value_range`, `(batch, height, width, channels)` float32.

    Args:
        preprocessing: Its channels are wanted; its size where it is the `exact_size`.
        max_pixels: Most pixels of an image, before and after it is resized.
        exact_size: Whether images of another size are refused, and not resized.

    Raises:
        ArgumentError: If not even images of the preprocessing's size are within `max_pixels`.
    """
    tall, wide = _resized(preprocessing, *map(float, preprocessing.size))
    if tall * wide > max_pixels:
        raise ArgumentError(
            f"max_pixels must be at least {math.ceil(tall * wide)}, the pixels of an image as the "
            f"network's preprocessing resizes it, got {max_pixels}"
        )

    def check(name: str, image: tf.Tensor) -> list[Any]:
        sizes = tf.shape(image)
        found = _size_checks(name, sizes[1:2], sizes[2:3], preprocessing, max_pixels)
        with tf.control_dependencies(found):
            return [*found, _check_range(name, tf.identity(image), preprocessing)]

    return Input(
        np.zeros((1, *preprocessing.input_shape), np.float32),
        ("batch", "height", "width", "channels"),
        (None, *(preprocessing.size if exact_size else (None, None)), preprocessing.channels),
        check,
        f" (tiles: {tiles_text(preprocessing)})" if exact_size else "",
    )


def image_files(preprocessing: Preprocessing, max_pixels: int) -> Input:
    """Encoded image files, `(batch,)`, whose headers are read before any is decoded.

    Args:
        preprocessing: Its size counts, too.
        max_pixels: Most pixels of an image, before and after it is resized.
    """

    def check(name: str, files: tf.Tensor) -> list[Any]:
        kinds, is_known = encoded_images.kinds(files)
        text = f"{name} must be {encoded_images.DECODED} files ({encoded_images.REMEDY}), got"
        known = require(tf.reduce_all(is_known), text, kinds)
        with tf.control_dependencies([known]):
            heights, widths = encoded_images.sizes(tf.identity(files), name)
        return [known, *_size_checks(name, heights, widths, preprocessing, max_pixels)]

    # Of 16 bits where those of 8 cannot have the values.
    deep = preprocessing.value_range is not None and preprocessing.value_range[1] > 255
    pixels = np.zeros(preprocessing.input_shape, np.uint16 if deep else np.uint8)
    black = tf.io.encode_png(pixels).numpy()
    return Input(np.array([black], object), ("batch",), (None,), check)


def latents(size: int) -> Input:
    """Latents, `(batch, size)` float32, all of them finite."""

    def check(name: str, latent: tf.Tensor) -> list[Any]:
        finite = tf.math.is_finite(latent)
        count = tf.math.count_nonzero(~finite)
        text = f"{name} must be finite, got values that are not:"
        return [require(tf.reduce_all(finite), text, count)]

    return Input(np.zeros((1, size), np.float32), ("batch", "size"), (None, size), check)


def labels(classes: int) -> Input:
    """Numbers of classes, `(batch,)` int32."""

    def check(name: str, label: tf.Tensor) -> list[Any]:
        fits = (label >= 0) & (label < classes)
        wrong = tf.boolean_mask(label, ~fits)
        return [require(tf.reduce_all(fits), f"{name} must be 0 to {classes - 1}, got", wrong)]

    return Input(np.zeros(1, np.int32), ("batch",), (None,), check)


def seeds() -> Input:
    """A seed: one number, int64."""
    return Input(np.array(0, np.int64))


def counts() -> Input:
    """The number of examples to make: one number, int32."""
    return Input(np.array(1, np.int32), is_count=True)


def tiles_text(preprocessing: Preprocessing) -> str:
    """What to do with images of other sizes, for a network that works on tiles."""
    height, width = preprocessing.size
    return (
        f"the network takes tiles of {height}x{width} pixels at the image's own resolution; cut "
        "images into such tiles, as keras_arch.tiling.predict does"
    )


def _size_checks(
    name: str,
    heights: tf.Tensor,
    widths: tf.Tensor,
    preprocessing: Preprocessing,
    max_pixels: int,
) -> list[tf.Operation]:
    """The check that no image has too many pixels, before, while and after it is resized."""
    height, width = (tf.cast(side, tf.float64) for side in (heights, widths))
    tall, wide = _resized(preprocessing, height, width)
    # Resizing goes one axis after the other: between them one side is the old and one the new.
    pixels = tf.maximum(height, tall) * tf.maximum(width, wide)
    fits = (height >= 1) & (width >= 1) & (pixels <= max_pixels)
    text = (
        f"{name} must be images of 1 to {max_pixels} pixels, before and after they are resized to "
        f"{preprocessing.size[0]}x{preprocessing.size[1]}, got height"
    )
    first = tf.stack([heights, widths], -1)
    wrong = tf.boolean_mask(first, ~fits)[:1]
    return [require(tf.reduce_all(fits), text, wrong[:, 0], "and width", wrong[:, 1])]


def _resized(preprocessing: Preprocessing, height: Any, width: Any) -> tuple[Any, Any]:
    """Height and width, as floats, of what an image is resized to."""
    tall, wide = map(float, preprocessing.size)
    if preprocessing.crop is None:
        return tall, wide
    larger = tf.maximum if tf.is_tensor(height) else max
    # The shorter side is given: a very narrow image becomes very long.
    factor = larger(tall / height, wide / width) / preprocessing.crop
    return height * factor, width * factor


def _check_range(name: str, image: tf.Tensor, preprocessing: Preprocessing) -> tf.Tensor:
    """A tensor that fails where a pixel is out of range; what came is computed only then."""
    low, high = preprocessing.value_range or (0.0, 255.0)
    fits = tf.reduce_all((image >= low) & (image <= high))  # Neither holds for NaN.

    def fail() -> tf.Tensor:
        finite = tf.boolean_mask(image, tf.math.is_finite(image))
        range_of = tf.reduce_min(finite), "to", tf.reduce_max(finite)
        others = "and values that are not finite:", tf.size(image) - tf.size(finite)
        text = f"{name} must have finite pixels in [{low:g}, {high:g}], got"
        with tf.control_dependencies([require(fits, text, *range_of, *others)]):
            return tf.constant(False)

    return tf.cond(fits, lambda: tf.constant(True), fail)
