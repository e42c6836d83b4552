"""Where a classifier looks: Grad-CAM, on every Keras backend."""

import os
import re
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_arch import models, visualization
from keras_arch.errors import ArgumentError
from keras_arch.layers import recursion_limit

# How much of an overlay the heat covers where it is hottest.
_COVER = 0.6
# Height in pixels that small images are enlarged to.
_READABLE = 224


def grad_cam(
    model: keras.Model,
    images: Any,
    classes: Sequence[int] | None = None,
    *,
    layer: str | None = None,
) -> np.ndarray:
    """What speaks for a class in each image, as a map of heat.

    Selvaraju et al. 2017 (Grad-CAM), equations 1 and 2: the maps of a layer, weighted by the mean
    gradient of the class's score (before the softmax) in them, summed and rectified; then enlarged
    to the image by bilinear interpolation.

    Args:
        model: A functional or sequential classifier from one image to logits or probabilities.
        images: `(n, height, width, channels)`, preprocessed as the model takes them.
        classes: One class for each image, as numbers. Default: the predicted ones.
        layer: Name of the layer whose maps are taken. Default: the last stage of
            `models.features`, or the last layer with maps where no stage is named.

    Returns:
        `float32` `(n, height, width)`, 0 or more, in the units of the score: scale each map by its
        maximum to look at it.

    Raises:
        ArgumentError: If the model has no such layer or the layer no maps, the way to the score
            leads past it, or a class is none of the model's.

    Example:
        >>> model = models.CIFARResNet(depth=8, input_shape=(16, 16, 1))
        >>> grad_cam(model, np.zeros((2, 16, 16, 1)), [3, 7]).shape
        (2, 16, 16)
    """
    images = np.asarray(images, np.float32)
    if isinstance(model, keras.Sequential):
        model = keras.Model(model.inputs[0], model.outputs[0], name=model.name)
    maps = _maps(model, layer)
    scores = _scores(model)
    with recursion_limit():
        lower = keras.Model(model.input, maps)
        try:
            upper = keras.Model(maps, scores)
        except ValueError:
            raise ArgumentError(
                f"not all ways from the image to the score of {model.name} lead through "
                f"{layer!r}; give the end of a stage, or leave layer out"
            ) from None
    activations = lower(images, training=False)
    if classes is None:
        chosen = ops.convert_to_numpy(ops.argmax(upper(activations, training=False), axis=-1))
    else:
        chosen = np.asarray(classes)
    count = scores.shape[-1]
    if chosen.shape != (len(images),) or not np.issubdtype(chosen.dtype, np.integer):
        raise ArgumentError(
            f"classes must be one number for each of {len(images)} images, got {classes!r}"
        )
    beyond = chosen[(chosen < 0) | (chosen >= count)]
    if len(beyond):
        raise ArgumentError(f"{model.name} has classes 0 to {count - 1}, got {beyond[0]}")
    wanted = ops.one_hot(chosen, count)

    def score(maps: Any) -> Any:
        # No image changes another one's score, so that the sum has the gradients of all.
        return ops.sum(upper(maps, training=False) * wanted)

    weights = ops.mean(_gradient(score, activations), axis=(1, 2), keepdims=True)
    heat = ops.relu(ops.sum(weights * activations, axis=-1, keepdims=True))
    heat = ops.image.resize(
        heat, images.shape[1:3], interpolation="bilinear", data_format="channels_last"
    )
    return ops.convert_to_numpy(heat)[..., 0]


def overlay_heatmap(pixels: Any, heat: Any) -> np.ndarray:
    """An image with heat over it: unchanged where it is cold, blue to red as it gets hotter.

    Args:
        pixels: `uint8` `(height, width, 1 or 3)`.
        heat: `(height, width)`, 0 or more; the maximum is shown as the hottest.

    Returns:
        `uint8` `(height, width, 3)`.

    Raises:
        ArgumentError: If the two do not have one size.

    Example:
        >>> picture = np.full((4, 4, 1), 100, "uint8")
        >>> overlay_heatmap(picture, np.eye(4))[0, 1].tolist()  # cold
        [100, 100, 100]
    """
    from matplotlib import colormaps

    pixels, heat = np.asarray(pixels), np.asarray(heat, np.float64)
    if pixels.shape[:2] != heat.shape:
        raise ArgumentError(f"the image is {pixels.shape[:2]} pixels, the heat {heat.shape}")
    part = heat / heat.max() if heat.max() > 0 else heat
    colours = colormaps["turbo"](part)[..., :3] * 255
    cover = _COVER * np.sqrt(part)[..., None]
    mixed = (1 - cover) * pixels + cover * colours
    return np.rint(mixed).astype(np.uint8)


