"""Masks of a batch as the classes of its pixels, checked, on any Keras backend."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_arch._pixel_classes import checked_classes, remedy, soft_mask_message
from keras_arch._tensorflow.assertion import assert_in_graph
from keras_arch.errors import ArgumentError


def pixel_classes(
    values: Any, classes: int, ignore: int | None = None, name: str = "masks"
) -> tuple[Any, Any, Any]:
    """Classes of pixels, and which of them count.

    Outside of compiled functions, and in the graphs of TensorFlow, a value that is no class is an
    error. Where it cannot be one (XLA, a GPU of PyTorch, `jax.jit`), the third result tells.

    Args:
        values: Whole numbers of any type, in any shape. With four axes, a last one of length 1 is
            dropped, and one of length `classes` holds one-hot classes.
        classes: Number of classes.
        ignore: Value of pixels that do not count, or `None`.
        name: Name of the values, for messages.

    Returns:
        `int32` classes, 0 at pixels that do not count; whether each pixel counts; and whether all
        values are classes or `ignore`, a scalar. The last two are booleans.

    Raises:
        ArgumentError: If a value is a fraction, NaN, or neither a class nor `ignore`.

    Example:
        >>> truth, counts, valid = pixel_classes([0, 1, 255], 2, ignore=255)
        >>> truth.numpy().tolist(), counts.numpy().tolist(), bool(valid)
        ([0, 1, 0], [True, True, False], True)
    """
    given = ops.convert_to_tensor(values)
    found, one_hot = _comparable(given), None
    if len(found.shape) == 4:
        if found.shape[-1] == 1:
            found = ops.squeeze(found, -1)
        elif found.shape[-1] == classes:
            rows, found = found, ops.cast(ops.argmax(found, axis=-1), "int32")
            one_hot = ops.all(ops.equal(rows, ops.one_hot(found, classes, dtype=rows.dtype)))
    right = ops.logical_and(found >= 0, found < classes)
    if keras.backend.is_float_dtype(keras.backend.standardize_dtype(found.dtype)):
        right = ops.logical_and(right, ops.equal(found, ops.floor(found)))
    counts = ops.ones_like(right)
    if ignore is not None:
        counts = ops.not_equal(found, ignore)
        right = ops.logical_or(right, ops.logical_not(counts))
    valid = ops.all(right)
    if one_hot is not None:
        valid = ops.logical_and(valid, one_hot)
    known = _known(valid)
    if known is False:
        checked_classes(ops.convert_to_numpy(given), classes, ignore, name)
    if known is None and keras.backend.backend() == "tensorflow":
        message = _graph_message(found, right, one_hot is not None, classes, ignore, name)
        assert_in_graph(valid, message)
    truth = ops.where(ops.logical_and(right, counts), found, ops.zeros_like(found))
    return ops.cast(truth, "int32"), counts, valid


def outputs_fit(outputs: Any, from_logits: bool) -> Any:
    """Whether outputs are logits, or probabilities, as a loss takes them: a boolean, a scalar.

    Args:
        outputs: `(batch, height, width, classes)`.
        from_logits: Whether logits are wanted. What is a probability distribution at every pixel
            comes from a softmax.

    Raises:
        ArgumentError: If they are the other kind, under the conditions of `pixel_classes`.

    Example:
        >>> bool(outputs_fit(ops.zeros((1, 1, 1, 2)), from_logits=True))
        True
    """
    if from_logits:
        # Sums of half precision are less exact.
        dtype = keras.backend.standardize_dtype(outputs.dtype)
        room = 1e-2 if dtype in ("float16", "bfloat16") else 1e-4
        outputs = ops.cast(outputs, "float32")
        far = ops.abs(ops.sum(outputs, axis=-1) - 1.0)
        valid = ops.logical_or(ops.min(outputs) < 0, ops.logical_not(ops.max(far) < room))
        message = (
            "the loss takes logits, and the outputs are probabilities: build the network with "
            "classifier_activation=None, or give the loss from_logits=False"
        )
    else:
        # Not those of NaN: a loss of them is NaN.
        beyond = ops.logical_or(ops.min(outputs) < -1e-3, ops.max(outputs) > 1 + 1e-3)
        valid = ops.logical_not(beyond)
        message = (
            "the loss takes probabilities, and the outputs are logits: build the network with "
            "classifier_activation='softmax', or give the loss from_logits=True"
        )
    known = _known(valid)
    if known is False:
        raise ArgumentError(message)
    if known is None and keras.backend.backend() == "tensorflow":
        assert_in_graph(valid, [message])
    return valid


def nan_unless(valid: Any, value: Any) -> Any:
    """A number, or NaN where it was not computed from classes; NaN has no gradient."""
    return ops.where(valid, value, ops.full_like(value, float("nan")))


def check_same_pixels(mask: Sequence[int | None], output: Sequence[int | None]) -> None:
    """Refuse (`ArgumentError`) masks of another shape than outputs, as far as shapes are known."""
    fits = len(mask) == len(output) and all(
        None in pair or pair[0] == pair[1] for pair in zip(mask, output, strict=True)
    )
    if not fits:
        raise ArgumentError(f"masks of {tuple(mask)} pixels do not fit outputs of {tuple(output)}")


def _comparable(values: Any) -> Any:
    """Numbers that can be compared with classes: a small integer type cannot hold them all."""
    dtype = keras.backend.standardize_dtype(values.dtype)
    if dtype in ("bool", "int8", "uint8", "int16", "uint16"):
        return ops.cast(values, "int32")
    if dtype in ("uint32", "uint64"):
        return ops.cast(values, "int64")
    return ops.cast(values, "float32") if dtype in ("float16", "bfloat16") else values


def _known(valid: Any) -> bool | None:
    """The value of a scalar outside of compiled functions and off an accelerator of PyTorch."""
    if isinstance(valid, keras.KerasTensor):
        return None
    if keras.backend.backend() == "torch" and valid.device.type != "cpu":
        return None
    try:
        return bool(ops.convert_to_numpy(valid))
    # What tensors without a value raise: NotImplementedError of TensorFlow, TypeError of JAX.
    except (NotImplementedError, TypeError):
        return None


def _graph_message(
    found: Any, right: Any, one_hot: bool, classes: int, ignore: int | None, name: str
) -> list[Any]:
    if one_hot:
        return [soft_mask_message(name)]
    first = ops.argmin(ops.cast(ops.reshape(right, (-1,)), "int32"))
    return [
        f"found other values than classes 0 to {classes - 1} in the {name}, such as",
        ops.take(ops.reshape(found, (-1,)), first),
        f"; {remedy(classes, ignore)}",
    ]
