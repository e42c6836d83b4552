"""SavedModels for TensorFlow Serving."""

import contextlib
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from keras_arch.errors import ArgumentError, StorageError
from keras_arch.export import versions, warmup
from keras_arch.preprocessing import Preprocessing
from keras_arch.registry import LATENTS


def saved_model(
    model: Any,
    directory: str | os.PathLike[str],
    *,
    name: str,
    preprocessing: Preprocessing,
    labels: Sequence[str] | None = None,
    latent: Mapping[str, Any] | None = None,
    version: int | None = None,
) -> Path:
    """Write `DIRECTORY/NAME/VERSION/` as TensorFlow Serving loads it.

    A classifier (`labels` given) has two signatures with the same outputs, `probabilities`
    `(batch, classes)` float32 and `label` `(batch,)` string:

    - `serving_default`: `image` `(batch, height, width, channels)` float32, pixels in [0, 255]
      of any height and width.
    - `serving_bytes`: `image_bytes` `(batch,)` string, each an encoded JPEG or PNG, grey or
      colour, each of its own size.

    A generator (`latent` given) has two signatures with the same outputs, `image` uint8 pixels
    and `image_float` float32 in the generator's own range, `(batch, height, width, channels)`:

    - `serving_default`: `latent` `(batch, size)` float32.
    - `generate`: `seed` int64 and `count` int32, both scalars. The images are those of
      `trainers.GAN.generate(count, seed)`.

    Preprocessing is part of the graph. The labels are the asset `labels.txt`, and
    `assets.extra/` has a warm-up request for each signature.

    Args:
        model: A `keras.Model` with one input and one output: a classifier that ends in a softmax
            or in logits (then the softmax is added), or a generator. It may compute in half
            precision; outputs are float32 (and uint8).
        directory: Folder of all served models. Missing folders are made.
        name: Name of the model: letters, digits, `.`, `_`, `-`.
        preprocessing: The preprocessing that the model was trained with.
        labels: One string a class, in the order of the outputs.
        latent: `{"size": 100, "distribution": "normal"}`, or `"uniform"` for U(-1, 1).
        version: A number from 1. Default the first above those there are.

    Returns:
        The folder that was written.

    Raises:
        ArgumentError: If something is missing or does not fit the model, or the version exists.
        StorageError: If it cannot be written. Nothing stays of it.

    Example:
        >>> import tempfile
        >>> from keras_arch import export, models
        >>> from keras_arch.preprocessing import Preprocessing
        >>> path = export.saved_model(
        ...     models.CIFARResNet(depth=8, input_shape=(8, 8, 1), classes=2),
        ...     tempfile.mkdtemp(),
        ...     name="coins",
        ...     preprocessing=Preprocessing(size=(8, 8), channels=1),
        ...     labels=["heads", "tails"],
        ... )
        >>> path.parts[-2:]
        ('coins', '1')
        >>> import tensorflow as tf
        >>> classify = tf.saved_model.load(path).signatures["serving_default"]
        >>> out = classify(image=tf.zeros((5, 20, 30, 1)))
        >>> out["probabilities"].shape, out["label"].dtype
        (TensorShape([5, 2]), tf.string)
        >>> import shutil
        >>> shutil.rmtree(path.parents[1])
    """
    _check_model(model)
    _check_card(model, preprocessing, labels, latent)
    from_logits = latent is None and _ends_in_logits(model)

    from keras_arch.export import signatures  # It imports TensorFlow.

    def fill(folder: Path) -> None:
        with tempfile.TemporaryDirectory() as scratch:
            if latent is None:
                labels_file = Path(scratch) / "labels.txt"
                labels_file.write_text("".join(f"{label}\n" for label in labels), "utf-8")
                servable = signatures.classifier(model, preprocessing, labels_file, from_logits)
            else:
                servable = signatures.generator(
                    model, preprocessing, latent["size"], latent["distribution"]
                )
            _save(servable, folder)
        warmup.write(folder, name, servable.requests)

    with _one_line_errors(Path(directory) / versions.check_name(name)):
        return versions.publish(directory, name, version, fill)


def _save(servable: Any, folder: Path) -> None:
    import tensorflow as tf

    logger = tf.get_logger()
    level = logger.level
    logger.setLevel("WARNING")  # It announces every asset.
    try:
        tf.saved_model.save(
            servable.module,
            str(folder),
            signatures=servable.signatures,
            # A server takes no gradients.
            options=tf.saved_model.SaveOptions(experimental_custom_gradients=False),
        )
    finally:
        logger.setLevel(level)


