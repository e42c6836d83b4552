"""Experiment on single residual blocks: change of the input, and accuracy without the block.

A. Veit, M. Wilber, S. Belongie: Residual Networks Behave Like Ensembles of Relatively Shallow
Networks (2016), section 4.1.
"""

import contextlib
import dataclasses
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_arch import data, files, visualization
from keras_arch import layers as layouts
from keras_arch.errors import ArgumentError, whole_number
from keras_arch.hub.training_command import without_folders
from keras_arch.tasks.evaluation_data import EvaluationData
from keras_arch.training.factories import EVALUATION_BATCH
from keras_arch.training.references import load_model, training_data

_STAGES = ("tab:blue", "tab:green", "tab:orange", "tab:red")


@dataclasses.dataclass(frozen=True)
class Block:
    """Measurements of one residual block, relu(F(x) + shortcut(x)).

    Attributes:
        name: Such as `"stage2_block1"`.
        stage: Number of its stage, from 1.
        shortcut: `"identity"`; or, where the width changes, `"padded"` (option A: every second
            pixel, and channels of zeros) or `"projection"` (options B and C).
        change: `||F(x)|| / ||shortcut(x)||`, the mean over the images. Where the shortcut is no
            identity, x has another shape than F(x), so its output is used.
        cosine: Of the angle between `shortcut(x)` and `F(x) + shortcut(x)`, the mean over the
            images: 1 where the block does not change the direction.
        accuracy: Of the net in which this block is relu(shortcut(x)).
    """

    name: str
    stage: int
    shortcut: str
    change: float
    cosine: float
    accuracy: float


@dataclasses.dataclass(frozen=True)
class Blocks:
    """Results of the experiment on residual blocks.

    Attributes:
        figure: Bars of each block: its change, and the accuracy without it.
        table: `residual_blocks.json`.
        accuracy: Of the whole net.
        images: Number of test images.
        blocks: The blocks in the order of the net.
    """

    figure: Path
    table: Path
    accuracy: float
    images: int
    blocks: tuple[Block, ...]


def blocks(
    ref: str | Path,
    *,
    source: str | None = None,
    split: str | None = None,
    data_dir: str | None = None,
    limit: int | None = None,
    out: str | Path = "residual_blocks",
    token: str | None = None,
) -> Blocks:
    """Measure each block of a trained residual net, and plot the results.

    Source: Veit et al. 2016, section 4.1.

    Args:
        ref: A run directory, a model directory, the name of a config, `hf://user/repo[@revision]`
            or `file://...`: a `CIFARResNet` or `ResNet18` to `ResNet152`.
        source: As in `keras_arch.data.load`. Default: that of the training.
        split: Default: the test split of the training, else `"test"`.
        data_dir: As in `keras_arch.data.load`.
        limit: Number of images, the first ones. Default: all.
        out: Folder for `residual_blocks.png` and `residual_blocks.json`.
        token: For a private repository.

    Returns:
        The measurements of all blocks.

    Raises:
        ArgumentError: If the net has no residual blocks, or its training data is unknown and no
            `source` is given.
        DataError: If the data is missing or has other classes.
    """
    loaded = load_model(ref, token=token)
    card = loaded.card
    block_names(loaded.model)
    settings = training_data(ref, card)
    # Another source has its own splits.
    split = split or ("test" if source else None)
    evaluated = EvaluationData(card, settings, source, split, data_dir)
    source, outputs = evaluated.uri, loaded.model.output_shape[-1]
    _, images = evaluated.load_classes(outputs)
    if limit is not None:
        images = images.take(whole_number("limit", limit))
    batches = data.eval_batches(images, card.preprocessing, EVALUATION_BATCH)
    accuracy, found = measure(loaded.model, batches)
    count = int(images.cardinality())
    table = {
        "model": card.name,
        "data": without_folders(source),
        "images": count,
        "accuracy": accuracy,
        "blocks": [dataclasses.asdict(block) for block in found],
    }
    path = Path(out) / "residual_blocks.json"
    written = files.atomic_write(path, json.dumps(table, indent=1) + "\n")
    title = f"Residual blocks of {card.name}, measured on {count:,} test images"
    figure = draw(found, accuracy, path.with_suffix(".png"), title=title, chance=1 / outputs)
    return Blocks(figure, written, accuracy, count, tuple(found))


