"""Data source `unpaired:PATH`: images of two domains without a correspondence, for CycleGAN."""

import dataclasses
import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from keras_arch._lazy import tf
from keras_arch.data import counting, image_files, image_listing
from keras_arch.data.image_files import Shape
from keras_arch.data.loading import describe
from keras_arch.data.sources.base import Source, existing_path
from keras_arch.data.sources.pairs import swaps
from keras_arch.errors import DataError
from keras_arch.registry import SOURCES


@dataclasses.dataclass(frozen=True)
class Unpaired:
    """Two data sets of images from which `train_batches` draws independently.

    `load("unpaired:...")` returns one; it is also built from any two data sets of images.

    Args:
        image: Finite `tf.data.Dataset` of `uint8` images `(height, width, channels)`: the domain
            that is translated.
        other: The same of the domain that it is translated to; sizes, channels and number of
            images may differ.

    Raises:
        DataError: If a domain holds more than images, such as labels.

    Example:
        >>> from keras_arch import data
        >>> digits = data.load("digits").map(lambda image, label: image)
        >>> both = data.Unpaired(digits.take(3), digits.skip(3).take(2))
        >>> [image.shape == other.shape for image, other in both]
        [True, True, True]
    """

    image: Any
    other: Any

    def __post_init__(self) -> None:
        for field in ("image", "other"):
            dataset = getattr(self, field)
            spec = getattr(dataset, "element_spec", None)
            if not isinstance(spec, tf.TensorSpec) or spec.shape.rank not in (None, 3):
                raise DataError(
                    f"the domain {field!r} must be a data set of images alone, its elements are "
                    f"{spec if dataset is not None else None}; leave labels out with "
                    ".map(lambda image, label: image)"
                )

    def zipped(self) -> Any:
        """A finite `tf.data.Dataset` of `(image, other)`, each domain in its own order.

        It is as long as the larger domain; the smaller one begins again at its end.
        """
        sizes = [counting.count(self.image), counting.count(self.other)]
        if not all(sizes):
            raise DataError("the data set holds no image in one domain")
        longest = max(sizes)
        both = tf.data.Dataset.zip((self.image.repeat(), self.other.repeat())).take(longest)
        return both.apply(tf.data.experimental.assert_cardinality(longest))

    def take(self, count: int) -> "Unpaired":
        """The first so many images of each domain."""
        return Unpaired(self.image.take(count), self.other.take(count))

    @property
    def element_spec(self) -> tuple[Any, Any]:
        """The types of `(image, other)`."""
        return self.image.element_spec, self.other.element_spec

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        return iter(self.zipped())


class UnpairedSource(Source):
    """Two domains, each a data source of its own, with splits of equal names.

    The first is translated to the other; `swap` lets the two change places.
    """

    kind = "unpaired"

    def __init__(self, image: Source, other: Source, *, swap: bool = False) -> None:
        self._domains = image, other = (other, image) if swap else (image, other)
        self.splits = {
            split: max(size, other.splits[split]) for split, size in image.splits.items()
        }
        self.image_shape, self.other_shape = image.image_shape, other.image_shape
        self.license = image.license

    def load(self, split: str = "train") -> Unpaired:
        """A split expression of each domain, whose slices are those of the domain."""
        return Unpaired(*(domain.load(split) for domain in self._domains))


def open_unpaired(
    path: str | Path,
    *,
    direction: str = "AtoB",
    data_dir: str | os.PathLike[str] | None = None,
    download: bool = False,
) -> UnpairedSource:
    """Open two domains of images.

    Args:
        path: A folder as the CycleGAN authors have them, with folders trainA, trainB, testA and
            testB; or another data source: one of pairs, whose two sides are the domains, or one of
            images with splits trainA, trainB, ...
        direction: `"AtoB"` where images of A are translated to B, or `"BtoA"`.
        data_dir: As for `keras_arch.data.load`.
        download: As for `keras_arch.data.describe`.
    """
    swap = swaps(direction)
    scheme, colon, _ = str(path).partition(":")
    if colon and scheme in SOURCES:
        return _from_source(describe(path, data_dir=data_dir, download=download), swap)
    path = existing_path(path, "folders trainA and trainB")
    inner = {folder.name: folder for folder in image_files.subfolders(path)}
    splits = [split for split in image_files.SPLITS if {split + "A", split + "B"} & set(inner)]
    if not splits:
        raise DataError(
            f"{path} has no folders trainA and trainB (testA, testB, ...); for pairs taken as two "
            f"domains write unpaired:pairs:{path}"
        )
    for split in splits:
        for here, there in (("A", "B"), ("B", "A")):
            if split + here not in inner:
                raise DataError(f"{path} has a folder {split}{there} but no {split}{here}")
    domains = [_Images({split: inner[split + side] for split in splits}) for side in "AB"]
    image_listing.log_opened(
        path,
        {
            split + side: domain.files[split]
            for side, domain in zip("AB", domains, strict=True)
            for split in splits
        },
    )
    return UnpairedSource(*domains, swap=swap)


def _from_source(source: Source, swap: bool) -> UnpairedSource:
    """The two sides of pairs, or the splits trainA, trainB, testA and testB of images."""
    if source.kind == "pairs":
        columns = [{split: split for split in source.splits}] * 2
        shapes = source.image_shape, source.other_shape
        return UnpairedSource(*map(_Column, [source] * 2, columns, shapes, (0, 1)), swap=swap)
    splits = [split[:-1] for split in source.splits if split.endswith("A")]
    splits = [split for split in splits if split + "B" in source.splits]
    if not splits:
        raise DataError(
            f"data source {source.name!r} has the splits {', '.join(source.splits)}; two domains "
            "need splits such as trainA and trainB"
        )
    domains = [
        _Column(source, {split: split + side for split in splits}, source.image_shape, 0)
        for side in "AB"
    ]
    return UnpairedSource(*domains, swap=swap)


class _Images(Source):
    def __init__(self, folders: dict[str, Path]) -> None:
        self.files = {split: image_files.some_images(folder) for split, folder in folders.items()}
        self.name = ", ".join(map(str, folders.values()))
        self.splits = {split: len(files) for split, files in self.files.items()}
        everything = list(itertools.chain(*self.files.values()))
        self.image_shape = image_files.shape_of(everything)
        self._dtype = image_files.dtype_of(everything)

    def examples(self, split: str, start: int, stop: int) -> Any:
        """Images `start` to `stop`."""
        files = self.files[split][start:stop]
        return image_files.decoded(files, self.image_shape, dtype=self._dtype)


class _Column(Source):
    """One column of another source, whose splits may have other names there."""

    def __init__(
        self, source: Source, splits: dict[str, str], shape: Shape | None, column: int
    ) -> None:
        self._source, self._inner, self._column = source, splits, column
        self.name, self.license, self.image_shape = source.name, source.license, shape
        self.splits = {split: source.splits[inner] for split, inner in splits.items()}

    def examples(self, split: str, start: int, stop: int) -> Any:
        """Images `start` to `stop`."""
        dataset = self._source.load(f"{self._inner[split]}[{start}:{stop}]")
        if not isinstance(dataset.element_spec, tuple):
            return dataset
        return dataset.map(lambda *columns: columns[self._column])
