"""Comparison of trained models: metrics on one data set, size, and speed on this machine."""

from __future__ import annotations

import csv
import dataclasses
import io
import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from keras_arch import files, hub, registry
from keras_arch._lazy import keras, np
from keras_arch.errors import ArgumentError
from keras_arch.tasks._modules import visualization
from keras_arch.tasks.class_names import read_class_map
from keras_arch.tasks.evaluation_data import EvaluationData
from keras_arch.training.references import load_model, training_data

# A speed is the median of so many repetitions, which last so many seconds together at least.
_REPETITIONS, _SECONDS = 5, 1.0
# Side in pixels of the images that measure a network of open size.
_OPEN_SIDE = 256


@dataclasses.dataclass(frozen=True)
class ComparedModel:
    """One model of a comparison.

    Attributes:
        ref: The reference that was given.
        name: The name on its card.
        metrics: Metrics on the data set, by name.
        parameters: Number of weights, as `keras.Model.count_params` has it.
        gflop: Billions of floating-point operations for one image, a multiplication and an addition
            counted as two.
        images_per_second: Forward passes of the network on this machine, without preprocessing.
        megabytes: Size of the weights, in millions of bytes.
        input_shape: `(height, width, channels)` that gflop and images_per_second are for.
    """

    ref: str
    name: str
    metrics: Mapping[str, float]
    parameters: int
    gflop: float
    images_per_second: float
    megabytes: float
    input_shape: tuple[int, ...]

    def row(self) -> dict[str, Any]:
        """The values by column, as in `compare.csv`."""
        height, width, channels = self.input_shape
        return {
            "model": self.ref,
            **{name: round(value, 5) for name, value in self.metrics.items()},
            "parameters": self.parameters,
            "gflop": float(f"{self.gflop:.4g}"),
            "images_per_second": float(f"{self.images_per_second:.4g}"),
            "megabytes": float(f"{self.megabytes:.4g}"),
            "input": f"{height}x{width}x{channels}",
        }


def compare(
    refs: Sequence[str | Path],
    *,
    source: str | None = None,
    split: str | None = None,
    data_dir: str | None = None,
    class_map: str | Mapping[str, str] | None = None,
    batch_size: int = 32,
    metric: str | None = None,
    out: str | Path | None = None,
    token: str | None = None,
) -> list[ComparedModel]:
    """Compare models of one task on one data set.

    Args:
        refs: The models, as for `keras_arch.evaluate`.
        source: The data, as in `data.load`. Default: that of the first model's training.
        split: Default: the test split of the first model's recipe.
        data_dir: As in `data.load`.
        class_map: As for `keras_arch.evaluate`.
        batch_size: Images in a forward pass while the speed is measured.
        metric: The metric of the picture's vertical axis. Default: the first one.
        out: Folder of `compare.csv` and `compare.png` (the metric against the speed), or `None`.
        token: For a private repository.

    Returns:
        One `ComparedModel` for each reference, in their order.

    Raises:
        ArgumentError: If there are fewer than two models, they are of several tasks, their task has
            no evaluation, or there is no such metric.
        DataError: If the data is missing or does not fit a model.

    Example:
        >>> import keras_arch
        >>> from keras_arch import hub, models
        >>> from keras_arch.preprocessing import Preprocessing
        >>> for depth in (8, 14):
        ...     card = hub.Card(f"net{depth}", "CIFARResNet",
        ...                     {"depth": depth, "input_shape": [8, 8, 1]},
        ...                     "image-classification", Preprocessing((8, 8), 1))
        ...     _ = hub.save(models.create("CIFARResNet", **card.arguments), card.name, card)
        >>> found = keras_arch.compare(["net8", "net14"], source="digits", split="test")
        >>> [each.parameters for each in found]
        [75482, 173146]
    """
    loaded = [load_model(ref, token=token) for ref in refs]
    check_comparable(refs, [each.card for each in loaded])
    settings = training_data(refs[0], loaded[0].card)
    names = read_class_map(class_map)
    found = []
    for ref, model in zip(refs, loaded, strict=True):
        chosen = EvaluationData(model.card, settings, source, split, data_dir, names)
        metrics = registry.TASKS.get(model.card.task).evaluate(model, chosen)
        if metric is not None and metric not in metrics:
            raise ArgumentError(f"there is no metric {metric!r}; there are {', '.join(metrics)}")
        found.append(_measured(str(ref), model, metrics, batch_size))
    if out is not None:
        _write(found, metric or next(iter(found[0].metrics)), Path(out))
    return found


