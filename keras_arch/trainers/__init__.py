"""Trainers: `keras.Model`s whose `train_step` plays an adversarial game, for use in `fit`."""

from keras_arch.trainers.gan import GAN, sample
from keras_arch.trainers.players import Noise, Player, PlayersTrainer

__all__ = ["GAN", "Noise", "Player", "PlayersTrainer", "sample"]
