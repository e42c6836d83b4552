"""Distribution strategies of `tf.distribute` by name."""

from keras_arch.distribute.strategy import STRATEGIES, strategy, sum_over_replicas

__all__ = ["STRATEGIES", "strategy", "sum_over_replicas"]
