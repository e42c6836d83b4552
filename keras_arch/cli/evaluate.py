"""Commands that measure: `evaluate`, `compare`, `evaluate-generator`, `diagnose`."""

from pathlib import Path
from typing import Annotated

import typer

from keras_arch.cli import _checks, _completion
from keras_arch.cli._lazy import api
from keras_arch.cli._options import DATA, REF, SOURCE, TRAINED_ON, DataDir, Ref, Source, Split
from keras_arch.cli._output import metrics_table, table

ClassMap = Annotated[
    str | None,
    typer.Option(
        metavar="NAME=LABEL,...", help="Labels of the model for classes with other names."
    ),
]


def evaluate(
    ref: Ref,
    source: Source = None,
    split: Split = None,
    data_dir: DataDir = None,
    class_map: ClassMap = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of metrics.json and figures.")
    ] = None,
) -> None:
    """Evaluate a model on a data set."""
    card = _checks.check_model(ref, "evaluate")
    _checks.check_data(source, data_dir, out, ref, card)
    metrics_table(
        api().evaluate(
            ref, source=source, split=split, data_dir=data_dir, class_map=class_map, out=out
        )
    )


def compare(
    refs: Annotated[
        list[str],
        typer.Argument(
            metavar="REF...", help=REF, show_default=False, autocompletion=_completion.references
        ),
    ],
    source: Annotated[
        str | None,
        typer.Option(
            DATA, SOURCE, help="Data source.", show_default="the data the first was trained on"
        ),
    ] = None,
    split: Split = None,
    data_dir: DataDir = None,
    class_map: ClassMap = None,
    batch_size: Annotated[
        int, typer.Option(min=1, help="Images in a forward pass, for the speed.")
    ] = 32,
    metric: Annotated[
        str | None,
        typer.Option(help="Metric of the picture.", show_default="the first one"),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of compare.csv and compare.png.")
    ] = None,
) -> None:
    """Compare models on a data set: metrics, parameters, operations, speed here, size."""
    card = _checks.check_comparison(refs)
    _checks.check_data(source, data_dir, out, refs[0], card)
    found = api().compare(
        refs,
        source=source,
        split=split,
        data_dir=data_dir,
        class_map=class_map,
        batch_size=batch_size,
        metric=metric,
        out=out,
    )
    rows = [each.row() for each in found]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    table(columns, [[str(row.get(name, "")) for name in columns] for row in rows])
    if out is not None:
        print(f"picture: {out / 'compare.png'}")


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
            "coverage, classifier_agreement, parzen.",
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
    names = [name.strip() for name in metrics.split(",")]
    card = _checks.check_generator_evaluation(ref, network, names)
    _checks.check_data(source, data_dir, out, ref, card)
    evaluation = api().evaluate_generator(
        ref,
        network,
        metrics=names,
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
    card = _checks.check_generator_evaluation(ref, network, [])
    _checks.check_data(source, data_dir, out, ref, card)
    for path in api().diagnose(ref, out, network=network, source=source, data_dir=data_dir):
        print(path)
