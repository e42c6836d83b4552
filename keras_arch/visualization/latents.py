"""Pictures of a latent space: interpolations and vector arithmetic."""

import dataclasses
import os
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_arch.errors import ArgumentError, checked_seed, whole_number
from keras_arch.registry import LATENTS
from keras_arch.trainers.checks import output_range
from keras_arch.trainers.inference import forward
from keras_arch.trainers.players import Noise
from keras_arch.visualization.annotations import annotate
from keras_arch.visualization.figures import grid, save_png

# Amplitude of the noise around a sum in figure 7 of the DCGAN paper.
AROUND = 0.25
_BATCH = 64


@dataclasses.dataclass(frozen=True)
class LatentPicture:
    """Points of a latent space and their images.

    Attributes:
        latents: `(n, latent_size)`, in the order of the images.
        images: `uint8` `(n, height, width, channels)`.
        sheet: The picture, `uint8` `(height, width, channels)`; `visualization.save_png` writes it.
    """

    latents: np.ndarray
    images: np.ndarray
    sheet: np.ndarray


def interpolate(start: Any, end: Any, steps: int, latent: str = "normal") -> np.ndarray:
    """Interpolate between two latents, both included.

    Source: White 2016 (Sampling Generative Networks), section 2.1: between points of N(0, 1) along
    the great circle, since a straight line passes through lengths that the generator never saw.
    Uniform latents fill a cube, which holds the straight line between its points.

    Args:
        start: `(latent_size,)`.
        end: `(latent_size,)`.
        steps: Number of points, at least 2.
        latent: `"normal"` for the great circle; `"uniform"` or `"uniform01"` for the straight line.

    Returns:
        `(steps, latent_size)`, float32.

    Raises:
        ArgumentError: If there are fewer than 2 steps or the shapes differ.

    Example:
        >>> interpolate([1.0, 0.0], [0.0, 1.0], 3).round(3).tolist()
        [[1.0, 0.0], [0.7070000171661377, 0.7070000171661377], [0.0, 1.0]]
    """
    if latent not in LATENTS:
        raise ArgumentError(f"latent must be one of {', '.join(LATENTS)}, got {latent!r}")
    start, end = np.asarray(start, np.float64), np.asarray(end, np.float64)
    if start.ndim != 1 or start.shape != end.shape:
        raise ArgumentError(
            f"latents must be vectors of one length, got shapes {start.shape} and {end.shape}"
        )
    share = np.linspace(0, 1, whole_number("steps", steps, 2))[:, None]
    lengths = np.linalg.norm(start) * np.linalg.norm(end)
    angle = np.arccos(np.clip(start @ end / lengths, -1, 1)) if lengths else 0.0
    # Parallel or opposite latents define no great circle.
    if latent != "normal" or np.sin(angle) < 1e-6:
        points = (1 - share) * start + share * end
    else:
        points = np.sin((1 - share) * angle) * start + np.sin(share * angle) * end
        points /= np.sin(angle)
    return points.astype(np.float32)


def latent_walk(
    generator: Callable[..., Any],
    latent_size: int,
    *,
    rows: int = 8,
    steps: int = 10,
    latent: str = "normal",
    label: int | None = None,
    seed: int = 0,
    value_range: tuple[float, float] | None = None,
    path: str | os.PathLike[str] | None = None,
) -> LatentPicture:
    """Draw walks through latent space, one a row; smooth changes speak against memorization.

    Source: Radford et al. 2015 (DCGAN), section 6.1 and figure 4.

    Args:
        generator: A `keras.Model` from a latent, or `[latent, label]`, to images; or any function
            from latents `(n, latent_size)` (and labels `(n,)`) to images
            `(n, height, width, 1 or 3)`.
        latent_size: Length of a latent.
        rows: Number of walks.
        steps: Images of a walk, its ends included.
        latent: `"normal"` for N(0, 1), walked along great circles; `"uniform"` for U(-1, 1) and
            `"uniform01"` for U(0, 1), walked straight.
        label: For a conditional generator, the label of all images.
        seed: Seed of the ends.
        value_range: Darkest and brightest value of float images, such as (-1, 1). Not needed for
            `uint8` images and for models that end in tanh or sigmoid.
        path: A PNG file for the sheet, or `None`.

    Returns:
        Latents and images, row by row, and the sheet.

    Raises:
        ArgumentError: If a number is not positive or the range is not known.

    Example:
        >>> from keras_arch import models
        >>> generator = models.DCGANGenerator(image_shape=(16, 16, 1), filters=4)
        >>> latent_walk(generator, 100, rows=2, steps=5).images.shape
        (10, 16, 16, 1)
    """
    latent_size, rows = whole_number("latent_size", latent_size), whole_number("rows", rows)
    noise = Noise((latent_size,), latent)
    ends = keras.ops.convert_to_numpy(
        noise.draw(2 * rows, keras.random.SeedGenerator(checked_seed(seed)))
    )
    latents = np.concatenate(
        [interpolate(*pair, steps, latent) for pair in ends.reshape(rows, 2, latent_size)]
    )
    images = _generate(generator, latents, label, value_range)
    sheet = grid(images, columns=steps, enlarge=True)
    if path is not None:
        save_png(sheet, path)
    return LatentPicture(latents, images, sheet)


