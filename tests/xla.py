"""What a TPU asks of a training step, as far as it can be seen on a CPU."""

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework.config import disable_op_determinism

# What runs Python or prints on the host, what XLA drops, and results of a size that depends on
# values, which XLA does not know.
HOST = {"PyFunc", "PyFuncStateless", "EagerPyFunc", "Print", "PrintV2", "Assert"}
SIZES = {"Where", "Unique", "UniqueV2", "UniqueWithCounts", "DynamicPartition"}


def operations(graph):
    """The types of the operations of a graph and of all functions that it calls."""
    definition = graph.as_graph_def()
    nodes = [*definition.node]
    for function in definition.library.function:
        nodes += function.node_def
    return {node.op for node in nodes}


def check_step(model, batch):
    """A step of a model, built in `mixed_bfloat16`, is one that a TPU can run.

    Args:
        model: Compiled; its weights move.
        batch: A training batch.
    """
    # XLA has no deterministic gradient of max pooling, and an earlier test may have asked for it.
    disable_op_determinism()
    layers = [layer.compute_dtype for layer in model._flatten_layers() if layer.variables]
    assert "bfloat16" in layers
    assert {variable.dtype for variable in model.trainable_variables} == {"float32"}
    specs = tf.nest.map_structure(lambda part: tf.TensorSpec(part.shape, part.dtype), batch)
    step = tf.function(model.train_step, jit_compile=True)
    found = operations(step.get_concrete_function(specs).graph)
    assert len(found) > 20
    assert not found & (HOST | SIZES)
    test_step = tf.function(model.test_step, jit_compile=True)
    assert not operations(test_step.get_concrete_function(specs).graph) & (HOST | SIZES)
    before = [np.array(variable) for variable in model.trainable_variables]
    logs = step(batch)
    assert np.isfinite([float(value) for value in tf.nest.flatten(logs)]).all(), logs
    after = [np.array(variable) for variable in model.trainable_variables]
    assert all(np.isfinite(values).all() for values in after)
    assert any((a != b).any() for a, b in zip(before, after, strict=True))


def in_bfloat16(build):
    """What a function builds under the policy of mixed precision of TPUs."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        return build()
    finally:
        keras.config.set_dtype_policy(before)
