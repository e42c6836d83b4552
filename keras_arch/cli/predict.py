"""Commands that use a network: `predict`, `generate`, `translate`."""

from pathlib import Path
from typing import Annotated

import typer

from keras_arch.cli import _checks
from keras_arch.cli._lazy import api
from keras_arch.cli._options import Images, Ref
from keras_arch.cli._output import table
from keras_arch.cli._predictions import write_csv, write_json
from keras_arch.errors import ArgumentError
from keras_arch.files import check_folder


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
    probabilities: Annotated[
        bool,
        typer.Option(
            "--probabilities",
            help="Write the probabilities of all pixels of a mask: NAME_probabilities.npy.",
        ),
    ] = False,
    tile: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            help="Pixels of the tiles of a mask: 512 or HEIGHTxWIDTH.",
            show_default="as in the training",
        ),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(min=1, help="Images or tiles in a batch.", show_default="32 images, 1 tile"),
    ] = None,
    csv: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a table instead of printing it.")
    ] = None,
    json: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a list of the images likewise.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Folder of the pictures.", show_default="the image's folder"
        ),
    ] = None,
) -> None:
    """Predict image files: classes of a classifier, masks (NAME_mask.png) of a segmenter.

    Pictures that it wrote itself are left out of folders and patterns.
    """
    if not explain and label is not None:
        raise ArgumentError("--label needs --explain; add it")
    # Only given options: each task accepts its own and reports the others.
    given = {
        "top": top,
        "explain": explain,
        "label": label,
        "overlay": overlay,
        "probabilities": probabilities,
        "tile": _size(tile),
        "batch_size": batch_size,
    }
    options = {name: value for name, value in given.items() if value not in (None, False)}
    _checks.check_prediction(ref, images, out, options, [csv, json])
    predictions = api().predict(ref, images, out=out, **options)
    if csv is not None:
        print(f"csv: {write_csv(predictions, csv)}")
    if json is not None:
        print(f"json: {write_json(predictions, json)}")
    if csv is None and json is None:
        table(predictions[0].columns, [row for found in predictions for row in found.rows()])
    for found in predictions:
        for kind, path in found.files.items():
            print(f"{kind}: {path}")


def generate(
    ref: Ref,
    count: Annotated[int, typer.Option(min=1, help="Number of images.")] = 64,
    seed: Annotated[int | None, typer.Option(help="The same seed gives the same images.")] = None,
    labels: Annotated[
        list[str] | None,
        typer.Option("--label", help="Class to generate, by number or name; repeatable."),
    ] = None,
    out: Annotated[Path, typer.Option(metavar="FILE.png")] = Path("samples.png"),
) -> None:
    """Generate images into one PNG file; a single one without a frame, at its own size."""
    _checks.check_generator(ref, labels)
    _checks.check_png(out, "--out")
    print(api().generate(ref, count, seed, out, labels=labels))


def translate(
    ref: Ref,
    images: Images,
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder of the results, NAME.png each.")
    ] = Path("translated"),
    batch_size: Annotated[
        int, typer.Option(min=1, help="Images in one forward; 1 as in the papers.")
    ] = 1,
) -> None:
    """Translate image files with a pix2pix or CycleGAN generator."""
    _checks.check_model(ref, "translate")
    _checks.check_images(images)
    check_folder(out)
    for path in api().translate(ref, images, out, batch_size=batch_size):
        print(path)


def _size(text: str | None) -> int | tuple[int, int] | None:
    """`512` or `512x384` as numbers."""
    if text is None:
        return None
    sides = text.split("x")
    if len(sides) > 2 or not all(side.isdecimal() and int(side) for side in sides):
        raise ArgumentError(f"--tile takes 512 or HEIGHTxWIDTH such as 512x384, got {text!r}")
    return int(text) if len(sides) == 1 else (int(sides[0]), int(sides[1]))
