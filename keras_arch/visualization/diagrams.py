"""Block diagrams of networks as PNG files, without graphviz.

Padding, norm and activation share the box of their layer, and repeated blocks are drawn once with
their number, so that a network of a hundred layers fits on a page.
"""

import collections
import dataclasses
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras

from keras_arch.layers import trainable_parameters
from keras_arch.visualization.figures import new_figure, save_figure

_COLORS = {
    "input": "#e9e9e9",
    "convolution": "#cfe2f3",
    "transposed": "#fbe0c4",
    "dense": "#e3d7f0",
    "pool": "#d5ecd4",
    "merge": "#fdf2c0",
    "other": "#f3f3f3",
}
_BOX_WIDTH, _BOX_HEIGHT, _GAP = 3.6, 0.62, 0.34
_COLUMN_WIDTH, _BOXES_A_COLUMN = 7.0, 26
_LONGEST_PERIOD = 24


@dataclasses.dataclass
class Box:
    """Box of the diagram: a layer with its padding, norm and activation.

    Attributes:
        kind: Kind of the layer, which decides the color.
        title: Description such as `"conv 3x3, 64, stride 2"`.
        extras: Descriptions of the layers in the same box, such as `["batch norm", "relu"]`.
        name: Name of its last layer.
        shape: Shape of its output, without the batch.
        sources: Positions of the boxes of its inputs.
    """

    kind: str
    title: str
    extras: list[str]
    name: str
    shape: tuple[Any, ...]
    sources: list[int]


@dataclasses.dataclass
class Group:
    """Repeated block, drawn once: positions of its first boxes, and the name of its last one."""

    boxes: range
    repeats: int
    last_name: str


def draw(model: Any, path: str | os.PathLike[str]) -> Path:
    """Draw a network as a PNG file.

    Args:
        model: A functional or sequential `keras.Model`.
        path: The PNG file to write, in folders that are created; it is returned.

    Raises:
        StorageError: If the file cannot be written.

    Example:
        >>> from keras_arch import models
        >>> draw(models.CIFARResNet(depth=20), "resnet20.png").name
        'resnet20.png'
    """
    all_boxes = boxes(model)
    groups = list(_groups(all_boxes))
    columns = _columns(groups)
    tallest = max(sum(len(group.boxes) for group in column) for column in columns)
    width, height = _COLUMN_WIDTH * len(columns), (tallest + 1) * (_BOX_HEIGHT + _GAP) + 0.6
    figure = new_figure(width, height)
    figure.set_layout_engine("none")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(-height, 0))
    axes.axis("off")
    parameters = f"{trainable_parameters(model):,} parameters" if model.built else ""
    axes.text(0.4, -0.45, model.name, fontsize=15, weight="bold", va="center")
    axes.text(width - 0.4, -0.45, parameters, fontsize=11, ha="right", va="center")
    _paint(axes, all_boxes, columns)
    return save_figure(figure, path)


def boxes(model: Any) -> list[Box]:
    """List the boxes of a network in the order of computation.

    Args:
        model: A functional or sequential `keras.Model`.

    Returns:
        One box for each layer that does not share another one's.

    Example:
        >>> from keras_arch import models
        >>> _, second, *_ = boxes(models.DCGANDiscriminator("pytorch"))
        >>> second.title, second.extras
        ('conv 4x4, 64, stride 2', ['leaky relu'])
    """
    calls = _calls(model)
    uses = collections.Counter(source for call in calls for source in call.sources)
    result: list[Box] = []
    place: dict[_Key, int] = {}
    for call in calls:
        places = [place[source] for source in call.sources]
        kind, title, is_extra = _describe(call.layer)
        number = places[0] if len(places) == 1 and uses[call.sources[0]] == 1 else None
        box = None if number is None else result[number]
        if box is not None and is_extra and box.kind != "input":
            box.extras.append(title)
        elif box is not None and box.kind == "padding" and kind != "padding":
            box.extras.insert(0, box.title)
            box.kind, box.title = kind, title
        else:
            number, box = len(result), Box(kind, title, [], "", (), places)
            result.append(box)
        box.name, box.shape = call.layer.name, call.shape
        place[call.key] = number
    return result