@contextlib.contextmanager
def _one_line_errors(path: Path) -> Iterator[None]:
    """Tell any failed write as one line; TensorFlow's writers do not raise `OSError`."""
    import tensorflow as tf

    try:
        yield
    except (StorageError, tf.errors.InvalidArgumentError, tf.errors.UnimplementedError):
        raise  # The latter two are about the graph, not about the disk.
    except (OSError, tf.errors.OpError) as error:
        reason = getattr(error, "strerror", None) or str(getattr(error, "message", error))
        raise StorageError(
            f"cannot write {path}: {reason.strip().partition(chr(10))[0]}; free some space or "
            "choose another folder"
        ) from error


def _check_model(model: Any) -> None:
    import keras

    if keras.backend.backend() != "tensorflow":
        raise ArgumentError(
            f"a SavedModel is written by Keras' TensorFlow backend, this is "
            f"{keras.backend.backend()!r}; start Python with KERAS_BACKEND=tensorflow"
        )
    if not isinstance(model, keras.Model):
        raise ArgumentError(f"model must be a keras.Model, got {type(model).__name__}")
    if not model.built:
        raise ArgumentError(
            f"model {model.name!r} has no weights yet; call it on a batch or give it an Input"
        )
    ends = len(getattr(model, "inputs", None) or ()), len(getattr(model, "outputs", None) or ())
    if ends != (1, 1):
        raise ArgumentError(
            f"model {model.name!r} has {ends[0]} inputs and {ends[1]} outputs; a functional model "
            "with one of each can be exported"
        )


def _check_card(
    model: Any,
    preprocessing: Any,
    labels: Sequence[str] | None,
    latent: Mapping[str, Any] | None,
) -> None:
    """Refuse what does not fit the model."""
    if not isinstance(preprocessing, Preprocessing):
        raise ArgumentError(
            f"model {model.name!r} comes without its preprocessing (got {preprocessing!r}); give "
            "the Preprocessing that it was trained with"
        )
    if (labels is None) == (latent is None):
        given = "neither" if labels is None else "both"
        raise ArgumentError(
            f"model {model.name!r} comes with {given} labels and latent; give labels=[...] for a "
            "classifier, latent={'size': ..., 'distribution': ...} for a generator"
        )
    if latent is None:
        _check_shape(model, "takes images", model.input_shape, preprocessing)
        _check_labels(model, labels)
    else:
        _check_latent(model, latent)
        _check_shape(model, "makes images", model.output_shape, preprocessing)


def _check_shape(model: Any, does: str, shape: Any, preprocessing: Preprocessing) -> None:
    wanted = preprocessing.input_shape
    own = tuple(shape[1:])
    if len(own) != 3 or any(a not in (None, b) for a, b in zip(own, wanted, strict=True)):
        raise ArgumentError(
            f"model {model.name!r} {does} of shape {own}, its preprocessing is for {wanted}"
        )


def _check_labels(model: Any, labels: Sequence[str]) -> None:
    outputs = tuple(model.output_shape[1:])
    if isinstance(labels, str) or not all(isinstance(label, str) for label in labels):
        raise ArgumentError(f"labels must be a list of strings, got {labels!r}")
    if len(outputs) != 1 or len(labels) != outputs[0]:
        raise ArgumentError(
            f"model {model.name!r} has outputs of shape {outputs}, got {len(labels)} labels; give "
            "one label a class"
        )
    for label in labels:
        if label.splitlines() != [label]:
            raise ArgumentError(f"a label must be one line of text, got {label!r}")


def _check_latent(model: Any, latent: Mapping[str, Any]) -> None:
    if set(latent) != {"size", "distribution"}:
        raise ArgumentError(
            f"latent must have the keys size and distribution, got {sorted(latent)}"
        )
    if latent["distribution"] not in LATENTS:
        raise ArgumentError(
            f"latent distribution must be one of {', '.join(LATENTS)}, "
            f"got {latent['distribution']!r}"
        )
    if tuple(model.input_shape[1:]) != (latent["size"],):
        raise ArgumentError(
            f"model {model.name!r} takes inputs of shape {tuple(model.input_shape[1:])}, got "
            f"latent size {latent['size']!r}"
        )


def _ends_in_logits(model: Any) -> bool:
    """Whether a classifier still lacks its softmax."""
    import keras

    last = model.layers[-1]
    activation = getattr(last, "activation", None)
    if isinstance(last, keras.layers.Softmax) or activation is keras.activations.softmax:
        return False
    if activation is keras.activations.linear:
        return True
    raise ArgumentError(
        f"model {model.name!r} ends in {last.name!r} with activation "
        f"{getattr(activation, '__name__', None)}; a classifier ends in a softmax or in logits"
    )
