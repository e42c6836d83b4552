"""Trainers: `keras.Model`s whose `train_step` plays an adversarial game, for use in `fit`."""

from keras_arch.trainers.adversarial import RANGES, AdversarialTrainer, Noise, Player
from keras_arch.trainers.conditional_gan import ConditionalGAN, class_labels
from keras_arch.trainers.cyclegan import CycleGAN
from keras_arch.trainers.gan import GAN, sample
from keras_arch.trainers.lapgan import LAPGAN
from keras_arch.trainers.pix2pix import Pix2Pix, translate

__all__ = [
    "GAN",
    "LAPGAN",
    "RANGES",
    "AdversarialTrainer",
    "ConditionalGAN",
    "CycleGAN",
    "Noise",
    "Pix2Pix",
    "Player",
    "class_labels",
    "sample",
    "translate",
]