# The name of a layer, and the number of the call.
_Key = tuple[str, int]


@dataclasses.dataclass(frozen=True)
class _Call:
    """One call of a layer in a graph: a layer may be applied to its own output."""

    layer: Any
    key: _Key
    sources: list[_Key]
    shape: tuple[Any, ...]


def _calls(model: Any) -> list[_Call]:
    """The calls of a model's operations in the order of computation."""
    if isinstance(model, keras.Sequential):
        keys = [(layer.name, 0) for layer in model.layers]
        before = [[], *([key] for key in keys)]
        return [
            _Call(layer, key, sources, _shape(layer))
            for layer, key, sources in zip(model.layers, keys, before, strict=False)
        ]
    operations = {operation.name: operation for operation in model.operations}
    waiting, shapes = [], {}
    for layer in model.get_config()["layers"]:
        # An input has one node, without arguments.
        for number, arguments in enumerate(layer["inbound_nodes"] or [None]):
            given = dict(_histories(arguments))
            shapes |= given
            waiting.append(((layer["name"], number), list(given)))
    calls: dict[_Key, _Call] = {}
    # Keras lists a layer's calls together, so that a source may come later.
    while waiting:
        key, sources = next(each for each in waiting if calls.keys() >= set(each[1]))
        waiting.remove((key, sources))
        operation = operations[key[0]]
        calls[key] = _Call(operation, key, sources, shapes.get(key, _shape(operation)))
    return list(calls.values())


def _shape(layer: Any) -> tuple[Any, ...]:
    """Shape of a layer's first output, without the batch."""
    return tuple(keras.tree.flatten(layer.output)[0].shape[1:])


def _histories(nested: Any) -> Iterator[tuple[_Key, tuple[Any, ...]]]:
    """The calls whose tensors appear in a serialized call, and the shapes of these."""
    if isinstance(nested, dict) and nested.get("class_name") == "__keras_tensor__":
        name, number, _ = nested["config"]["keras_history"]
        yield (name, number), tuple(nested["config"]["shape"][1:])
    elif isinstance(nested, dict | list | tuple):
        for value in nested.values() if isinstance(nested, dict) else nested:
            yield from _histories(value)


def _describe(layer: Any) -> tuple[str, str, bool]:
    """Kind, title, and whether the layer shares the box of the one before."""
    name = type(layer).__name__
    strides = getattr(layer, "strides", (1,))
    stride = f", stride {strides[0]}" if isinstance(strides, tuple) and max(strides) > 1 else ""
    if name == "InputLayer":
        return "input", layer.name, False
    if "Conv" in name:
        transposed = "Transpose" in name
        kernel = "x".join(map(str, layer.kernel_size))
        filters = getattr(layer, "filters", None)
        words = ["depthwise"] * ("Depthwise" in name) + ["transposed"] * transposed
        title = " ".join([*words, "conv", kernel]) + (f", {filters}" if filters else "") + stride
        return ("transposed" if transposed else "convolution"), title, False
    if name == "Dense":
        return "dense", f"dense {layer.units}", False
    if "Pooling" in name:
        kernel = getattr(layer, "pool_size", None)
        if kernel and max(kernel) == 1:
            return "pool", f"subsample{stride}", False
        size = f" {'x'.join(map(str, kernel))}" if kernel else ""
        words = [word for word in _words(name).split() if word not in ("pooling", "2d")]
        return "pool", " ".join([*words, "pool"]) + size + stride, False
    if name in ("Add", "Concatenate", "Multiply", "Average", "Subtract", "Maximum"):
        return "merge", _words(name), False
    if name in ("ZeroPadding2D", "Pad"):
        return "padding", "zero padding", False
    if name == "Activation":
        return "other", layer.activation.__name__.replace("_", " "), True
    is_extra = name.endswith(("Normalization", "ReLU", "Dropout", "Softmax", "Cropping2D"))
    return "other", _words(name.replace("Normalization", "Norm")), is_extra


