"""What every implementation of a training step has in common in `gan_step.py`."""

import dataclasses

LATENT_SIZE = 100
LEARNING_RATE, BETA_1, BETA_2 = 2e-4, 0.5, 0.999
L1_WEIGHT, CYCLE_WEIGHT, IDENTITY_WEIGHT = 100.0, 10.0, 0.5
# Both translating games halve the discriminator's loss.
D_WEIGHT = 0.5
POOL_SIZE = 50
RESIDUAL_BLOCKS = 6


@dataclasses.dataclass(frozen=True)
class Settings:
    """What all variants of one run have in common."""

    game: str
    image_size: int
    batch: int
    warmup: int
    threads: int


@dataclasses.dataclass(frozen=True)
class Game:
    """A game as it is timed unless the command line says otherwise."""

    image_size: int
    batch: int
    steps: int
    # At that image size.
    parameters: tuple[int, ...]


GAMES = {
    "dcgan": Game(64, 64, 30, (3_576_704, 2_765_568)),
    "pix2pix": Game(256, 1, 30, (54_413_955, 2_768_705)),
    "cyclegan": Game(128, 1, 15, (7_837_699, 7_837_699, 2_764_737, 2_764_737)),
}
