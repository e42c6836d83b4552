"""Measures of diagrams, and the layout of encoder-decoders with skip connections: a U."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, Protocol

# Of a box in inches, and of the gap below it.
BOX_WIDTH, BOX_HEIGHT, GAP = 3.6, 0.62, 0.34
# Left end and middle of a box.
Place = tuple[float, float]
_LINE = {"color": "#555555", "linewidth": 0.9}
_SKIP = {"color": "#2f6db5", "linewidth": 1.4}
# Between the encoder and the decoder, and between levels.
_ACROSS, _STEP = 10.5, 0.45
_MARGIN = 1.3


class Box(Protocol):
    """What a layout needs to know of a box; see `diagrams.Box`."""

    kind: str
    title: str
    shape: tuple[Any, ...]
    sources: list[int]


@dataclasses.dataclass(frozen=True)
class Layout:
    """Layout of a U.

    Attributes:
        places: Left end and middle of each box.
        width: Of the whole, in inches.
        height: Likewise.
        bottom: Number of the first box of the lowest level's end, where the decoder begins.
    """

    places: list[Place]
    width: float
    height: float
    bottom: int


def layout(boxes: Sequence[Box]) -> Layout | None:
    """The layout of a network as a U; `None` where it is none.

    It is one if its resolution falls and rises again, and every level of the decoder has a skip
    connection from the encoder.

    Args:
        boxes: As from `diagrams.boxes`.

    Example:
        >>> from keras_arch import models
        >>> from keras_arch.visualization import diagrams
        >>> unet = models.UNet(input_shape=(64, 64, 1), depth=2, filters=2, padding="same")
        >>> layout(diagrams.boxes(unet)) is not None
        True
        >>> layout(diagrams.boxes(models.CIFARResNet(depth=8))) is None
        True
    """
    levels = _levels(boxes)
    if levels is None:
        return None
    lowest = max(levels)
    turn = max(i for i, level in enumerate(levels) if level == lowest) + 1
    decoder = range(turn, len(boxes))
    skipped = {
        levels[i]
        for i in decoder
        for source in boxes[i].sources
        if source < turn and levels[source] == levels[i] != lowest
    }
    # The finest levels may have none, as where a stem halves the image.
    if len(skipped) < 2 or skipped != set(range(min(skipped), lowest)):
        return None
    return _placed(boxes, levels, turn)


def paint_arrows(axes: Any, boxes: Sequence[Box], plan: Layout) -> None:
    """Paint the arrows between the boxes of a U.

    Args:
        axes: Whose units are inches, from the upper left corner.
        boxes: As from `diagrams.boxes`.
        plan: Their layout.
    """
    for number, box in enumerate(boxes):
        for source in box.sources:
            skip = source < plan.bottom <= number and source != plan.bottom - 1
            start, end = plan.places[source], plan.places[number]
            _arrow(axes, start, end, skip, plan.places)


def _levels(boxes: Sequence[Box]) -> list[int] | None:
    """How often the resolution was halved before each box; `None` where that has no meaning."""
    levels: list[int] = []
    for box in boxes:
        if len(box.shape) != 3:
            return None
        steps = [(_halvings(boxes[source], box), levels[source]) for source in box.sources]
        # Of several inputs the one of its own resolution counts, and of these the finest.
        found = [(abs(step), level + step) for step, level in steps]
        levels.append(min(found)[1] if found else 0)
    return levels


def _halvings(source: Box, box: Box) -> int:
    """The binary logarithm by which the resolution falls: cut borders do not count."""
    stride = box.title.rpartition("stride ")[2]
    if stride.isdecimal():
        factor = round(math.log2(int(stride)))
        return -factor if _rises(box) else factor
    before, after = source.shape[0], box.shape[0]
    if box.kind != "other" or box.title.startswith("cropping"):
        return 0
    if before is not None and after is not None:
        return round(math.log2(before / after))
    return -1 if _rises(box) else 0


def _rises(box: Box) -> bool:
    return box.kind == "transposed" or "up" in box.title.split()


def _placed(boxes: Sequence[Box], levels: Sequence[int], turn: int) -> Layout:
    """Places: the encoder falls on the left, the decoder rises on the right, the end in between."""
    lowest = max(levels)
    pitch = BOX_HEIGHT + GAP
    left = [[i for i in range(turn) if levels[i] == level] for level in range(lowest)]
    right = [[i for i in range(turn, len(levels)) if levels[i] == level] for level in range(lowest)]
    for up in right:
        # What comes from below is at the bottom, though a skip may be cropped before.
        up.sort(key=lambda i: not _rises(boxes[i]))
    places: dict[int, Place] = {}
    top = -1.0
    for down, up in zip(left, right, strict=True):
        height = max(len(down), len(up)) * pitch
        for row, i in enumerate(down):
            places[i] = (_MARGIN, top - row * pitch - BOX_HEIGHT / 2)
        for row, i in enumerate(reversed(up)):
            # Both ends of a level are on one height, as skip connections are.
            places[i] = (
                _MARGIN + _ACROSS,
                top - height + (len(up) - row) * pitch - GAP - BOX_HEIGHT / 2,
            )
        top -= height + _STEP
    # Boxes of the lowest level are those before the turn.
    for row, i in enumerate(i for i in range(len(levels)) if levels[i] == lowest):
        places[i] = (_MARGIN + _ACROSS / 2, top - row * pitch - BOX_HEIGHT / 2)
        bottom = places[i][1]
    height = -(bottom - BOX_HEIGHT)
    width = _MARGIN + _ACROSS + BOX_WIDTH + 3.2
    return Layout([places[i] for i in range(len(levels))], width, height, turn)


def _arrow(axes: Any, start: Place, end: Place, skip: bool, places: Sequence[Place]) -> None:
    """An arrow down, up, or from one column to another."""
    half = BOX_HEIGHT / 2
    line = _SKIP if skip else _LINE
    column = [y for x, y in places if x == end[0]]
    low, high = sorted((start[1], end[1]))
    middle = end[0] + BOX_WIDTH / 2
    if start[0] == end[0] and not any(low < y < high for y in column):
        edge = half if end[1] > start[1] else -half
        points = [(middle, start[1] + edge), (middle, end[1] - edge)]
    elif start[0] == end[0]:
        side = start[0] - 0.35
        points = [start, (side, start[1]), (side, end[1]), end]
    elif not skip and end[1] < start[1]:
        # Into the lowest level, from above.
        first, turn = start[0] + BOX_WIDTH / 2, end[1] + half + GAP
        points = [(first, start[1] - half), (first, turn), (middle, turn), (middle, end[1] + half)]
    elif not skip and end[1] == min(column):
        # Out of it, from its end to the right.
        points = [(start[0] + BOX_WIDTH, start[1]), (middle, start[1]), (middle, end[1] - half)]
    else:
        side = end[0] - (0.6 if skip else 0.35)
        points = [(start[0] + BOX_WIDTH, start[1]), (side, start[1]), (side, end[1]), end]
    axes.plot(*zip(*points[:-1], strict=True), **line)
    arrow = {"arrowstyle": "-|>", "shrinkA": 0, "shrinkB": 0, **line}
    axes.annotate("", xy=points[-1], xytext=points[-2], arrowprops=arrow)
