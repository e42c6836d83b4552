"""Data source `pairs:PATH`: pairs of an image and the image that it is translated to."""

import itertools
from pathlib import Path
from typing import Any

from keras_arch._lazy import tf
from keras_arch.data import image_files, image_listing
from keras_arch.data.image_files import Shape
from keras_arch.data.sources.base import Source, existing_path
from keras_arch.errors import DataError

_LAYOUT = "images side by side in one file, or two folders named A and B"


class Pairs(Source):
    """Images A and B side by side in one file, or in two folders with files of equal names.

    The halves are named as the pix2pix authors name them: A is the left one, B the right one.

    Args:
        path: A folder of pairs, or of folders train, test and val of these.
        direction: `"AtoB"` where A is the network's input and B its target, or `"BtoA"`.
    """

    kind = "pairs"

    def __init__(self, path: str | Path, *, direction: str = "AtoB") -> None:
        self._swap = swaps(direction)
        path = existing_path(path, _LAYOUT)
        found = image_files.split_folders(path)
        strange = [each for each in image_files.subfolders(path) if each.name not in found]
        strange += image_files.images(path)
        if found and strange:
            raise DataError(
                f"{path} holds folders of splits and also {strange[0]}; move it elsewhere"
            )
        folders = found or {"train": path}
        self._files = {split: _pairs(folder) for split, folder in folders.items()}
        everything = [files for pairs in self._files.values() for files in pairs]
        widths = {len(files) for files in everything}
        if len(widths) > 1:
            raise DataError(f"{path} has pairs in one file and pairs in two folders; choose one")
        self._joined = widths == {1}
        self._shapes = _joined(everything) if self._joined else _separate(everything)
        self._dtypes = [image_files.dtype_of(files) for files in zip(*everything, strict=True)]
        self.splits = {split: len(files) for split, files in self._files.items()}
        image_listing.log_opened(
            path,
            {split: [*itertools.chain(*pairs)] for split, pairs in self._files.items()},
        )
        self.image_shape, self.other_shape = self._shapes[::-1] if self._swap else self._shapes

    def examples(self, split: str, start: int, stop: int) -> Any:
        """Pairs `start` to `stop` as `(image, target)`."""
        first, second = self._shapes

        def halves(image: Any) -> Any:
            middle = tf.shape(image)[1] // 2
            left = tf.ensure_shape(image[:, :middle], first)
            right = tf.ensure_shape(image[:, middle:], second)
            return (right, left) if self._swap else (left, right)

        columns = list(zip(*self._files[split][start:stop], strict=True))
        if self._joined:
            height, width, channels = first
            whole = (height, width and 2 * width, channels)
            return image_files.decoded(columns[0], whole, dtype=self._dtypes[0]).map(
                halves, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
            )
        images = [
            image_files.decoded(files, shape, dtype=dtype)
            for files, shape, dtype in zip(columns, self._shapes, self._dtypes, strict=True)
        ]
        return tf.data.Dataset.zip(tuple(images[::-1] if self._swap else images))


def swaps(direction: str) -> bool:
    """Whether a direction, `"AtoB"` or `"BtoA"`, makes B the input and A the target."""
    if direction not in ("AtoB", "BtoA"):
        raise DataError(
            "the direction of a data source is direction=AtoB or direction=BtoA, got "
            f"'direction={direction}'"
        )
    return direction == "BtoA"


def _pairs(folder: Path) -> list[tuple[Path, ...]]:
    """The pairs of one split: tuples of one file, or of one file of A and one of B."""
    inner = {entry.name: entry for entry in image_files.subfolders(folder)}
    files = image_files.images(folder)
    if not inner:
        if not files:
            raise DataError(f"{folder} holds no image ({image_files.READABLE}); give {_LAYOUT}")
        return [(file,) for file in files]
    if set(inner) != {"A", "B"}:
        names = ", ".join(sorted(inner, key=image_files.natural)[:5])
        raise DataError(f"{folder} must hold {_LAYOUT}; its folders are {names}")
    if files:
        raise DataError(
            f"{folder} holds both folders A and B and images such as {files[0].name}; keep one"
        )
    return matched(inner["A"], inner["B"])


def matched(one: Path, other: Path) -> list[tuple[Path, Path]]:
    """Pairs of images of equal names in two folders; each must have a counterpart."""
    first, second = _by_name(one), _by_name(other)
    for here, there, where in ((first, second, other), (second, first, one)):
        alone = [file for name, file in here.items() if name not in there]
        if alone:
            shown = ", ".join(map(str, alone[:3])) + (", ..." if len(alone) > 3 else "")
            raise DataError(
                f"{len(alone)} of the {len(here)} images in {alone[0].parent} have no image of the "
                f"same name in {where}: {shown}"
            )
    return [(file, second[name]) for name, file in first.items()]


def _by_name(folder: Path) -> dict[str, Path]:
    named: dict[str, Path] = {}
    for file in image_files.some_images(folder):
        # In folders inside, the counterpart lies in a folder of the same name.
        name = str(file.relative_to(folder).with_suffix(""))
        if name in named:
            raise DataError(f"{named[name]} and {file} have one name; a pair has two images")
        named[name] = file
    return named


def _joined(pairs: list[tuple[Path, ...]]) -> tuple[Shape, Shape]:
    """The shape of each half of files that hold two images side by side."""
    files = [file for (file,) in pairs]
    heads = image_files.in_threads(image_files.head, files)
    for file, found in zip(files, heads, strict=True):
        width = found.size[1]
        if width % 2:
            raise DataError(
                f"{file} is {width} pixels wide, which is odd; two images of one size side by side "
                "have an even width"
            )
    height, width, channels = image_files.shape_of(files)
    half = (height, width and width // 2, channels)
    return half, half


def _separate(pairs: list[tuple[Path, ...]]) -> tuple[Shape, Shape]:
    """The shapes of the images in two folders; those of one pair must agree in size."""
    image_files.same_sizes(
        pairs,
        "{first} has {size} pixels and {second} has {other}; the two images of a pair must be of "
        "one size",
    )
    return tuple(image_files.shape_of(column) for column in zip(*pairs, strict=True))
