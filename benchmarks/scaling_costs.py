"""What a training step of each shipped config exchanges between replicas, and the bandwidth for it.

    python benchmarks/scaling_costs.py
    python benchmarks/scaling_costs.py --write docs/scaling.md
    python benchmarks/scaling_costs.py --tflops 50 --latency 20 resnet50-imagenet

The step is traced, not run, on two replicas, each with the batch of the config. Its graph has every
exchange (all-reduce) with its size, and every convolution and matrix product, whose operations
TensorFlow counts (all but the gradients of depthwise convolutions, of which DeepLabV3+ has a few).
No data set and no weights are needed. `--write` replaces the table between the marks in a page.

The model: a step of one replica takes `operations / speed`. With n replicas it takes

    latency * exchanges + 2 (n - 1) / n * bytes / bandwidth

more, the time of a ring all-reduce that does not overlap with the computation. The printed
bandwidth, into and out of each replica, leaves that an efficiency of 90 %; none does where the
latencies alone take more (a dash).
"""

import argparse
import dataclasses
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

REPLICAS = (8, 64, 256)
EFFICIENCY = 0.9
TFLOPS, LATENCY = 10.0, 0.0
BEGIN, END = "<!-- scaling_costs.py: begin -->", "<!-- end -->"


@dataclasses.dataclass(frozen=True)
class Cost:
    """A training step of one replica.

    Attributes:
        batch: Images of each replica.
        parameters: Trainable ones.
        exchanges: All-reduces a step.
        exchanged: Their bytes.
        operations: Floating point operations, two for a multiplication with its addition.
    """

    batch: int
    parameters: int
    exchanges: int
    exchanged: int
    operations: int

    def bandwidth(self, replicas: int, tflops: float, latency: float) -> float:
        """Bytes a second that leave an efficiency of 90 %.

        Args:
            replicas: Their number.
            tflops: Speed of a replica in 10^12 operations a second.
            latency: Of an exchange, in microseconds.
        """
        step = self.operations / (tflops * 1e12)
        spare = step / EFFICIENCY - step - self.exchanges * latency * 1e-6
        return 2 * (replicas - 1) / replicas * self.exchanged / spare if spare > 0 else math.inf


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("configs", nargs="*", help="names of shipped configs (default: all)")
    parser.add_argument("--tflops", type=float, default=TFLOPS, help="speed (default 10)")
    parser.add_argument("--latency", type=float, default=LATENCY, help="microseconds (default 0)")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="a page with the marks")
    parser.add_argument("--worker", metavar="CONFIG", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(dataclasses.asdict(_in_this_process(options.worker))))
        return 0
    from keras_arch import presets

    rows = [HEAD % (options.tflops, *REPLICAS), "|---" + "|---:" * HEAD_FIGURES + "|"]
    for name in options.configs or presets.names():
        rows.append(row(name, _in_own_process(name), options.tflops, options.latency))
        print(rows[-1], file=sys.stderr, flush=True)
    table = "\n".join(rows)
    if options.write is None:
        print(table)
        return 0
    page = options.write.read_text(encoding="utf-8")
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise SystemExit(f"{options.write} has no {BEGIN} ... {END}")
    options.write.write_text(f"{before}{begin}\n\n{table}\n\n{end}{after}", encoding="utf-8")
    return 0


HEAD = (
    "| config | images | parameters | exchanges | MB | GFLOP | ms at %g TFLOP/s "
    "| Gbit/s, %d replicas | %d | %d |"
)
HEAD_FIGURES = 9


def row(name: str, cost: Cost, tflops: float = TFLOPS, latency: float = LATENCY) -> str:
    """A line of the table."""
    bandwidths = [8e-9 * cost.bandwidth(replicas, tflops, latency) for replicas in REPLICAS]
    figures = (
        cost.batch,
        f"{cost.parameters:,}",
        cost.exchanges,
        f"{cost.exchanged / 1e6:.2f}",
        f"{cost.operations / 1e9:.1f}",
        f"{cost.operations / tflops / 1e9:.2f}",
        *(f"{each:.1f}" if math.isfinite(each) else "–" for each in bandwidths),
    )
    return f"| `{name}` | {' | '.join(map(str, figures))} |"


