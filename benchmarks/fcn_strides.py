"""Comparison of FCN-32s, -16s and -8s under one budget on facades.

    python benchmarks/fcn_strides.py --facades PATH --out strides

PATH is the folder of pix2pix's facades, with `train/` and `test/`; each file has a photo and its
labels side by side. The labels' colours become five classes. All three networks have a ResNet-18
backbone with random weights and are trained at once, with the same data, seed and number of
updates, with the recipe of `fcn8s-pets`. Printed for each: the paper's metrics, and the boundary
F-score within a number of pixels, which rises with a smaller stride. Runs are saved and resumed.
"""

import argparse
import json
from pathlib import Path

import numpy as np

NETWORKS = {"FCN32s": "FCN-32s", "FCN16s": "FCN-16s", "FCN8s": "FCN-8s"}
# Colours of the labels by class: five classes, few enough for 400 pictures.
CLASSES = {
    "surroundings": ["#0000de"],
    "wall": ["#0030ff", "#20ffe0", "#70ff90", "#ffa000", "#ff5000", "#ff0000"],
    "window": ["#0080ff", "#fff000"],
    "balcony": ["#c0ff40"],
    "ground floor": ["#00d0ff", "#b00000"],
}
COLORS = ["#404040", "#d8c8a0", "#3878d8", "#48a860", "#c04848"]


def write_masks(facades: Path, out: Path) -> Path:
    """Write photos and masks of class numbers, from files with both side by side."""
    from PIL import Image

    known = [(n, colour) for n, colours in enumerate(CLASSES.values()) for colour in colours]
    numbers = np.array([number for number, _ in known], np.uint8)
    palette = np.array([list(bytes.fromhex(colour[1:])) for _, colour in known])
    for split in ("train", "test"):
        for folder in ("images", "masks"):
            (out / split / folder).mkdir(parents=True, exist_ok=True)
        for file in sorted((facades / split).glob("*.jpg")):
            pixels = np.asarray(Image.open(file).convert("RGB"))
            half = pixels.shape[1] // 2
            # The files are JPEG, so colours are only close to those of the labels.
            away = np.square(pixels[:, half:, None].astype(int) - palette).sum(axis=-1)
            mask = numbers[away.argmin(axis=-1)]
            Image.fromarray(pixels[:, :half]).save(out / split / "images" / f"{file.stem}.png")
            Image.fromarray(mask).save(out / split / "masks" / f"{file.stem}.png")
    return out


def train(network: str, source: Path, options: argparse.Namespace) -> dict[str, float]:
    """Metrics of one network, which is trained if it is not finished yet."""
    from keras_arch import api

    directory = options.out / network
    metrics = directory / "metrics.json"
    if metrics.exists():
        return json.loads(metrics.read_text())
    arguments = {"input_shape": [options.size, options.size, 3], "classes": len(CLASSES)}
    arguments |= {"backbone": "ResNet18", "deconvolutions": "learned"}
    named = dict(zip(CLASSES, COLORS, strict=True))
    overrides = [
        f"model={json.dumps({'name': network, 'arguments': arguments})}",
        f"data.source=masks:{source}",
        f"data.classes={json.dumps({name: n for n, name in enumerate(CLASSES)})}",
        f"data.colors={json.dumps(named)}",
        "data.train=train",
        "data.validation=null",
        "data.augment=[flip, 'grey:0.1']",
        f"preprocessing.size=[{options.size}, {options.size}]",
        f"recipe.epochs={options.epochs}",
        "recipe.batch_size=8",
        "recipe.optimizer={name: adam, learning_rate: {name: cosine, peak: 0.001}}",
        "recipe.weight_decay=0",
        "recipe.checkpoint=last",
        f"samples.every={options.epochs}",
    ]
    run = api.train(
        "fcn8s-pets", directory, overrides=overrides, resume=directory.exists(), verbose=2
    )
    return run.metrics


def picture(source: Path, options: argparse.Namespace) -> Path:
    """Picture of the photo, the three predictions and the ground truth of the first test files."""
    from keras_arch import data, hub, visualization
    from keras_arch.tasks.segmentation_predictions import predict_probabilities

    colors = [tuple(bytes.fromhex(colour[1:])) for colour in COLORS]
    classes = ",".join(f"{name.replace(' ', '%20')}:{n}" for n, name in enumerate(CLASSES))
    chosen = data.load(f"masks:{source}?classes={classes}", "test")
    pairs = [
        pair for n, pair in enumerate(chosen.as_numpy_iterator()) if n in set(options.examples)
    ]
    columns = {"photo": np.stack([image for image, _ in pairs])}
    for network, title in NETWORKS.items():
        opened = hub.load_with_card(options.out / network / "model")
        found = [
            predict_probabilities(opened.model, image, opened.card.preprocessing, "whole")
            for image, _ in pairs
        ]
        columns[title] = np.stack(
            [
                visualization.overlay(image, each.argmax(axis=-1).astype(np.uint8), colors)
                for (image, _), each in zip(pairs, found, strict=True)
            ]
        )
    columns["truth"] = np.stack(
        [visualization.overlay(image, mask, colors) for image, mask in pairs]
    )
    return visualization.side_by_side(columns, options.out / "strides.png")


def main() -> None:
    """Train all networks, and print their metrics."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--facades", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("strides"))
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--examples", type=int, nargs="+", default=[0, 1, 2, 3])
    options = parser.parse_args()
    source = write_masks(options.facades, options.out / "masks")
    found = {network: train(network, source, options) for network in NETWORKS}
    names = ("boundary_f_score", "pixel_accuracy", "mean_accuracy", "mean_iu")
    print(f"\n{'network':10}" + "".join(f"{name:>18}" for name in names))
    for network, figures in found.items():
        print(f"{NETWORKS[network]:10}" + "".join(f"{figures[name]:18.4f}" for name in names))
    print(picture(source, options))


if __name__ == "__main__":
    main()
