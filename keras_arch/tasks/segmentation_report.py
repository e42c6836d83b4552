"""What a segmentation network says of images of any size, how good that is, and pictures of it."""

import dataclasses
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_arch import config, data, files, hub, metrics, tiling, visualization
from keras_arch.errors import ArgumentError, DataError
from keras_arch.losses.pixel import IGNORE
from keras_arch.preprocessing import Preprocessing

ISBI = ("pixel_error", "rand_error", "warping_error")
FIGURES = ("boundary_f_score", *ISBI)
# What predicted masks say of themselves, so that they are told from those drawn by hand.
_MADE_HERE = ("Software", "keras-arch predict")
# Distance in pixels within which boundaries match.
TOLERANCE = 2.0


def probabilities_of(
    model: keras.Model,
    image: np.ndarray,
    preprocessing: Preprocessing,
    cut: str,
    progress: bool = False,
) -> np.ndarray:
    """The probabilities of the classes of every pixel of one image.

    Args:
        model: From preprocessed images to probabilities or logits.
        image: `uint8` `(height, width, 1 or 3)`, of any size.
        preprocessing: What the model was trained with.
        cut: `"tiles"` works at the image's own resolution, tile by tile (`tiling.predict`);
            `"whole"` brings the image to the size of `preprocessing`, and the probabilities back
            (by tiles too if it is larger and would lose its rim by padding).
        progress: Whether to draw a bar over the tiles.

    Returns:
        `float32` `(height, width, classes)`.
    """
    height, width = image.shape[:2]
    larger = height > preprocessing.size[0] or width > preprocessing.size[1]
    # Padding keeps the scale, and of a larger image it would keep the middle only.
    tiled = cut == "tiles" or (preprocessing.resize == "pad" and larger)
    if tiled:
        native = dataclasses.replace(preprocessing, size=(height, width), crop=None)
        outputs = tiling.predict(
            model,
            np.asarray(native(image[None]))[0],
            tile=preprocessing.size,
            progress=progress,
        )
    else:
        outputs = keras.ops.convert_to_numpy(model(preprocessing(image[None]), training=False))[
            0
        ].astype(np.float32)
    if model.layers[-1].name != "probabilities":
        outputs = keras.ops.convert_to_numpy(keras.ops.softmax(outputs))
    if not tiled:
        outputs = _brought_back(outputs, (height, width), preprocessing)
    return outputs


def _brought_back(
    outputs: np.ndarray, size: tuple[int, int], preprocessing: Preprocessing
) -> np.ndarray:
    """Probabilities at the size that an image had before it was fitted."""
    import tensorflow as tf

    if preprocessing.resize == "pad":
        return np.asarray(tf.image.resize_with_crop_or_pad(outputs, *size))
    return np.asarray(tf.image.resize(outputs, size, method="bilinear"))


@dataclasses.dataclass(frozen=True)
class Segmented:
    """What a network made of a data set with masks.

    Attributes:
        figures: By name, as fractions.
        confusion: `(classes, classes)` pixels with true classes as rows.
        boundaries: Boundary F-score of each class.
        shown: The first images with their truths and predictions.
    """

    figures: dict[str, float]
    confusion: np.ndarray
    boundaries: list[float | None]
    shown: list[tuple[np.ndarray, np.ndarray, np.ndarray]]


def measure_segmentation(
    model: keras.Model,
    dataset: Any,
    preprocessing: Preprocessing,
    cut: str,
    classes: int,
    figures: Sequence[str] = ("boundary_f_score",),
    show: int = 4,
) -> Segmented:
    """Predict whole images at their own resolution, and measure.

    Args:
        model: From preprocessed images to probabilities or logits.
        dataset: `tf.data.Dataset` of `(image, mask)`.
        preprocessing: What the model was trained with.
        cut: As for `probabilities_of`.
        classes: How many there are.
        figures: Which of `FIGURES` to take besides those of pixels. Those of ISBI-2012 are of two
            classes, the second of which is the interior.
        show: How many images to keep for pictures.

    Returns:
        The figures, with what they were taken from.

    Raises:
        ArgumentError: If a figure does not fit the classes.
    """
    isbi = [name for name in figures if name in ISBI]
    if isbi and classes != 2:
        raise ArgumentError(f"{isbi[0]} is of two classes, membrane and interior, not {classes}")
    confusion = np.zeros((classes, classes), np.int64)
    truths, found, shown = [], [], []
    errors = {name: [] for name in isbi}
    for image, mask in dataset.as_numpy_iterator():
        probabilities = probabilities_of(model, image, preprocessing, cut)
        predicted = probabilities.argmax(axis=-1).astype(np.uint8)
        confusion += metrics.pixel_confusion(mask, predicted, classes)
        if len(shown) < show:
            shown.append((image, mask, predicted))
        if "boundary_f_score" in figures:
            truths.append(mask)
            found.append(predicted)
        if isbi:
            interior = np.clip(probabilities[..., 1], 0.0, 1.0)
            for name in isbi:
                errors[name].append((mask, interior))
    scores = metrics.pixel_scores(confusion)
    boundaries: list[float | None] = [None] * classes
    if truths:
        report = metrics.boundary_f_score(truths, found, classes, TOLERANCE)
        scores["boundary_f_score"], boundaries = report["f_score"], report["per_class"]
    for name, pairs in errors.items():
        scores[name] = _isbi(name, pairs)
    return Segmented(scores, confusion, boundaries, shown)