def check_comparable(refs: Sequence[str | Path], cards: Sequence[hub.Card]) -> None:
    """Refuse a single model, models of several tasks, or of one that cannot be evaluated."""
    if len(refs) < 2:
        raise ArgumentError(f"compare at least two models, got {len(refs)}")
    for ref, card in zip(refs, cards, strict=True):
        task = registry.TASKS.get(card.task)
        if not task.can("evaluate"):
            raise task.cannot("evaluate", card)
        if card.task != cards[0].task:
            raise ArgumentError(
                f"{refs[0]} is of {cards[0].task} and {ref} of {card.task}; compare "
                "models of one task"
            )


def gflop_of(network: keras.Model, input_shape: Sequence[int]) -> float:
    """Billions of floating-point operations of a forward pass of one image, at inference.

    TensorFlow's profiler counts them in the graph: two for each multiplication and addition.

    Args:
        network: A network of one input.
        input_shape: `(height, width, channels)` of the image.

    Raises:
        ArgumentError: If the Keras backend is not TensorFlow.

    Example:
        >>> from keras import Input, Sequential, layers
        >>> gflop_of(Sequential([Input((8, 8, 1)), layers.Conv2D(4, 3, use_bias=False)]), (8, 8, 1))
        2.592e-06
    """
    if keras.backend.backend() != "tensorflow":
        raise ArgumentError(
            f"operations are counted on the backend tensorflow, this is {keras.backend.backend()}"
        )
    import tensorflow as tf

    signature = tf.TensorSpec((1, *input_shape), network.inputs[0].dtype)
    forward = tf.function(lambda image: network(image, training=False), autograph=False)
    graph = forward.get_concrete_function(signature).graph
    profiler = tf.compat.v1.profiler
    options = profiler.ProfileOptionBuilder.float_operation()
    options["output"] = "none"
    logger = tf.get_logger()
    before = logger.level
    # The profiler itself calls a function that warns of its removal.
    logger.setLevel(logging.ERROR)
    try:
        return profiler.profile(graph, cmd="op", options=options).total_float_ops / 1e9
    finally:
        logger.setLevel(before)


def images_per_second(
    network: keras.Model, input_shape: Sequence[int], batch_size: int = 32
) -> float:
    """Images a second that a network takes on this machine, at inference.

    Args:
        network: A network of one input.
        input_shape: `(height, width, channels)` of the images.
        batch_size: Images in a forward pass.

    Returns:
        The median over repetitions, after a first pass that is not counted.

    Example:
        >>> from keras import Input, Sequential, layers
        >>> images_per_second(Sequential([Input((8, 8, 1)), layers.Flatten()]), (8, 8, 1)) > 0
        True
    """
    dtype = network.inputs[0].dtype
    images = np.random.default_rng(0).uniform(0, 1, (batch_size, *input_shape)).astype(dtype)

    def seconds(passes: int) -> float:
        begin = time.perf_counter()
        for _ in range(passes):
            network.predict_on_batch(images)
        return time.perf_counter() - begin

    seconds(1)
    passes = max(1, int(_SECONDS / _REPETITIONS / max(seconds(1), 1e-6)))
    return batch_size * passes / float(np.median([seconds(passes) for _ in range(_REPETITIONS)]))


def _measured(
    ref: str, loaded: hub.LoadedModel, metrics: Mapping[str, float], batch_size: int
) -> ComparedModel:
    network, preprocessing = loaded.model, loaded.card.preprocessing
    height, width = preprocessing.size or (_OPEN_SIDE, _OPEN_SIDE)
    shape = tuple(
        side or given
        for side, given in zip(
            network.inputs[0].shape[1:], (height, width, preprocessing.channels), strict=True
        )
    )
    return ComparedModel(
        ref,
        loaded.card.name,
        dict(metrics),
        network.count_params(),
        gflop_of(network, shape),
        images_per_second(network, shape, batch_size),
        sum(each.nbytes for each in network.get_weights()) / 1e6,
        shape,
    )


def _write(found: Sequence[ComparedModel], metric: str, out: Path) -> None:
    rows = [each.row() for each in found]
    text = io.StringIO()
    columns = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    files.atomic_write(out / "compare.csv", text.getvalue())
    visualization.trade_off(
        {each.ref: (each.images_per_second, each.metrics[metric]) for each in found},
        out / "compare.png",
        xlabel="images per second on this machine",
        ylabel=metric,
        sizes={each.ref: each.parameters for each in found},
        title=f"{metric} against speed; the area of a mark is the number of parameters",
    )
