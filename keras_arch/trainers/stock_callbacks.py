"""What Keras' own callbacks need to find their way in a trainer."""

from typing import Any

import keras


class TerminateOnNaNOfPlayers(keras.callbacks.TerminateOnNaN):
    """`keras.callbacks.TerminateOnNaN` for the losses of players.

    Keras' own looks at the value `loss`, which a trainer does not have.
    """

    def on_batch_end(self, batch: int, logs: Any = None) -> None:
        """Stop where a player's loss is not a number."""
        for name, value in (logs or {}).items():
            if name.endswith("_loss"):
                super().on_batch_end(batch, {"loss": value})


def with_companions(callbacks: Any) -> Any:
    """The callbacks of `fit`, with one for players beside each `TerminateOnNaN`."""
    if callbacks is None or isinstance(callbacks, keras.callbacks.CallbackList):
        return callbacks
    found = list(keras.tree.flatten(callbacks))
    return found + [
        TerminateOnNaNOfPlayers(each.raise_error)
        for each in found
        if type(each) is keras.callbacks.TerminateOnNaN
    ]
