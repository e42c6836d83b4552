"""Grad-CAM of classifiers, on every Keras backend."""

import os
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_arch import models
from keras_arch.errors import ArgumentError
from keras_arch.layers import recursion_limit
from keras_arch.models.common.features import flatten, layer_outputs
from keras_arch.visualization.figures import new_figure, save_figure

# Opacity of an overlay at the maximum.
_OPACITY = 0.6
# Height in pixels that small images are enlarged to.
_READABLE = 224


def grad_cam(
    model: keras.Model,
    images: Any,
    classes: Sequence[int] | None = None,
    *,
    layer: str | None = None,
) -> np.ndarray:
    """Compute the Grad-CAM heatmap of a class for each image.

    Selvaraju et al. 2017 (Grad-CAM), equations 1 and 2: the maps of a layer, weighted by the mean
    gradient of the class's score (before the softmax) in them, summed and rectified; then enlarged
    to the image by bilinear interpolation.

    Args:
        model: A functional or sequential classifier from one image to logits or probabilities (or
            to one output, of the second of two classes); there may be a model inside it, such as a
            backbone.
        images: `(n, height, width, channels)`, preprocessed.
        classes: One class for each image, as numbers. Default: the predicted ones.
        layer: Name of the layer with the maps. Default: the last stage of `models.features`, or
            the last layer with maps if no stage is named.

    Returns:
        `float32` `(n, height, width)`, 0 or more, in the units of the score.

    Raises:
        ArgumentError: If the model has no such layer or the layer no maps, a path to the score
            bypasses it, or a class is out of range.

    Example:
        >>> model = models.CIFARResNet(depth=8, input_shape=(16, 16, 1))
        >>> grad_cam(model, np.zeros((2, 16, 16, 1)), [3, 7]).shape
        (2, 16, 16)
    """
    images = np.asarray(images, np.float32)
    model = flatten(model)
    maps = _maps(model, layer)
    scores = _scores(model)
    with recursion_limit():
        lower = keras.Model(model.input, maps)
        try:
            upper = keras.Model(maps, scores)
        except ValueError:
            raise ArgumentError(
                f"not all paths from the image to the score of {model.name} lead through "
                f"{layer!r}; give the end of a stage, or leave layer out"
            ) from None
    activations = lower(images, training=False)
    # One output is the score of the second of two classes, and against the first.
    single = scores.shape[-1] == 1
    count = 2 if single else scores.shape[-1]

    def scores_of(maps: Any) -> Any:
        found = upper(maps, training=False)
        return ops.concatenate([-found, found], axis=-1) if single else found

    if classes is None:
        classes = ops.convert_to_numpy(ops.argmax(scores_of(activations), axis=-1))
    chosen = np.asarray(classes)
    if chosen.shape != (len(images),) or not np.issubdtype(chosen.dtype, np.integer):
        raise ArgumentError(
            f"classes must be one number for each of {len(images)} images, got {classes!r}"
        )
    beyond = chosen[(chosen < 0) | (chosen >= count)]
    if len(beyond):
        raise ArgumentError(f"{model.name} has classes 0 to {count - 1}, got {beyond[0]}")
    wanted = ops.one_hot(chosen, count)

    def score(maps: Any) -> Any:
        # Images are independent, so that the sum has the gradients of all scores.
        return ops.sum(scores_of(maps) * wanted)

    weights = ops.mean(_gradient(score, activations), axis=(1, 2), keepdims=True)
    heat = ops.relu(ops.sum(weights * activations, axis=-1, keepdims=True))
    heat = ops.image.resize(
        heat, images.shape[1:3], interpolation="bilinear", data_format="channels_last"
    )
    return ops.convert_to_numpy(heat)[..., 0]


def overlay_heatmap(pixels: Any, heat: Any) -> np.ndarray:
    """Overlay a heatmap on an image: unchanged at 0, blue to red with rising values.

    Args:
        pixels: `uint8` `(height, width, 1 or 3)`.
        heat: `(height, width)`, 0 or more; it is divided by its maximum.

    Returns:
        `uint8` `(height, width, 3)`.

    Raises:
        ArgumentError: If the sizes differ.

    Example:
        >>> overlay_heatmap(np.full((4, 4, 1), 100, "uint8"), np.eye(4))[0, 1].tolist()
        [100, 100, 100]
    """
    from matplotlib import colormaps

    pixels, heat = _check_sizes(pixels, np.asarray(heat, np.float64))
    part = heat / heat.max() if heat.max() > 0 else heat
    colors = colormaps["turbo"](part)[..., :3] * 255
    cover = _OPACITY * np.sqrt(part)[..., None]
    return np.rint((1 - cover) * pixels + cover * colors).astype(np.uint8)