def measure(model: keras.Model, batches: Any) -> tuple[float, list[Block]]:
    """Measure each block of a residual classifier.

    Args:
        model: A `CIFARResNet` or `ResNet18` to `ResNet152`, built or loaded. It is not changed.
        batches: A finite `tf.data.Dataset` of `(images, labels)` with a fixed order.

    Returns:
        The accuracy of the whole model, and the measurements of its blocks in their order.

    Raises:
        ArgumentError: If the model has no residual blocks.

    Example:
        >>> import tensorflow as tf
        >>> from keras_arch import models
        >>> images, labels = tf.random.normal([4, 32, 32, 3]), tf.constant([0, 1, 2, 3])
        >>> batches = tf.data.Dataset.from_tensors((images, labels))
        >>> accuracy, found = measure(models.CIFARResNet(depth=8), batches)
        >>> [(block.name, block.shortcut) for block in found]
        [('stage1_block1', 'identity'), ('stage2_block1', 'padded'), ('stage3_block1', 'padded')]
    """
    names = block_names(model)
    labels = np.concatenate([np.asarray(batch) for _, batch in batches])

    def accuracy() -> float:
        predicted = model.predict(batches, verbose=0).argmax(axis=-1)
        return float((predicted == labels).mean())

    sums = _probe(model, names).predict(batches, verbose=0)
    whole, found = accuracy(), []
    for name in names:
        f2, s2, fs = np.asarray(sums[name], np.float64).T
        # The norm of an input of zeros is 0.
        tiny = np.finfo(np.float32).tiny
        change = np.sqrt(f2 / np.maximum(s2, tiny))
        norms = np.sqrt(s2 * np.maximum(s2 + f2 + 2 * fs, 0))
        cosine = (s2 + fs) / np.maximum(norms, tiny)
        with without(model, name):
            without_block = accuracy()
        found.append(
            Block(
                name=name,
                stage=int(re.match(r"stage(\d+)", name)[1]),
                shortcut=_shortcut_kind(model, name),
                change=float(change.mean()),
                cosine=float(np.clip(cosine, -1, 1).mean()),
                accuracy=without_block,
            )
        )
    return whole, found


def block_names(model: keras.Model) -> list[str]:
    """Names of the residual blocks of a model, in their order.

    Raises:
        ArgumentError: If there is none.

    Example:
        >>> from keras_arch import models
        >>> block_names(models.CIFARResNet(depth=14))[:3]
        ['stage1_block1', 'stage1_block2', 'stage2_block1']
    """
    additions = (layer.name for layer in model.layers if isinstance(layer, keras.layers.Add))
    matches = (re.fullmatch(r"(stage\d+_block\d+)_add", name) for name in additions)
    names = [match[1] for match in matches if match]
    if not names:
        raise ArgumentError(
            f"{model.name} has no residual blocks (layers named stage1_block1_add, ...); give a "
            "CIFARResNet or ResNet that is not plain"
        )
    return names


@contextlib.contextmanager
def without(model: keras.Model, block: str) -> Iterator[keras.Model]:
    """Context manager in which one block of a model is replaced by its shortcut.

    F ends in batch norm, `gamma * normalised + beta`: with both at zero it is exactly zero, so the
    block is relu(shortcut(x)), without a new graph.

    Args:
        model: The model. Its weights are restored at the end.
        block: One of `block_names(model)`.

    Raises:
        ArgumentError: If there is no such block.

    Example:
        >>> from keras_arch import models
        >>> model = models.CIFARResNet(depth=8)
        >>> with without(model, "stage1_block1"):
        ...     float(keras.ops.sum(model.get_layer("stage1_block1_2_norm").gamma))
        0.0
    """
    names = block_names(model)
    if block not in names:
        raise ArgumentError(f"{model.name} has no block {block!r}; it has {', '.join(names)}")
    norm = _branches(model, block)[0]._keras_history.operation
    before = norm.get_weights()
    try:
        norm.gamma.assign(ops.zeros_like(norm.gamma))
        norm.beta.assign(ops.zeros_like(norm.beta))
        yield model
    finally:
        norm.set_weights(before)


