"""Commands `train` and `finetune`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from keras_arch import presets
from keras_arch.cli import _checks, _completion
from keras_arch.cli._lazy import api, quiet_loading
from keras_arch.cli._options import (
    DATA,
    REF,
    SOURCE,
    BatchSize,
    DataDir,
    Epochs,
    HostTimeout,
    LearningRate,
    Resume,
    RunDirectory,
    Settings,
    Strategy,
)
from keras_arch.cli._result import run_result
from keras_arch.distribute.failure import set_host_timeout


def train(
    config: Annotated[
        str,
        typer.Argument(
            metavar="CONFIG",
            help="Name of a config, path of a YAML file, or a run directory.",
            autocompletion=_completion.configs,
        ),
    ],
    out: RunDirectory = None,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    lr: LearningRate = None,
    settings: Settings = None,
    strategy: Strategy = "auto",
    resume: Resume = False,
    host_timeout: HostTimeout = None,
) -> None:
    """Train a model from a config: keras-arch train resnet20-digits --epochs 20.

    A stopped run goes on with: keras-arch train --resume DIR. Exit code 75: another host was lost,
    run it again.
    """
    checked, out = check_train(
        config,
        out,
        epochs=epochs,
        batch_size=batch_size,
        lr=lr,
        settings=settings,
        strategy=strategy,
        resume=resume,
        host_timeout=host_timeout,
    )
    run_result(api().train(checked, out, strategy=strategy, resume=resume))


def check_train(
    config: str,
    out: Path | None = None,
    *,
    epochs: int | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    settings: list[str] | None = None,
    strategy: str = "auto",
    resume: bool = False,
    host_timeout: float | None = None,
) -> tuple[Any, Path | None]:
    """Refuse mistakes in the arguments of `train`; the config, and the run directory if given."""
    if host_timeout is not None:
        set_host_timeout(host_timeout)
    if resume and out is None and not Path(config).suffix and config not in presets.names():
        _checks.check_run(config)
    # Mistakes are reported before TensorFlow is loaded, unless another package needs it.
    with quiet_loading():
        from keras_arch import config as configs

        changes = [*(settings or ()), *_short_forms(epochs, batch_size, lr)]
        checked = configs.load(config, changes)
    _checks.check_training(checked, config, out, strategy=strategy, resume=resume)
    if resume and out is None and Path(config).is_dir():
        out = Path(config)
    return checked, out


def finetune(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE", help=REF, show_default=False, autocompletion=_completion.references
        ),
    ],
    images: Annotated[
        str,
        typer.Option(
            DATA,
            SOURCE,
            metavar="DATA",
            help="folder:PATH (a subfolder a class), masks:PATH, npz:PATH, digits, a TFDS name.",
            show_default=False,
        ),
    ],
    out: RunDirectory = None,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    lr: LearningRate = None,
    settings: Settings = None,
    data_dir: DataDir = None,
    strategy: Strategy = "auto",
    resume: Resume = False,
    host_timeout: HostTimeout = None,
) -> None:
    """Fine-tune a model on new classes: keras-arch finetune resnet20-cifar10 --data digits.

    A classifier takes images by class, a segmentation network images with masks (masks:PATH).
    First only the new head is trained, then all layers, with lower learning rates near the input
    (--lr is that of the last layer then). The weights with the best validation result are saved.
    """
    changes = check_finetune(
        source,
        images,
        out,
        epochs=epochs,
        batch_size=batch_size,
        lr=lr,
        settings=settings,
        data_dir=data_dir,
        strategy=strategy,
        resume=resume,
        host_timeout=host_timeout,
    )
    run = api().finetune(
        source,
        images,
        out,
        data_dir=data_dir,
        overrides=changes,
        strategy=strategy,
        resume=resume,
    )
    run_result(run)


def check_finetune(
    source: str,
    images: str,
    out: Path | None = None,
    *,
    epochs: int | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    settings: list[str] | None = None,
    data_dir: str | None = None,
    strategy: str = "auto",
    resume: bool = False,
    host_timeout: float | None = None,
) -> list[str]:
    """Refuse mistakes in the arguments of `finetune`; its changes of the config."""
    if host_timeout is not None:
        set_host_timeout(host_timeout)
    changes = [*(settings or ()), *_short_forms(epochs, batch_size, lr)]
    _checks.check_finetuning(
        source, images, out, data_dir, changes, strategy=strategy, resume=resume
    )
    return changes


def _short_forms(epochs: int | None, batch_size: int | None, lr: float | None) -> list[str]:
    """The options as `--set` takes them."""
    given = {"epochs": epochs, "batch_size": batch_size, "lr": lr}
    return [f"{name}={value}" for name, value in given.items() if value is not None]
