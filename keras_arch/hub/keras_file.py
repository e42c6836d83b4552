"""Loading of a `.keras` file with the checks of a model directory."""

import os
import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from keras_arch.errors import ArgumentError, IntegrityError
from keras_arch.hub import layout
from keras_arch.hub.layout import CORE

if TYPE_CHECKING:
    import keras


def load_keras_file(path: str | os.PathLike[str]) -> "keras.Model":
    """Load the model of a `.keras` file, which holds the three files of a model directory.

    Nothing that comes with it is run: Lambda layers, and classes that are not Keras' own, are
    refused, as by `hub.load`.

    Args:
        path: The file, as `model.save` writes it.

    Returns:
        The model, not compiled.

    Raises:
        ArgumentError: If there is no such file.
        IntegrityError: If it is damaged, or no `.keras` file.
        UnsafeContentError: If it asks for code to be run.

    Example:
        >>> import keras
        >>> keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save("small.keras")
        >>> load_keras_file("small.keras").output_shape
        (None, 1)
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise ArgumentError(f"there is no file {str(path)!r}; check the path")
    with tempfile.TemporaryDirectory() as directory:
        try:
            with zipfile.ZipFile(path) as archive:
                for name in CORE:
                    # Keras compresses nothing, and what is not compressed cannot grow.
                    if archive.getinfo(name).compress_type != zipfile.ZIP_STORED:
                        raise IntegrityError(
                            f"{path} holds {name} compressed, which Keras never does; save the "
                            "model again"
                        )
                    with archive.open(name) as member, Path(directory, name).open("wb") as file:
                        shutil.copyfileobj(member, file)
        except (zipfile.BadZipFile, KeyError, EOFError, NotImplementedError, RuntimeError) as error:
            reason = str(error).strip("'\"")
            raise IntegrityError(
                f"{path} is no whole .keras file ({reason}); save the model again"
            ) from None
        return layout.load_model(Path(directory), str(path))
