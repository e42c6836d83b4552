"""Evaluation of generated images by several metrics, with one pass over the real images."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_arch.errors import ArgumentError
from keras_arch.metrics.fid_kid import FeatureStatistics, frechet_distance, kernel_distance
from keras_arch.metrics.networks import FeatureNetwork
from keras_arch.metrics.scores import density_coverage, inception_score, precision_recall

GENERATIVE_METRICS = ("fid", "kid", "inception_score", "precision", "recall", "density", "coverage")
LOWER_IS_BETTER = ("fid", "kid")
_NEED_FEATURES = ("kid", "precision", "recall", "density", "coverage")


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Metrics of generated images, and how they were computed.

    Attributes:
        values: By name; `"kid_deviation"` and `"inception_score_deviation"` beside theirs.
        description: The feature network and the numbers of images.
    """

    values: dict[str, float]
    description: str

    def __str__(self) -> str:
        metrics = ", ".join(f"{name} {value:.4g}" for name, value in self.values.items())
        return f"{metrics} ({self.description})"


class GenerativeMetrics:
    """Metrics of generated images for repeated calls, with one pass over the real images.

    Args:
        real: Real images, `uint8` `(n, height, width, 1 or 3)`, or an iterable of such arrays.
        network: Feature network in which they are compared.
        metrics: Some of `GENERATIVE_METRICS`. `"fid"` and `"inception_score"` need little memory
            for any number of real images; the others store the features of all.
        seed: Seed of KID's subsets and the inception score's splits.

    Raises:
        ArgumentError: If a metric is unknown, or there are too few images.

    Example:
        >>> net = FeatureNetwork("mean", "pixels", "none", "none", lambda x: (x.mean((1, 2)), None))
        >>> images = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 1), "uint8")
        >>> evaluate_images = GenerativeMetrics(images, net, ["fid", "precision"])
        >>> {name: round(value, 6) for name, value in evaluate_images(images).values.items()}
        {'fid': 0.0, 'precision': 1.0}
    """

    def __init__(
        self,
        real: Any,
        network: FeatureNetwork,
        metrics: Sequence[str] = ("fid", "kid"),
        *,
        seed: int | None = 0,
    ) -> None:
        metrics = (metrics,) if isinstance(metrics, str) else tuple(metrics)
        unknown = [name for name in metrics if name not in GENERATIVE_METRICS]
        if unknown or not metrics:
            raise ArgumentError(
                f"metrics must be some of {', '.join(GENERATIVE_METRICS)}, got "
                f"{unknown[0] if unknown else 'none'!r}"
            )
        self.network, self.metrics, self.seed = network, metrics, seed
        self.statistics, self.real, _ = self._features(real, probabilities=False)
        if self.statistics.count < 2:
            raise ArgumentError(f"metrics need at least 2 real images, got {self.statistics.count}")

    @property
    def description(self) -> str:
        """Feature network and number of real images."""
        return f"{self.network.describe()}; {self.statistics.count} real images"

    def __call__(self, generated: Any) -> Evaluation:
        """Compute the metrics of generated images, given as `real`, in the order of `metrics`.

        Raises:
            ArgumentError: If there are too few images, or a metric needs a classifier.
        """
        statistics, features, probabilities = self._features(
            generated, probabilities="inception_score" in self.metrics
        )
        found: dict[str, float] = {}
        if "fid" in self.metrics:
            found["fid"] = frechet_distance(self.statistics, statistics)
        if "kid" in self.metrics:
            kid = kernel_distance(self.real, features, seed=self.seed)
            found |= {"kid": kid.mean, "kid_deviation": kid.deviation}
        if "inception_score" in self.metrics:
            splits = min(10, len(probabilities))
            score = inception_score(probabilities, splits, seed=self.seed)
            found |= {"inception_score": score.mean, "inception_score_deviation": score.deviation}
        if {"precision", "recall"} & set(self.metrics):
            found |= dataclasses.asdict(precision_recall(self.real, features))
        if {"density", "coverage"} & set(self.metrics):
            found |= dataclasses.asdict(density_coverage(self.real, features))
        values = {
            name: found[name]
            for metric in self.metrics
            for name in (metric, f"{metric}_deviation")
            if name in found
        }
        return Evaluation(values, f"{self.description}, {statistics.count} generated")

    def _features(self, images: Any, probabilities: bool) -> Any:
        """Statistics always, features and probabilities where a metric needs them."""
        statistics = FeatureStatistics()
        features, rows = [], []
        store = any(name in _NEED_FEATURES for name in self.metrics)
        for batch in self.network.stream(images):
            statistics.update(batch.features)
            if store:
                features.append(batch.features)
            if probabilities:
                if batch.probabilities is None:
                    raise ArgumentError(
                        f"inception_score needs class probabilities, and {self.network.name} gives "
                        "none; take a classifier"
                    )
                rows.append(batch.probabilities)
        if not statistics.count:
            raise ArgumentError("metrics need images, got none")
        return (
            statistics,
            np.concatenate(features) if store else None,
            np.concatenate(rows) if rows else None,
        )


def evaluate(
    generated: Any,
    real: Any,
    network: FeatureNetwork,
    metrics: Sequence[str] = ("fid", "kid"),
    *,
    seed: int | None = 0,
) -> Evaluation:
    """Compute metrics of generated against real images. For many calls: `GenerativeMetrics`.

    Args:
        generated: Generated images, as `real`.
        real: Real images; like `network`, `metrics` and `seed` as for `GenerativeMetrics`.

    Returns:
        Values by name, and the description.

    Raises:
        ArgumentError: As `GenerativeMetrics`, or if a metric needs a classifier.

    Example:
        >>> net = FeatureNetwork("mean", "pixels", "none", "none", lambda x: (x.mean((1, 2)), None))
        >>> images = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 1), "uint8")
        >>> print(evaluate(images, images, net, ["recall"]))
        recall 1 (mean: features of pixels; weights none; resize none; 40 real images, 40 generated)
    """
    return GenerativeMetrics(real, network, metrics, seed=seed)(generated)
