"""Task `relativistic-image-generation`: a GAN with another trainer and another loss."""

from typing import Literal

from keras_arch.tasks.base import register_task
from keras_arch.tasks.generation import Generation
from keras_arch.tasks.generation_config import GANRecipe, GenerationConfig
from keras_arch_angles.losses import RELATIVISTIC
from keras_arch_angles.trainers import RelativisticGAN


class RelativisticRecipe(GANRecipe):
    """Training settings of a relativistic GAN."""

    loss: Literal["relativistic"] = "relativistic"


class RelativisticConfig(GenerationConfig):
    """Config of a relativistic GAN."""

    recipe: RelativisticRecipe


@register_task("relativistic-image-generation")
class RelativisticGeneration(Generation):
    """Task of generators that are trained as a relativistic GAN."""

    Config = RelativisticConfig
    adversarial_losses = {"relativistic": RELATIVISTIC}

    @classmethod
    def make_trainer(cls, generator, discriminator, classes, **arguments):
        """The trainer of a generator and its discriminator."""
        return RelativisticGAN(generator, discriminator, **arguments)