def draw_explanation(
    pixels: Any,
    heat: Any,
    title: str,
    path: str | os.PathLike[str],
    *,
    note: tuple[str, str] | None = None,
) -> Path:
    """Draw an image beside the same image with its heatmap.

    Args:
        pixels: `uint8` `(height, width, 1 or 3)`; small images are enlarged.
        heat: `(height, width)`, as from `grad_cam`.
        title: Title, such as the class.
        path: The PNG file to write; it is returned.
        note: As for `save_png`.

    Raises:
        ArgumentError: If the sizes differ.

    Example:
        >>> draw_explanation(np.zeros((8, 8, 3), "uint8"), np.ones((8, 8)), "cat", "cat.png").name
        'cat.png'
    """
    from PIL import Image

    pixels, heat = _check_sizes(pixels, np.asarray(heat, np.float32))
    factor = max(1, -(-_READABLE // heat.shape[0]))
    # Pixels are repeated, the heatmap is interpolated.
    large = pixels.repeat(factor, axis=0).repeat(factor, axis=1)
    size = (heat.shape[1] * factor, heat.shape[0] * factor)
    smooth = np.asarray(Image.fromarray(heat).resize(size, Image.Resampling.BILINEAR))
    figure = new_figure(2 * size[0] / 100 + 0.4, size[1] / 100 + 0.5)
    for place, image in enumerate((large, overlay_heatmap(large, smooth)), start=1):
        axes = figure.add_subplot(1, 2, place)
        axes.imshow(np.broadcast_to(image, (*image.shape[:2], 3)))
        axes.set_axis_off()
    figure.suptitle(textwrap.fill(title, max(20, 2 * size[0] // 8)), fontsize=9)
    return save_figure(figure, path, note=note)


def _check_sizes(pixels: Any, heat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    pixels = np.asarray(pixels)
    if pixels.shape[:2] != heat.shape:
        raise ArgumentError(f"the image is {pixels.shape[:2]} pixels, the heatmap {heat.shape}")
    return pixels, heat


def _maps(model: keras.Model, layer: str | None) -> Any:
    outputs = layer_outputs(model)
    if layer is None:
        try:
            return list(models.features(model).output.values())[-1]
        except ArgumentError:
            found = [name for name in outputs if _has_maps(model, name, outputs)]
            if not found:
                raise ArgumentError(f"no layer of {model.name} has maps") from None
            return outputs[found[-1]]
    if layer not in {one.name for one in model.layers}:
        raise ArgumentError(
            f"{model.name} has no layer {layer!r}; keras-arch show lists the layers of a model"
        )
    if not _has_maps(model, layer, outputs):
        raise ArgumentError(
            f"layer {layer!r} of {model.name} has no maps (height, width, channels)"
        )
    return outputs[layer]


def _has_maps(model: keras.Model, layer: str, outputs: Mapping[str, Any]) -> bool:
    inner = not isinstance(model.get_layer(layer), keras.layers.InputLayer)
    return inner and layer in outputs and len(outputs[layer].shape) == 4


def _scores(model: keras.Model) -> Any:
    """Scores of the classes before the softmax, as a tensor of the model's graph."""
    if len(model.outputs) != 1 or len(model.outputs[0].shape) != 2:
        raise ArgumentError(
            f"{model.name} has outputs {[tuple(output.shape) for output in model.outputs]}; "
            "Grad-CAM takes a classifier with one output (batch, classes)"
        )
    history = model.outputs[0]._keras_history
    last = history.operation
    given = last._inbound_nodes[history.node_index].input_tensors[0]
    activation = getattr(getattr(last, "activation", None), "__name__", "")
    if isinstance(last, keras.layers.Softmax):
        return given
    if isinstance(last, keras.layers.Activation) and activation in ("softmax", "sigmoid", "linear"):
        return given
    if isinstance(last, keras.layers.Dense) and activation in ("softmax", "sigmoid"):
        score = ops.matmul(given, last.kernel)
        return score + last.bias if last.use_bias else score
    return model.outputs[0]


def _gradient(function: Callable[[Any], Any], at: Any) -> Any:
    """Gradient of a scalar with respect to a tensor on the current backend."""
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
