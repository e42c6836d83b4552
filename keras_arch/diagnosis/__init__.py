"""What a user looks at to judge a generator or a classifier.

Of a generator: which classes a classifier sees (`mode_coverage`, `read_as`), the latent space
(`latent_walk`, `vector_arithmetic`), memorising (`nearest_neighbours`), and paired tasks
(`side_by_side`). Of a classifier: its classes one by one (`per_class_report`), what it is sure of
and wrong about (`confident_mistakes`), and where it looks (`grad_cam`).
"""

from keras_arch.diagnosis.classes import ModeCoverage, ReadAs, mode_coverage, read_as
from keras_arch.diagnosis.classifiers import (
    Mistake,
    confident_mistakes,
    draw_mistakes,
    per_class_report,
)
from keras_arch.diagnosis.grad_cam import draw_explanation, grad_cam, overlay
from keras_arch.diagnosis.latents import (
    LatentPicture,
    interpolate,
    latent_walk,
    vector_arithmetic,
)
from keras_arch.diagnosis.sheets import Neighbours, nearest_neighbours, side_by_side

__all__ = [
    "LatentPicture",
    "Mistake",
    "ModeCoverage",
    "Neighbours",
    "ReadAs",
    "confident_mistakes",
    "draw_explanation",
    "draw_mistakes",
    "grad_cam",
    "interpolate",
    "latent_walk",
    "mode_coverage",
    "nearest_neighbours",
    "overlay",
    "per_class_report",
    "read_as",
    "side_by_side",
    "vector_arithmetic",
]
