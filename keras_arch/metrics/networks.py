"""Feature networks for the comparison of images, with their weights, layer and resize."""

import dataclasses
import hashlib
import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import keras
import numpy as np
from keras import layers
from scipy.special import softmax

from keras_arch.errors import ArgumentError, DataError
from keras_arch.metrics.checks import check_image_batch

INCEPTION_SIZE = 299


@dataclasses.dataclass(frozen=True)
class Activations:
    """Features `(n, size)` and probabilities `(n, classes)`, `None` without classes; float32."""

    features: np.ndarray
    probabilities: np.ndarray | None


@dataclasses.dataclass(frozen=True)
class FeatureNetwork:
    """Function from images to features, with a description of it.

    `inception` and `classifier` return one; the constructor takes any other function.

    Args:
        name: Name of the network.
        layer: Layer of the features.
        resize: How images are resized to the network's input.
        weights: Source of the weights.
        function: From `uint8` images `(n, height, width, 1 or 3)` to features `(n, size)` and
            probabilities `(n, classes)` or `None`.
        batch_size: Images in one call of the function.
        classes: Number of classes, 0 if it is no classifier.
        labels: Names of the classes, where they are known.

    Example:
        >>> net = FeatureNetwork("mean", "pixels", "none", "none", lambda x: (x.mean((1, 2)), None))
        >>> net(np.zeros((3, 28, 28, 1), "uint8")).features.shape
        (3, 1)
        >>> net.describe()
        'mean: features of pixels; weights none; resize none'
    """

    name: str
    layer: str
    resize: str
    weights: str
    function: Callable[[np.ndarray], tuple[Any, Any]]
    batch_size: int = 64
    classes: int = 0
    labels: tuple[str, ...] | None = None

    def describe(self) -> str:
        """One line with the network, the layer, the weights and the resize."""
        return (
            f"{self.name}: features of {self.layer}; weights {self.weights}; resize {self.resize}"
        )

    def __call__(self, images: Any, progress: Callable[[int], None] | None = None) -> Activations:
        """Compute features and probabilities of images, in their order.

        Args:
            images: `uint8` `(n, height, width, 1 or 3)` or `(n, height, width)`, or an iterable of
                such arrays.
            progress: Called after each batch with the number of images so far.

        Raises:
            ArgumentError: If there is no image, or they are not `uint8`.
        """
        parts = list(self.stream(images, progress))
        if not parts:
            raise ArgumentError(f"{self.name} needs at least one image, got none")
        features = np.concatenate([part.features for part in parts])
        if parts[0].probabilities is None:
            return Activations(features, None)
        return Activations(features, np.concatenate([part.probabilities for part in parts]))

    def stream(
        self, images: Any, progress: Callable[[int], None] | None = None
    ) -> Iterator[Activations]:
        """Compute features and probabilities batch by batch, without storing them."""
        done = 0
        for batch in _batches(images, self.batch_size):
            count = len(batch)
            if done and count < self.batch_size:
                # A smaller last batch would be compiled again for its shape.
                missing = self.batch_size - count
                batch = np.concatenate([batch, np.repeat(batch[-1:], missing, axis=0)])
            features, probabilities = self.function(batch)
            done += count
            if progress is not None:
                progress(done)
            yield Activations(
                np.asarray(features, np.float32)[:count],
                None if probabilities is None else np.asarray(probabilities, np.float32)[:count],
            )

    def probabilities(self, images: Any) -> np.ndarray:
        """Class probabilities `(n, classes)` of images.

        Raises:
            ArgumentError: If the network is no classifier.
        """
        found = self(images).probabilities
        if found is None:
            raise ArgumentError(f"{self.name} gives no class probabilities; take a classifier")
        return found


