"""Commands that use what was trained."""

from pathlib import Path
from typing import Annotated, Any

import typer

from keras_arch.cli._lazy import api
from keras_arch.cli._options import DataDir, Images, Ref, Source, Split
from keras_arch.cli._output import figures_table, table
from keras_arch.errors import ArgumentError


def evaluate(
    ref: Ref,
    source: Source = None,
    split: Split = None,
    data_dir: DataDir = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write metrics.json and pictures here.")
    ] = None,
) -> None:
    """Measure a model on a data set."""
    figures_table(api().evaluate(ref, source=source, split=split, data_dir=data_dir, out=out))


def generate(
    ref: Ref,
    count: Annotated[int, typer.Option(help="How many images.")] = 64,
    seed: Annotated[int | None, typer.Option(help="The same seed, the same images.")] = None,
    labels: Annotated[
        list[str] | None,
        typer.Option("--label", help="A class to draw, by number or name; may be repeated."),
    ] = None,
    out: Annotated[Path, typer.Option(metavar="FILE.png")] = Path("samples.png"),
) -> None:
    """Draw images from a generator into one picture."""
    print(api().generate(ref, count, seed, out, labels=labels))


def judge(
    ref: Ref,
    network: Annotated[
        str, typer.Option(help="A classifier (a REF as elsewhere), or inception.")
    ] = "inception",
    figures: Annotated[
        str,
        typer.Option(
            metavar="NAMES",
            help="Out of fid, kid, inception_score, precision, recall, density, coverage, parzen.",
        ),
    ] = "fid,kid",
    images: Annotated[int, typer.Option(min=2, help="Generated images.")] = 10_000,
    source: Source = None,
    split: Split = None,
    data_dir: DataDir = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write figures.json here.")
    ] = None,
) -> None:
    """Measure a generator's images against real ones."""
    found = api().judge(
        ref,
        network,
        figures=[name.strip() for name in figures.split(",")],
        images=images,
        source=source,
        split=split,
        data_dir=data_dir,
        out=out,
    )
    figures_table(found.values)
    print(f"taken with: {found.description}")


def diagnose(
    ref: Ref,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the pictures.")] = Path(
        "diagnosis"
    ),
    network: Annotated[
        str | None, typer.Option(help="A classifier that counts the classes there are.")
    ] = None,
    source: Annotated[
        str | None, typer.Option(help="Training images.", show_default="what it was trained on")
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Draw what tells a generator's illnesses: walks, sums, neighbours, modes."""
    for path in api().diagnose(ref, out, network=network, source=source, data_dir=data_dir):
        print(path)


def translate(
    ref: Ref,
    images: Images,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Gets NAME.png for each.")] = Path(
        "translated"
    ),
) -> None:
    """Translate image files with a pix2pix or CycleGAN."""
    for path in api().translate(ref, images, out):
        print(path)


def predict(
    ref: Ref,
    images: Images,
    top: Annotated[int, typer.Option(min=1, help="How many classes to tell.")] = 5,
    explain: Annotated[
        bool, typer.Option("--explain", help="Draw where it looks (Grad-CAM): NAME_explained.png.")
    ] = False,
    label: Annotated[
        str | None,
        typer.Option(help="Explain this class, by number or name.", show_default="the predicted"),
    ] = None,
    overlay: Annotated[
        bool, typer.Option("--overlay", help="Draw classes of pixels: NAME_overlay.png.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Folder of the pictures.", show_default="where each image is"
        ),
    ] = None,
) -> None:
    """Classify image files, or their pixels (NAME_mask.png)."""
    if not explain and label is not None:
        raise ArgumentError("--label is for --explain; add it")
    predictions = api().predict(
        ref, images, top, explain=explain, label=label, overlay=overlay, out=out
    )
    if predictions and hasattr(predictions[0], "mask"):
        _segmented(predictions)
        return
    rows = [
        (str(prediction.path), label, f"{probability:.4f}")
        for prediction in predictions
        for label, probability in zip(prediction.labels, prediction.probabilities, strict=True)
    ]
    table(("image", "label", "probability"), rows)
    for prediction in predictions:
        if prediction.explanation is not None:
            print(f"explained: {prediction.explanation}")


def _segmented(results: list[Any]) -> None:
    """The share of each class in each image, and what was written."""
    rows = [
        (str(result.path), label, f"{share:.4f}")
        for result in results
        for label, share in result.shares.items()
    ]
    table(("image", "label", "share"), rows)
    for result in results:
        print(f"mask: {result.mask}")
        if result.overlay is not None:
            print(f"overlay: {result.overlay}")
