"""Deferred imports of TensorFlow, without the log lines of its libraries."""

import contextlib
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import LazyLoader
from types import ModuleType

# They import scikit-learn and pyplot: a third of the time that TensorFlow and Keras take to import.
RARELY_USED = (
    "keras.wrappers",
    "keras._tf_keras.keras.wrappers",
    "keras.src.visualization",
    "keras.visualization",
    "keras._tf_keras.keras.visualization",
)


class _FirstUse(MetaPathFinder):
    """Finder of modules that run when something of them is first used."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path, target) if name in RARELY_USED else None
        if spec is not None and spec.loader is not None:
            spec.loader = LazyLoader(spec.loader)
        return spec


def defer_parts_of_keras() -> None:
    """Let the parts of Keras that no command needs be imported when they are first used.

    Only for a process of our own. Where Keras is imported already, nothing changes.
    """
    if not any(isinstance(finder, _FirstUse) for finder in sys.meta_path):
        sys.meta_path.insert(0, _FirstUse())


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
