"""Commands `train` and `finetune`."""

from typing import Annotated

import typer

from keras_arch.cli._lazy import api, quiet_loading
from keras_arch.cli._options import REF, DataDir, Resume, RunDirectory, Settings, Strategy
from keras_arch.cli._output import run_result


def train(
    config: Annotated[
        str, typer.Argument(metavar="CONFIG", help="Name of a config, or path of a YAML file.")
    ],
    out: RunDirectory = None,
    settings: Settings = None,
    strategy: Strategy = "auto",
    resume: Resume = False,
) -> None:
    """Train a model from a config: keras-arch train resnet20-digits --set recipe.epochs=20."""
    # A wrong config is reported before TensorFlow is loaded, unless another package needs it.
    with quiet_loading():
        from keras_arch import config as configs

        checked = configs.load(config, settings or ())
    run_result(api().train(checked, out, strategy=strategy, resume=resume))


def finetune(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help=REF, show_default=False)],
    images: Annotated[
        str,
        typer.Option(
            "--data",
            metavar="DATA",
            help="folder:PATH (a subfolder a class), masks:PATH, npz:PATH, digits, a TFDS name.",
            show_default=False,
        ),
    ],
    out: RunDirectory = None,
    settings: Settings = None,
    data_dir: DataDir = None,
    strategy: Strategy = "auto",
    resume: Resume = False,
) -> None:
    """Fine-tune a model on new classes: keras-arch finetune resnet20-cifar10 --data digits.

    A classifier takes images by class, a segmentation network images with masks (masks:PATH).
    First only the new head is trained, then all layers, with lower learning rates near the input.
    The weights with the best validation result are saved.
    """
    run_result(
        api().finetune(
            source,
            images,
            out,
            data_dir=data_dir,
            overrides=settings or (),
            strategy=strategy,
            resume=resume,
        )
    )
