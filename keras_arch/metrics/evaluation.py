"""Several figures of generated images at once, against real images that are looked at once."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_arch.errors import ArgumentError
from keras_arch.metrics.distances import FeatureStatistics, frechet_distance, kernel_distance
from keras_arch.metrics.networks import FeatureNetwork
from keras_arch.metrics.scores import density_coverage, inception_score, precision_recall

FIGURES = ("fid", "kid", "inception_score", "precision", "recall", "density", "coverage")
# What is better when it is lower.
LOWER_IS_BETTER = ("fid", "kid")
_NEED_FEATURES = ("kid", "precision", "recall", "density", "coverage")


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Figures of generated images, and what they were taken with.

    Attributes:
        values: By name; `"kid_deviation"` and `"inception_score_deviation"` beside theirs.
        description: The feature network and the numbers of images.
    """

    values: dict[str, float]
    description: str

    def __str__(self) -> str:
        figures = ", ".join(f"{name} {value:.4g}" for name, value in self.values.items())
        return f"{figures} ({self.description})"


class GenerativeMetrics:
    """Figures of generated images, for calls after each epoch: real images are looked at once.

    Args:
        real: Real images, `uint8` `(n, height, width, 1 or 3)`, or an iterable of such arrays.
        network: In whose features they are compared.
        figures: Some of `FIGURES`. `"fid"` and `"inception_score"` keep no feature of the real
            images, so that any number will do; the others keep all.
        seed: Of KID's subsets and the inception score's splits.

    Raises:
        ArgumentError: If a figure is unknown, the network gives no probabilities that one needs, or
            there are too few images.

    Example:
        >>> mean = FeatureNetwork(
        ...     "mean", "pixels", "none", "none", lambda x: (x.mean((1, 2)), None)
        ... )
        >>> images = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 1), "uint8")
        >>> figures = GenerativeMetrics(images, mean, ["fid", "precision"])
        >>> {name: round(value, 6) for name, value in figures(images).values.items()}
        {'fid': 0.0, 'precision': 1.0}
    """

    def __init__(
        self,
        real: Any,
        network: FeatureNetwork,
        figures: Sequence[str] = ("fid", "kid"),
        *,
        seed: int | None = 0,
    ) -> None:
        figures = (figures,) if isinstance(figures, str) else tuple(figures)
        unknown = [name for name in figures if name not in FIGURES]
        if unknown or not figures:
            raise ArgumentError(
                f"figures must be some of {', '.join(FIGURES)}, got "
                f"{unknown[0] if unknown else 'none'!r}"
            )
        self.network = network
        self.figures = figures
        self.seed = seed
        self.statistics, self.real, _ = self._look(real, probabilities=False)
        if self.statistics.count < 2:
            raise ArgumentError(f"figures need at least 2 real images, got {self.statistics.count}")

    @property
    def description(self) -> str:
        """The feature network and the number of real images."""
        return f"{self.network.describe()}; {self.statistics.count} real images"

    def __call__(self, generated: Any) -> Evaluation:
        """The figures of generated images.

        Args:
            generated: As `real`.

        Returns:
            Values by name, in the order asked for, and the description.

        Raises:
            ArgumentError: If there are too few images, or a figure needs a classifier.
        """
        statistics, features, probabilities = self._look(
            generated, probabilities="inception_score" in self.figures
        )
        found: dict[str, float] = {}
        if "fid" in self.figures:
            found["fid"] = frechet_distance(self.statistics, statistics)
        if "kid" in self.figures:
            kid = kernel_distance(self.real, features, seed=self.seed)
            found |= {"kid": kid.mean, "kid_deviation": kid.deviation}
        if "inception_score" in self.figures:
            splits = min(10, len(probabilities))
            score = inception_score(probabilities, splits, seed=self.seed)
            found["inception_score"] = score.mean
            found["inception_score_deviation"] = score.deviation
        if {"precision", "recall"} & set(self.figures):
            found |= dataclasses.asdict(precision_recall(self.real, features))
        if {"density", "coverage"} & set(self.figures):
            found |= dataclasses.asdict(density_coverage(self.real, features))
        values = {
            name: found[name]
            for figure in self.figures
            for name in (figure, f"{figure}_deviation")
            if name in found
        }
        return Evaluation(values, f"{self.description}, {statistics.count} generated")

    def _look(self, images: Any, probabilities: bool) -> Any:
        """Statistics always, features and probabilities where a figure needs them."""
        statistics = FeatureStatistics()
        features, rows = [], []
        keep = any(name in _NEED_FEATURES for name in self.figures)
        for batch in self.network.stream(images):
            statistics.update(batch.features)
            if keep:
                features.append(batch.features)
            if probabilities:
                if batch.probabilities is None:
                    raise ArgumentError(
                        f"inception_score needs class probabilities, and {self.network.name} gives "
                        "none; take a classifier"
                    )
                rows.append(batch.probabilities)
        if not statistics.count:
            raise ArgumentError("figures need images, got none")
        return (
            statistics,
            np.concatenate(features) if keep else None,
            np.concatenate(rows) if rows else None,
        )


def evaluate(
    generated: Any,
    real: Any,
    network: FeatureNetwork,
    figures: Sequence[str] = ("fid", "kid"),
    *,
    seed: int | None = 0,
) -> Evaluation:
    """Figures of generated against real images, once. For many calls: `GenerativeMetrics`.

    Args:
        generated: `uint8` images `(n, height, width, 1 or 3)`, or an iterable of such arrays.
        real: The same.
        network: In whose features they are compared.
        figures: Some of `FIGURES`.
        seed: Of KID's subsets and the inception score's splits.

    Returns:
        Values by name, and the description that belongs beside them.

    Raises:
        ArgumentError: As `GenerativeMetrics`.

    Example:
        >>> mean = FeatureNetwork(
        ...     "mean", "pixels", "none", "none", lambda x: (x.mean((1, 2)), None)
        ... )
        >>> images = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 1), "uint8")
        >>> print(evaluate(images, images, mean, ["recall"]))
        recall 1 (mean: features of pixels; weights none; resize none; 40 real images, 40 generated)
    """
    return GenerativeMetrics(real, network, figures, seed=seed)(generated)
