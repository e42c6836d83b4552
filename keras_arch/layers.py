"""Layers that several families of networks share, all of them stock Keras.

Epsilon and momentum of batch norm are the references' (1e-5 and 0.9), not Keras' (1e-3 and 0.99).
"""

import contextlib
import math
import sys
from collections.abc import Iterator

import keras
from keras import layers, ops

from keras_arch._tensorflow.fused_batch_norm import fuse
from keras_arch._tensorflow.fused_batch_norm import fuse_batch_norm as fuse_batch_norm
from keras_arch.errors import ArgumentError, whole_number

BATCH_NORM_EPSILON = 1e-5
BATCH_NORM_MOMENTUM = 0.9

Initializer = keras.initializers.Initializer | str


def batch_norm(
    name: str,
    *,
    synchronized: bool = False,
    gamma_initializer: Initializer = "ones",
    epsilon: float = BATCH_NORM_EPSILON,
) -> layers.Layer:
    """`BatchNormalization` with the epsilon and momentum of the reference implementations.

    Args:
        name: Name of the layer.
        synchronized: Statistics over all replicas of a distribution strategy, not each its own.
        gamma_initializer: Initializer of the gain.
        epsilon: Added to the variance.

    Example:
        >>> batch_norm("norm").epsilon
        1e-05
    """
    layer = layers.BatchNormalization(
        epsilon=epsilon,
        momentum=BATCH_NORM_MOMENTUM,
        gamma_initializer=gamma_initializer,
        synchronized=synchronized,
        name=name,
    )
    return fuse(layer)


def instance_norm(
    name: str, *, affine: bool = False, gamma_initializer: Initializer = "ones"
) -> layers.Layer:
    """Layer of instance normalisation: each channel of each image by its own mean and variance.

    Source: Ulyanov et al. 2016. At a batch of one it is batch norm with the batch's statistics.

    Args:
        name: Name of the layer.
        affine: Learn a gain and a bias a channel.
        gamma_initializer: Initializer of the gain.

    Example:
        >>> instance_norm("norm")(keras.Input((8, 8, 3))).shape
        (None, 8, 8, 3)
    """
    return layers.GroupNormalization(
        groups=-1,
        epsilon=BATCH_NORM_EPSILON,
        center=affine,
        scale=affine,
        gamma_initializer=gamma_initializer,
        name=name,
    )


def normalize(
    x: keras.KerasTensor,
    norm: str | None,
    name: str,
    *,
    synchronized: bool = False,
    affine: bool = True,
    gamma_initializer: Initializer = "ones",
) -> keras.KerasTensor:
    """The normalisation that a builder's `norm` argument names, applied to a map.

    Args:
        x: Map with channels last.
        norm: `"batch"`, `"instance"`, `"layer"` (over all pixels and channels of an image, with a
            gain and a bias a channel, as in Gulrajani et al. 2017), or `None` for `x` itself.
        name: Name of the layer.
        synchronized: As for `batch_norm`.
        affine: As for `instance_norm`.
        gamma_initializer: Initializer of the gain.

    Example:
        >>> normalize(keras.Input((8, 8, 3)), "layer", "norm").shape
        (None, 8, 8, 3)
    """
    if norm is None:
        return x
    start = {"gamma_initializer": gamma_initializer}
    if norm == "batch":
        return batch_norm(name, synchronized=synchronized, **start)(x)
    if norm == "instance":
        return instance_norm(name, affine=affine, **start)(x)
    return layers.GroupNormalization(groups=1, epsilon=BATCH_NORM_EPSILON, name=name, **start)(x)


def local_response_norm(
    x: keras.KerasTensor,
    name: str,
    *,
    size: int = 5,
    alpha: float = 1e-4,
    beta: float = 0.75,
    k: float = 2.0,
) -> keras.KerasTensor:
    """Local response normalisation of a map across neighbouring channels.

    `x_i / (k + alpha * sum of x_j^2) ** beta`, the sum over the `size` channels j around i that
    there are. (Caffe and PyTorch divide alpha by `size`, so theirs is five times the one here.)
    Source: Krizhevsky et al. 2012, section 3.3, whose constants are the defaults.

    Args:
        x: Map with channels last.
        name: Name of the layer.
        size: Channels in the sum (n).
        alpha: Weight of the sum.
        beta: Exponent.
        k: Constant beside the sum.

    Raises:
        ArgumentError: If `size` is not a positive whole number.

    Example:
        >>> local_response_norm(keras.Input((55, 55, 96)), "norm1").shape
        (None, 55, 55, 96)
    """
    size = whole_number("size", size)
    channels = x.shape[-1]
    squares = ops.square(x if output_dtype() is None else ops.cast(x, "float32"))
    before = (size - 1) // 2
    squares = ops.pad(squares, ((0, 0), (0, 0), (0, 0), (before, size - 1 - before)))
    total = squares[..., :channels]
    for offset in range(1, size):
        total = total + squares[..., offset : offset + channels]
    return layers.Multiply(name=name)([x, ops.power(total * alpha + k, -beta)])