def _isbi(name: str, pairs: list[tuple[np.ndarray, np.ndarray]]) -> float:
    """An error of ISBI-2012 over slices, which are one volume where they are of one size."""
    figure = getattr(metrics, name)
    if len({truth.shape for truth, _ in pairs}) == 1:
        return figure(*map(np.stack, zip(*pairs, strict=True)))
    return float(np.mean([figure(truth, interior) for truth, interior in pairs]))


def write_report(
    measured: Segmented, labels: Sequence[str], colors: visualization.Colors, folder: Path
) -> None:
    """Write `confusion_matrix.png`, `per_class.json`, `visualization.png` and `close_ups.png`.

    Args:
        measured: What the network made of the data set.
        labels: A name for each class.
        colors: A colour for each class.
        folder: Where to.
    """
    visualization.confusion_matrix(measured.confusion, labels, folder / "confusion_matrix.png")
    rows = metrics.per_class(measured.confusion, labels)
    for row, boundary in zip(rows, measured.boundaries, strict=True):
        row["boundary_f_score"] = boundary
    files.atomic_write(folder / "per_class.json", json.dumps(rows, indent=1) + "\n")
    sheet = visualization.grid(panels(measured.shown, colors), columns=4, padding=4)
    visualization.save_png(sheet, folder / "visualization.png")
    near = _of_one_size([visualization.zoom_on_errors(*each) for each in measured.shown])
    visualization.save_png(visualization.grid(near, columns=2, padding=4), folder / "close_ups.png")


def panels(
    shown: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]], colors: visualization.Colors
) -> np.ndarray:
    """Of each image: itself, the truth and the prediction over it, and where that is wrong."""
    rows = []
    for image, truth, predicted in shown:
        rgb = image.repeat(3, axis=-1) if image.shape[-1] == 1 else image
        rows += [
            rgb,
            visualization.overlay(image, truth, colors),
            visualization.overlay(image, predicted, colors),
            visualization.error_map(truth, predicted),
        ]
    return _of_one_size(rows)


def _of_one_size(images: Sequence[np.ndarray]) -> np.ndarray:
    height, width = (max(image.shape[axis] for image in images) for axis in (0, 1))
    sheet = np.full((len(images), height, width, 3), 255, np.uint8)
    for place, image in zip(sheet, images, strict=True):
        place[: image.shape[0], : image.shape[1]] = image
    return sheet


def colors_of(card: "hub.Card") -> list[Sequence[int]]:
    """The colours of a card's classes."""
    return list(card.colors or visualization.class_colors(len(card.labels)))


def cut_of(card: "hub.Card") -> str:
    """How images come to a network of a card."""
    return card.recipe.get("data", {}).get("cut", "tiles")


@dataclasses.dataclass(frozen=True)
class Segmentation:
    """What a segmentation network says of one image.

    Attributes:
        path: The image file.
        mask: The PNG file with a class a pixel, in a palette of the classes' colours.
        overlay: The picture of the classes over the image, or `None`.
        shares: The share of the pixels of each class, by name.
    """

    path: Path
    mask: Path
    overlay: Path | None
    shares: dict[str, float]


