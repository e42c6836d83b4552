"""Command `train`."""

from typing import Annotated

import typer

from keras_arch.cli._lazy import api, quiet_loading
from keras_arch.cli._options import Resume, RunDirectory, Settings, Strategy
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
