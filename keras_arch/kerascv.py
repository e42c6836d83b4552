"""KerasCV: import on first use, and its augmentation layers as functions of a seed.

KerasCV (the extra `kerascv`) is used for DeepLabV3+ (`keras_arch.models.DeepLabV3Plus`), for the
gallery of augmented images (`keras_arch.visualization.augmentation_gallery`) and for its
augmentation layers (`augmentation`). Nothing else of this package imports it.

Limits of KerasCV 0.9.0 on Keras 3.15, TensorFlow 2.21 and NumPy 2.4, as measured:

- `DeepLabV3Plus` takes height and width that are multiples of 32 only, cannot be traced with an
  open size, and has no XLA (`jit_compile=True` is switched off with a warning) and no
  `channels_first`. The saved model does not open in stock Keras. Of these limits
  `keras_arch.models.DeepLabV3Plus` has only that of the open size.
- Backbones with a size in their names (`ResNet50V2Backbone`, `MiTB0Backbone`, ...) and
  `SegFormerB0` to `B5` ask Kaggle for a preset even without weights, so they need a network. The
  general classes (`ResNetV2Backbone(stackwise_filters=...)`) do not.
- `CSPDarkNetBackbone` holds a Lambda layer, so it can be neither copied nor loaded in Keras' safe
  mode.
- `MixUp`, `CutMix` and `Mosaic` fail on NumPy arrays; they work on tensors and in `tf.data`.
- `RandomApply` and `RepeatedAugmentation` cannot be traced for a single image.
- Layers draw from a generator with a state, and their strengths from TensorFlow's global state. A
  vectorized layer ignores `seed=0`. `augmentation` replaces both by draws from a seed. It cannot do
  so for `AugMix`, `FourierMix`, `MixUp`, `CutMix`, `RepeatedAugmentation` and `RandomCutout` with
  Gaussian noise, which call `tf.random` themselves, and refuses them.
- `visualization.plot_image_gallery` works. It draws grey images in false colours, each stretched to
  its own range, leaves out images where `cols` is not given, and keeps a global pyplot figure.
"""

import importlib.metadata
from collections.abc import Callable, Iterator
from typing import Any

from keras_arch.errors import ArgumentError, KerasArchError

_OLDEST = "0.9"
# Operations with a state in TensorFlow's sense that are the same at every call.
_HARMLESS = {"Assert", "Case", "If", "While"}
_HARMLESS |= {"PartitionedCall", "StatefulPartitionedCall", "StatelessRandomGetAlg"}
# Augmentations of this package in place of layers that are refused.
_HINTS = {
    "AugMix": "; there is 'randaugment:2,9'",
    "CutMix": "; there is 'cutmix:1.0'",
    "MixUp": "; there is 'mixup:0.2'",
}


def package() -> Any:
    """The module `keras_cv`, imported on first use.

    Raises:
        KerasArchError: If KerasCV is not installed or too old.

    Example:
        >>> package().__name__
        'keras_cv'
    """
    from packaging.version import Version

    remedy = f"pip install 'keras-cv>={_OLDEST},<1', or install keras_arch[kerascv]"
    try:
        version = importlib.metadata.version("keras-cv")
    except importlib.metadata.PackageNotFoundError:
        raise KerasArchError(f"KerasCV is not installed; {remedy}") from None
    if Version(version) < Version(_OLDEST):
        raise KerasArchError(f"KerasCV {version} is too old; {remedy}")
    try:
        import keras_cv
    except ImportError as error:
        reason = str(error).partition("\n")[0]
        message = f"KerasCV {version} cannot be imported ({reason}); {remedy}"
        raise KerasArchError(message) from error
    return keras_cv


def augmentation(layer: Any, *, on_pixels: bool = True) -> "LayerAugmentation":
    """A KerasCV augmentation layer for `augment=[...]` of `keras_arch.data.train_batches`.

    The layer changes each image by itself, by draws from the seed and the image's place in the
    batch, so a run that is resumed repeats its batches.

    Args:
        layer: An image augmentation layer such as `keras_cv.layers.RandomHue(...)`, which leaves
            the size of images as it is. It is copied.
        on_pixels: Whether it takes pixels in [0, 255] before they are normalised (default, for
            layers with `value_range=(0, 255)`), or normalised images.

    Returns:
        A callable `(images, seed) -> images` on `(batch, height, width, channels)`.

    Raises:
        KerasArchError: If KerasCV is not installed or too old.
        ArgumentError: If it is no such layer. When called: if the layer mixes images, changes their
            size, or draws random numbers that no seed decides.

    Example:
        >>> import tensorflow as tf
        >>> flip = augmentation(package().layers.RandomFlip())
        >>> flip(tf.ones([2, 8, 8, 3]), seed=[0, 1]).shape
        TensorShape([2, 8, 8, 3])
    """
    layers = package().layers
    kinds = (layers.BaseImageAugmentationLayer, layers.VectorizedBaseImageAugmentationLayer)
    if not isinstance(layer, kinds):
        raise ArgumentError(
            "layer must be an image augmentation layer of KerasCV, such as "
            f"keras_cv.layers.RandomHue(...), got {type(layer).__name__}"
        )
    return LayerAugmentation(layer, on_pixels)


