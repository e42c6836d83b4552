"""Seeds of random draws: a new seed from a seed and a number.

The generator is Philox on every device, so that a seed gives the same draws everywhere.
"""

from typing import Any

from keras_arch._lazy import tf


def fold_in(seed: Any, number: Any) -> Any:
    """The seed of draw `number` out of many that follow from one seed of two integers."""
    return tf.random.experimental.stateless_fold_in(seed, number, alg="philox")


def branches(seed: Any, count: int) -> list[Any]:
    """Independent seeds `fold_in(seed, 0)` to `fold_in(seed, count - 1)`."""
    return [fold_in(seed, number) for number in range(count)]
