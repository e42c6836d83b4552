"""Whether TensorFlow computes with oneDNN's kernels on the CPU."""

VARIABLE = "TF_ENABLE_ONEDNN_OPTS"


def enabled() -> bool | None:
    """Whether the kernels are in use in this process; `None` where TensorFlow does not tell.

    TensorFlow decides when it is imported: by `TF_ENABLE_ONEDNN_OPTS`, else by the CPU.

    Example:
        >>> enabled() in (True, False, None)
        True
    """
    try:
        # There is no public name for it.
        from tensorflow.python.util import _pywrap_util_port

        return bool(_pywrap_util_port.IsMklEnabled())
    except (ImportError, AttributeError):
        return None
