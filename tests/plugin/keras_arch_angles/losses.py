"""Losses: of angles, and the adversarial one of relativistic GANs."""

import keras
from keras import ops

from keras_arch import losses


def direction_of(degrees):
    """The unit vectors `(batch, 2)` of angles in degrees."""
    radians = ops.cast(degrees, "float32") * (3.141592653589793 / 180)
    return ops.stack([ops.cos(radians), ops.sin(radians)], axis=-1)


def squared_distance(degrees, direction):
    """Squared distance of a predicted direction from that of the true angle."""
    return ops.sum(ops.square(direction_of(degrees) - direction), axis=-1)


@keras.saving.register_keras_serializable("keras_arch_angles")
def prefer_real(real, fake):
    """Loss of the discriminator: a real image should look more real than a generated one."""
    return ops.softplus(fake - real)


@keras.saving.register_keras_serializable("keras_arch_angles")
def prefer_fake(difference):
    """Loss of the generator, of the logits on generated images minus those on real ones."""
    return ops.softplus(-difference)


RELATIVISTIC = losses.AdversarialLoss(
    name="relativistic",
    discriminator=prefer_real,
    generator=prefer_fake,
    paper="Jolicoeur-Martineau 2018, arXiv:1807.00734, RSGAN",
)
