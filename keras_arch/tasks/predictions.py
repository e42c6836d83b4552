"""Predictions for image files: what all tasks' have, and the files that they are written to."""

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol

from keras_arch.data.image_paths import is_predicted
from keras_arch.errors import ArgumentError


class Prediction(Protocol):
    """The prediction for one image file, in a form that can be printed.

    Attributes:
        path: The image file.
        columns: Names of the columns of `rows`.
        files: The files that were written, by what they show.
    """

    path: Path
    columns: ClassVar[tuple[str, ...]]

    @property
    def files(self) -> Mapping[str, Path]:
        """The files that were written, by what they show."""
        ...

    def records(self) -> list[dict[str, Any]]:
        """What was found, by the names of the columns after the first one: `image`."""
        ...

    def rows(self) -> list[tuple[str, ...]]:
        """Table rows: the image, a label and a number, say."""
        ...


def table_rows(prediction: Prediction) -> list[tuple[str, ...]]:
    """The records of a prediction as rows of text."""
    return [
        (
            str(prediction.path),
            *(
                f"{value:.4f}" if isinstance(value, float) else str(value)
                for value in each.values()
            ),
        )
        for each in prediction.records()
    ]


def output_paths(images: Sequence[Path], out: Path | None, kind: str) -> list[Path]:
    """Files `NAME_KIND.png` for pictures of predictions, one an image.

    Args:
        images: The image files.
        out: Their folder, or `None` for that of each image.
        kind: Such as `"mask"`.

    Raises:
        ArgumentError: If two images would get one file, or a file is there that no prediction
            wrote.
    """
    found: dict[Path, Path] = {}
    for image in images:
        file = (out or image.parent) / f"{image.stem}_{kind}.png"
        if file in found:
            raise ArgumentError(
                f"{found[file]} and {image} would both become {file}; predict them one by one, or "
                "into different folders"
            )
        found[file] = image
        if file.exists() and not is_predicted(file):
            raise ArgumentError(
                f"{file} is there already and is no prediction; move it away, or have the pictures "
                "written to another folder with out (--out DIR)"
            )
    return list(found)


def class_number(label: int | str, labels: Sequence[str], name: str) -> int:
    """A class by its name or number.

    Raises:
        ArgumentError: If there is none, with the closest names.

    Example:
        >>> class_number("dog", ["cat", "dog"], "pets"), class_number(0, ["cat", "dog"], "pets")
        (1, 0)
    """
    if str(label) in labels:
        return list(labels).index(str(label))
    if str(label).isdecimal() and int(label) < len(labels):
        return int(label)
    if str(label).isdecimal():
        raise ArgumentError(
            f"{name} has no class {label}; its classes have the numbers 0 to {len(labels) - 1}"
        )
    close = difflib.get_close_matches(str(label), labels, n=3)
    known = ", ".join(close or labels[:10]) + ("" if close or len(labels) <= 10 else ", ...")
    raise ArgumentError(
        f"{name} has no class {label!r}; {'did you mean' if close else 'it has'} {known}"
        f"{'?' if close else ''}"
    )
