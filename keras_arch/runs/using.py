"""What can be done with a trained model, wherever it is: in a run, a folder or on the Hub."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_arch import config, data, export, files, hub, pictures, trainers
from keras_arch.errors import ArgumentError, DataError
from keras_arch.runs.building import EVALUATION_BATCH
from keras_arch.runs.classification import classification_figures
from keras_arch.runs.directory import RunDirectory
from keras_arch.runs.opening import model_address, open_model


@dataclasses.dataclass(frozen=True)
class Prediction:
    """What a classifier says of one image.

    Attributes:
        path: The image file.
        labels: The most probable classes, best first.
        probabilities: Their probabilities.
    """

    path: Path
    labels: tuple[str, ...]
    probabilities: tuple[float, ...]


def evaluate(
    ref: str | Path,
    *,
    source: str | None = None,
    split: str | None = None,
    data_dir: str | None = None,
    out: str | Path | None = None,
    token: str | None = None,
) -> dict[str, float]:
    """Measure a model on a data set.

    Args:
        ref: As in `model_address`.
        source: As in `data.load`. Default: what the model was trained on.
        split: Default: the recipe's test split (for a generator, its training split).
        data_dir: As in `data.load`.
        out: Folder for `metrics.json` and `confusion_matrix.png`, or `None`.
        token: For a private repository.

    Returns:
        For a classifier accuracy, error and loss; for a generator the means of its game against
        the discriminator that was saved with it.

    Raises:
        DataError: If the data is missing or does not fit the model.
        ArgumentError: If the model says not what it was trained on, and `source` neither.
    """
    opened = _with_card(hub.open(model_address(ref), token=token, training=True), ref)
    card = opened.card
    trained_on = _recipe_data(ref, card)
    classifier = card.task == "image-classification"
    source = source or trained_on.get("source")
    split = split or trained_on.get("test" if classifier else "train")
    data_dir = data_dir or trained_on.get("data_dir")
    if source is None:
        raise ArgumentError(f"{ref} does not say what it was trained on; give a data source")
    images = data.load(source, split or "test", data_dir=data_dir)
    batches = data.evaluation(images, card.preprocessing, EVALUATION_BATCH)
    if classifier:
        classes = data.describe(source, data_dir=data_dir).classes
        outputs = opened.model.output_shape[-1]
        if classes is None or len(classes) != outputs:
            raise DataError(
                f"{source} has {len(classes) if classes else 'no'} classes, the model {outputs}"
            )
        figures, matrix = classification_figures(opened.model, batches, from_logits=False)
        if out is not None:
            labels = card.labels or classes
            pictures.confusion_matrix(matrix, labels, Path(out) / "confusion_matrix.png")
    else:
        figures = _evaluate_game(opened, batches)
    if out is not None:
        files.atomic_write(Path(out) / "metrics.json", json.dumps(figures, indent=1) + "\n")
    return figures


def generate(
    ref: str | Path,
    count: int = 64,
    seed: int | None = None,
    out: str | Path = "samples.png",
    *,
    token: str | None = None,
) -> Path:
    """Draw images from a generator into one picture.

    Args:
        ref: As in `model_address`.
        count: How many images.
        seed: The same seed gives the same images.
        out: The PNG file.
        token: For a private repository.

    Returns:
        The file.

    Raises:
        ArgumentError: If the model is no generator, or has no card.
    """
    opened = _with_card(open_model(ref, token=token), ref)
    if opened.card.latent is None:
        raise ArgumentError(f"{ref} is {opened.card.architecture}, which generates no images")
    distribution = opened.card.latent["distribution"]
    images = trainers.sample(opened.model, count, seed, distribution)
    sheet = pictures.grid(opened.card.preprocessing.to_pixels(images), enlarge=True)
    return pictures.save_png(sheet, out)


def predict(
    ref: str | Path,
    images: Sequence[str | Path],
    top: int = 5,
    *,
    token: str | None = None,
) -> list[Prediction]:
    """Classify image files.

    Args:
        ref: As in `model_address`.
        images: JPEG, PNG or other files that Pillow reads.
        top: How many classes to tell.
        token: For a private repository.

    Returns:
        One `Prediction` an image.

    Raises:
        ArgumentError: If the model is no classifier.
        DataError: If a file is missing or is no image.
    """
    opened = _with_card(open_model(ref, token=token), ref)
    card = opened.card
    if card.task != "image-classification":
        raise ArgumentError(f"{ref} is {card.architecture}, which does not classify images")
    labels = card.labels or [str(i) for i in range(opened.model.output_shape[-1])]
    predictions = []
    for path in map(Path, images):
        pixels = card.preprocessing(_read_image(path)[None])
        probabilities = keras.ops.convert_to_numpy(opened.model(pixels, training=False))[0]
        best = np.argsort(-probabilities, kind="stable")[:top]
        predictions.append(
            Prediction(
                path,
                tuple(labels[i] for i in best),
                tuple(float(probabilities[i]) for i in best),
            )
        )
    return predictions


def export_model(
    ref: str | Path,
    directory: str | Path,
    *,
    version: int | None = None,
    token: str | None = None,
) -> Path:
    """Write a model for TF Serving; see `export.saved_model`.

    Args:
        ref: As in `model_address`.
        directory: Where the model's own folder goes.
        version: Default: the next free one.
        token: For a private repository.

    Returns:
        `directory/NAME/VERSION`.
    """
    opened = _with_card(open_model(ref, token=token), ref)
    card = opened.card
    return export.saved_model(
        opened.model,
        directory,
        name=card.name,
        preprocessing=card.preprocessing,
        labels=card.labels,
        latent=card.latent,
        version=version,
    )


def push(
    ref: str | Path,
    repository: str,
    *,
    private: bool = False,
    revision: str | None = None,
    token: str | None = None,
) -> str:
    """Publish a run's model; see `hub.push`.

    Args:
        ref: A run directory, or a model directory.
        repository: `"user/repo"`, or `file://FOLDER/user/repo` for a hub in a folder.
        private: Whether a new repository is private.
        revision: The branch. Default `main`.
        token: Default: the one that `hf auth login` or HF_TOKEN gave.

    Returns:
        Where it is now.
    """
    where = model_address(ref)
    if not Path(where).is_dir():
        raise ArgumentError(f"{ref} is not on this machine; push a run or a model directory")
    return hub.push(where, repository, private=private, revision=revision, token=token)


def _with_card(opened: "hub.Opened", ref: str | Path) -> "hub.Opened":
    """A model that says what its inputs and outputs mean, or an error."""
    if opened.card is None:
        raise ArgumentError(
            f"{ref} was not saved by keras_arch, so nothing says how its pixels are prepared or "
            "what its outputs mean; open it in Python with hub.load"
        )
    return opened


def _recipe_data(ref: str | Path, card: "hub.Card") -> dict[str, Any]:
    """What the model was trained on: the run's own config knows the paths, a card does not."""
    for run in (RunDirectory(ref), RunDirectory(Path("runs") / str(ref))):
        if "://" not in str(ref) and run.config.exists() and run.model.exists():
            return config.load(run.config).data.model_dump()
    return card.recipe.get("data", {})


def _evaluate_game(opened: "hub.Opened", batches: Any) -> dict[str, float]:
    """The losses of a generator against the discriminator beside it."""
    folder = opened.training / "discriminator" if opened.training else None
    if folder is None or not folder.exists():
        raise ArgumentError(
            f"{opened.card.name} was saved without its discriminator; a generator alone has no "
            "figures (look at it with: keras-arch generate)"
        )
    gan = trainers.GAN(opened.model, hub.load(folder), latent=opened.card.latent["distribution"])
    gan.compile(loss=opened.card.recipe.get("recipe", {}).get("loss", "non_saturating"))
    figures = gan.evaluate(batches, return_dict=True, verbose=0)
    return {name: float(value) for name, value in figures.items()}


def _read_image(path: Path) -> np.ndarray:
    """An image file as `uint8` `(height, width, 1 or 3)`."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            grey = image.mode in ("1", "L", "I", "I;16")
            pixels = np.asarray(image.convert("L" if grey else "RGB"))
    except FileNotFoundError:
        raise DataError(f"image {path} does not exist") from None
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        reason = str(error).partition("\n")[0]
        raise DataError(f"image {path} cannot be read: {reason}") from None
    return pixels[..., None] if grey else pixels
