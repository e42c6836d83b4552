"""What a user looks at to judge a generator.

Which classes a classifier sees (`mode_coverage`, `read_as`), the latent space (`latent_walk`,
`vector_arithmetic`), memorising (`nearest_neighbours`), and paired tasks (`side_by_side`).
"""

from keras_arch.diagnosis.classes import ModeCoverage, ReadAs, mode_coverage, read_as
from keras_arch.diagnosis.latents import (
    LatentPicture,
    interpolate,
    latent_walk,
    vector_arithmetic,
)
from keras_arch.diagnosis.sheets import Neighbours, nearest_neighbours, side_by_side

__all__ = [
    "LatentPicture",
    "ModeCoverage",
    "Neighbours",
    "ReadAs",
    "interpolate",
    "latent_walk",
    "mode_coverage",
    "nearest_neighbours",
    "read_as",
    "side_by_side",
    "vector_arithmetic",
]
