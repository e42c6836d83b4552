"""Commands that use a network: `predict`, `generate`, `translate`."""

from pathlib import Path
from typing import Annotated

import typer

from keras_arch.cli._lazy import api
from keras_arch.cli._options import Images, Ref
from keras_arch.cli._output import table
from keras_arch.errors import ArgumentError


def predict(
    ref: Ref,
    images: Images,
    top: Annotated[
        int | None, typer.Option(min=1, help="Number of classes to list.", show_default="5")
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Draw Grad-CAM of each image: NAME_explained.png.")
    ] = False,
    label: Annotated[
        str | None,
        typer.Option(help="Class to explain, by number or name.", show_default="the predicted"),
    ] = None,
    overlay: Annotated[
        bool, typer.Option("--overlay", help="Draw the mask over the image: NAME_overlay.png.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Folder of the pictures.", show_default="the image's folder"
        ),
    ] = None,
) -> None:
    """Predict image files: classes of a classifier, masks (NAME_mask.png) of a segmenter."""
    if not explain and label is not None:
        raise ArgumentError("--label needs --explain; add it")
    # Only given options: each task accepts its own and reports the others.
    given = {"top": top, "explain": explain, "label": label, "overlay": overlay, "out": out}
    options = {name: value for name, value in given.items() if value not in (None, False)}
    predictions = api().predict(ref, images, **options)
    if not predictions:
        return
    table(predictions[0].columns, [row for found in predictions for row in found.rows()])
    for found in predictions:
        for kind, path in found.files.items():
            print(f"{kind}: {path}")


def generate(
    ref: Ref,
    count: Annotated[int, typer.Option(help="Number of images.")] = 64,
    seed: Annotated[int | None, typer.Option(help="The same seed gives the same images.")] = None,
    labels: Annotated[
        list[str] | None,
        typer.Option("--label", help="Class to generate, by number or name; repeatable."),
    ] = None,
    out: Annotated[Path, typer.Option(metavar="FILE.png")] = Path("samples.png"),
) -> None:
    """Generate images into one PNG file."""
    print(api().generate(ref, count, seed, out, labels=labels))


def translate(
    ref: Ref,
    images: Images,
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder of the results, NAME.png each.")
    ] = Path("translated"),
) -> None:
    """Translate image files with a pix2pix or CycleGAN generator."""
    for path in api().translate(ref, images, out):
        print(path)
