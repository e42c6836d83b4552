"""What a classifier says of image files, and where it looks."""

import dataclasses
import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_arch import visualization
from keras_arch.errors import ArgumentError, DataError
from keras_arch.tasks.segmentation_report import Segmentation, segment_files
from keras_arch.training.references import opened_with_card


@dataclasses.dataclass(frozen=True)
class Prediction:
    """What a classifier says of one image.

    Attributes:
        path: The image file.
        labels: The most probable classes, best first.
        probabilities: Their probabilities.
        explanation: The picture of what speaks for the class, or `None`.
    """

    path: Path
    labels: tuple[str, ...]
    probabilities: tuple[float, ...]
    explanation: Path | None = None


def predict(
    ref: str | Path,
    images: Sequence[str | Path],
    top: int = 5,
    *,
    explain: bool = False,
    label: int | str | None = None,
    overlay: bool = False,
    out: str | Path | None = None,
    token: str | None = None,
) -> "list[Prediction] | list[Segmentation]":
    """Classify image files, or their pixels.

    Args:
        ref: As in `model_uri`.
        images: JPEG, PNG or other files that Pillow reads.
        top: How many classes to tell.
        explain: Whether to draw, for each image, what speaks for a class (`visualization.grad_cam`)
            over the image as the network sees it: `NAME_explained.png`.
        label: The class to explain, by number or name. Default: the most probable one.
        overlay: Of a segmentation network: whether to draw the classes over the image,
            `NAME_overlay.png`, besides `NAME_mask.png`.
        out: Folder of those pictures. Default: where each image is.
        token: For a private repository.

    Returns:
        One `Prediction` an image, or of a segmentation network one `Segmentation`.

    Raises:
        ArgumentError: If the model is no classifier, there is no such class, or two pictures would
            get one name.
        DataError: If a file is missing or is no image.
    """
    opened = opened_with_card(ref, token=token)
    card = opened.card
    if card.task == "image-segmentation":
        if explain or label is not None:
            raise ArgumentError(f"{ref} classifies pixels; explain and label are for classifiers")
        return segment_files(opened, list(map(Path, images)), read_image, out, overlay)
    if overlay:
        raise ArgumentError(f"{ref} is {card.architecture}, which has no masks to lay over images")
    if out is not None and not explain:
        raise ArgumentError(f"out is for the pictures of explain; {ref} writes none without")
    if card.task != "image-classification":
        raise ArgumentError(f"{ref} is {card.architecture}, which does not classify images")
    labels = card.labels or [str(i) for i in range(opened.model.output_shape[-1])]
    paths = list(map(Path, images))
    explained = _class_of(label, labels, ref) if explain and label is not None else None
    pictured = _explanations(paths, out) if explain else [None] * len(paths)
    predictions = []
    for path, picture in zip(paths, pictured, strict=True):
        inputs = np.asarray(card.preprocessing(read_image(path)[None]))
        probabilities = keras.ops.convert_to_numpy(opened.model(inputs, training=False))[0]
        best = np.argsort(-probabilities, kind="stable")[:top]
        if picture is not None:
            number = int(best[0]) if explained is None else explained
            heat = visualization.grad_cam(opened.model, inputs, [number])[0]
            pixels = card.preprocessing.to_pixels(inputs)[0]
            said = f"{labels[number]}: {100 * probabilities[number]:.1f} %"
            visualization.draw_explanation(pixels, heat, said, picture)
        predictions.append(
            Prediction(
                path,
                tuple(labels[i] for i in best),
                tuple(float(probabilities[i]) for i in best),
                picture,
            )
        )
    return predictions


def _explanations(paths: Sequence[Path], out: str | Path | None) -> list[Path]:
    """Where the pictures go that explain images; no two of them to one place."""
    pictured = [
        (Path(out) if out else path.parent) / f"{path.stem}_explained.png" for path in paths
    ]
    twice = next((path for path in pictured if pictured.count(path) > 1), None)
    if twice:
        raise ArgumentError(f"two images would be explained in {twice}; explain them one by one")
    return pictured


def _class_of(label: int | str, labels: Sequence[str], ref: Any) -> int:
    """A class of a classifier by its name or number."""
    if str(label) in labels:
        return list(labels).index(str(label))
    if str(label).isdecimal() and int(label) < len(labels):
        return int(label)
    close = difflib.get_close_matches(str(label), labels, n=3)
    known = ", ".join(close or labels[:10]) + ("" if close or len(labels) <= 10 else ", ...")
    raise ArgumentError(
        f"{ref} has no class {label!r}; {'did you mean' if close else 'it has'} {known}"
        f"{'?' if close else ''}"
    )


def read_image(path: Path) -> np.ndarray:
    """An image file as `uint8` `(height, width, 1 or 3)`."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            deep = image.mode.startswith("I;16")
            grey = deep or image.mode in ("1", "L", "I")
            # Of 16 bits the upper half, as in training; Pillow would cut off what is over 255.
            pixels = np.asarray(image) >> 8 if deep else image.convert("L" if grey else "RGB")
            pixels = np.asarray(pixels, np.uint8)
    except FileNotFoundError:
        raise DataError(f"image {path} does not exist") from None
    except Image.DecompressionBombError:
        # Pillow refuses twice the number that it warns of.
        raise DataError(
            f"image {path} has more than {2 * Image.MAX_IMAGE_PIXELS:,} pixels, the most that a "
            "file is read with; predict it part by part with keras_arch.tiling.predict and "
            "np.memmap"
        ) from None
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise DataError(f"image {path} cannot be read: {reason}") from None
    return pixels[..., None] if grey else pixels