def _words(name: str) -> str:
    """`"LeakyReLU"` as `"leaky relu"`."""
    parts = re.findall(r"[A-Z]+(?![a-z])|[A-Z][a-z]*(?:LU)?|[a-z]+|\d+D?", name)
    return " ".join(parts).lower().replace("re lu", "relu")


def _groups(all_boxes: list[Box]) -> Iterator[Group]:
    """Group repeated blocks."""
    signatures = [
        (box.title, tuple(box.extras), box.shape, tuple(i - source for source in box.sources))
        for i, box in enumerate(all_boxes)
    ]
    last_use = list(range(len(all_boxes)))
    for i, box in enumerate(all_boxes):
        for source in box.sources:
            last_use[source] = i

    def collapse(start: int, end: int) -> Iterator[Group]:
        first, period, repeats = _longest_run(signatures, last_use, start, end)
        if repeats == 1:
            for i in range(start, end):
                yield Group(range(i, i + 1), 1, all_boxes[i].name)
            return
        stop = first + period * repeats
        yield from collapse(start, first)
        yield Group(range(first, first + period), repeats, all_boxes[stop - 1].name)
        yield from collapse(stop, end)

    return collapse(0, len(all_boxes))


def _longest_run(
    signatures: list[Any], last_use: list[int], start: int, end: int
) -> tuple[int, int, int]:
    """First position, period and number of repeats of the run that spares the most boxes.

    Boxes after a run use the output of its last repeat only: else it could not be drawn once.
    """
    best, most_spared = (start, 1, 1), 0
    for period in range(1, min(_LONGEST_PERIOD, (end - start) // 2) + 1):
        equal = 0
        for i in range(end - period - 1, start - 1, -1):
            equal = equal + 1 if signatures[i] == signatures[i + period] else 0
            spared = equal // period * period
            # Of equally long runs the shortest period counts, and then the first position.
            if not spared or (spared, -period) < (most_spared, -best[1]):
                continue
            stop = i + spared + period
            if max(last_use[i : stop - period]) < stop:
                best, most_spared = (i, period, spared // period + 1), spared
    return best


def _columns(groups: list[Group]) -> list[list[Group]]:
    """Break the groups into columns of about equal height."""
    total = sum(len(group.boxes) for group in groups)
    count = -(-total // _BOXES_A_COLUMN)
    columns: list[list[Group]] = [[]]
    height = 0
    for group in groups:
        if len(columns) < count and height + len(group.boxes) / 2 > total / count:
            columns.append([])
            height = 0
        columns[-1].append(group)
        height += len(group.boxes)
    return columns


def _paint(axes: Any, all_boxes: list[Box], columns: list[list[Group]]) -> None:
    position: dict[int, tuple[float, float]] = {}
    stands_for: dict[int, int] = {}
    for number, column in enumerate(columns):
        x, y = number * _COLUMN_WIDTH + 1.3, -1.0 - _BOX_HEIGHT / 2
        for group in column:
            for i in group.boxes:
                position[i] = (x, y)
                for repeat in range(group.repeats):
                    stands_for[i + repeat * len(group.boxes)] = i
                _paint_box(axes, all_boxes[i], x, y)
                y -= _BOX_HEIGHT + _GAP
            if group.repeats > 1:
                top, bottom = position[group.boxes[0]][1], position[group.boxes[-1]][1]
                _paint_outline(axes, group, x, top, bottom)
    order = {box: n for n, box in enumerate(position)}
    lanes: list[tuple[int, int]] = []
    for i in position:
        for source in all_boxes[i].sources:
            start = stands_for[source]
            lane = sum(a < order[i] and order[start] < b for a, b in lanes)
            if order[i] - order[start] != 1:
                lanes.append((order[start], order[i]))
            _paint_arrow(axes, position[start], position[i], order[i] - order[start], lane)


def _paint_box(axes: Any, box: Box, x: float, y: float) -> None:
    style = {"facecolor": _COLORS.get(box.kind, _COLORS["other"]), "edgecolor": "#666666"}
    low = y - _BOX_HEIGHT / 2
    _paint_rectangle(axes, x, low, _BOX_WIDTH, _BOX_HEIGHT, 0.08, linewidth=0.8, **style)
    middle = {"x": x + _BOX_WIDTH / 2, "ha": "center", "va": "center"}
    title = box.title if box.title != box.name else f"input: {box.name}"
    axes.text(y=y + (0.13 if box.extras else 0), s=title, fontsize=9.5, **middle)
    if box.extras:
        axes.text(y=y - 0.14, s=" · ".join(box.extras), fontsize=7.5, color="#444444", **middle)
    beside = x + _BOX_WIDTH + 0.22
    shape = " x ".join("?" if size is None else str(size) for size in box.shape)
    axes.text(beside, y + 0.12, shape, fontsize=8, va="center", family="monospace")
    axes.text(beside, y - 0.13, _short(box.name, 36), fontsize=6.5, color="#777777", va="center")


def _paint_rectangle(
    axes: Any, x: float, y: float, width: float, height: float, rounding: float, **style: Any
) -> None:
    from matplotlib.patches import FancyBboxPatch

    shape = f"round,pad=0,rounding_size={rounding}"
    axes.add_patch(FancyBboxPatch((x, y), width, height, shape, **style))


def _short(name: str, length: int) -> str:
    """Shorten a name to its beginning and its end."""
    if len(name) <= length:
        return name
    return f"{name[: length // 2 - 1]}…{name[-length // 2 :]}"


def _paint_outline(axes: Any, group: Group, x: float, top: float, bottom: float) -> None:
    margin, color = 0.13, "#c0504d"
    low = bottom - _BOX_HEIGHT / 2 - margin
    width, height = _BOX_WIDTH + 2 * margin, top - bottom + _BOX_HEIGHT + 2 * margin
    style = {"facecolor": "none", "edgecolor": color, "linewidth": 1.2, "linestyle": "--"}
    _paint_rectangle(axes, x - margin, low, width, height, 0.1, **style)
    text = f"× {group.repeats}, to {_short(group.last_name, 24)}"
    beside = x + _BOX_WIDTH + 0.22
    axes.text(beside, low + 0.02, text, fontsize=8, weight="bold", color=color, va="center")


def _paint_arrow(
    axes: Any, start: tuple[float, float], end: tuple[float, float], distance: int, lane: int
) -> None:
    """Draw an arrow straight to the next box, on the left past others, or to another column."""
    arrow = {"arrowstyle": "-|>", "color": "#555555", "linewidth": 0.9, "shrinkA": 0, "shrinkB": 0}
    half, into, out = _BOX_HEIGHT / 2, end[1] + 0.1, start[1] - 0.1
    if start[0] != end[0]:
        below, side = start[1] - half - 0.22, end[0] - 0.9 - 0.15 * lane
        points = [(start[0] + _BOX_WIDTH / 2, start[1] - half)]
        points += [(points[0][0], below), (side, below), (side, into), (end[0], into)]
    elif distance == 1:
        middle = start[0] + _BOX_WIDTH / 2
        points = [(middle, start[1] - half), (middle, end[1] + half)]
    else:
        # Arrows leave below the middle and arrive above it, so that two on one lane stay apart.
        side = start[0] - 0.3 - 0.18 * lane
        points = [(start[0], out), (side, out), (side, into), (end[0], into)]
    axes.plot(*zip(*points[:-1], strict=True), color=arrow["color"], linewidth=arrow["linewidth"])
    axes.annotate("", xy=points[-1], xytext=points[-2], arrowprops=arrow)
