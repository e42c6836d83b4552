"""Command `evaluate`."""

from pathlib import Path
from typing import Annotated

import typer

from keras_arch.cli._lazy import api
from keras_arch.cli._options import DataDir, Ref, Source, Split
from keras_arch.cli._output import metrics_table


def evaluate(
    ref: Ref,
    source: Source = None,
    split: Split = None,
    data_dir: DataDir = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of metrics.json and figures.")
    ] = None,
) -> None:
    """Evaluate a model on a data set."""
    metrics_table(api().evaluate(ref, source=source, split=split, data_dir=data_dir, out=out))
