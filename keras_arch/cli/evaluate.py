"""Commands that measure: `evaluate`, `evaluate-generator`, `diagnose`."""

from pathlib import Path
from typing import Annotated

import typer

from keras_arch.cli._lazy import api
from keras_arch.cli._options import TRAINED_ON, DataDir, Ref, Source, Split
from keras_arch.cli._output import metrics_table


def evaluate(
    ref: Ref,
    source: Source = None,
    split: Split = None,
    data_dir: DataDir = None,
    class_map: Annotated[
        str | None,
        typer.Option(
            metavar="NAME=LABEL,...", help="Labels of the model for classes with other names."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of metrics.json and figures.")
    ] = None,
) -> None:
    """Evaluate a model on a data set."""
    metrics_table(
        api().evaluate(
            ref, source=source, split=split, data_dir=data_dir, class_map=class_map, out=out
        )
    )


def evaluate_generator(
    ref: Ref,
    network: Annotated[
        str, typer.Option(help="Feature network: inception, or a classifier (REF).")
    ] = "inception",
    metrics: Annotated[
        str,
        typer.Option(
            metavar="NAMES",
            help="Comma-separated: fid, kid, inception_score, precision, recall, density, "
            "coverage, parzen.",
        ),
    ] = "fid,kid",
    images: Annotated[int, typer.Option(min=2, help="Number of generated images.")] = 10_000,
    source: Source = None,
    split: Split = None,
    data_dir: DataDir = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of generator_evaluation.json.")
    ] = None,
) -> None:
    """Compare a generator's images with real ones: FID, KID, precision, recall and others."""
    evaluation = api().evaluate_generator(
        ref,
        network,
        metrics=[name.strip() for name in metrics.split(",")],
        images=images,
        source=source,
        split=split,
        data_dir=data_dir,
        out=out,
    )
    metrics_table(evaluation.values)
    print(f"measured with: {evaluation.description}")


def diagnose(
    ref: Ref,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the figures.")] = Path(
        "diagnosis"
    ),
    network: Annotated[
        str | None, typer.Option(help="A classifier (REF) that counts the generated classes.")
    ] = None,
    source: Annotated[
        str | None, typer.Option(help="Training images.", show_default=TRAINED_ON)
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Draw a generator's latent interpolation, latent arithmetic, nearest neighbors and modes.

    The figures show the common faults of GANs: jumps between images, memorised training images
    and missing classes (mode collapse).
    """
    for path in api().diagnose(ref, out, network=network, source=source, data_dir=data_dir):
        print(path)
