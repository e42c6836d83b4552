"""Titles of columns and legends of colors for sheets of images."""

import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from keras_arch.errors import ArgumentError
from keras_arch.visualization.figures import DPI, new_figure
from keras_arch.visualization.fonts import fallback_fonts

Color = Sequence[int]
# Pixels: of a line of text, of a usual letter, of a square of the legend, of the narrowest sheet
# with a legend.
_LINE, _NARROW, _SQUARE, _LEAST = 18, 6, 12, 240
_POINTS = 9


def annotate(
    sheet: Any,
    *,
    titles: Sequence[str] = (),
    legend: Mapping[str, Color] | None = None,
    note: str = "",
) -> np.ndarray:
    """Add titles of columns above a sheet of images, and a legend and a note below it.

    The pixels of the sheet stay as they are; a narrow sheet gets a white margin on its right.

    Args:
        sheet: `uint8` `(height, width, 1 or 3)`, as from `grid`.
        titles: A title for each column, columns being equally wide; an empty one where there is
            none.
        legend: Red, green and blue by meaning.
        note: A line of text.

    Returns:
        A `uint8` array `(height, width, 3)`.

    Raises:
        ArgumentError: If the sheet is no image.

    Example:
        >>> annotate(np.zeros((64, 300, 1), "uint8"), titles=["image", "truth"]).shape
        (82, 300, 3)
    """
    sheet = np.asarray(sheet)
    if sheet.dtype != np.uint8 or sheet.ndim != 3 or sheet.shape[-1] not in (1, 3):
        raise ArgumentError(
            f"a sheet takes uint8 pixels (height, width, 1 or 3), got {sheet.dtype} of shape "
            f"{sheet.shape}"
        )
    width = sheet.shape[1]
    across = max(width, _LEAST if legend or note else width)
    parts = [np.full((sheet.shape[0], across, 3), 255, np.uint8)]
    parts[0][:, :width] = sheet
    if any(titles):
        parts.insert(0, _titles(titles, width, across))
    if legend:
        parts.append(_legend(legend, across))
    if note:
        parts.append(_texts(across, _LINE, [(4.0, _LINE / 2, "left", note)]))
    return np.concatenate(parts)


def _titles(titles: Sequence[str], width: int, across: int) -> np.ndarray:
    column = width / len(titles)
    # A title between two columns without one may be as wide as the three.
    ends = ["", *titles, ""]
    rooms = [3 if ends[i] == ends[i + 2] == "" else 1 for i in range(len(titles))]
    broken = [
        textwrap.fill(title, max(6, int(room * column / _NARROW)), break_long_words=False)
        for title, room in zip(titles, rooms, strict=True)
    ]
    height = _LINE * max(title.count("\n") + 1 for title in broken)
    places = [
        ((number + 0.5) * column, height / 2, "center", title)
        for number, title in enumerate(broken)
    ]
    return _texts(across, height, places)


def _legend(legend: Mapping[str, Color], across: int) -> np.ndarray:
    """Squares of the colors, each with its meaning on its right, in as many lines as needed."""
    places: list[tuple[int, int, str, Color]] = []
    x, line = 4, 0
    for (meaning, color), length in zip(legend.items(), _lengths(legend), strict=True):
        taken = _SQUARE + 6 + length + 14
        if x > 4 and x + taken > across:
            x, line = 4, line + 1
        places.append((x, line, meaning, color))
        x += taken
    height = (line + 1) * _LINE + 4
    strip = _texts(
        across,
        height,
        [
            (x + _SQUARE + 6.0, line * _LINE + 2 + _LINE / 2, "left", meaning)
            for x, line, meaning, _ in places
        ],
    )
    for x, line, _, color in places:
        top = line * _LINE + 2 + (_LINE - _SQUARE) // 2
        # A thin frame, as colors may be white.
        strip[top : top + _SQUARE, x : x + _SQUARE] = 120
        strip[top + 1 : top + _SQUARE - 1, x + 1 : x + _SQUARE - 1] = color
    return strip


def _lengths(texts: Iterable[str]) -> list[int]:
    """The lengths of texts as they are drawn, in pixels."""
    figure = new_figure(1, 1)
    drawn = [figure.text(0, 0, text, fontsize=_POINTS) for text in texts]
    with fallback_fonts(figure):
        figure.canvas.draw()
        return [math.ceil(each.get_window_extent().width) for each in drawn]


def _texts(width: int, height: int, places: Sequence[tuple[float, float, str, str]]) -> np.ndarray:
    """A white strip with texts at `(x, y, alignment, text)` in pixels from the upper left."""
    # A hundredth of a pixel more, as Matplotlib cuts fractions off.
    figure = new_figure((width + 0.01) / DPI, (height + 0.01) / DPI)
    figure.set_layout_engine("none")
    for x, y, align, text in places:
        figure.text(x / width, 1 - y / height, text, ha=align, va="center", fontsize=_POINTS)
    with fallback_fonts(figure):
        figure.canvas.draw()
    return np.array(figure.canvas.buffer_rgba())[..., :3]
