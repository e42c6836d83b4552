"""Figures of what generators make: NumPy arrays in, numbers out, on any Keras backend.

Distances between features (`frechet_distance`, `kernel_distance`), figures of samples
(`inception_score`, `precision_recall`, `density_coverage`), the Parzen log-likelihood of the first
GANs, and sharpness. `evaluate` takes several of them from images through a `FeatureNetwork`.
"""

from keras_arch.metrics.distances import (
    FeatureStatistics,
    KernelDistance,
    frechet_distance,
    kernel_distance,
)
from keras_arch.metrics.evaluation import (
    FIGURES,
    LOWER_IS_BETTER,
    Evaluation,
    GenerativeFigures,
    evaluate,
)
from keras_arch.metrics.likelihood import ParzenEstimate, parzen_log_likelihood
from keras_arch.metrics.neighbours import nearest
from keras_arch.metrics.networks import Activations, FeatureNetwork, classifier, inception
from keras_arch.metrics.scores import (
    DensityCoverage,
    InceptionScore,
    PrecisionRecall,
    density_coverage,
    inception_score,
    precision_recall,
)
from keras_arch.metrics.sharpness import mean_gradient_magnitude

__all__ = [
    "FIGURES",
    "LOWER_IS_BETTER",
    "Activations",
    "DensityCoverage",
    "Evaluation",
    "FeatureNetwork",
    "FeatureStatistics",
    "GenerativeFigures",
    "InceptionScore",
    "KernelDistance",
    "ParzenEstimate",
    "PrecisionRecall",
    "classifier",
    "density_coverage",
    "evaluate",
    "frechet_distance",
    "inception",
    "inception_score",
    "kernel_distance",
    "mean_gradient_magnitude",
    "nearest",
    "parzen_log_likelihood",
    "precision_recall",
]
