"""Trainer of the relativistic GAN of Jolicoeur-Martineau (2018, arXiv:1807.00734)."""

import dataclasses

import keras
from keras import ops

from keras_arch import trainers


@keras.saving.register_keras_serializable("keras_arch_angles")
class RelativisticGAN(trainers.GAN):
    """GAN whose generator makes its images look more real than the real ones of the batch."""

    def players(self):
        """The discriminator of a GAN, and a generator that is compared with real images."""
        discriminator, generator = super().players()
        return discriminator, dataclasses.replace(generator, loss=self.relativistic_loss)

    def relativistic_loss(self, tensors, training):
        """The loss of the logits on generated images minus those on real ones."""
        fake = tensors["fake"]
        on_fake = self.discriminator(fake, training=training)
        on_real = self.discriminator(ops.cast(tensors["image"], fake.dtype), training=training)
        return self.adversarial_loss.for_generator(on_fake - on_real), {}