def ceil_max_pool(x: keras.KerasTensor, size: int, stride: int, name: str) -> keras.KerasTensor:
    """Max-pooling to `ceil((side - size) / stride) + 1` pixels a side: Caffe's, cuda-convnet's.

    Args:
        x: Map with channels last, after ReLU: the pixels beyond the lower and right edge are zeros.
        size: Side of the windows in pixels.
        stride: Between windows, at most `size`.
        name: Name of the layer.

    Example:
        >>> ceil_max_pool(keras.Input((112, 112, 64)), 3, 2, "pool1").shape
        (None, 56, 56, 64)
    """
    # Where a side is not known, zeros that no window reaches do no harm.
    outside = [0 if side and (side - size) % stride == 0 else stride - 1 for side in x.shape[1:3]]
    if any(outside):
        x = layers.ZeroPadding2D(
            ((0, outside[0]), (0, outside[1])), data_format="channels_last", name=f"{name}_pad"
        )(x)
    return layers.MaxPooling2D(size, strides=stride, data_format="channels_last", name=name)(x)


def reflect_pad(x: keras.KerasTensor, padding: int, name: str) -> keras.KerasTensor:
    """Pad height and width by mirroring the map at its edge pixels, which are not repeated.

    Args:
        x: Map with channels last.
        padding: Pixels on each of the four sides; less than the height and the width.
        name: Name of the operation in the model.

    Raises:
        ArgumentError: If the map is too small to be mirrored that far.

    Example:
        >>> reflect_pad(keras.Input((8, 8, 3)), 3, "pad").shape
        (None, 14, 14, 3)
    """
    if min(x.shape[1:3]) <= padding:
        raise ArgumentError(
            f"a map of {x.shape[1]}x{x.shape[2]} cannot be padded by reflection with {padding} "
            f"pixels; it needs at least {padding + 1}x{padding + 1}"
        )
    sides = (padding, padding)
    x = ops.pad(x, ((0, 0), sides, sides, (0, 0)), mode="reflect")
    x._keras_history.operation.name = name
    return x


def he_normal() -> keras.initializers.Initializer:
    """A fresh initializer N(0, sqrt(2 / fan_in)) (He et al. 2015, "Delving Deep", equation 10).

    Fresh because a Keras initializer that is shared between layers gives them equal weights.

    Example:
        >>> he_normal() is he_normal()
        False
    """
    return keras.initializers.VarianceScaling(2.0, "fan_in", "untruncated_normal")


def maxout(
    x: keras.KerasTensor,
    units: int,
    pieces: int,
    name: str,
    *,
    kernel_initializer: Initializer = "glorot_uniform",
    kernel_constraint: keras.constraints.Constraint | None = None,
) -> keras.KerasTensor:
    """Layer of maxout units: each gives the largest of its own affine maps of the input.

    `max_j (x W_j + b_j)` over the pieces j, which can come close to any convex function.
    Source: Goodfellow et al. 2013, "Maxout Networks", section 3 (https://arxiv.org/abs/1302.4389).

    Args:
        x: A tensor `(batch, features)`; the result is `(batch, units)`.
        units: Maxout units.
        pieces: Affine maps of each unit.
        name: Name of the result's layer. The affine maps are one dense layer, `NAME_affine`, of
            which columns `j * units` to `(j + 1) * units` are piece j of every unit.
        kernel_initializer: Of the affine maps.
        kernel_constraint: Of the affine maps, for example `MaxNorm(1.9365, axis=0)`.

    Raises:
        ArgumentError: If `units` or `pieces` is not a positive whole number.

    Example:
        >>> maxout(keras.Input((784,)), units=240, pieces=5, name="hidden").shape
        (None, 240)
    """
    units, pieces = whole_number("units", units), whole_number("pieces", pieces)
    x = layers.Dense(
        pieces * units,
        kernel_initializer=kernel_initializer,
        kernel_constraint=kernel_constraint,
        name=f"{name}_affine",
    )(x)
    x = layers.Reshape((pieces, units), name=f"{name}_pieces")(x)
    return layers.GlobalMaxPooling1D(data_format="channels_last", name=name)(x)


def label_input(classes: int) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """Label input of a class-conditional network, with its one-hot encoding.

    Args:
        classes: Number of classes.

    Returns:
        The `label` input `(batch,)` of whole numbers, and the labels as `(batch, classes)` zeros
        and ones: all zeros for a label outside the classes, which the trainers refuse.

    Raises:
        ArgumentError: If `classes` is not a positive whole number.

    Example:
        >>> label, one_hot = label_input(10)
        >>> label.name, one_hot.shape
        ('label', (None, 10))
    """
    classes = whole_number("classes", classes)
    label = keras.Input((), dtype="int32", name="label")
    encode = layers.CategoryEncoding(classes, output_mode="one_hot", name="label_one_hot")
    return label, encode(label)


def output_dtype() -> str | None:
    """Dtype of outputs: `"float32"` under a mixed precision policy, else the policy's own.

    Outputs and losses are computed in full precision: a softmax in half precision is too coarse.

    Example:
        >>> output_dtype() is None
        True
    """
    mixed = keras.config.dtype_policy().compute_dtype in ("float16", "bfloat16")
    return "float32" if mixed else None


@contextlib.contextmanager
def recursion_limit(layers: int = 10_000) -> Iterator[None]:
    """Context with a higher recursion limit of Python, for deep Keras graphs.

    Keras follows a graph by one recursive call a layer: 6,000 in a ResNet of 1,202 layers.

    Args:
        layers: Depth of the deepest graph, which is built or loaded inside.

    Example:
        >>> with recursion_limit():
        ...     sys.getrecursionlimit() >= 10_000
        True
    """
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, layers))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


def trainable_parameters(model: keras.Model) -> int:
    """Number of trainable parameters of a built model, as papers count: without moving statistics.

    Example:
        >>> trainable_parameters(keras.Sequential([keras.Input((3,)), layers.Dense(4)]))
        16
    """
    return sum(math.prod(weight.shape) for weight in model.trainable_weights)
