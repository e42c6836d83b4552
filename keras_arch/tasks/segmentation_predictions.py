"""Predictions of a segmentation network for images of any size, and mask files."""

import dataclasses
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import keras
import numpy as np

from keras_arch import files, hub, tiling, visualization
from keras_arch.data.image_reading import read_image
from keras_arch.errors import ArgumentError
from keras_arch.losses import IGNORE
from keras_arch.preprocessing import Preprocessing

# A note in predicted masks, which tells them from masks drawn by hand.
_NOTE = ("Software", "keras-arch predict")


@dataclasses.dataclass(frozen=True)
class SegmentationPrediction:
    """The classes of the pixels of one image.

    Attributes:
        path: The image file.
        mask: The PNG file with a class a pixel, in a palette of the classes' colors.
        overlay: The picture of the classes over the image, or `None`.
        shares: The share of the pixels of each class, by name.
    """

    columns: ClassVar[tuple[str, ...]] = ("image", "label", "share")

    path: Path
    mask: Path
    overlay: Path | None
    shares: dict[str, float]

    def rows(self) -> list[tuple[str, ...]]:
        """Table rows, one a class."""
        return [(str(self.path), label, f"{share:.4f}") for label, share in self.shares.items()]

    @property
    def files(self) -> Mapping[str, Path]:
        """The mask, and the overlay if there is one."""
        return {"mask": self.mask} | ({"overlay": self.overlay} if self.overlay else {})


def predict_probabilities(
    model: keras.Model,
    image: np.ndarray,
    preprocessing: Preprocessing,
    crop_mode: str,
    progress: bool = False,
) -> np.ndarray:
    """Class probabilities of every pixel of one image.

    Args:
        model: From preprocessed images to probabilities or logits.
        image: `(height, width, channels)`, of any size.
        preprocessing: The preprocessing of the training.
        crop_mode: `"tiles"` works at the image's own resolution, tile by tile (`tiling.predict`);
            `"whole"` brings the image to the size of `preprocessing`, and the probabilities back
            (by tiles too if it is larger and would lose its rim by padding).
        progress: Whether to draw a bar over the tiles.

    Returns:
        `float32` `(height, width, classes)`.
    """
    height, width = image.shape[:2]
    larger = height > preprocessing.size[0] or width > preprocessing.size[1]
    # Padding keeps the scale, and of a larger image it would keep the middle only.
    tiled = crop_mode == "tiles" or (preprocessing.resize == "pad" and larger)
    if tiled:
        native = dataclasses.replace(preprocessing, size=(height, width), crop=None)
        outputs = tiling.predict(
            model, np.asarray(native(image[None]))[0], tile=preprocessing.size, progress=progress
        )
    else:
        outputs = keras.ops.convert_to_numpy(model(preprocessing(image[None]), training=False))[
            0
        ].astype(np.float32)
    if model.layers[-1].name != "probabilities":
        outputs = keras.ops.convert_to_numpy(keras.ops.softmax(outputs))
    if not tiled:
        outputs = _resize_back(outputs, (height, width), preprocessing)
    return outputs


def _resize_back(
    outputs: np.ndarray, size: tuple[int, int], preprocessing: Preprocessing
) -> np.ndarray:
    """Probabilities at the size of the image before its preprocessing."""
    import tensorflow as tf

    if preprocessing.resize == "pad":
        return np.asarray(tf.image.resize_with_crop_or_pad(outputs, *size))
    return np.asarray(tf.image.resize(outputs, size, method="bilinear"))


def predict(
    loaded: hub.LoadedModel,
    images: Sequence[Path],
    out: Path | None,
    overlay: bool,
    colors: visualization.Colors,
    crop_mode: str,
) -> list[SegmentationPrediction]:
    """Write `NAME_mask.png`, and `NAME_overlay.png` if asked for, for each image.

    Raises:
        ArgumentError: If two of them would get one name, or a file is there that is not a
            predicted mask: one that was drawn by hand may have such a name, too.
    """
    card = loaded.card
    stems = [(out or path.parent) / path.stem for path in images]
    twice = next((stem for stem in stems if stems.count(stem) > 1), None)
    if twice:
        raise ArgumentError(f"two images would become {twice}_mask.png; segment them one by one")
    masks = [stem.with_name(f"{stem.name}_mask.png") for stem in stems]
    for file in masks:
        _check_replaceable(file)
    results = []
    for path, stem, file in zip(images, stems, masks, strict=True):
        image = read_image(path)
        probabilities = predict_probabilities(
            loaded.model, image, card.preprocessing, crop_mode, progress=True
        )
        mask = probabilities.argmax(axis=-1).astype(np.uint8)
        write_mask(mask, colors, file)
        picture = None
        if overlay:
            picture = stem.with_name(f"{stem.name}_overlay.png")
            shown = visualization.displayable(card.preprocessing.display(image))
            visualization.save_png(visualization.overlay(shown, mask, colors), picture)
        counts = np.bincount(mask.ravel(), minlength=len(card.labels)) / mask.size
        shares = dict(zip(card.labels, map(float, counts), strict=True))
        results.append(SegmentationPrediction(path, file, picture, shares))
    return results


def write_mask(mask: np.ndarray, colors: visualization.Colors, path: Path) -> Path:
    """Write a mask as a PNG file with a palette, as PASCAL VOC has them.

    Args:
        mask: `uint8` `(height, width)` classes.
        colors: A color for each class.
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
    note.add_text(*_NOTE)
    image.save(content, format="PNG", pnginfo=note)
    return files.atomic_write(path, content.getvalue())


def _check_replaceable(path: Path) -> None:
    """Refuse to write over a mask that `write_mask` did not write."""
    from PIL import Image

    if not path.exists():
        return
    name, value = _NOTE
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
