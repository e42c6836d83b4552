"""Callback that gives all hosts the logs of the chief."""

from typing import Any

import keras

from keras_arch.distribute import agreement


class SameLogs(keras.callbacks.Callback):
    """Replaces the logs of an epoch by those of the chief, so that all hosts decide alike.

    What each host measures by itself may differ in the last digit. Put it after the callbacks that
    add to the logs, and before those that decide by them. On one host it changes nothing.

    Example:
        >>> SameLogs().on_epoch_end(0, {})
    """

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Take the chief's values."""
        if logs:
            numbers = {name: float(value) for name, value in logs.items()}
            logs.update(agreement.of_chief(self.model.distribute_strategy, numbers))
