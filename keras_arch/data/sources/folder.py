"""Data source `folder:PATH`: image files, one sub-folder a class."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np

from keras_arch.data import image_files, image_listing
from keras_arch.data.sources.base import Source, existing_path
from keras_arch.errors import DataError


class Folder(Source):
    """Image files by class: whatever Pillow reads, and arrays (.npy).

    The images of a class lie in its folder or in folders in it. What is taken and what is left out
    is logged in one line. The images of all classes are interleaved evenly, so that a slice such as
    `train[:90%]` holds every class in proportion.

    Args:
        path: A folder of class folders or of images, or of folders train, test and val (or valid,
            validation) of these.
    """

    def __init__(self, path: str | Path) -> None:
        path = existing_path(path, "a sub-folder for each class")
        folders = image_files.split_folders(path)
        if not folders or len(folders) < len(image_files.subfolders(path)):
            folders = {"train": path}
        self._files: dict[str, list[Path]] = {}
        self._labels: dict[str, np.ndarray] = {}
        classes: tuple[str, ...] | None = None
        for position, (split, folder) in enumerate(folders.items()):
            by_class = _images_by_class(folder)
            if position == 0:
                classes = tuple(by_class) if by_class else None
            if by_class is None:
                if classes is not None:
                    raise DataError(f"{folder} has no class folders, unlike the other splits")
                self._files[split] = image_files.images(folder)
                continue
            stray = sorted(set(by_class) - set(classes or ()), key=image_files.natural)
            if stray:
                first = next(iter(folders.values()))
                raise DataError(f"{folder} has class {stray[0]!r}, which {first} does not have")
            self._files[split], self._labels[split] = _interleave(by_class, classes or ())
        self.classes = classes
        self.splits = {split: len(files) for split, files in self._files.items()}
        everything = list(itertools.chain(*self._files.values()))
        self.image_shape = image_files.shape_of(everything)
        self._dtype = image_files.dtype_of(everything)
        image_listing.log_opened(path, self._groups())

    def examples(self, split: str, start: int, stop: int) -> Any:
        """Images `start` to `stop`, with their labels where there are class folders."""
        labels = (self._labels[split][start:stop],) if split in self._labels else ()
        files = self._files[split][start:stop]
        return image_files.decoded(files, self.image_shape, *labels, dtype=self._dtype)

    def _groups(self) -> dict[str, list[Path]]:
        """All files by class, or by split where there are no classes."""
        if self.classes is None:
            return self._files
        groups: dict[str, list[Path]] = {name: [] for name in self.classes}
        for split, files in self._files.items():
            for file, label in zip(files, self._labels[split].tolist(), strict=True):
                groups[self.classes[label]].append(file)
        return groups


def _images_by_class(folder: Path) -> dict[str, list[Path]] | None:
    """The images of each class folder; `None` when the images have no class."""
    classes = image_files.subfolders(folder)
    loose = image_files.images(folder)
    if classes and loose:
        raise DataError(
            f"{folder} holds both class folders and images such as {loose[0].name}; move the "
            "images into class folders"
        )
    if not classes:
        if not loose:
            raise DataError(
                f"{folder} holds no image and no class folder (images are {image_files.READABLE})"
            )
        return None
    return {folder.name: image_files.some_images(folder) for folder in classes}


def _interleave(
    by_class: dict[str, list[Path]], classes: tuple[str, ...]
) -> tuple[list[Path], np.ndarray]:
    """All images with their labels, each class spread evenly over the whole."""
    keyed = sorted(
        ((position + 0.5) / len(files), classes.index(name), file)
        for name, files in by_class.items()
        for position, file in enumerate(files)
    )
    return [file for *_, file in keyed], np.array([label for _, label, _ in keyed], np.int64)
