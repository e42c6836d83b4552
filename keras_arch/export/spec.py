"""Description of an export: what goes into a SavedModel besides the model."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from keras_arch import registry
from keras_arch.errors import ArgumentError
from keras_arch.preprocessing import Preprocessing

# Most pixels of an image of a request: 50 megapixels of a phone pass.
MAX_PIXELS = 2**26
# Servers count examples in int32.
MAX_COUNT = 2**31 - 1
# Memory of the inputs and outputs of the largest request.
_REQUEST_BYTES = 2**28


@dataclasses.dataclass(frozen=True)
class Servable:
    """A module with the functions that a server calls.

    Attributes:
        module: A `tf.Module` that holds the variables and tables of the functions.
        signatures: Functions by signature name.
        requests: For each signature, inputs of a warm-up request.
    """

    module: Any
    signatures: dict[str, Callable[..., Any]]
    requests: dict[str, dict[str, Any]]


@dataclasses.dataclass(frozen=True)
class ExportSpec:
    """The arguments of an export, with the checks that tasks share.

    Attributes:
        preprocessing: Of the images that the model takes, or of those that it generates.
        labels: A name for each class.
        latent: Size and distribution of the latent.
        target_preprocessing: Of the images that a translator generates.
        tiles: Whether images of another size are refused, and not resized.
        labels_file: `labels.txt`, one label a line; it becomes an asset.
        max_batch: Most examples of a request.
        max_pixels: Most pixels of an image of a request, before and after it is resized.
    """

    preprocessing: Preprocessing
    labels: Sequence[str] | None = None
    latent: Mapping[str, Any] | None = None
    target_preprocessing: Preprocessing | None = None
    tiles: bool = False
    labels_file: Path | None = None
    max_batch: int = 256
    max_pixels: int = MAX_PIXELS

    @property
    def output_preprocessing(self) -> Preprocessing:
        """Of the images that the model generates."""
        return self.target_preprocessing or self.preprocessing

    def check_input(self, model: Any) -> None:
        """Refuse a model that takes images of another shape, with an `ArgumentError`."""
        _check_shape(model, "takes images", model.input_shape, self.preprocessing)

    def check_output(self, model: Any, hint: str = "") -> None:
        """Refuse a model that generates images of another shape, with an `ArgumentError`."""
        _check_shape(model, "makes images", model.output_shape, self.output_preprocessing, hint)

    def check_labels(self, model: Any, classes: int | None) -> None:
        """Refuse labels that are not one line of text a class, with an `ArgumentError`.

        Args:
            model: Named in messages.
            classes: Number of classes, where it is known.
        """
        labels = self.labels
        if isinstance(labels, str) or not all(isinstance(label, str) for label in labels or ()):
            raise ArgumentError(f"labels must be a list of strings, got {labels!r}")
        if not labels or classes not in (None, len(labels)):
            raise ArgumentError(
                f"model {model.name!r} has {classes or 'some'} classes, got {len(labels or ())} "
                "labels; give one label a class"
            )
        for label in labels:
            if label.splitlines() != [label]:
                raise ArgumentError(f"a label must be one line of text, got {label!r}")

    def check_latent(self, model: Any) -> None:
        """Refuse a latent that does not fit a generator's inputs, with an `ArgumentError`."""
        latent = self.latent or {}
        if set(latent) != {"size", "distribution"}:
            raise ArgumentError(
                f"latent must have the keys size and distribution, got {sorted(latent)}"
            )
        if latent["distribution"] not in registry.LATENTS:
            raise ArgumentError(
                f"latent distribution must be one of {', '.join(registry.LATENTS)}, "
                f"got {latent['distribution']!r}"
            )
        shapes = [tuple(tensor.shape[1:]) for tensor in model.inputs]
        if shapes[0] != (latent["size"],):
            raise ArgumentError(
                f"model {model.name!r} takes inputs of shape {shapes[0]}, got latent size "
                f"{latent['size']!r}"
            )
        if shapes[1:] not in ([], [()]):
            raise ArgumentError(
                f"model {model.name!r} takes [latent, label], its labels have shape {shapes[1]}; "
                "they are one whole number an image"
            )


def default_max_batch(model: Any, preprocessing: Preprocessing) -> int:
    """The number of examples whose inputs and outputs take 256 MiB, at least 1.

    Args:
        model: Its output counts, as float32; open sizes are those of the preprocessing.
        preprocessing: Of the images that the model takes or generates.

    Example:
        >>> import keras
        >>> image = keras.Input((64, 64, 3))
        >>> default_max_batch(keras.Model(image, image), Preprocessing((64, 64)))
        2730
    """
    shape = model.output_shape[1:]
    sizes = preprocessing.input_shape if len(shape) == 3 else (1,) * len(shape)
    outputs = math.prod(own or size for own, size in zip(shape, sizes, strict=True))
    return max(1, _REQUEST_BYTES // (4 * (math.prod(preprocessing.input_shape) + outputs)))


def _check_shape(
    model: Any, does: str, shape: Any, preprocessing: Preprocessing, hint: str = ""
) -> None:
    wanted = preprocessing.input_shape
    own = tuple(shape[1:])
    if len(own) != 3 or any(a not in (None, b) for a, b in zip(own, wanted, strict=True)):
        raise ArgumentError(
            f"model {model.name!r} {does} of shape {own}, its preprocessing is for {wanted}{hint}"
        )
