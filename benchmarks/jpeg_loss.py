"""What a JPEG costs: accuracy on small images that are compressed once more.

    python benchmarks/jpeg_loss.py --source npz:PATH --out jpeg_loss

The published accuracies of CIFAR-10 are those of lossless images. Where only compressed ones are at
hand (quality 75, colours at half the resolution), the cost of the compression can't be measured by
leaving it out, but by doing it again: each image is shifted by half a block, so that the loss is a
new one, compressed, and shifted back. `resnet20-cifar10` is trained on both sets of images by one
recipe, and each network is tested on images of its own kind. Runs are saved and resumed.
"""

import argparse
import io
from pathlib import Path

import numpy as np
import runs

SHIFT = 4


def compressed(image: np.ndarray, quality: int) -> np.ndarray:
    """The image after one more JPEG, whose blocks lie half a block beside the usual ones."""
    from PIL import Image

    # 16 pixels more in all, which is the side of a block of colours.
    sides = (SHIFT, 16 - SHIFT)
    around = np.pad(image, (sides, sides, (0, 0)), mode="edge")
    file = io.BytesIO()
    Image.fromarray(around).save(file, "JPEG", quality=quality, subsampling="4:2:0")
    height, width = image.shape[:2]
    return np.asarray(Image.open(file))[SHIFT : SHIFT + height, SHIFT : SHIFT + width]


def write_twice_compressed(source: str, quality: int, file: Path) -> Path:
    """Write all images of a source, compressed once more, as `x_train`, `y_train`, ..."""
    from keras_arch import data

    if not file.is_file():
        arrays = {}
        for split in ("train", "test"):
            pairs = list(data.load(source, split).as_numpy_iterator())
            images = np.stack([compressed(image, quality) for image, _ in pairs])
            arrays |= {f"x_{split}": images, f"y_{split}": np.array([y for _, y in pairs])}
        np.savez_compressed(file, **arrays)
    return file


def main() -> None:
    """Train on both sets of images, and print the accuracies."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--source", required=True, help="compressed images, npz:PATH")
    parser.add_argument("--out", type=Path, default=Path("jpeg_loss"))
    parser.add_argument("--quality", type=int, default=75)
    parser.add_argument("--epochs", type=int, default=10)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    again = write_twice_compressed(
        options.source, options.quality, options.out / f"twice_{options.quality}.npz"
    )
    for name, source in (("once", options.source), ("twice", f"npz:{again}")):
        # One for each of the settings, so that no run is taken for another one's.
        settings = f"quality{options.quality}_{options.epochs}epochs"
        directory = options.out / settings / name
        overrides = [f"data.source={source}", f"recipe.epochs={options.epochs}"]
        found = runs.metrics_of("resnet20-cifar10", directory, overrides)
        print(f"compressed {name}: test accuracy {found['accuracy']:.2%}", flush=True)


if __name__ == "__main__":
    main()
