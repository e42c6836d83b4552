"""Data source `angles:PATH`: image files, and a CSV file a split with an angle for each."""

import csv

import numpy as np

from keras_arch import data
from keras_arch.data import image_files
from keras_arch.data.sources.base import existing_path
from keras_arch.errors import DataError


@data.register_source("angles")
class Angles(data.Source):
    """Images with an angle in degrees, a float32.

    Args:
        path: A folder with `train.csv`, `test.csv`, ... whose columns are `file` (a path in the
            folder) and `angle`.
    """

    kind = "angles"

    def __init__(self, path):
        folder = existing_path(path, "a CSV file for each split")
        self._rows = {table.stem: _read(table) for table in sorted(folder.glob("*.csv"))}
        self.splits = {split: len(files) for split, (files, _) in self._rows.items()}
        self.image_shape = image_files.shape_of(
            file for files, _ in self._rows.values() for file in files
        )

    def examples(self, split, start, stop):
        """Examples `start` to `stop` of a split."""
        files, angles = self._rows[split]
        return image_files.decoded(files[start:stop], self.image_shape, angles[start:stop])


def _read(table):
    """The files and the angles of a CSV file."""
    with table.open(newline="", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    try:
        files = [table.parent / row["file"] for row in rows]
        return files, np.array([float(row["angle"]) for row in rows], np.float32)
    except (KeyError, TypeError, ValueError):
        raise DataError(f"{table} must have the columns file and angle, a number") from None
