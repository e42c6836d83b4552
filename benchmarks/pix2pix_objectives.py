"""Comparison of pix2pix's five objectives under one budget.

    python benchmarks/pix2pix_objectives.py --source "pairs:PATH?direction=BtoA" --out objectives

The rows of table 1 of Isola et al. 2017: L1, GAN, cGAN, L1+GAN and L1+cGAN, all with the same
networks, data, seed and number of updates, in the `pix2pix-facades` config at 128 pixels for a CPU
(`--size 256` for a GPU). Printed for each: the L1 error on the test pairs, in [-1, 1], and the mean
gradient magnitude of its pictures and of the photos, which is small for blurred pictures. Runs are
saved and resumed, so the benchmark can be interrupted.
"""

import argparse
import dataclasses
import json
from pathlib import Path

import numpy as np

TITLES = {"l1": "L1", "gan": "GAN", "cgan": "cGAN", "l1+gan": "L1 + GAN", "l1+cgan": "L1 + cGAN"}


@dataclasses.dataclass(frozen=True)
class Settings:
    """Settings of all five objectives."""

    source: str
    size: int
    epochs: int
    filters: int

    def overrides(self, objective: str) -> list[str]:
        """Overrides of the config for one objective."""
        small = self.size == 128
        shape = [self.size, self.size, 3]
        return [
            f"data.source={self.source}",
            f"recipe.objective={objective}",
            f"recipe.epochs={self.epochs}",
            f"preprocessing.size={shape[:2]}",
            f"data.augment=['jitter:{15 if small else 30}', flip]",
            f"generator.arguments.variant=unet_{self.size}",
            f"generator.arguments.image_shape={shape}",
            f"generator.arguments.filters={self.filters}",
            f"discriminator.arguments.input_shape={shape}",
            f"discriminator.arguments.filters={self.filters}",
        ]


def train(objective: str, settings: Settings, out: Path) -> dict[str, float]:
    """Metrics of one objective, which is trained if it is not finished yet."""
    from keras_arch import api

    directory = out / objective.replace("+", "_")
    metrics = directory / "metrics.json"
    if metrics.exists():
        return json.loads(metrics.read_text())
    run = api.train(
        "pix2pix-facades",
        directory,
        overrides=settings.overrides(objective),
        resume=directory.exists(),
    )
    return run.metrics


def picture(settings: Settings, out: Path, count: int) -> Path:
    """Picture of the input, the five outputs and the target of the first test pairs."""
    from keras_arch import data, hub, trainers, visualization

    columns = {}
    for objective, title in TITLES.items():
        opened = hub.load_with_card(out / objective.replace("+", "_") / "model")
        preprocessing = opened.card.preprocessing
        pairs = data.load(settings.source, "test").take(count)
        inputs, targets = next(iter(data.eval_batches(pairs, preprocessing, count)))
        pixels = preprocessing.to_pixels
        columns = columns or {"input": pixels(inputs)}
        columns[title] = pixels(trainers.translate(opened.model, np.asarray(inputs)))
    columns["target"] = pixels(targets)
    return visualization.side_by_side(columns, out / "objectives.png")


def main() -> None:
    """Train all objectives, and print their metrics."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--source", required=True, help="pairs:PATH, as in the config")
    parser.add_argument("--out", type=Path, default=Path("objectives"))
    parser.add_argument("--size", type=int, choices=(128, 256), default=128)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--filters", type=int, default=64)
    parser.add_argument("--examples", type=int, default=6, help="test pairs in the picture")
    arguments = parser.parse_args()
    settings = Settings(arguments.source, arguments.size, arguments.epochs, arguments.filters)
    found = {name: train(name, settings, arguments.out) for name in TITLES}
    print(f"\n{'objective':12}{'L1 error':>10}{'gradient magnitude':>21}")
    for name, figures in found.items():
        print(f"{TITLES[name]:12}{figures['l1']:10.4f}{figures['sharpness']:21.4f}")
    print(f"{'photos':12}{0:10.4f}{figures['sharpness_of_targets']:21.4f}")
    print(picture(settings, arguments.out, arguments.examples))


if __name__ == "__main__":
    main()