def vector_arithmetic(
    generator: Callable[..., Any],
    a: Any,
    b: Any,
    c: Any,
    *,
    label: int | None = None,
    seed: int = 0,
    value_range: tuple[float, float] | None = None,
    path: str | os.PathLike[str] | None = None,
) -> LatentPicture:
    """Draw vector arithmetic of concepts: mean(a) - mean(b) + mean(c), and points around it.

    Source: Radford et al. 2015 (DCGAN), section 6.3.2 and figure 7. A single latent is unstable;
    the mean of about three whose images show the concept is not.

    Args:
        generator: As for `latent_walk`.
        a: Latents of a first concept `(n, latent_size)`, for example smiling women.
        b: Latents to subtract, as many: neutral women.
        c: Latents to add, as many: neutral men.
        label: For a conditional generator, the label of all images.
        seed: Seed of the noise U(-0.25, 0.25) around the sum.
        value_range: As for `latent_walk`.
        path: A PNG file for the sheet, or `None`.

    Returns:
        Latents and images: the n of a, of b and of c, the three means, the sum, and eight points
        around it. The sheet has columns of a, −b and +c over their means, and the sum on the right.

    Raises:
        ArgumentError: If the shapes of a, b and c differ or the range is not known.

    Example:
        >>> from keras_arch import models
        >>> generator = models.DCGANGenerator(image_shape=(16, 16, 1), filters=4)
        >>> a, b, c = np.random.default_rng(0).normal(size=(3, 3, 100))
        >>> vector_arithmetic(generator, a, b, c).images.shape
        (21, 16, 16, 1)
    """
    concepts = [np.asarray(latents, np.float32) for latents in (a, b, c)]
    shapes = [latents.shape for latents in concepts]
    if len(set(shapes)) != 1 or len(shapes[0]) != 2 or not shapes[0][0]:
        raise ArgumentError(
            "a, b and c must be latents of one shape (n, latent_size), got shapes "
            f"{shapes[0]}, {shapes[1]} and {shapes[2]}"
        )
    count, size = shapes[0]
    means = np.stack([latents.mean(axis=0) for latents in concepts])
    total = means[0] - means[1] + means[2]
    noise = np.random.default_rng(seed).uniform(-AROUND, AROUND, (8, size))
    latents = np.concatenate([*concepts, means, total[None], total + noise]).astype(np.float32)
    images = _generate(generator, latents, label, value_range)

    # Three columns of n and a mean, an empty one, and the 3x3 block of the sum.
    rows = max(count + 1, 3)
    cells = np.full((rows, 7, *images.shape[1:]), 255, np.uint8)
    for column in range(3):
        cells[:count, column] = images[column * count : (column + 1) * count]
        cells[rows - 1, column] = images[3 * count + column]
    center, around = images[3 * count + 3], images[3 * count + 4 :]
    block = np.concatenate([around[:4], center[None], around[4:]])
    top = (rows - 3) // 2
    cells[top : top + 3, 4:] = block.reshape(3, 3, *images.shape[1:])
    sheet = annotate(
        grid(cells.reshape(-1, *images.shape[1:]), columns=7, enlarge=True),
        titles=["a", "− b", "+ c", "", "", "= a − b + c", ""],
        note="last row: the means of a, b and c; around the sum: points near it",
    )
    if path is not None:
        save_png(sheet, path)
    return LatentPicture(latents, images, sheet)


def _generate(
    generator: Callable[..., Any],
    latents: np.ndarray,
    label: int | None,
    value_range: tuple[float, float] | None,
) -> np.ndarray:
    """Generate images as `uint8`."""
    network = isinstance(generator, keras.Model)
    if value_range is None and network:
        value_range = output_range(generator)
    if network and (len(generator.inputs) == 2) != (label is not None):
        raise ArgumentError(
            f"{generator.name} takes {'a label; give one' if label is None else 'no label'}"
        )
    parts = []
    for first in range(0, len(latents), _BATCH):
        part = latents[first : first + _BATCH]
        inputs = [part] if label is None else [part, np.full(len(part), label, np.int32)]
        if network:
            parts.append(forward(generator, inputs if len(inputs) > 1 else part))
        else:
            parts.append(keras.ops.convert_to_numpy(generator(*inputs)))
    images = np.concatenate(parts)
    if images.dtype == np.uint8:
        return images
    if value_range is None:
        raise ArgumentError(
            f"the generator gives {images.dtype} images; give their range, such as "
            "value_range=(-1, 1)"
        )
    low, high = value_range
    if not low < high:
        raise ArgumentError(f"value_range must be (darkest, brightest), got {value_range!r}")
    return np.clip(np.rint((images - low) * (255 / (high - low))), 0, 255).astype(np.uint8)
