"""Deferred imports of TensorFlow, without the log lines of its libraries."""

import contextlib
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from types import ModuleType


@contextlib.contextmanager
def quiet_loading() -> Iterator[None]:
    """Context in which TensorFlow is imported without the log lines of its libraries.

    They write to the process's standard error before any logging level applies. Other lines pass.
    Set TF_CPP_MIN_LOG_LEVEL to see all that it allows.
    """
    if "TF_CPP_MIN_LOG_LEVEL" in os.environ or "tensorflow" in sys.modules:
        yield
        return
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    sys.stderr.flush()
    terminal = os.dup(2)
    try:
        with tempfile.TemporaryFile() as printed:
            os.dup2(printed.fileno(), 2)
            try:
                yield
            finally:
                sys.stderr.flush()
                os.dup2(terminal, 2)
                if "tensorflow" not in sys.modules:
                    del os.environ["TF_CPP_MIN_LOG_LEVEL"]
                printed.seek(0)
                for line in printed:
                    if not re.match(rb"[IWE]\d{4} |WARNING: All log messages before absl", line):
                        os.write(terminal, line)
    finally:
        os.close(terminal)


def api() -> ModuleType:
    """The module `keras_arch.api`, imported on the first call."""
    with quiet_loading():
        from keras_arch import api as loaded
    return loaded
