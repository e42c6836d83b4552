"""Serving signatures of generators."""

import keras
import tensorflow as tf

from keras_arch.export import request_checks
from keras_arch.export import signatures as shared
from keras_arch.export.spec import ExportSpec, Servable
from keras_arch.trainers.inference import infer


def unconditional(model: keras.Model, spec: ExportSpec) -> Servable:
    """Latents, or a seed and a count, to images.

    Args:
        model: From latents `(batch, size)` to images.
        spec: With the latent's size and distribution.

    Returns:
        The signatures `serving_default` (input `latent`) and `generate` (`seed` and `count`).
    """
    size, distribution = spec.latent["size"], spec.latent["distribution"]
    module = shared.module_of(model)
    outputs = shared.image_outputs(module, spec.preprocessing)

    def on_latents(latent: tf.Tensor) -> shared.Outputs:
        return outputs(infer(model, latent))

    def generate(seed: tf.Tensor, count: tf.Tensor) -> shared.Outputs:
        return outputs(infer(model, _draw(seed, count, size, distribution)))

    seeded = {"seed": request_checks.seeds(), "count": request_checks.counts()}
    return shared.servable(
        module,
        spec,
        serving_default=(on_latents, {"latent": request_checks.latents(size)}),
        generate=(generate, seeded),
    )


def conditional(model: keras.Model, spec: ExportSpec) -> Servable:
    """Latents and labels, or a seed and labels, to images.

    Args:
        model: From `[latent, label]`, of shapes `(batch, size)` and `(batch,)`, to images.
        spec: With labels, and the latent's size and distribution. A request with a label outside
            the classes is refused.

    Returns:
        The signatures `serving_default` (inputs `latent` and `label`) and `generate` (`seed` and
        `label`).
    """
    size, distribution, classes = spec.latent["size"], spec.latent["distribution"], len(spec.labels)
    module = shared.module_of(model)
    module.labels = tf.saved_model.Asset(str(spec.labels_file))
    outputs = shared.image_outputs(module, spec.preprocessing)

    def on_latents(latent: tf.Tensor, label: tf.Tensor) -> shared.Outputs:
        return outputs(infer(model, [latent, label]))

    def generate(seed: tf.Tensor, label: tf.Tensor) -> shared.Outputs:
        return on_latents(_draw(seed, tf.shape(label)[0], size, distribution), label)

    labels = request_checks.labels(classes)
    return shared.servable(
        module,
        spec,
        serving_default=(on_latents, {"latent": request_checks.latents(size), "label": labels}),
        generate=(generate, {"seed": request_checks.seeds(), "label": labels}),
    )


def _draw(seed: tf.Tensor, count: tf.Tensor, size: int, distribution: str) -> tf.Tensor:
    """The latents that `trainers.sample` draws."""
    # Keras folds seeds into 31 bits in this way: the same seed gives the same images there.
    folded = tf.cast(tf.math.floormod(seed, tf.int32.max - 1), tf.int32)
    draw = {"shape": tf.stack([count, size]), "seed": tf.stack([folded, 0])}
    if distribution == "normal":
        return tf.random.stateless_normal(**draw)
    low = {"uniform": -1.0, "uniform01": 0.0}[distribution]
    return tf.random.stateless_uniform(**draw, minval=low, maxval=1.0)