def draw(
    found: Sequence[Block],
    accuracy: float,
    path: str | Path,
    *,
    title: str = "",
    chance: float | None = None,
) -> Path:
    """Plot for each block how much it changes its input, and the accuracy without it.

    Args:
        found: The blocks in their order.
        accuracy: Of the whole net, a dashed line.
        path: The PNG file, which is returned.
        title: Title above the bars.
        chance: The accuracy of guessing, a dotted line, or `None`.

    Example:
        >>> found = [Block("stage1_block1", 1, "identity", 0.8, 0.7, 0.6)]
        >>> draw(found, 0.9, "blocks.png", chance=0.1).name
        'blocks.png'
    """
    from matplotlib.patches import Patch

    positions = np.arange(len(found))
    colours = [_STAGES[(block.stage - 1) % len(_STAGES)] for block in found]
    hatches = ["" if block.shortcut == "identity" else "///" for block in found]
    figure = visualization.new_figure(width=float(np.clip(0.3 * len(found) + 2, 6, 16)), height=5.6)
    upper, lower = figure.subplots(2, 1, sharex=True)
    style = {"color": colours, "hatch": hatches, "edgecolor": "white", "linewidth": 0}
    upper.bar(positions, [block.change for block in found], **style)
    # Space for the legend.
    upper.set_ylim(0, 1.25 * max(max(block.change for block in found), 1e-3))
    upper.set_ylabel("change of the input\n||F(x)|| / ||x||")
    lower.bar(positions, [100 * block.accuracy for block in found], **style)
    lower.set_ylabel("test accuracy without\nthe block (%)")
    lower.set_ylim(0, min(100, 125 * max(accuracy, *(block.accuracy for block in found), 0.04)))
    levels = {f"whole net {100 * accuracy:.1f} %": (accuracy, "--")}
    if chance is not None:
        levels[f"chance {100 * chance:.3g} %"] = (chance, ":")
    for text, (level, line) in levels.items():
        lower.axhline(100 * level, color="black", linestyle=line, linewidth=1)
        right = lower.get_yaxis_transform()
        lower.text(1.01, 100 * level, text, transform=right, va="center", fontsize="small")
    short = [re.sub(r"stage(\d+)_block(\d+)", r"\1.\2", block.name) for block in found]
    lower.set_xticks(positions, short, rotation=90 if len(found) > 12 else 0, fontsize="small")
    lower.set_xlabel("block (stage.number), in order")
    for axes in (upper, lower):
        axes.set_axisbelow(True)
        axes.grid(axis="y", alpha=0.25)
    stages = dict(sorted(zip((block.stage for block in found), colours, strict=True)))
    handles = [Patch(color=colour, label=f"stage {stage}") for stage, colour in stages.items()]
    if kinds := sorted({block.shortcut for block in found} - {"identity"}):
        label = f"shortcut is no identity ({' or '.join(kinds)})"
        handles.append(Patch(facecolor="lightgrey", hatch="///", edgecolor="white", label=label))
    upper.legend(handles=handles, fontsize="small", ncols=len(handles), loc="upper center")
    lower.set_xlim(-0.8, len(found) - 0.2)
    figure.suptitle(title, fontsize="medium", wrap=True)
    return visualization.save_figure(figure, path)


def _branches(model: keras.Model, block: str) -> tuple[Any, Any]:
    """The two inputs of a block's addition: F(x) and the shortcut."""
    return tuple(model.get_layer(f"{block}_add").input)


def _shortcut_kind(model: keras.Model, block: str) -> str:
    operation = _branches(model, block)[1]._keras_history.operation
    if isinstance(operation, keras.layers.BatchNormalization):
        return "projection"
    # The output of the block before, or of the stem.
    identity = isinstance(operation, keras.layers.Activation | keras.layers.MaxPooling2D)
    return "identity" if identity and "shortcut" not in operation.name else "padded"


def _probe(model: keras.Model, names: Sequence[str]) -> keras.Model:
    """Model from images to the inner products F.F, S.S and F.S of each block; S is its shortcut."""
    sums = {}
    for name in names:
        f, s = (ops.cast(branch, "float32") for branch in _branches(model, name))
        products = [ops.sum(a * b, axis=(1, 2, 3)) for a, b in ((f, f), (s, s), (f, s))]
        sums[name] = ops.stack(products, axis=-1)
    with layouts.recursion_limit():
        return keras.Model(model.input, sums, name=f"{model.name}_probe")
