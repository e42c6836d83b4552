"""Differentiable augmentation (DiffAugment) for training a GAN on few images.

Source: Zhao et al. 2020, "Differentiable Augmentation for Data-Efficient GAN Training". All images
that the discriminator gets, real and generated, are augmented at random, in its own update and in
the generator's, whose gradient passes through the augmentation. The ranges are those of the
authors' code.

The random numbers are arguments, U(0, 1) for each example, so that the trainer's seed is the only
source of randomness. Images and their conditions get the same numbers where they must move
together.
"""

from collections.abc import Callable, Mapping
from typing import Any

from keras import ops

from keras_arch.errors import ArgumentError
from keras_arch.losses.adversarial import full_precision

# Shifts reach this part of the height and width, and the cut is this part of them.
TRANSLATION = 0.125
CUTOUT = 0.5

_COLOR = ("brightness", "saturation", "contrast")


def steps(policy: str) -> tuple[str, ...]:
    """The steps of a policy, checked.

    - `color`: brightness + U(-1/2, 1/2); saturation (the distance from each pixel's mean over the
      channels) x U(0, 2); contrast (the distance from the image's mean) x U(1/2, 3/2).
    - `translation`: down and to the right by whole pixels, from -1/8 to 1/8 of the side each.
    - `cutout`: a rectangle of half the height and half the width anywhere in the image, less of it
      at the border.

    Args:
        policy: Such names, joined by commas; they are applied in this order. The paper's
            strongest is `"color,translation,cutout"`.

    Raises:
        ArgumentError: If one is unknown or comes twice, or there is none.

    Example:
        >>> steps("color,cutout")
        ('color', 'cutout')
    """
    names = tuple(name.strip() for name in policy.split(","))
    if unknown := [name for name in names if name not in _STEPS]:
        raise ArgumentError(
            f"a policy of augmentation has the steps {', '.join(_STEPS)}, joined by commas; "
            f"{policy!r} has {unknown[0]!r}"
        )
    if len(set(names)) < len(names):
        raise ArgumentError(f"policy {policy!r} names the same augmentation twice")
    return names


def noise(policy: str, image_shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """Shapes of an example's random numbers from U(0, 1), by name, that a policy takes.

    Args:
        policy: As for `steps`.
        image_shape: `(height, width, channels)`, all known.

    Raises:
        ArgumentError: If the policy or the shape is not of this kind.

    Example:
        >>> noise("color,translation", (32, 32, 3))["translation"]
        (2,)
    """
    if len(image_shape) != 3 or not all(isinstance(side, int) for side in image_shape):
        raise ArgumentError(
            "differentiable augmentation takes images of a fixed (height, width, channels), got "
            f"{tuple(image_shape)}"
        )
    return {name: shape for step in steps(policy) for name, shape in _NUMBERS[step].items()}


def apply(policy: str, images: Any, numbers: Mapping[str, Any]) -> Any:
    """Augment each image of a batch by its own numbers.

    Args:
        policy: As for `steps`.
        images: `(batch, height, width, channels)` in [-1, 1]; height and width must be known.
        numbers: For each name that `noise` gives, `(batch, *shape)` numbers in [0, 1).

    Returns:
        Images of the same shape and dtype. Colours may leave [-1, 1]; what is shifted in or cut
        out is 0, the middle grey.

    Raises:
        ArgumentError: If the policy is not one, or numbers that it needs are not given.

    Example:
        >>> middle = {"cutout": ops.array([[0.5, 0.5]])}
        >>> cut = apply("cutout", ops.ones((1, 8, 8, 1)), middle)  # the middle 4 x 4
        >>> float(ops.sum(cut))
        48.0
    """
    images = ops.convert_to_tensor(images)
    given = images.dtype
    wanted = noise(policy, tuple(images.shape[1:]))
    if missing := [name for name in wanted if name not in numbers]:
        raise ArgumentError(
            f"policy {policy!r} needs numbers for {', '.join(wanted)}; {missing[0]!r} is missing"
        )
    images = full_precision(images)  # For the means over an image.
    for step in steps(policy):
        images = _STEPS[step](images, {name: numbers[name] for name in _NUMBERS[step]})
    return ops.cast(images, given)


def _color(images: Any, numbers: Mapping[str, Any]) -> Any:
    brightness, saturation, contrast = (ops.cast(numbers[name], images.dtype) for name in _COLOR)
    images = images + (brightness - 0.5)
    grey = ops.mean(images, axis=3, keepdims=True)
    images = grey + (images - grey) * (2.0 * saturation)
    mean = ops.mean(images, axis=(1, 2, 3), keepdims=True)
    return mean + (images - mean) * (contrast + 0.5)


def _translation(images: Any, numbers: Mapping[str, Any]) -> Any:
    rows, columns = (numbers["translation"][:, axis] for axis in (0, 1))
    shifted = _shift(images, rows)
    return ops.swapaxes(_shift(ops.swapaxes(shifted, 1, 2), columns), 1, 2)


def _shift(images: Any, uniform: Any) -> Any:
    """Shift each image along its rows, of `(batch, rows, columns, channels)`."""
    side, columns, channels = images.shape[1:]
    most = int(side * TRANSLATION + 0.5)
    padded = ops.pad(images, [(0, 0), (most, most), (0, 0), (0, 0)])
    # Where each row of the result lies in the padded image, and then in the whole batch: whole
    # rows are gathered, which is many times as quick as pixels, in the gradient too.
    places = ops.arange(side)[None] + 2 * most - _integers(uniform, 2 * most + 1)
    places = places + ops.arange(ops.shape(images)[0])[:, None] * (side + 2 * most)
    rows = ops.reshape(padded, (-1, columns * channels))
    found = ops.take(rows, ops.reshape(places, (-1,)), axis=0)
    return ops.reshape(found, (-1, side, columns, channels))


def _cutout(images: Any, numbers: Mapping[str, Any]) -> Any:
    inside = []
    for axis, side in enumerate(images.shape[1:3]):
        size = int(side * CUTOUT + 0.5)
        # One place more where the size is even: its middle lies between two pixels.
        middle = _integers(numbers["cutout"][:, axis], side + 1 - size % 2)
        distance = ops.arange(side)[None] - (middle - size // 2)
        inside.append(ops.logical_and(distance >= 0, distance < size))
    cut = ops.logical_and(inside[0][:, :, None, None], inside[1][:, None, :, None])
    return images * ops.cast(ops.logical_not(cut), images.dtype)


def _integers(uniform: Any, count: int) -> Any:
    """`(batch, 1)` integers below `count` from `(batch,)` numbers in [0, 1)."""
    scaled = ops.floor(ops.cast(uniform, "float32") * count)
    # Rounding takes a number just below 1 to `count` itself.
    return ops.cast(ops.minimum(scaled, count - 1), "int32")[:, None]


_STEPS: dict[str, Callable[[Any, Mapping[str, Any]], Any]] = {
    "color": _color,
    "translation": _translation,
    "cutout": _cutout,
}
_NUMBERS: dict[str, dict[str, tuple[int, ...]]] = {
    "color": dict.fromkeys(_COLOR, (1, 1, 1)),
    "translation": {"translation": (2,)},
    "cutout": {"cutout": (2,)},
}
