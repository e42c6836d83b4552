"""The first bias of a generator's output: the mean image."""

from typing import Any

import keras
import numpy as np

from keras_arch.errors import ArgumentError

# A pixel that is 0 or 1 in all images would need an infinite bias; the limit is that of the
# authors' code.
LEAST = 1e-7


def start_at_mean_image(generator: keras.Model, mean_image: Any) -> None:
    """Set the output's bias of a fully connected generator, so that the mean image comes out.

    Source: the training file of the first GAN (github.com/goodfeli/adversarial, `mnist.yaml`):
    the last bias starts as the logit of each pixel's mean, held to [1e-7, 1 - 1e-7].

    Args:
        generator: A new `GANGenerator` or `CGANGenerator` with a sigmoid at its end.
        mean_image: The mean of the training images in [0, 1], of the shape of one image, as of
            `keras_arch.data.mean_image`.

    Raises:
        ArgumentError: If the generator has no such layer, or if the mean has another shape, is not
            finite or is outside [0, 1].

    Example:
        >>> import numpy as np
        >>> from keras_arch import models
        >>> generator = models.GANGenerator("mnist")
        >>> models.start_at_mean_image(generator, np.full((28, 28, 1), 0.5))
        >>> float(generator.get_layer("pixels").bias[0])
        0.0
    """
    names = {layer.name: layer for layer in generator.layers}
    layer, output = names.get("pixels"), names.get("output")
    dense = isinstance(layer, keras.layers.Dense) and layer.use_bias
    activation = getattr(getattr(output, "activation", None), "__name__", None)
    if not dense or activation != "sigmoid":
        raise ArgumentError(
            f"{generator.name} has no dense layer with a bias for each pixel before a sigmoid: "
            "only GANGenerator and CGANGenerator with a sigmoid can start at the mean image"
        )
    mean = np.asarray(mean_image, np.float64)
    shape = tuple(generator.outputs[0].shape[1:])
    if mean.shape != shape:
        raise ArgumentError(f"mean_image has the shape {mean.shape}, the generator's is {shape}")
    if not (np.isfinite(mean).all() and mean.min() >= 0.0 and mean.max() <= 1.0):
        raise ArgumentError(
            "mean_image must be finite and in [0, 1], the range of the generator's sigmoid, got "
            f"[{mean.min():g}, {mean.max():g}]"
        )
    mean = mean.clip(LEAST, 1.0 - LEAST).ravel()
    layer.bias.assign((np.log(mean) - np.log1p(-mean)).astype("float32"))