def classifier(
    model: keras.Model,
    preprocessing: Callable[[np.ndarray], Any],
    name: str | None = None,
    *,
    batch_size: int = 64,
) -> FeatureNetwork:
    """Feature network of a classifier of your own, for images unlike ImageNet's.

    Args:
        model: Ends in a `Dense` layer, whose output is logits or goes through a softmax. Its
            features are that layer's input: the globally pooled map, in most networks.
        preprocessing: From `uint8` images to its input as in training, such as a `Preprocessing`.
        name: Name in descriptions. Default: the model's name.
        batch_size: Images in one forward pass.

    Returns:
        The network. Its description has a SHA-256 of the weights.

    Raises:
        ArgumentError: If the model is not of that kind.

    Example:
        >>> from keras_arch import models
        >>> from keras_arch.preprocessing import Preprocessing
        >>> network = classifier(models.CIFARResNet(depth=8), Preprocessing(size=(32, 32)))
        >>> network(np.zeros((2, 32, 32, 3), "uint8")).features.shape
        (2, 64)
    """
    dense, taken, is_softmax = _ending(model)
    source, before = _producer(taken)
    # Dropout does nothing here, and a flattened map has too many features for a covariance.
    while isinstance(source, layers.Dropout):
        taken = before
        source, before = _producer(taken)
    if isinstance(source, layers.Flatten) and len(before.shape) == 4:
        taken = layers.GlobalAveragePooling2D(data_format="channels_last")(before)
        layer = f"{_producer(before)[0].name}, averaged over the map"
    else:
        layer = source.name
    network = keras.Model(model.inputs[0], [taken, model.outputs[0]], name=f"{model.name}_features")

    def function(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        inputs = np.asarray(preprocessing(images), np.float32)
        features, output = network.predict_on_batch(inputs)
        return features, output if is_softmax else softmax(output, axis=-1)

    return FeatureNetwork(
        name=name or model.name,
        layer=f"{layer} ({taken.shape[-1]})",
        resize=_describe_resize(preprocessing),
        weights=f"sha256 {_digest(model)}",
        function=function,
        batch_size=batch_size,
        classes=int(dense.units),
    )


def inception(
    weights: str | os.PathLike[str] = "imagenet", *, batch_size: int = 32
) -> FeatureNetwork:
    """Feature network of Inception v3 for photographs: 2048 pooled features, 1000 classes.

    The network is that of `keras.applications`. Its weights are not those of the graph from 2015
    behind the FIDs and inception scores of papers, so that values compare with each other and not
    with published ones. Images are resized to 299x299 as that graph does, by `resize_bilinear`.

    Args:
        weights: `"imagenet"`, downloaded once, or the path of weights that include the classifier.
        batch_size: Images in one forward pass.

    Returns:
        The network.

    Raises:
        DataError: If the weights cannot be downloaded or read.

    Example:
        >>> inception("no_such_file.h5")
        Traceback (most recent call last):
        keras_arch.errors.DataError: no weights file 'no_such_file.h5'; ...
    """
    weights = os.fspath(weights)
    if weights != "imagenet" and not os.path.isfile(weights):
        raise DataError(
            f"no weights file {weights!r}; give the path of one of keras.applications.InceptionV3, "
            "or 'imagenet'"
        )
    try:
        # Keras' downloads raise bare Exceptions, its readers several kinds.
        with warnings.catch_warnings():
            # Keras only warns of layers that a file does not have, and leaves them random.
            warnings.simplefilter("error", UserWarning)
            model = keras.applications.InceptionV3(weights=weights)
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        folder = os.path.join(os.environ.get("KERAS_HOME", "~/.keras"), "models")
        raise DataError(
            f"the ImageNet weights of InceptionV3 cannot be downloaded ({reason}); copy "
            f"inception_v3_weights_tf_dim_ordering_tf_kernels.h5 to {folder}, where Keras looks "
            "first, or take another network, such as a classifier of your own"
            if weights == "imagenet"
            else f"{weights!r} holds no weights of the whole InceptionV3 with its classifier "
            f"({reason})"
        ) from error

    def to_input(images: np.ndarray) -> np.ndarray:
        if images.shape[-1] == 1:
            images = np.repeat(images, 3, axis=-1)
        return resize_bilinear(images, (INCEPTION_SIZE, INCEPTION_SIZE)) / np.float32(127.5) - 1

    network = classifier(model, to_input, "InceptionV3 of keras.applications")
    return dataclasses.replace(
        network,
        resize=f"{INCEPTION_SIZE} px bilinear as TensorFlow 1 (no antialias, no half-pixel shift)",
        weights=f"{os.path.basename(weights)}, {network.weights}",
        batch_size=batch_size,
    )


def resize_bilinear(images: Any, size: tuple[int, int]) -> np.ndarray:
    """Resize as TensorFlow 1 did: bilinear, no antialias, no half-pixel shift.

    Output pixel i lies at i x (input size / output size), between two neighbors; the last one
    is repeated beyond the border. That shifts the image by up to half a pixel, which is part of the
    FID's definition.

    Args:
        images: `(n, height, width, channels)`.
        size: New height and width in pixels.

    Returns:
        A `float32` array `(n, *size, channels)` in the range of the images.

    Example:
        >>> resize_bilinear(np.array([0, 10]).reshape(1, 1, 2, 1), (1, 4)).ravel().tolist()
        [0.0, 5.0, 10.0, 10.0]
    """
    resized = np.asarray(images, np.float32)
    for axis, target in zip((1, 2), size, strict=True):
        source = resized.shape[axis]
        if source == target:
            continue
        position = np.arange(target, dtype=np.float32) * np.float32(source / target)
        low = np.minimum(position.astype(np.int64), source - 1)
        high = np.minimum(low + 1, source - 1)
        share = (position - low).reshape([-1 if i == axis else 1 for i in range(4)])
        first = np.take(resized, low, axis=axis)
        resized = first + (np.take(resized, high, axis=axis) - first) * share
    return resized


def _batches(images: Any, size: int) -> Iterator[np.ndarray]:
    """`uint8` images `(n, height, width, channels)`, `size` at a time and the rest last."""
    if not hasattr(images, "shape") and not isinstance(images, Iterable):
        raise ArgumentError(f"images must be an array or arrays, got {type(images).__name__}")
    rest: Any = ()
    for part in [images] if hasattr(images, "shape") else images:
        part = check_image_batch(part, "a feature network")
        whole = np.concatenate([rest, part]) if len(rest) else part
        cut = len(whole) // size * size
        yield from (whole[first : first + size] for first in range(0, cut, size))
        rest = whole[cut:]
    if len(rest):
        yield rest


def _ending(model: keras.Model) -> tuple[layers.Dense, Any, bool]:
    """Dense layer of the logits, its input, and whether the output is probabilities already."""
    if len(getattr(model, "outputs", None) or ()) != 1 or len(model.inputs) != 1:
        raise ArgumentError(
            f"{getattr(model, 'name', model)!r} is no functional or sequential model of one input "
            "and one output; a feature network needs such a graph"
        )
    last, before = _producer(model.outputs[0])
    dense, taken = last, before
    if type(last).__name__ in ("Activation", "Softmax"):
        dense, taken = _producer(before)
    activations = [_activation(layer) for layer in ([last] if dense is last else [dense, last])]
    known = activations[:-1] in ([], ["linear"]) and activations[-1] in ("linear", "softmax")
    if not (isinstance(dense, layers.Dense) and known and dense.units > 1 and taken.ndim == 2):
        raise ArgumentError(
            f"{model.name!r} ends in {type(last).__name__} {last.name!r}; a classifier ends in a "
            "Dense layer of 2 or more classes on a vector, with or without a softmax"
        )
    return dense, taken, activations[-1] == "softmax"


def _activation(layer: Any) -> str:
    # `keras.ops.softmax` is an operation of this name.
    if type(layer).__name__ == "Softmax":
        return "softmax"
    return getattr(getattr(layer, "activation", None), "__name__", "")


def _producer(tensor: Any) -> tuple[Any, Any]:
    """Operation of a symbolic tensor, and its first input (`None` for a model's input)."""
    history = tensor._keras_history
    taken = history.operation._inbound_nodes[history.node_index].input_tensors
    return history.operation, taken[0] if taken else None


def _describe_resize(preprocessing: Any) -> str:
    size = getattr(preprocessing, "size", None)
    if size is None:
        return f"by {getattr(preprocessing, '__name__', type(preprocessing).__name__)}"
    method = preprocessing.resize
    smooth = "" if method in ("nearest", "pad") else " with antialias"
    crop = preprocessing.crop
    cut = "" if crop is None else f", the center {crop:.6g} of the shorter side"
    return f"{size[0]}x{size[1]}x{preprocessing.channels} px {method}{smooth}{cut}"


def _digest(model: keras.Model) -> str:
    """Hash of the weights in twelve digits; equal on every backend."""
    digest = hashlib.sha256()
    for weight in model.get_weights():
        digest.update(f"{weight.shape}{weight.dtype}".encode())
        digest.update(np.ascontiguousarray(weight).tobytes())
    return digest.hexdigest()[:12]
