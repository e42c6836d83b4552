"""Early stopping: a callback, and the rule of patience."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras


class StopEarly(keras.callbacks.Callback):
    """Ends training after an epoch, as soon as a condition holds.

    Keras' `EarlyStopping` counts from the epoch in which a `fit` begins; the condition here can
    look at the logs of the whole run, a resumed one too.

    Args:
        condition: Called after each epoch. Put this after the callbacks that it depends on.

    Example:
        >>> StopEarly(lambda: True).condition()
        True
    """

    def __init__(self, condition: Callable[[], bool]) -> None:
        super().__init__()
        self.condition = condition

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Stop, if the condition holds."""
        if self.condition():
            self.model.stop_training = True


def out_of_patience(
    rows: Sequence[Mapping[str, float]],
    patience: int | None,
    *,
    monitor: str,
    ties: str,
    start: int = 0,
) -> bool:
    """Whether there were `patience` epochs without a better one.

    Args:
        rows: The logs of all epochs so far.
        patience: Number of epochs; `None` never stops.
        monitor: The metric whose higher value is better.
        ties: The metric whose lower value decides between equals.
        start: The first epoch, from 0, that patience counts from.

    Example:
        >>> rows = [{"accuracy": a, "loss": 0.0} for a in (0.8, 0.9, 0.85, 0.9)]
        >>> [out_of_patience(rows, n, monitor="accuracy", ties="loss") for n in (2, 3)]
        [True, False]
    """
    if patience is None or not rows:
        return False
    ranks = [(-row[monitor], row[ties]) for row in rows]
    best = ranks.index(min(ranks))
    return len(rows) - 1 - max(best, start) >= patience
