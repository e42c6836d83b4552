"""Data source `digits`: the handwritten digits of scikit-learn."""

import numpy as np

from keras_arch.data.sources.base import Source


class Digits(Source):
    """1,797 digits of 8x8 pixels; every fifth image of each digit is in the test split.

    The rule needs no random numbers, so that the split is the same with every version of every
    library, and it is stratified by construction.
    """

    classes = tuple("0123456789")
    image_shape = (8, 8, 1)
    license = "CC-BY-4.0"

    def __init__(self) -> None:
        from sklearn.datasets import load_digits

        images, labels = load_digits(return_X_y=True)
        images = np.rint(images.reshape(-1, 8, 8, 1) * (255 / 16)).astype(np.uint8)
        order = np.empty(len(labels), int)
        for digit in range(10):
            (members,) = np.nonzero(labels == digit)
            order[members] = np.arange(len(members))
        held_out = order % 5 == 2
        self._arrays = {
            "train": (images[~held_out], labels[~held_out].astype(np.int64)),
            "test": (images[held_out], labels[held_out].astype(np.int64)),
        }
        self.splits = {name: len(labels) for name, (_, labels) in self._arrays.items()}

    def examples(self, split: str, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Images `start` to `stop` with their labels."""
        images, labels = self._arrays[split]
        return images[start:stop], labels[start:stop]
