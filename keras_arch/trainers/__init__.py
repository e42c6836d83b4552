"""Trainers: `keras.Model`s whose `train_step` plays an adversarial game, for use in `fit`."""

from keras_arch.trainers.conditional_gan import ConditionalGAN, class_labels
from keras_arch.trainers.cyclegan import CycleGAN
from keras_arch.trainers.gan import GAN, sample
from keras_arch.trainers.lapgan import LAPGAN
from keras_arch.trainers.pix2pix import Pix2Pix, translate
from keras_arch.trainers.players import RANGES, Noise, Player, PlayersTrainer

__all__ = [
    "GAN",
    "LAPGAN",
    "RANGES",
    "ConditionalGAN",
    "CycleGAN",
    "Noise",
    "Pix2Pix",
    "Player",
    "PlayersTrainer",
    "class_labels",
    "sample",
    "translate",
]
