"""Reader of `.safetensors` files by the `safetensors` library, with errors that name the file."""

import os

import ml_dtypes  # noqa: F401  NumPy has "bfloat16" from here.
import numpy as np
from safetensors import SafetensorError, safe_open

from keras_arch.errors import ConvertError

_DTYPES = ("F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U8", "BOOL")


def read(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Read the tensors of a `.safetensors` file.

    Returns:
        NumPy arrays by name; BF16 tensors as float32, all others in the type they are stored in.

    Raises:
        ConvertError: If the file is missing, damaged or cut short, or holds another type.

    Example:
        >>> from safetensors.numpy import save_file
        >>> save_file({"bias": np.float32([0.5])}, "w.safetensors")
        >>> read("w.safetensors")
        {'bias': array([0.5], dtype=float32)}
    """
    where = repr(os.fspath(path))
    try:
        # The library's own error for a file that cannot be opened lacks the reason's number.
        open(path, "rb").close()
        arrays = {}
        with safe_open(path, framework="np") as file:
            for name in file.offset_keys():
                kind = file.get_slice(name).get_dtype()
                if kind not in _DTYPES:
                    readable = ", ".join(_DTYPES)
                    raise ConvertError(
                        f"{where} has tensor {name!r} of type {kind}; readable are {readable}"
                    )
                values = file.get_tensor(name)
                arrays[name] = values.astype(np.float32) if kind == "BF16" else values
        return arrays
    except OSError as error:
        raise ConvertError(f"{where} cannot be read: {error.strerror or error}") from error
    except SafetensorError as error:
        reason = str(error).removeprefix("Error while deserializing header: ")
        problem = "is damaged or cut short, or no .safetensors file"
        raise ConvertError(f"{where} {problem}: {reason}") from error
