"""Predictions as CSV and JSON files."""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keras_arch.files import atomic_write


def write_csv(predictions: Sequence[Any], path: Path) -> Path:
    """Write a table with a head: a row for each image and class, numbers in full.

    Args:
        predictions: As from `keras_arch.predict`.
        path: The file, which is returned.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(predictions[0].columns)
    for found in predictions:
        writer.writerows([str(found.path), *each.values()] for each in found.records())
    return atomic_write(path, text.getvalue())


def write_json(predictions: Sequence[Any], path: Path) -> Path:
    """Write a list with an object for each image: its classes, and the files that were written.

    Args:
        predictions: As from `keras_arch.predict`.
        path: The file, which is returned.
    """
    content = [
        {
            "image": str(found.path),
            "predictions": found.records(),
            "files": {kind: str(file) for kind, file in found.files.items()},
        }
        for found in predictions
    ]
    return atomic_write(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
