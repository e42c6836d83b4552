"""What pre-training and the stride are worth: FCNs on facades, several seeds each.

    python benchmarks/fcn_facades.py --facades PATH --out fcn_facades
    python benchmarks/fcn_facades.py --facades PATH --out fcn_facades --vgg16 FILE.npz --units 512

PATH is the folder of pix2pix's facades, with `train/` and `test/`; each file has a photo and its
labels side by side. The labels' colours become five classes. All networks are trained by
`fcn8s-facades`, with the same data and number of updates:

- FCN-32s, -16s and -8s at once on a VGG16 with the weights of `--vgg16`: a tag, `hf://user/repo`, a
  directory, or an archive of torchvision's tensors, which may lack `fc6` and `fc7`. They are new
  then, and `--units` may be less than 4096.
- FCN-8s on the same VGG16 from random weights.
- FCN-32s, -16s and -8s on a ResNet-18 from random weights.

Printed for each: the paper's metrics, and the boundary F-score within a number of pixels, which
rises with a smaller stride; means and ranges over the seeds. Runs are saved and resumed.
"""

import argparse
import json
import statistics
from pathlib import Path

import numpy as np
import runs

# Networks and starts by the names of their runs, with their titles. A ResNet, whose norm keeps its
# maps in one range, takes a learning rate ten times as high.
ARMS = {
    "FCN32s-vgg16": "FCN-32s, trained VGG16",
    "FCN16s-vgg16": "FCN-16s, trained VGG16",
    "FCN8s-vgg16": "FCN-8s, trained VGG16",
    "FCN8s-random": "FCN-8s, random VGG16",
    "FCN32s-resnet18": "FCN-32s, random ResNet-18",
    "FCN16s-resnet18": "FCN-16s, random ResNet-18",
    "FCN8s-resnet18": "FCN-8s, random ResNet-18",
}
METRICS = ("mean_iu", "pixel_accuracy", "mean_accuracy", "boundary_f_score")
# Colours of the labels by class: five classes, few enough for 400 pictures.
CLASSES = {
    "surroundings": ["#0000de"],
    "wall": ["#0030ff", "#20ffe0", "#70ff90", "#ffa000", "#ff5000", "#ff0000"],
    "window": ["#0080ff", "#fff000"],
    "balcony": ["#c0ff40"],
    "ground floor": ["#00d0ff", "#b00000"],
}


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
            photo, mask = (out / split / kind / f"{file.stem}.png" for kind in ("images", "masks"))
            if photo.is_file() and mask.is_file():
                continue
            pixels = np.asarray(Image.open(file).convert("RGB"))
            half = pixels.shape[1] // 2
            # The files are JPEG, so colours are only close to those of the labels.
            away = np.square(pixels[:, half:, None].astype(int) - palette).sum(axis=-1)
            Image.fromarray(pixels[:, :half]).save(photo)
            Image.fromarray(numbers[away.argmin(axis=-1)]).save(mask)
    return out


def source_of(masks: Path) -> str:
    """The data source of the masks, with the names of the classes."""
    classes = ",".join(f"{name.replace(' ', '%20')}:{n}" for n, name in enumerate(CLASSES))
    return f"masks:{masks}?classes={classes}"


def backbone_weights(given: str, out: Path) -> str:
    """What the config takes: the weights as given, or a `.keras` file made of an archive."""
    if not given.endswith(".npz"):
        return given
    from keras_arch import convert

    file = out / "vgg16.keras"
    if not file.is_file():
        with np.load(given) as archive:
            tensors = {name: archive[name].astype("float32") for name in archive.files}
        top = "classifier.6.weight" in tensors
        convert.from_torch("VGG16", tensors, include_top=top).save(file)
    return str(file)


def train(arm: str, seed: int, source: Path, weights: str, options: argparse.Namespace) -> dict:
    """Metrics of one run."""
    network, start = arm.split("-")
    overrides = [
        f"data.source=masks:{source}",
        f"model.name={network}",
        f"recipe.epochs={options.epochs}",
        f"recipe.precision={options.precision}",
        f"recipe.seed={seed}",
        f"samples.every={options.epochs}",
    ]
    if start == "resnet18":
        arguments = {"input_shape": [128, 128, 3], "classes": len(CLASSES)}
        arguments |= {"backbone": "ResNet18", "deconvolutions": "learned"}
        overrides += [
            f"model.arguments={json.dumps(arguments)}",
            "recipe.optimizer.learning_rate.peak=0.001",
        ]
    else:
        overrides.append(f"model.arguments.units={options.units}")
        if start == "vgg16":
            overrides.append(f"model.arguments.backbone_weights={weights}")
    return runs.metrics_of("fcn8s-facades", folder(arm, seed, options), overrides)


def folder(arm: str, seed: int, options: argparse.Namespace) -> Path:
    """The folder of a run, one for each of the settings."""
    settings = f"{options.epochs}epochs_{options.units}units_{options.precision}"
    return options.out / settings / f"{arm}-{seed}"


def picture(source: Path, options: argparse.Namespace) -> Path:
    """Picture of the photo, the predictions and the ground truth of the first test files."""
    from keras_arch import data, hub, visualization
    from keras_arch.tasks.segmentation_predictions import predict_probabilities

    chosen = data.load(source_of(source), "test")
    pairs = [
        pair for n, pair in enumerate(chosen.as_numpy_iterator()) if n in set(options.examples)
    ]
    columns = {"photo": np.stack([image for image, _ in pairs])}
    for arm in options.arms:
        opened = hub.load_with_card(folder(arm, options.seeds[0], options) / "model")
        colors = opened.card.colors
        found = [
            predict_probabilities(opened.model, image, opened.card.preprocessing, "whole")
            for image, _ in pairs
        ]
        columns[ARMS[arm]] = np.stack(
            [
                visualization.overlay(image, each.argmax(axis=-1).astype(np.uint8), colors)
                for (image, _), each in zip(pairs, found, strict=True)
            ]
        )
    columns["truth"] = np.stack(
        [visualization.overlay(image, mask, colors) for image, mask in pairs]
    )
    return visualization.side_by_side(columns, options.out / "fcn_facades.png")


def main() -> None:
    """Train all networks, and print their metrics."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--facades", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("fcn_facades"))
    parser.add_argument("--only-masks", action="store_true", help="write the masks to --out")
    parser.add_argument("--vgg16", default="imagenet", help="the weights of the VGG16")
    parser.add_argument("--units", type=int, default=4096, help="width of fc6 and fc7")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--examples", type=int, nargs="+", default=[0, 1, 2, 3])
    options = parser.parse_args()
    if options.only_masks:
        print(write_masks(options.facades, options.out))
        return
    source = write_masks(options.facades, options.out / "masks")
    weights = backbone_weights(options.vgg16, options.out)
    found = {
        arm: [train(arm, seed, source, weights, options) for seed in options.seeds]
        for arm in options.arms
    }
    print(f"\n{'network':26}" + "".join(f"{name:>24}" for name in METRICS))
    for arm, each in found.items():
        print(f"{ARMS[arm]:26}" + "".join(f"{_range(each, name):>24}" for name in METRICS))
    print(picture(source, options))


def _range(metrics: list[dict[str, float]], name: str) -> str:
    values = [each[name] for each in metrics]
    return f"{statistics.fmean(values):.3f} ({min(values):.3f}-{max(values):.3f})"


if __name__ == "__main__":
    main()