def draw_explanation(pixels: Any, heat: Any, title: str, path: str | os.PathLike[str]) -> Path:
    """Draw an image as a network sees it beside the same image with heat over it.

    Args:
        pixels: `uint8` `(height, width, 1 or 3)`; small images are enlarged.
        heat: `(height, width)`, as `grad_cam` gives it.
        title: What the heat speaks for.
        path: The PNG file to write.

    Returns:
        The path.

    Raises:
        ArgumentError: If the two do not have one size.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = f"{folder}/cat_explained.png"
        ...     draw_explanation(np.zeros((8, 8, 3), "uint8"), np.ones((8, 8)), "cat", path).name
        'cat_explained.png'
    """
    from PIL import Image

    pixels, heat = np.asarray(pixels), np.asarray(heat, np.float32)
    if pixels.shape[:2] != heat.shape:
        raise ArgumentError(f"the image is {pixels.shape[:2]} pixels, the heat {heat.shape}")
    factor = max(1, -(-_READABLE // heat.shape[0]))
    # Pixels stay square, the heat smooth.
    large = pixels.repeat(factor, axis=0).repeat(factor, axis=1)
    size = (heat.shape[1] * factor, heat.shape[0] * factor)
    smooth = np.asarray(Image.fromarray(heat).resize(size, Image.Resampling.BILINEAR))
    figure = visualization.blank(2 * size[0] / 100 + 0.4, size[1] / 100 + 0.5)
    for place, image in enumerate((large, overlay_heatmap(large, smooth)), start=1):
        axes = figure.add_subplot(1, 2, place)
        axes.imshow(np.broadcast_to(image, (*image.shape[:2], 3)))
        axes.set_axis_off()
    figure.suptitle(textwrap.fill(title, max(20, 2 * size[0] // 8)), fontsize=9)
    return visualization.save_figure(figure, path)


def _maps(model: keras.Model, layer: str | None) -> Any:
    """The output of the layer whose maps are looked at."""
    if layer is None:
        try:
            return list(models.features(model).output.values())[-1]
        except ArgumentError:
            found = [one for one in model.layers if _has_maps(one)]
            if not found:
                raise ArgumentError(f"no layer of {model.name} has maps") from None
            return found[-1].output
    named = {one.name: one for one in model.layers}
    if layer not in named:
        raise ArgumentError(
            f"{model.name} has no layer {layer!r}; keras-arch show lists the layers of a model"
        )
    if not _has_maps(named[layer]):
        raise ArgumentError(
            f"layer {layer!r} of {model.name} has no maps (height, width, channels)"
        )
    return named[layer].output


def _has_maps(layer: keras.layers.Layer) -> bool:
    output = getattr(layer, "output", None)
    inner = not isinstance(layer, keras.layers.InputLayer)
    return inner and isinstance(output, keras.KerasTensor) and len(output.shape) == 4


def _scores(model: keras.Model) -> Any:
    """The classes' scores before the softmax, as a tensor of the model's graph."""
    if len(model.outputs) != 1 or len(model.outputs[0].shape) != 2:
        raise ArgumentError(
            f"{model.name} has outputs {[tuple(output.shape) for output in model.outputs]}; "
            "Grad-CAM takes a classifier with one output (batch, classes)"
        )
    output = model.outputs[0]
    last = output._keras_history.operation
    softmax = isinstance(last, keras.layers.Softmax)
    if isinstance(last, keras.layers.Activation) or softmax:
        if softmax or re.fullmatch("softmax|sigmoid|linear", last.activation.__name__):
            return last.input
    elif isinstance(last, keras.layers.Dense) and last.activation is keras.activations.softmax:
        score = ops.matmul(last.input, last.kernel)
        return score + last.bias if last.use_bias else score
    return output


def _gradient(function: Callable[[Any], Any], at: Any) -> Any:
    """The gradient of a number in a tensor, by the backend at work."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(at)
            value = function(at)
        return tape.gradient(value, at)
    if backend == "jax":
        import jax

        return jax.grad(function)(at)
    import torch

    at = at.detach().requires_grad_(True)
    return torch.autograd.grad(function(at), at)[0].detach()
