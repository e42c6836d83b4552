"""Parts of residual networks: a convolution with batch norm, shortcuts A, B and C, blocks."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers, ops

from keras_arch.layers import batch_norm, he_normal, recursion_limit
from keras_arch.models.common import channels_last
from keras_arch.models.common.heads import Head


def convolution(
    x: Any, filters: int, kernel: int, stride: int, name: str, *, synchronized: bool
) -> Any:
    """A convolution without bias that pads evenly, and batch norm; not yet activated.

    Args:
        x: A map, channels last.
        filters: Number of filters.
        kernel: Side of the kernel in pixels, odd.
        stride: In pixels.
        name: The layers are `NAME_conv` and `NAME_norm`, with `NAME_pad` where it is needed.
        synchronized: Batch norm statistics over all replicas.
    """
    padded = stride > 1 and kernel > 1
    if padded:
        # Keras' "same" pads only below and right when it strides over an even size; the
        # reference pads every side.
        x = channels_last.ZeroPadding2D(kernel // 2, name=f"{name}_pad")(x)
    x = channels_last.Conv2D(
        filters,
        kernel,
        strides=stride,
        padding="valid" if padded or kernel == 1 else "same",
        use_bias=False,
        kernel_initializer=he_normal(),
        name=f"{name}_conv",
    )(x)
    return batch_norm(f"{name}_norm", synchronized=synchronized)(x)


def _match_shape(
    x: Any, filters: int, stride: int, option: str, prefix: str, *, synchronized: bool
) -> Any:
    """Bring the identity to the shape of a block's output; `x` itself where it has that shape."""
    if option != "C" and stride == 1 and x.shape[-1] == filters:
        return x
    if option != "A":
        return convolution(x, filters, 1, stride, f"{prefix}_shortcut", synchronized=synchronized)
    if stride > 1:
        # Pooling over one pixel is the stock way to say "every second pixel".
        x = channels_last.MaxPooling2D(1, strides=stride, name=f"{prefix}_shortcut_subsample")(x)
    missing = filters - x.shape[-1]
    if not missing:
        return x
    return ops.pad(x, ((0, 0), (0, 0), (0, 0), (missing // 2, missing - missing // 2)))


def residual_stage(
    x: Any,
    blocks: Sequence[Sequence[tuple[int, int, int]]],
    shortcut: str | None,
    *,
    synchronized: bool,
    name: str,
) -> Any:
    """Blocks of convolutions in a row with ReLU, and the identity added around each.

    Source: He et al. 2015, figures 2 and 5, and section 3.3 for the shortcuts.

    Args:
        x: The stage's input.
        blocks: `(filters, kernel, stride)` of the convolutions of each block.
        shortcut: `"A"` subsamples and pads with zero channels, half of them on each side; `"B"`
            projects where the shape changes; `"C"` projects always; `None` is a plain network. A
            projection is `NAME_block1_shortcut_conv` and `..._norm`.
        synchronized: As for `convolution`.
        name: Of the stage. Its last layer has it, as users ask for features by it; the blocks are
            `NAME_block1`, ...
    """
    for block, convolutions in enumerate(blocks, start=1):
        prefix = f"{name}_block{block}"
        identity = x
        for number, (filters, kernel, stride) in enumerate(convolutions, start=1):
            part = f"{prefix}_{number}"
            x = convolution(x, filters, kernel, stride, part, synchronized=synchronized)
            if number < len(convolutions):
                x = layers.Activation("relu", name=part)(x)
        if shortcut is not None:
            stride = max(stride for _, _, stride in convolutions)
            identity = _match_shape(
                identity, x.shape[-1], stride, shortcut, prefix, synchronized=synchronized
            )
            x = layers.Add(name=f"{prefix}_add")([x, identity])
        x = layers.Activation("relu", name=prefix if block < len(blocks) else name)(x)
    return x


def residual_classifier(image: Any, x: Any, head: Head, name: str) -> keras.Model:
    """The model from `image` to the pooled and classified last map `x`, however deep it is."""
    output = head.pool_and_classify(x, he_normal())
    with recursion_limit():
        return keras.Model(image, output, name=name)
