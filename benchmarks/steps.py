"""Constants and settings of all implementations of the steps of `gan_step.py`."""

import dataclasses

LATENT_SIZE = 100
LEARNING_RATE, BETA_1, BETA_2 = 2e-4, 0.5, 0.999
L1_WEIGHT, CYCLE_WEIGHT, IDENTITY_WEIGHT = 100.0, 10.0, 0.5
# Pix2pix and CycleGAN halve the discriminator's loss.
D_WEIGHT = 0.5
POOL_SIZE = 50
RESIDUAL_BLOCKS = 6


@dataclasses.dataclass(frozen=True)
class Settings:
    """Settings of all variants of one run."""

    game: str
    image_size: int
    batch: int
    warmup: int
    threads: int


@dataclasses.dataclass(frozen=True)
class Game:
    """Default settings of a game."""

    image_size: int
    batch: int
    steps: int
    # Of each network at that image size.
    parameters: tuple[int, ...]


GAMES = {
    "dcgan": Game(64, 64, 30, (3_576_704, 2_765_568)),
    "pix2pix": Game(256, 1, 30, (54_413_955, 2_768_705)),
    "cyclegan": Game(128, 1, 15, (7_837_699, 7_837_699, 2_764_737, 2_764_737)),
}
