"""Precision of the losses: float32 where a network computes in half precision."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable("keras_arch")
def full_precision(values: Any) -> Any:
    """Values in half precision as float32; others, doubles too, as they are."""
    values = ops.convert_to_tensor(values)
    if keras.backend.standardize_dtype(values.dtype) in ("float16", "bfloat16"):
        return ops.cast(values, "float32")
    return values
