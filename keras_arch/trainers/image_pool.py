"""Pool of earlier generated images for CycleGAN's discriminators."""

from typing import Any

import keras
from keras import ops


class ImagePool:
    """Pool that gives a discriminator a mixture of new and of earlier generated images.

    Source: Shrivastava et al. 2017, "Learning from Simulated and Unsupervised Images through
    Adversarial Training", section 2.3, as in CycleGAN's code (Zhu et al. 2017, section 4). Images
    come one after the other. A pool that is not full stores the image and returns it. A full one
    returns, with probability one half, a random stored image, which the new one replaces; else it
    returns the new one.

    A batch is processed at once, with the result of one image after the other, whatever its size.

    Args:
        owner: The model that the pool is a part of; its state is saved with the model's.
        size: Number of images; 0 returns every image as it is.
        image_shape: Shape of one image.
        name: Prefix of its variables.

    Example:
        >>> import numpy as np
        >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        >>> pool = ImagePool(model, 2, (1, 1, 1), "pool")
        >>> images = np.reshape([1.0, 2.0, 3.0, 4.0], (4, 1, 1, 1))
        >>> numbers = np.array([[0.9, 0.0], [0.9, 0.0], [0.1, 0.0], [0.9, 0.5]])
        >>> np.reshape(pool.query(images, numbers), (4,)).tolist()
        [1.0, 2.0, 3.0, 2.0]
    """

    def __init__(
        self, owner: keras.Model, size: int, image_shape: tuple[int, ...], name: str
    ) -> None:
        self.size = size
        if not size:
            return
        # Every replica computes the same pool, so the first one's is taken.
        state = {"initializer": "zeros", "trainable": False, "aggregation": "only_first_replica"}
        self.images = owner.add_weight(
            shape=(size, *image_shape), dtype="float32", name=f"{name}_images", **state
        )
        self.count = owner.add_weight(shape=(), dtype="int32", name=f"{name}_count", **state)

    def query(self, images: Any, numbers: Any) -> Any:
        """As many images for the discriminator in place of new ones.

        Args:
            images: The new images, `(batch, height, width, channels)`.
            numbers: Two random numbers from U(0, 1) an image: whether to return an earlier one
                (over one half), and which.
        """
        if not self.size:
            return images
        images, numbers = ops.cast(images, "float32"), ops.cast(numbers, "float32")
        order = ops.arange(ops.shape(images)[0], dtype="int32")
        count, stored = ops.convert_to_tensor(self.count), ops.convert_to_tensor(self.images)

        filling = count + order < self.size
        chosen = ops.cast(ops.floor(numbers[:, 1] * self.size), "int32")
        # A number just below 1 may be rounded up to the size.
        chosen = ops.minimum(chosen, self.size - 1)
        slot = ops.where(filling, count + order, chosen)
        swaps = ops.logical_and(ops.logical_not(filling), numbers[:, 0] > 0.5)
        written = ops.logical_or(filling, swaps)

        # For each image, the last one of the batch that was stored in its slot: before it, and in
        # the whole batch. Where there is none, the pool's image at the start.
        rivals = ops.logical_and(slot[:, None] == slot[None, :], written[None, :])
        before = ops.logical_and(rivals, order[None, :] < order[:, None])
        held = ops.take(stored, slot, axis=0)
        earlier = _latest(before, order, images, held)
        # Images that share a slot all write its final image, so their order does not matter.
        final = _latest(rivals, order, images, held)
        self.images.assign(ops.scatter_update(stored, slot[:, None], final))
        self.count.assign(ops.minimum(count + ops.shape(images)[0], self.size))
        return _where(swaps, earlier, images)


def _latest(candidates: Any, order: Any, images: Any, otherwise: Any) -> Any:
    """For each row of candidates the image of the last one, where there is one."""
    last = ops.max(ops.where(candidates, order[None, :], -1), axis=1)
    found = ops.take(images, ops.maximum(last, 0), axis=0)
    return _where(last >= 0, found, otherwise)


def _where(condition: Any, images: Any, others: Any) -> Any:
    shape = (-1,) + (1,) * (len(images.shape) - 1)
    return ops.where(ops.reshape(condition, shape), images, others)