class LayerAugmentation:
    """A KerasCV layer whose draws follow from a seed; see `augmentation`.

    Attributes:
        name: Name of the layer's class.
        on_pixels: Whether it takes pixels in [0, 255].
    """

    def __init__(self, layer: Any, on_pixels: bool) -> None:
        self.name = type(layer).__name__
        self.on_pixels = on_pixels
        self._draws = _Draws()
        # Pixels keep their values under a policy of half precision, too.
        self._layer = type(layer).from_config(layer.get_config() | {"dtype": "float32"})
        _replace_draws(self._layer, self._draws)
        self._traced: dict[tuple[int, ...], Callable[[Any, Any], Any]] = {}

    def __repr__(self) -> str:
        return f"augmentation({self.name})"

    def __call__(self, images: Any, seed: Any) -> Any:
        """Change `(batch, height, width, channels)` images by draws from a seed of two integers."""
        import tensorflow as tf

        images = tf.cast(images, tf.float32)
        seed = tf.cast(seed, tf.int64)
        shape = tuple(images.shape[1:])
        if shape not in self._traced:
            self._traced[shape] = self._trace(shape)
        change = self._traced[shape]
        return tf.map_fn(
            lambda row: change(row[0], _folded(seed, row[1])),
            (images, tf.range(tf.shape(images)[0])),
            fn_output_signature=tf.TensorSpec(shape, tf.float32),
        )

    def _trace(self, shape: tuple[int, ...]) -> Callable[[Any, Any], Any]:
        """The layer as a graph from an image of a shape and a seed, checked to have no state."""
        import tensorflow as tf

        def change(image: Any, seed: Any) -> Any:
            self._draws.start(seed)
            return self._layer(image)

        specs = [tf.TensorSpec(shape, tf.float32), tf.TensorSpec([2], tf.int64)]
        try:
            # Outside the graph of a pipeline, so that other pipelines may use it.
            with tf.init_scope():
                traced = tf.function(change).get_concrete_function(*specs)
        except (TypeError, ValueError, tf.errors.OperatorNotAllowedInGraphError) as error:
            raise ArgumentError(
                f"KerasCV's {self.name} cannot change images one by one{_HINTS.get(self.name, '')}"
            ) from error
        output = traced.structured_outputs
        if not isinstance(output, tf.Tensor) or not output.shape.is_compatible_with(shape):
            raise ArgumentError(
                f"KerasCV's {self.name} changes the size of images of shape {shape}; bring them to "
                "a size by preprocessing, and cut them by 'resized_crop:0.08,1' or 'crop:4'"
            )
        drawn = sorted(set(_operations(traced.graph)) - _HARMLESS)
        if drawn:
            raise ArgumentError(
                f"KerasCV's {self.name} depends on a state that no seed decides "
                f"({', '.join(drawn)}), so a resumed run could not repeat its batches"
                f"{_HINTS.get(self.name, '')}"
            )
        return lambda image, seed: tf.ensure_shape(traced(image, seed), shape)


class _Draws:
    """Stateless draws behind the methods of `tf.random.Generator` that KerasCV's layers call.

    The number of a draw is counted while a graph is traced, so that each place in the layer's code
    has draws of its own.
    """

    def start(self, seed: Any) -> None:
        """Draw from a seed from here on."""
        self._seed, self._number = seed, 0

    def uniform(
        self, shape: Any, minval: Any = 0, maxval: Any = None, dtype: Any = "float32", **_: Any
    ) -> Any:
        """As `tf.random.Generator.uniform`."""
        import tensorflow as tf

        dtype = tf.as_dtype(dtype)
        maxval = 1 if maxval is None and dtype.is_floating else maxval
        return tf.random.stateless_uniform(shape, self._next(), minval, maxval, dtype, alg="philox")

    def normal(
        self, shape: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = "float32", **_: Any
    ) -> Any:
        """As `tf.random.Generator.normal`."""
        import tensorflow as tf

        return tf.random.stateless_normal(shape, self._next(), mean, stddev, dtype, alg="philox")

    def _next(self) -> Any:
        self._number += 1
        return _folded(self._seed, self._number)


def _replace_draws(layer: Any, draws: _Draws) -> None:
    """Let a layer and all layers inside it take their random numbers from `draws`."""
    core = package().core

    def sampler(factor: Any) -> Callable[..., Any]:
        def sample(shape: Any = (), dtype: Any = "float32") -> Any:
            import tensorflow as tf

            if isinstance(factor, core.UniformFactorSampler):
                return draws.uniform(shape, factor.lower, factor.upper, dtype)
            drawn = draws.normal(shape, factor.mean, factor.stddev, dtype)
            return tf.clip_by_value(drawn, factor.min_value, factor.max_value)

        return sample

    random = core.UniformFactorSampler | core.NormalFactorSampler
    for part in layer._flatten_layers():
        part._random_generator = draws
        for name, value in list(vars(part).items()):
            if isinstance(value, random):
                setattr(part, name, sampler(value))


def _operations(graph: Any) -> Iterator[str]:
    """Names of the operations with a state in a graph and in the functions that it calls."""
    from tensorflow.python.framework import op_def_registry

    definition = graph.as_graph_def()
    bodies = [definition.node, *(function.node_def for function in definition.library.function)]
    for node in (node for body in bodies for node in body):
        operation = op_def_registry.get(node.op)
        if operation is not None and operation.is_stateful:
            yield node.op


def _folded(seed: Any, number: Any) -> Any:
    """The seed of one draw out of many, of the type `int64`."""
    import tensorflow as tf

    number = tf.cast(number, tf.int64)
    return tf.random.experimental.stateless_fold_in(seed, number, alg="philox")
