"""SavedModels for TensorFlow Serving."""

import contextlib
import dataclasses
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from keras_arch import files, registry
from keras_arch.errors import ArgumentError, StorageError, whole_number
from keras_arch.export import versions, warmup
from keras_arch.export.spec import MAX_COUNT, MAX_PIXELS, ExportSpec, default_max_batch
from keras_arch.preprocessing import Preprocessing

# The tasks that follow from labels and latent alone.
_GENERATION = ("unconditional-image-generation", "conditional-image-generation")
_INFERRED = ("image-classification", *_GENERATION)


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
    max_batch: int | None = None,
    max_pixels: int | None = None,
) -> Path:
    """Write `DIRECTORY/NAME/VERSION/` as TensorFlow Serving loads it.

    What it has depends on the task, which follows from `labels` and `latent` where it is not
    given. Preprocessing is part of the graph, the labels are the asset `labels.txt`, and
    `assets.extra/` has a warm-up request for each signature.

    A classifier (`labels`) has two signatures with the same outputs, `probabilities`
    `(batch, classes)` float32 and `label` `(batch,)` string:

    - `serving_default`: `image` `(batch, height, width, channels)` float32, pixels in [0, 255]
      (or in the `value_range` of the preprocessing) of any height and width.
    - `serving_bytes`: `image_bytes` `(batch,)` string, each a JPEG, PNG, BMP, GIF or WebP file of
      one picture, grey or colour, each of its own size, turned upright as its EXIF says.

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

    Every request is checked before anything else runs: rank, sizes and channels, pixels in
    [0, 255], finite latents, labels, and the two limits `max_batch` and `max_pixels`. Headers of
    encoded images are read before any is decoded. What does not fit is answered with
    INVALID_ARGUMENT, the name of the input, what came and what is wanted; a request of no examples
    with outputs of no examples.

    Args:
        model: A `keras.Model` with one output and one input (a conditional generator has two,
            latent and label). A classifier ends in a softmax or in logits (then the softmax is
            added). It may compute in half precision; outputs are float32 (and uint8).
        directory: Folder of all served models.
        name: Name of the model: letters, digits, `.`, `_`, `-`.
        preprocessing: That of the training, of the images that the model takes or makes.
        labels: One string a class, in the order of the outputs or of the labels that it takes.
        latent: `{"size": 100, "distribution": "normal"}`, or `"uniform"` for U(-1, 1), or
            `"uniform01"` for U(0, 1).
        version: A number from 1. Default: the first above those there are.
        task: One of the above, or `"image-classification"`, `"unconditional-image-generation"` or
            `"conditional-image-generation"`. Default: what `labels` and `latent` say.
        target_preprocessing: For a translator, the preprocessing of the images that it makes.
            Default: that of those it takes.
        tiles: Whether a segmentation network works on tiles at the images' own resolution.
        max_batch: Most examples of a request, `count` included. Default: as many as have inputs
            and outputs of 256 MiB (442 images of 224x224 for an ImageNet classifier).
        max_pixels: Most pixels of an image of a request, before and after it is resized. Default:
            2**26, 67 megapixels.

    Returns:
        The folder that was written.

    Raises:
        ArgumentError: If something is missing or does not fit the model, or the version exists.
        StorageError: If it cannot be written. Nothing stays of it.

    Example:
        >>> from keras_arch import export, models
        >>> from keras_arch.preprocessing import Preprocessing
        >>> import tensorflow as tf
        >>> model = models.CIFARResNet(depth=8, input_shape=(8, 8, 1), classes=2)
        >>> coins = {"preprocessing": Preprocessing((8, 8), 1), "labels": ["heads", "tails"]}
        >>> path = export.saved_model(model, "served", name="coins", **coins)
        >>> classify = tf.saved_model.load(path).signatures["serving_default"]
        >>> out = classify(image=tf.zeros((5, 20, 30, 1)))
        >>> path.name, out["probabilities"].shape, out["label"].dtype
        ('1', TensorShape([5, 2]), tf.string)
    """
    kind = _task(model, task, labels, latent)
    _check_model(model, kind)
    target = target_preprocessing or preprocessing
    for key, value in (("preprocessing", preprocessing), ("target_preprocessing", target)):
        if not isinstance(value, Preprocessing):
            raise ArgumentError(
                f"model {model.name!r} comes without its {key} (got {value!r}); give the "
                "Preprocessing that it was trained with"
            )
    if target_preprocessing is not None and not kind.has_target_preprocessing:
        raise ArgumentError(f"target_preprocessing is for image-to-image, the task is {kind.name}")
    spec = ExportSpec(
        preprocessing,
        labels,
        latent,
        target_preprocessing,
        tiles,
        max_pixels=whole_number("max_pixels", MAX_PIXELS if max_pixels is None else max_pixels),
    )
    kind.check_export(model, spec)
    if max_batch is None:
        max_batch = default_max_batch(model, preprocessing)
    elif whole_number("max_batch", max_batch) > MAX_COUNT:
        raise ArgumentError(f"max_batch must be at most {MAX_COUNT}, got {max_batch}")
    spec = dataclasses.replace(spec, max_batch=int(max_batch))

    def fill(folder: Path) -> None:
        with tempfile.TemporaryDirectory() as scratch:
            labels_file = Path(scratch) / "labels.txt"
            labels_file.write_text("".join(f"{label}\n" for label in labels or ()), "utf-8")
            servable = kind.signatures(model, dataclasses.replace(spec, labels_file=labels_file))
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
    """Raise any failed write as a `StorageError`; TensorFlow's writers do not raise `OSError`."""
    import tensorflow as tf

    try:
        yield
    except (StorageError, tf.errors.InvalidArgumentError, tf.errors.UnimplementedError):
        raise  # The latter two are about the graph, not about the disk.
    except (OSError, tf.errors.OpError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).strip().partition("\n")[0]
        raise files.storage_error(path, error) or StorageError(
            f"cannot write {path}: {reason}; free some space or choose another folder"
        ) from error


def _task(model: Any, task: str | None, labels: Any, latent: Any) -> Any:
    """The task of a model: the one that is named, or the one that labels and latent imply."""
    values = {"labels": labels, "latent": latent}
    given = tuple(key for key, value in values.items() if value is not None)
    named = getattr(model, "name", model)
    if task is None:
        if not given:
            raise ArgumentError(
                f"model {named!r} comes with neither labels nor latent; give labels=[...] for a "
                "classifier, latent={'size': ..., 'distribution': ...} for a generator, both for "
                "a conditional one, or the task, such as task='image-to-image'"
            )
        kinds = map(registry.TASKS.get, _INFERRED)
        return next(kind for kind in kinds if kind.export_needs == given)
    exportable = [name for name, kind in registry.TASKS.items() if kind.can("signatures")]
    if task not in exportable:
        raise ArgumentError(f"task must be one of {', '.join(exportable)}, got {task!r}")
    kind = registry.TASKS.get(task)
    if kind.export_needs != given:
        raise ArgumentError(
            f"model {named!r} comes with {' and '.join(given) or 'neither labels nor latent'}; "
            f"{task} takes {' and '.join(kind.export_needs) or 'neither'}"
        )
    return kind


def _check_model(model: Any, kind: Any) -> None:
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
    if ends != (kind.inputs, 1):
        raise ArgumentError(
            f"model {model.name!r} has {ends[0]} inputs and {ends[1]} outputs; a model of the task "
            f"{kind.name} is a functional model with {kind.inputs} inputs and 1 output"
        )
