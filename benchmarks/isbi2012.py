"""Ablation of `unet-isbi2012-paper`: no elastic deformation or border weights, and a threshold.

    python benchmarks/isbi2012.py --source "masks:PATH/train?images=image&masks=label" --out DIR

Three variants with the same seeds, data and number of updates: the config as it is, without elastic
deformation, and without border weights. By default the network is narrow and its tiles are small,
for a CPU; `--filters 64 --tile 572` gives the paper's. The baseline smooths a slice and classifies
pixels above a threshold as interior; both are chosen on the training slices. Runs are saved and
resumed, so the benchmark can be interrupted.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import runs

ARMS = {
    "both": [],
    "no_elastic": ["data.augment=[flip, flip_vertical, 'rotate:180', 'shift:20', 'grey:0.1']"],
    "no_border_weight": ["recipe.weights.w0=0"],
}
METRICS = (
    "mean_iu",
    "pixel_accuracy",
    "pixel_error",
    "rand_error",
    "warping_error",
    "boundary_f_score",
)


def train(arm: str, seed: int, options: argparse.Namespace) -> dict[str, float]:
    """Metrics of one run."""
    overrides = [
        f"data.source={options.source}",
        f"model.arguments.filters={options.filters}",
        f"model.arguments.input_shape=[{options.tile}, {options.tile}, 1]",
        f"preprocessing.size=[{options.tile}, {options.tile}]",
        f"recipe.epochs={options.epochs}",
        # Decays to 0: at a constant rate mean IU varies by 0.1 between epochs.
        "recipe.optimizer={name: adam, learning_rate: {name: cosine, peak: 0.001}}",
        f"recipe.seed={seed}",
        "samples.count=2",
        f"samples.every={options.epochs}",
        *ARMS[arm],
    ]
    return runs.metrics_of("unet-isbi2012-paper", options.out / f"{arm}-{seed}", overrides)


def slices(split: str, options: argparse.Namespace) -> list[tuple[Any, Any]]:
    """Images and masks of one split of the config."""
    from keras_arch import config, data

    settings = config.load("unet-isbi2012-paper", [f"data.source={options.source}"]).data
    dataset = data.load(settings.address, getattr(settings, split))
    return [(image[..., 0] / 255, mask) for image, mask in dataset.as_numpy_iterator()]


def baseline(options: argparse.Namespace) -> dict[str, float]:
    """Metrics of the smoothed and thresholded test slices."""
    from scipy import ndimage

    from keras_arch import metrics

    def confusion_of(pairs, sigma, threshold):
        return sum(
            metrics.pixel_confusion(
                mask, (smooth(image, sigma) >= threshold).astype(np.uint8), 2, 255
            )
            for image, mask in pairs
        )

    def smooth(image, sigma):
        return ndimage.gaussian_filter(image, sigma, mode="mirror")

    train_slices, test_slices = slices("train", options), slices("test", options)
    choices = [(s, t / 100) for s in (0.5, 1, 1.5, 2, 3, 4) for t in range(20, 60, 2)]
    scored = {
        choice: metrics.pixel_scores(confusion_of(train_slices, *choice))["mean_iu"]
        for choice in choices
    }
    sigma, threshold = max(scored, key=scored.get)
    print(f"baseline: sigma {sigma} pixels, threshold {threshold}")
    truths = [mask for _, mask in test_slices]
    found = [(smooth(image, sigma) >= threshold).astype(np.uint8) for image, _ in test_slices]
    figures = metrics.pixel_scores(confusion_of(test_slices, sigma, threshold))
    for name in ("pixel_error", "rand_error", "warping_error"):
        figures[name] = getattr(metrics, name)(np.stack(truths), np.stack(found))
    figures["boundary_f_score"] = metrics.boundary_f_score(truths, found, 2, 2.0, 255)["f_score"]
    return figures


def main() -> None:
    """Train all variants, and print their metrics."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--source", required=True, help="masks:PATH, as in the config")
    parser.add_argument("--out", type=Path, default=Path("isbi2012"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--arms", nargs="+", choices=[*ARMS], default=[*ARMS])
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--filters", type=int, default=8)
    parser.add_argument("--tile", type=int, default=316)
    options = parser.parse_args()
    # Seed by seed, so that an interrupted benchmark has all variants.
    found: dict[str, list[dict[str, float]]] = {arm: [] for arm in options.arms}
    for seed in options.seeds:
        for arm in options.arms:
            found[arm].append(train(arm, seed, options))
    without = baseline(options)
    print(f"\n{'':18}" + "".join(f"{name:>24}" for name in METRICS))
    for arm, each in found.items():
        cells = (
            f"{np.mean([run[name] for run in each]):.4f} "
            f"({min(run[name] for run in each):.4f}-{max(run[name] for run in each):.4f})"
            for name in METRICS
        )
        print(f"{arm:18}" + "".join(f"{cell:>24}" for cell in cells))
    print(f"{'threshold, smooth':18}" + "".join(f"{without[name]:24.4f}" for name in METRICS))


if __name__ == "__main__":
    main()
