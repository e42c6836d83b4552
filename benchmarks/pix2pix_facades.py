"""The experiments of pix2pix on facades: objectives, skip connections, and sizes of the patch.

    python benchmarks/pix2pix_facades.py objectives --facades PATH --out pix2pix
    python benchmarks/pix2pix_facades.py patches --facades PATH --out pix2pix
    python benchmarks/pix2pix_facades.py networks --facades PATH --out pix2pix --size 256
    python benchmarks/pix2pix_facades.py runs --facades PATH --runs runs/pix2pix-facades
    ... --segmenter runs/fcn8s-facades        the FCN score too

Tables 1 to 3 of Isola et al. 2017. PATH has `train/` and `test/`, with photo and labels side by
side. In each table all networks have the same data, seed and number of updates, by the
`pix2pix-facades` config; 128 pixels are for a CPU, where the largest patch is 142 and not 286.

- `objectives`: L1, GAN, cGAN, L1+GAN and L1+cGAN.
- `patches`: L1+cGAN with discriminators that see 1, 16, 34, 70 or more pixels.
- `networks`: U-Net and encoder-decoder, with L1 and with L1+cGAN. They have eight halvings.
- `runs`: nothing is trained; runs that are finished are measured in the same way.

Printed for each: the L1 error on the test pairs, in [-1, 1]; the mean gradient magnitude of its
pictures and of the photos, which is small for blurred pictures; and the FCN score: how well a
segmenter that was trained on photos finds the labels in the pictures that were made from them, and
in the photos. Runs are saved and resumed, so the benchmark can be interrupted.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import runs

OBJECTIVES = {
    "l1": "L1",
    "gan": "GAN",
    "cgan": "cGAN",
    "l1+gan": "L1 + GAN",
    "l1+cgan": "L1 + cGAN",
}
FIELDS = {128: (1, 16, 34, 70, 142), 256: (1, 16, 70, 286)}
PHOTOS = "photos"
SCORES = ("pixel_accuracy", "mean_accuracy", "mean_iu")


def arms(table: str, size: int) -> dict[str, tuple[str, list[str]]]:
    """The runs that a table trains by their folders: titles and overrides of the config."""
    if table == "objectives":
        return {
            key.replace("+", "_"): (title, [f"recipe.objective={key}"])
            for key, title in OBJECTIVES.items()
        }
    if table == "patches":
        field = "discriminator.arguments.receptive_field"
        # The usual one is a run of the objectives too.
        return {
            "l1_cgan" if side == 70 else f"patch_{side}": (f"{side}x{side}", [f"{field}={side}"])
            for side in FIELDS[size]
        }
    return {
        f"{network}_{key.replace('+', '_')}" if network else key.replace("+", "_"): (
            f"{title}, {OBJECTIVES[key]}",
            [
                f"recipe.objective={key}",
                f"generator.arguments.variant={network or f'unet_{size}'}",
            ],
        )
        for network, title in (("encoder_decoder", "encoder-decoder"), ("", "U-Net"))
        for key in ("l1", "l1+cgan")
    }


def train(directory: Path, overrides: list[str], options: argparse.Namespace) -> dict[str, float]:
    """Metrics of one run, which is trained where it is not finished."""
    small, shape = options.size == 128, [options.size, options.size, 3]
    common = [
        f"data.source={source(options)}",
        f"recipe.epochs={options.epochs}",
        f"recipe.seed={options.seed}",
        f"preprocessing.size={shape[:2]}",
        f"data.augment=['jitter:{15 if small else 30}', flip]",
        f"generator.arguments.variant=unet_{options.size}",
        f"generator.arguments.image_shape={shape}",
        f"generator.arguments.filters={options.filters}",
        f"discriminator.arguments.input_shape={shape}",
        f"discriminator.arguments.filters={options.filters}",
        f"samples.every={options.epochs}",
    ]
    return runs.metrics_of("pix2pix-facades", directory, common + overrides)


def folder(name: str, options: argparse.Namespace) -> Path:
    """The folder of a run, one for each of the settings."""
    settings = f"{options.size}px_{options.filters}filters_{options.epochs}epochs"
    return options.out / settings / f"{name}-{options.seed}"


def source(options: argparse.Namespace) -> str:
    """The pairs, from labels to photos."""
    return f"pairs:{options.facades}?direction=BtoA"


def pictures(directory: Path, options: argparse.Namespace) -> tuple[Any, Any, Any]:
    """Labels, pictures made of them, and photos of the test split, as pixels."""
    from keras_arch import data, hub, trainers

    opened = hub.load_with_card(directory / "model")
    preprocessing = opened.card.preprocessing
    found: list[tuple[Any, Any, Any]] = []
    for inputs, targets in data.eval_batches(
        data.load(source(options), "test"), preprocessing, batch_size=1
    ):
        # One at a time: the norm of the network is that of the batch.
        made = trainers.translate(opened.model, np.asarray(inputs))
        found.append(tuple(preprocessing.to_pixels(x) for x in (inputs, made, targets)))
    labels, images, photos = (np.concatenate(part) for part in zip(*found, strict=True))
    return labels, images, photos


def fcn_score(images: Any, opened: Any, options: argparse.Namespace) -> dict[str, float]:
    """Scores of the segmenter on test pictures: pixel accuracy, mean accuracy and mean IU."""
    import fcn_facades

    from keras_arch import data, metrics
    from keras_arch.tasks.segmentation_predictions import predict_probabilities

    masks = fcn_facades.write_masks(options.facades, options.out / "masks")
    truths = data.load(fcn_facades.source_of(masks), "test").as_numpy_iterator()
    count = len(fcn_facades.CLASSES)
    confusion = np.zeros((count, count), np.int64)
    for image, (_, truth) in zip(images, truths, strict=True):
        found = predict_probabilities(opened.model, image, opened.card.preprocessing, "whole")
        classes = found.argmax(axis=-1)
        # Truths have 256 pixels; the nearest of them for each pixel of the picture.
        step = truth.shape[0] // classes.shape[0]
        confusion += metrics.pixel_confusion(
            truth[step // 2 :: step, step // 2 :: step], classes, count
        )
    return {
        name: value for name, value in metrics.pixel_scores(confusion).items() if name in SCORES
    }


def main() -> None:
    """Train all networks of a table, and print their metrics."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("table", choices=("objectives", "patches", "networks", "runs"))
    parser.add_argument("--facades", type=Path, required=True)
    parser.add_argument("--runs", nargs="+", type=Path, help="finished runs, for the table runs")
    parser.add_argument("--out", type=Path, default=Path("pix2pix"))
    parser.add_argument("--size", type=int, choices=(128, 256), default=128)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--filters", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--arms", nargs="+", help="only these runs of the table, by their folders")
    parser.add_argument("--segmenter", help="a segmenter of fcn8s-facades, for the FCN score")
    parser.add_argument("--examples", type=int, default=6, help="test pairs in the picture")
    options = parser.parse_args()
    if options.table == "networks" and options.size != 256:
        parser.error("networks needs --size 256: the encoder-decoder has eight halvings")
    if (options.table == "runs") != bool(options.runs):
        parser.error("the table runs takes --runs, the others do not")
    for run in options.runs or ():
        if not (run / "metrics.json").is_file():
            parser.error(f"{run} is no finished run: it has no metrics.json")
    if len({run.name for run in options.runs or ()}) < len(options.runs or ()):
        parser.error("--runs need folders of different names, which are their titles")
    chosen = {} if options.runs else arms(options.table, options.size)
    if unknown := [name for name in options.arms or [] if name not in chosen]:
        parser.error(f"{options.table} has no {unknown[0]!r}: it has {', '.join(chosen)}")
    from keras_arch import hub, visualization

    # A mistake in it shows before the trainings.
    segmenter = hub.load_with_card(options.segmenter) if options.segmenter else None
    planned = [(folder(name, options), *chosen[name]) for name in options.arms or chosen]
    planned += [(run, run.name, []) for run in options.runs or ()]
    rows, columns = {}, {}
    for directory, title, overrides in planned:
        rows[title] = train(directory, overrides, options)
        labels, images, photos = pictures(directory, options)
        columns = columns or {"labels": labels}
        columns[title] = images
    columns[PHOTOS] = photos
    last = rows[title]
    rows[PHOTOS] = {"l1": 0.0, "sharpness": last["sharpness_of_targets"]}
    names = ["l1", "sharpness"]
    if segmenter is not None:
        names += SCORES
        for title, row in rows.items():
            row |= fcn_score(columns[title], segmenter, options)
    print(f"\n{options.table:28}" + "".join(f"{name:>16}" for name in names))
    for title, row in rows.items():
        print(f"{title:28}" + "".join(f"{row[name]:16.4f}" for name in names))
    shown = {title: images[: options.examples] for title, images in columns.items()}
    print(visualization.side_by_side(shown, options.out / f"{options.table}.png"))


if __name__ == "__main__":
    main()
