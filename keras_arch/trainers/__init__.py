"""Trainers: `keras.Model`s whose `train_step` plays an adversarial game, for use in `fit`."""

from keras_arch.trainers.adversarial import AdversarialTrainer
from keras_arch.trainers.checks import OUTPUT_RANGES, output_range
from keras_arch.trainers.conditional_gan import ConditionalGAN
from keras_arch.trainers.cyclegan import CycleGAN
from keras_arch.trainers.gan import GAN
from keras_arch.trainers.generator_discriminator import GeneratorDiscriminatorTrainer
from keras_arch.trainers.lapgan import LAPGAN
from keras_arch.trainers.latent_sampling import class_labels, sample
from keras_arch.trainers.pix2pix import Pix2Pix, translate
from keras_arch.trainers.players import Noise, Player

__all__ = [
    "GAN",
    "LAPGAN",
    "OUTPUT_RANGES",
    "AdversarialTrainer",
    "ConditionalGAN",
    "CycleGAN",
    "GeneratorDiscriminatorTrainer",
    "Noise",
    "Pix2Pix",
    "Player",
    "class_labels",
    "output_range",
    "sample",
    "translate",
]