def segment_files(
    opened: "hub.LoadedModel",
    paths: Sequence[Path],
    read: Any,
    out: str | Path | None,
    overlay: bool,
) -> list[Segmentation]:
    """Write `NAME_mask.png`, and `NAME_overlay.png` where it is asked for, for each image.

    Raises:
        ArgumentError: If two of them would get one name, or a mask lies there that is not one of
            these: one that was drawn by hand has such a name, too.
    """
    card = opened.card
    colors, cut = colors_of(card), cut_of(card)
    stems = [(Path(out) if out else path.parent) / path.stem for path in paths]
    twice = next((stem for stem in stems if stems.count(stem) > 1), None)
    if twice:
        raise ArgumentError(f"two images would become {twice}_mask.png; segment them one by one")
    masks = [stem.with_name(f"{stem.name}_mask.png") for stem in stems]
    for file in masks:
        _check_replaceable(file)
    results = []
    for path, stem, file in zip(paths, stems, masks, strict=True):
        image = read(path)
        probabilities = probabilities_of(
            opened.model, image, card.preprocessing, cut, progress=True
        )
        mask = probabilities.argmax(axis=-1).astype(np.uint8)
        write_mask(mask, colors, file)
        picture = None
        if overlay:
            picture = stem.with_name(f"{stem.name}_overlay.png")
            visualization.save_png(visualization.overlay(image, mask, colors), picture)
        counts = np.bincount(mask.ravel(), minlength=len(card.labels)) / mask.size
        shares = dict(zip(card.labels, map(float, counts), strict=True))
        results.append(Segmentation(path, file, picture, shares))
    return results


def write_mask(mask: np.ndarray, colors: visualization.Colors, path: Path) -> Path:
    """Write a mask as a PNG file with a palette, as PASCAL VOC has them.

    Args:
        mask: `uint8` `(height, width)` classes.
        colors: A colour for each class.
        path: Where to.

    Returns:
        The path.
    """
    from PIL import Image, PngImagePlugin

    palette = np.zeros((256, 3), np.uint8)
    palette[: len(colors)] = colors
    palette[IGNORE] = (224, 224, 192)
    image = Image.fromarray(mask)
    image.putpalette(palette.ravel().tolist())
    content, note = io.BytesIO(), PngImagePlugin.PngInfo()
    note.add_text(*_MADE_HERE)
    image.save(content, format="PNG", pnginfo=note)
    return files.atomic_write(path, content.getvalue())


def _check_replaceable(path: Path) -> None:
    """Refuse to write over a mask that `write_mask` did not write."""
    from PIL import Image

    if not path.exists():
        return
    name, value = _MADE_HERE
    try:
        with Image.open(path) as image:
            ours = image.info.get(name) == value
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        ours = False
    if not ours:
        raise ArgumentError(
            f"{path} is there already and is no prediction; move it away, or have the masks "
            "written to another folder with out (--out DIR)"
        )


def evaluate_segmentation(
    opened: "hub.LoadedModel",
    settings: Mapping[str, Any],
    source: str | None,
    split: str | None,
    data_dir: str | None,
    out: str | Path | None,
) -> dict[str, float]:
    """Measure a segmentation network on a data set, and write the report where it is asked for.

    Args:
        opened: The network with its card.
        settings: The data section that it was trained with.
        source: Another data set, whose masks have the same values, or `None`.
        split: Default: that of the settings.
        data_dir: The same.
        out: Folder of the report, or `None`.

    Returns:
        The figures.

    Raises:
        ArgumentError: If nothing says what to measure on.
        DataError: If the data is of another kind or has other classes.
    """
    card = opened.card
    if source is None and "source" not in settings:
        raise ArgumentError(f"{card.name} does not say what it was trained on; give a data source")
    source = _address(settings, source)
    data_dir = data_dir or settings.get("data_dir")
    described = data.describe(source, data_dir=data_dir)
    if described.kind != "masks" or len(described.classes) != len(card.labels):
        told = "no masks"
        if described.kind == "masks":
            told = f"masks of {len(described.classes)} classes"
        raise DataError(f"{source} has {told}, the model tells {len(card.labels)} classes apart")
    dataset = data.load(source, split or settings.get("test", "test"), data_dir=data_dir)
    wanted = [name for name in FIGURES if name == "boundary_f_score" or name in card.metrics]
    measured = measure_segmentation(
        opened.model, dataset, card.preprocessing, cut_of(card), len(card.labels), wanted
    )
    if out is not None:
        write_report(measured, card.labels, colors_of(card), Path(out))
        files.atomic_write(
            Path(out) / "metrics.json", json.dumps(measured.figures, indent=1) + "\n"
        )
    return measured.figures


def _address(settings: Mapping[str, Any], source: str | None) -> str:
    """A source with the table of classes that the network was trained with, where it needs one."""
    source = source or settings["source"]
    known = {"source": source, "classes": settings.get("classes", {})}
    plain = source.startswith("masks:") and not source.startswith("masks:tfds:")
    if not plain or "classes=" in source:
        known["classes"] = {}
    return config.SegmentationData(**known).address


def examples(dataset: Any, count: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The first images with their masks."""
    yield from dataset.take(count).as_numpy_iterator()
