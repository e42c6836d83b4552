"""Metrics of generators and of segmentation, on any Keras backend.

Of generated images: distances between features (`frechet_distance` for FID, `kernel_distance` for
KID), scores of samples (`inception_score`, `precision_recall`, `density_coverage`), Parzen
log-likelihood and sharpness. `evaluate` computes several of them through a `FeatureNetwork`.

Of segmentations: scores of a confusion matrix of pixels (`pixel_scores`, or `MeanIU` and the other
Keras metrics in `model.fit`), of boundaries (`boundary_f_score`), and those of ISBI-2012
(`pixel_error`, `rand_error`, `warping_error`); of instances (`match_instances`).
"""

from keras_arch.metrics.evaluation import (
    GENERATIVE_METRICS,
    LOWER_IS_BETTER,
    Evaluation,
    GenerativeMetrics,
    evaluate,
)
from keras_arch.metrics.fid_kid import (
    FeatureStatistics,
    KernelDistance,
    frechet_distance,
    kernel_distance,
)
from keras_arch.metrics.instances import InstanceMatches, match_instances
from keras_arch.metrics.isbi2012 import (
    pixel_error,
    rand_error,
    thin_lines,
    warp_towards,
    warping_error,
)
from keras_arch.metrics.neighbors import nearest_neighbors
from keras_arch.metrics.networks import Activations, FeatureNetwork, classifier, inception
from keras_arch.metrics.scores import (
    DensityCoverage,
    InceptionScore,
    ParzenEstimate,
    PrecisionRecall,
    density_coverage,
    inception_score,
    mean_gradient_magnitude,
    parzen_log_likelihood,
    precision_recall,
)
from keras_arch.metrics.segmentation import (
    Dice,
    ForegroundIU,
    FrequencyWeightedIU,
    MeanAccuracy,
    MeanIU,
    PixelAccuracy,
    PixelMetric,
    boundary_f_score,
    boundary_of,
    per_class,
    pixel_confusion,
    pixel_scores,
)

__all__ = [
    "GENERATIVE_METRICS",
    "LOWER_IS_BETTER",
    "Activations",
    "DensityCoverage",
    "Dice",
    "Evaluation",
    "FeatureNetwork",
    "FeatureStatistics",
    "ForegroundIU",
    "FrequencyWeightedIU",
    "GenerativeMetrics",
    "InceptionScore",
    "InstanceMatches",
    "KernelDistance",
    "MeanAccuracy",
    "MeanIU",
    "ParzenEstimate",
    "PixelAccuracy",
    "PixelMetric",
    "PrecisionRecall",
    "boundary_f_score",
    "boundary_of",
    "classifier",
    "density_coverage",
    "evaluate",
    "frechet_distance",
    "inception",
    "inception_score",
    "kernel_distance",
    "match_instances",
    "mean_gradient_magnitude",
    "nearest_neighbors",
    "parzen_log_likelihood",
    "per_class",
    "pixel_confusion",
    "pixel_error",
    "pixel_scores",
    "precision_recall",
    "rand_error",
    "thin_lines",
    "warp_towards",
    "warping_error",
]
