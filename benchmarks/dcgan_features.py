"""What a discriminator has learned: its features and a linear SVM (Radford et al. 2015, 5.1).

    python benchmarks/dcgan_features.py runs/dcgan-digits --data digits
    python benchmarks/dcgan_features.py runs/dcgan-cifar10 --data npz:PATH --limit 10000

The protocol of the paper: the maps of all convolutions but the last are max-pooled to 4x4,
flattened and joined, and an L2-regularized linear SVM classifies them. Its C is chosen on a tenth
of the training images of each class. For comparison: the same network from random weights, and the
pixels. The paper has 82.8 % on CIFAR-10 with a wider network that was trained on ImageNet, and no
CIFAR-10 image. A discriminator that was trained on the test images too has seen them, without
their labels: for a fair figure of digits, `keras-arch train dcgan-digits --set data.train=train`.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np

# Power of ten of the largest C that is tried.
LARGEST_C = -2
GRID = 4


def feature_network(discriminator: Any) -> Any:
    """A network from images to the pooled maps of all convolutions but the one of the logit."""
    import keras

    outputs = []
    for index, layer in enumerate(discriminator.layers):
        if not isinstance(layer, keras.layers.Conv2D) or min(layer.output.shape[1:3]) < GRID:
            continue
        # After its norm and activation, which lie before the next convolution.
        last = layer
        for after in discriminator.layers[index + 1 :]:
            if isinstance(after, keras.layers.Conv2D | keras.layers.Flatten | keras.layers.Dense):
                break
            if after.output.shape == layer.output.shape:
                last = after
        side = layer.output.shape[1] // GRID
        pooled = keras.layers.MaxPooling2D(side)(last.output)
        outputs.append(keras.layers.Flatten()(pooled))
    joined = keras.layers.Concatenate()(outputs) if len(outputs) > 1 else outputs[0]
    return keras.Model(discriminator.input, joined)


def arrays(source: str, preprocessing: Any, split: str, limit: int | None) -> tuple[Any, Any]:
    """Prepared images and labels of a split."""
    from keras_arch import data

    part = f"{split}[:{limit}]" if limit else split
    pairs = [(image, label) for image, label in data.load(source, part).as_numpy_iterator()]
    images = np.concatenate(
        [
            np.asarray(preprocessing(np.stack([image for image, _ in pairs[start : start + 500]])))
            for start in range(0, len(pairs), 500)
        ]
    )
    return images, np.array([label for _, label in pairs])


def accuracy(train: tuple[Any, Any], test: tuple[Any, Any], smallest: int) -> tuple[float, float]:
    """Test accuracy of an SVM, and its C, the best one on a tenth of each class.

    The powers of ten from `smallest` to `LARGEST_C` are tried.
    """
    from sklearn.model_selection import train_test_split
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import LinearSVC

    def fitted(c, x, y):
        # The primal problem where there are more examples than features.
        svm = LinearSVC(C=c, dual="auto", max_iter=2000, random_state=0)
        return make_pipeline(StandardScaler(), svm).fit(x, y)

    x, y = train
    # Sets may have their classes in turn, so that every tenth image is of the same class.
    kept, held_out = train_test_split(np.arange(len(x)), test_size=0.1, stratify=y, random_state=0)
    cs = [10.0**power for power in range(smallest, LARGEST_C + 1)]
    scores = {c: fitted(c, x[kept], y[kept]).score(x[held_out], y[held_out]) for c in cs}
    best = max(scores, key=scores.__getitem__)
    return fitted(best, x, y).score(*test), best


def main() -> None:
    """Measure the features of one run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("run", type=Path, help="the run directory of an unconditional GAN")
    parser.add_argument("--data", required=True, help="images with labels, with train and test")
    parser.add_argument("--limit", type=int, help="training images; default: all")
    parser.add_argument("--test-limit", type=int, help="test images; default: all")
    parser.add_argument(
        "--smallest-c", type=int, default=-5, help="power of ten of the smallest C; default: -5"
    )
    options = parser.parse_args()
    import keras

    from keras_arch import hub

    preprocessing = hub.load_with_card(options.run / "model").card.preprocessing
    trained = hub.load(options.run / "model" / "training" / "discriminator")
    keras.utils.set_random_seed(0)
    random = keras.Model.from_config(trained.get_config())
    splits = {
        split: arrays(options.data, preprocessing, split, limit)
        for split, limit in (("train", options.limit), ("test", options.test_limit))
    }
    print(", ".join(f"{len(y)} {split} images" for split, (_, y) in splits.items()))
    for name, network in (
        ("trained discriminator", feature_network(trained)),
        ("random discriminator", feature_network(random)),
        ("pixels", None),
    ):
        found = [
            (
                x.reshape(len(x), -1) if network is None else network.predict(x, 250, verbose=0),
                y,
            )
            for x, y in splits.values()
        ]
        score, c = accuracy(*found, options.smallest_c)
        print(f"{name:22} {found[0][0].shape[1]:6} features  {score:.2%}  (C = {c:g})", flush=True)


if __name__ == "__main__":
    main()
