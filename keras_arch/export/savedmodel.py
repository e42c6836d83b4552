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

# What a model comes with, by what it does.
NEEDED = {
    "image-classification": ("labels",),
    "image-segmentation": ("labels",),
    "unconditional-image-generation": ("latent",),
    "conditional-image-generation": ("labels", "latent"),
    "image-to-image": (),
}


def saved_model(
    model: Any,
    directory: str | os.PathLike[str],
    *,
    name: str,
    preprocessing: Preprocessing,
    labels: Sequence[str] | None = None,
    latent: Mapping[str, Any] | None = None,
    version: int | None = None,
    task: str | None = None,
    target_preprocessing: Preprocessing | None = None,
    tiles: bool = False,
) -> Path:
    """Write `DIRECTORY/NAME/VERSION/` as TensorFlow Serving loads it.

    What it has depends on the task, which follows from `labels` and `latent` where it is not
    given. Preprocessing is part of the graph, the labels are the asset `labels.txt`, and
    `assets.extra/` has a warm-up request for each signature.

    A classifier (`labels`) has two signatures with the same outputs, `probabilities`
    `(batch, classes)` float32 and `label` `(batch,)` string:

    - `serving_default`: `image` `(batch, height, width, channels)` float32, pixels in [0, 255]
      of any height and width.
    - `serving_bytes`: `image_bytes` `(batch,)` string, each an encoded JPEG or PNG, grey or
      colour, each of its own size.

    A segmentation network (`task="image-segmentation"`) has the same two signatures, with the
    outputs `probabilities` `(batch, height, width, classes)` float32 and `classes` `(batch, height,
    width)` uint8, numbers of the lines of `labels.txt`. The size is that of the model's output.
    Where it works on `tiles` of images, images of another size than the preprocessing's are refused
    and not resized: `tiling.predict` takes the loaded SavedModel, and images of any size.

    The others make images: `image` uint8 pixels and `image_float` float32 in the model's own
    range, `(batch, height, width, channels)`.

    A generator (`latent`), with the images of `trainers.GAN.generate(count, seed)` for a seed:

    - `serving_default`: `latent` `(batch, size)` float32.
    - `generate`: `seed` int64 and `count` int32, both scalars.

    A conditional generator (`labels` and `latent`), with those of
    `trainers.ConditionalGAN.generate(count, seed, labels=label)`; a label outside the classes is
    refused:

    - `serving_default`: `latent` `(batch, size)` float32 and `label` `(batch,)` int32.
    - `generate`: `seed` int64, a scalar, and `label` `(count,)` int32.

    An image translator (`task="image-to-image"`), with the images of `trainers.translate`. Where
    the model keeps batch statistics or dropout at inference, they are kept here, and each image
    is translated by itself:

    - `serving_default`: `image`, as for a classifier.
    - `serving_bytes`: `image_bytes`, as for a classifier. The pixels come encoded too, as
      `image_png_bytes` `(batch,)` string.

    Args:
        model: A `keras.Model` with one output and one input (a conditional generator has two,
            latent and label). A classifier ends in a softmax or in logits (then the softmax is
            added). It may compute in half precision; outputs are float32 (and uint8).
        directory: Folder of all served models. Missing folders are made.
        name: Name of the model: letters, digits, `.`, `_`, `-`.
        preprocessing: The preprocessing that the model was trained with: of the images that it
            takes, or that it makes.
        labels: One string a class, in the order of the outputs or of the labels that it takes.
        latent: `{"size": 100, "distribution": "normal"}`, or `"uniform"` for U(-1, 1), or
            `"uniform01"` for U(0, 1).
        version: A number from 1. Default the first above those there are.
        task: `"image-classification"`, `"image-segmentation"`, `"unconditional-image-generation"`,
            `"conditional-image-generation"` or `"image-to-image"`. Default: what `labels` and
            `latent` say.
        target_preprocessing: For a translator, the preprocessing of the images that it makes.
            Default: that of those it takes.
        tiles: Whether a segmentation network works on tiles at the images' own resolution.

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
    task = _task(model, task, labels, latent)
    _check_model(model, task)
    target = _check_card(model, task, preprocessing, labels, latent, target_preprocessing)
    told = ("image-classification", "image-segmentation")
    from_logits = task in told and _ends_in_logits(model)

    from keras_arch.export import signatures  # It imports TensorFlow.

    def make(labels_file: Path) -> Any:
        if task == "image-classification":
            return signatures.classifier(model, preprocessing, labels_file, from_logits)
        if task == "image-segmentation":
            return signatures.segmenter(model, preprocessing, labels_file, from_logits, tiles)
        if task == "image-to-image":
            return signatures.translator(model, preprocessing, target)
        drawn = latent["size"], latent["distribution"]
        if task == "unconditional-image-generation":
            return signatures.generator(model, preprocessing, *drawn)
        return signatures.conditional_generator(
            model, preprocessing, labels_file, len(labels), *drawn
        )

    def fill(folder: Path) -> None:
        with tempfile.TemporaryDirectory() as scratch:
            labels_file = Path(scratch) / "labels.txt"
            labels_file.write_text("".join(f"{label}\n" for label in labels or ()), "utf-8")
            servable = make(labels_file)
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


def _task(model: Any, task: str | None, labels: Any, latent: Any) -> str:
    """What the model does, as it is said or as what it comes with says."""
    given = tuple(
        key for key, value in (("labels", labels), ("latent", latent)) if value is not None
    )
    named = getattr(model, "name", model)
    if task is None:
        if not given:
            raise ArgumentError(
                f"model {named!r} comes with neither labels nor latent; give labels=[...] for a "
                "classifier, latent={'size': ..., 'distribution': ...} for a generator, both for "
                "a conditional one, or task='image-to-image'"
            )
        return next(known for known, needed in NEEDED.items() if needed == given)
    if task not in NEEDED:
        raise ArgumentError(f"task must be one of {', '.join(NEEDED)}, got {task!r}")
    if NEEDED[task] != given:
        raise ArgumentError(
            f"model {named!r} comes with {' and '.join(given) or 'neither labels nor latent'}; "
            f"{task} takes {' and '.join(NEEDED[task]) or 'neither'}"
        )
    return task


def _check_model(model: Any, task: str) -> None:
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
    conditional = task == "conditional-image-generation"
    if ends != (2 if conditional else 1, 1):
        raise ArgumentError(
            f"model {model.name!r} has {ends[0]} inputs and {ends[1]} outputs; "
            + (
                "with both labels and latent it is a conditional generator, a functional model "
                "from [latent, label] to one output"
                if conditional
                else "a functional model with one of each can be exported"
            )
        )


def _check_card(
    model: Any,
    task: str,
    preprocessing: Any,
    labels: Sequence[str] | None,
    latent: Mapping[str, Any] | None,
    target_preprocessing: Any,
) -> Preprocessing:
    """Refuse what does not fit the model; give the preprocessing of what it makes."""
    if not isinstance(preprocessing, Preprocessing):
        raise ArgumentError(
            f"model {model.name!r} comes without its preprocessing (got {preprocessing!r}); give "
            "the Preprocessing that it was trained with"
        )
    target = preprocessing if target_preprocessing is None else target_preprocessing
    if task == "image-to-image":
        if not isinstance(target, Preprocessing):
            raise ArgumentError(f"target_preprocessing must be a Preprocessing, got {target!r}")
    elif target_preprocessing is not None:
        raise ArgumentError(f"target_preprocessing is for image-to-image, the task is {task}")
    if latent is not None:
        _check_latent(model, latent)
    else:
        _check_shape(model, "takes images", model.input_shape, preprocessing)
    if task == "image-classification":
        outputs = tuple(model.output_shape[1:])
        if len(outputs) != 1:
            raise ArgumentError(
                f"model {model.name!r} has outputs of shape {outputs}; those of a classifier are "
                "one number a class"
            )
        _check_labels(model, labels, outputs[0])
        return target
    if task == "image-segmentation":
        outputs = tuple(model.output_shape[1:])
        if len(outputs) != 3 or outputs[-1] < 2:
            raise ArgumentError(
                f"model {model.name!r} has outputs of shape {outputs}; those of a segmentation "
                "network are maps of two or more classes"
            )
        _check_labels(model, labels, outputs[-1])
        return target
    if task == "conditional-image-generation":
        _check_labels(model, labels, _told_classes(model))
    hint = "; give target_preprocessing" if task == "image-to-image" else ""
    _check_shape(model, "makes images", model.output_shape, target, hint)
    return target


def _check_shape(
    model: Any, does: str, shape: Any, preprocessing: Preprocessing, hint: str = ""
) -> None:
    wanted = preprocessing.input_shape
    own = tuple(shape[1:])
    if len(own) != 3 or any(a not in (None, b) for a, b in zip(own, wanted, strict=True)):
        raise ArgumentError(
            f"model {model.name!r} {does} of shape {own}, its preprocessing is for {wanted}{hint}"
        )


def _check_labels(model: Any, labels: Sequence[str], classes: int | None) -> None:
    if isinstance(labels, str) or not all(isinstance(label, str) for label in labels):
        raise ArgumentError(f"labels must be a list of strings, got {labels!r}")
    if not labels or classes not in (None, len(labels)):
        raise ArgumentError(
            f"model {model.name!r} has {classes or 'some'} classes, got {len(labels)} labels; give "
            "one label a class"
        )
    for label in labels:
        if label.splitlines() != [label]:
            raise ArgumentError(f"a label must be one line of text, got {label!r}")


def _told_classes(model: Any) -> int | None:
    """How many classes a conditional generator tells apart, if its layers say so."""
    import keras

    told = {
        layer.num_tokens
        for layer in model._flatten_layers()
        if isinstance(layer, keras.layers.CategoryEncoding)
    }
    return told.pop() if len(told) == 1 else None


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
    shapes = [tuple(tensor.shape[1:]) for tensor in model.inputs]
    if shapes[0] != (latent["size"],):
        raise ArgumentError(
            f"model {model.name!r} takes inputs of shape {shapes[0]}, got "
            f"latent size {latent['size']!r}"
        )
    if shapes[1:] not in ([], [()]):
        raise ArgumentError(
            f"model {model.name!r} takes [latent, label], its labels have shape {shapes[1]}; they "
            "are one whole number an image"
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
