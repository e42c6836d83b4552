"""Commands that train."""

from typing import Annotated

import typer

from keras_arch.cli._lazy import api
from keras_arch.cli._options import REF, DataDir, Resume, RunDirectory, Settings, Strategy
from keras_arch.cli._output import figures_table


def train(
    config: Annotated[
        str, typer.Argument(metavar="CONFIG", help="Name of a config, or path of a YAML file.")
    ],
    out: RunDirectory = None,
    settings: Settings = None,
    strategy: Strategy = "auto",
    resume: Resume = False,
) -> None:
    """Train what a config describes: keras-arch train resnet20-digits --set recipe.epochs=20."""
    # Wrong configs are told before TensorFlow is loaded.
    from keras_arch import config as checks

    checked = checks.load(config, settings or ())
    run = api().train(checked, out, strategy=strategy, resume=resume)
    figures_table(run.metrics)
    print(f"run: {run.directory}")
    print(f"model: {run.model}")


def finetune(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help=REF, show_default=False)],
    images: Annotated[
        str,
        typer.Option(
            "--data",
            metavar="DATA",
            help="folder:PATH (a sub-folder a class), npz:PATH, digits, or a TFDS name.",
            show_default=False,
        ),
    ],
    out: RunDirectory = None,
    settings: Settings = None,
    data_dir: DataDir = None,
    strategy: Strategy = "auto",
    resume: Resume = False,
) -> None:
    """Teach a trained classifier other classes: keras-arch finetune resnet20-cifar10 --data digits.

    The head is replaced and learns alone first, then all layers do, those near the image slowest.
    The weights that are best on a validation part are kept.
    """
    run = api().finetune(
        source,
        images,
        out,
        data_dir=data_dir,
        overrides=settings or (),
        strategy=strategy,
        resume=resume,
    )
    figures_table(run.metrics)
    print(f"run: {run.directory}")
    print(f"model: {run.model}")