def _in_own_process(name: str) -> Cost:
    """In a process that gives its memory back."""
    command = [sys.executable, os.path.abspath(__file__), "--worker", name]
    environment = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        command, env=os.environ | environment, stdout=subprocess.PIPE, text=True, check=True
    )
    return Cost(**json.loads(done.stdout.splitlines()[-1]))


def _in_this_process(name: str) -> Cost:
    import tensorflow as tf

    from keras_arch import distribute

    (cpu,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    return cost_of(name, distribute.strategy("mirrored", devices=["CPU:0", "CPU:1"]))


def cost_of(name: str, strategy: Any) -> Cost:
    """The cost of a config, from the graph of its step.

    Args:
        name: A shipped config.
        strategy: A mirrored one over two logical CPUs.
    """
    import numpy as np
    import tensorflow as tf

    from keras_arch import config

    checked = config.load(name)
    with strategy.scope():
        model = _model(checked)
    batch = checked.recipe.batch_size
    parts = [_zeros(spec, batch) for spec in _inputs(model, checked)]
    dataset = tf.data.Dataset.from_tensors(tuple(parts) if len(parts) > 1 else parts[0])

    @tf.function
    def step(values: Any) -> Any:
        return strategy.run(model.train_step, args=(values,))

    values = strategy.experimental_distribute_values_from_function(
        lambda context: next(iter(dataset))
    )
    graph = step.get_concrete_function(values).graph
    # Each device has its own node of an exchange.
    reduced = [op for op in graph.get_operations() if op.type.startswith("CollectiveReduce")]
    elements = sum(int(np.prod(op.inputs[0].shape)) * op.inputs[0].dtype.size for op in reduced)
    return Cost(
        batch,
        sum(int(np.prod(variable.shape)) for variable in model.trainable_variables),
        len(reduced) // 2,
        elements // 2,
        _operations(graph) // 2,
    )


def _operations(graph: Any) -> int:
    import tensorflow as tf

    profiler = tf.compat.v1.profiler
    options = profiler.ProfileOptionBuilder(profiler.ProfileOptionBuilder.float_operation())
    profile = profiler.profile(graph, options=options.with_empty_output().build())
    return int(profile.total_float_ops)


def _model(checked: Any) -> Any:
    """The network or trainer, compiled as in training, but without data and weights."""
    import keras

    from keras_arch import models, registry
    from keras_arch.training import factories

    if not hasattr(checked, "model"):
        preprocessing = checked.preprocessing.build()
        return registry.TASKS.get(checked.task)(checked, preprocessing, 2).build()
    arguments = {
        name: value
        for name, value in checked.model.arguments.items()
        if name not in ("weights", "backbone_weights")
    }
    builder = checked.model.model_copy(update={"arguments": arguments})
    network = factories.build_network(
        builder, 2, checked.recipe.synchronized, classifier_activation=None
    )
    network = models.stack_heads(network)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    # The optimizer exchanges nothing but the gradients, whichever it is.
    network.compile(keras.optimizers.SGD(0.1), loss, jit_compile=False)
    network.optimizer.build(network.trainable_variables)
    return network


def _inputs(model: Any, checked: Any) -> Any:
    """Shape and type of each part of a batch, without the batch."""
    if not hasattr(checked, "model"):
        spec = model.input_spec()
        return [(shape, "float32" if shape else "int32") for shape in map(spec.get, spec)]
    import keras

    shape = (*checked.preprocessing.size, checked.preprocessing.channels)
    # Of a network for any size, too.
    output = model.compute_output_spec(keras.KerasTensor((1, *shape)), training=True)
    return [(shape, "float32"), (output.shape[1:-1], "int32")]


def _zeros(spec: tuple[tuple[int, ...], str], batch: int) -> Any:
    import numpy as np

    shape, dtype = spec
    return np.zeros((batch, *shape), dtype)


if __name__ == "__main__":
    sys.exit(main())
