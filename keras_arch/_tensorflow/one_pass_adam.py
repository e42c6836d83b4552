"""Adam in one pass over memory, by TensorFlow's own kernel.

Keras writes Adam as some ten operations, each of which reads and writes all weights. At batch 1 a
large network's update then takes as long as its convolutions. The kernel goes over them once.
"""

from typing import Any

import keras
import tensorflow as tf

from keras_arch._tensorflow.switch import FastPath

PATH = FastPath("one-pass Adam")


def apply(optimizer: Any, gradients: list[Any], variables: list[Any]) -> None:
    """One update of a built Keras optimizer, in one pass where it is plain Adam in float32.

    The gradients are those of a replica, one a variable; their sum over replicas is applied.
    """
    context = tf.distribute.get_replica_context()
    # On a TPU it was never tried, and XLA makes one pass of Keras' operations by itself.
    on_tpu = isinstance(context.strategy, tf.distribute.TPUStrategy)
    if on_tpu or not (PATH.enabled and _is_plain_adam(optimizer, gradients, variables)):
        optimizer.apply(gradients, variables)
        return
    if context.strategy.num_replicas_in_sync > 1:
        # Each replica then makes the same update of its own copy.
        gradients = context.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
    step = tf.cast(optimizer.iterations + 1, tf.float32)
    rate = tf.cast(optimizer._get_current_learning_rate(), tf.float32)
    for gradient, variable in zip(gradients, variables, strict=True):
        place = optimizer._get_variable_index(variable)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.value.handle,
            m=optimizer._momentums[place].value.handle,
            v=optimizer._velocities[place].value.handle,
            beta1_power=tf.pow(optimizer.beta_1, step),
            beta2_power=tf.pow(optimizer.beta_2, step),
            lr=rate,
            beta1=optimizer.beta_1,
            beta2=optimizer.beta_2,
            epsilon=optimizer.epsilon,
            grad=gradient,
        )
    optimizer.iterations.assign_add(1)


def _is_plain_adam(optimizer: Any, gradients: list[Any], variables: list[Any]) -> bool:
    """Whether an optimizer does nothing but Adam's formula, in float32."""
    if type(optimizer) is not keras.optimizers.Adam:
        return False
    extras = (
        optimizer.amsgrad,
        optimizer.weight_decay,
        optimizer.clipnorm,
        optimizer.clipvalue,
        optimizer.global_clipnorm,
        optimizer.use_ema,
        optimizer.loss_scale_factor,
        optimizer.gradient_accumulation_steps,
    )
    return not any(extras) and all(
        isinstance(gradient, tf.Tensor)
        and gradient.dtype == tf.float32
        and variable.dtype == "float32"
        and variable.constraint is None
        and getattr(variable, "overwrite_with_gradient", False) is False
        for gradient, variable in zip(gradients, variables, strict=True)
    )
