"""Two sets of images without a correspondence, as CycleGAN learns from."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from keras_arch.data import counting, image_files
from keras_arch.data.image_files import Shape
from keras_arch.data.sources.base import Reader, Source
from keras_arch.errors import DataError


@dataclasses.dataclass(frozen=True)
class Unpaired:
    """Two data sets of images that `train_batches` draws from independently.

    `load("unpaired:...")` gives one; any two data sets of images make another.

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
        import tensorflow as tf

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
        import tensorflow as tf

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


@dataclasses.dataclass(frozen=True)
class Domains:
    """Two opened domains and what is known of both."""

    image: Reader
    other: Reader
    source: Source


def in_folders(name: str, path: Path, swap: bool) -> Domains:
    """Domains as the CycleGAN authors keep them: folders trainA, trainB, testA, testB.

    Args:
        name: The source as it was asked for.
        path: The folder that holds them.
        swap: Whether images of B are translated to A; else A to B.

    Raises:
        DataError: If there are no such folders, or one is missing or empty.
    """
    if not path.is_dir():
        raise DataError(f"{path} is not a folder; give one with folders trainA and trainB")
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
    return _ordered(
        name, [_Images({split: inner[split + side] for split in splits}) for side in "AB"], swap
    )


def of_pairs(name: str, pairs: Reader) -> Domains:
    """The two columns of pairs as domains."""
    source = pairs.source
    shapes = (source.image_shape, source.other_shape)
    views = [
        _View(pairs, {split: split for split in source.splits}, shape, column)
        for column, shape in enumerate(shapes)
    ]
    return _ordered(name, views, swap=False)


def of_tfds(name: str, catalog: Reader, swap: bool) -> Domains:
    """The splits trainA, trainB, testA and testB of a TensorFlow Datasets set as domains.

    Raises:
        DataError: If it has no such splits.
    """
    source = catalog.source
    splits = [split[:-1] for split in source.splits if split.endswith("A")]
    splits = [split for split in splits if split + "B" in source.splits]
    if not splits:
        raise DataError(
            f"data source {name!r} has the splits {', '.join(source.splits)}; two domains need "
            "splits such as trainA and trainB"
        )
    views = [
        _View(catalog, {split: split + side for split in splits}, source.image_shape, 0)
        for side in "AB"
    ]
    return _ordered(name, views, swap)


class _Images:
    """The images of one domain, a folder for each split."""

    def __init__(self, folders: dict[str, Path]) -> None:
        self._files = {split: image_files.images(folder) for split, folder in folders.items()}
        for split, files in self._files.items():
            if not files:
                raise DataError(
                    f"{folders[split]} holds no image ({', '.join(image_files.SUFFIXES)})"
                )
        files = [file for files in self._files.values() for file in files]
        self.source = _domain(
            ", ".join(map(str, folders.values())),
            {split: len(files) for split, files in self._files.items()},
            image_files.shape_of(files),
        )

    def part(self, split: str, start: int, stop: int) -> Any:
        """Images `start` to `stop`."""
        return image_files.decoded(self._files[split][start:stop], self.source.image_shape)


class _View:
    """One column of another reader, whose splits may have other names there."""

    def __init__(self, reader: Reader, splits: dict[str, str], shape: Shape, column: int) -> None:
        self._reader, self._splits, self._column = reader, splits, column
        sizes = {split: reader.source.splits[inner] for split, inner in splits.items()}
        self.source = _domain(reader.source.name, sizes, shape, reader.source.license)

    def part(self, split: str, start: int, stop: int) -> Any:
        """Images `start` to `stop`."""
        dataset = self._reader.part(self._splits[split], start, stop)
        if not isinstance(dataset.element_spec, tuple):
            return dataset
        return dataset.map(lambda *columns: columns[self._column])


def _domain(name: str, splits: dict[str, int], shape: Shape, license: str = "not stated") -> Source:
    return Source(name=name, classes=None, splits=splits, image_shape=shape, license=license)


def _ordered(name: str, readers: list[Any], swap: bool) -> Domains:
    """Domains with what is known of both."""
    image, other = readers[::-1] if swap else readers
    first, second = image.source, other.source
    return Domains(
        image,
        other,
        Source(
            name=name,
            classes=None,
            splits={split: max(size, second.splits[split]) for split, size in first.splits.items()},
            image_shape=first.image_shape,
            license=first.license,
            kind="unpaired",
            other_shape=second.image_shape,
        ),
    )
