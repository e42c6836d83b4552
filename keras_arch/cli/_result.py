"""Output of a finished training: metrics, files, and commands that use the model."""

import shlex
from pathlib import Path
from typing import Any

from keras_arch.cli._output import metrics_table
from keras_arch.distribute.cluster import is_chief

# How an image of the training data is named, for the example of `predict` and `translate`.
_EXAMPLE = "example.png"


def run_result(run: Any) -> None:
    """Print the metrics of a finished run, its pictures, and commands to go on with.

    Of several hosts the chief prints them.
    """
    if not is_chief():
        return
    metrics_table(run.metrics)
    print(f"run: {run.directory}")
    print(f"model: {run.model}")
    for picture in _pictures(run.directory):
        print(f"picture: {picture}")
    for command in next_commands(run.directory):
        print(f"next: {command}")


def next_commands(run: Path) -> list[str]:
    """Commands that use the model of a run, quoted for a shell.

    They can be run as they are, but for USER, the name of an account of the Hub. An image of the
    test data is written into the run directory for them.

    Args:
        run: The run directory.
    """
    from keras_arch import hub, registry

    card = hub.read_card(run)
    task = registry.TASKS.get(card.task)
    commands = []
    if task.can("evaluate"):
        commands.append(["evaluate", str(run), "--out", str(run / "evaluation")])
    for command in ("predict", "translate"):
        if task.can(command) and (image := _example(run)):
            commands.append([command, str(run), str(image)])
    if task.can("generate"):
        commands.append(["generate", str(run), "--out", str(run / "generated.png")])
    commands.append(["push", str(run), f"USER/{card.name}"])
    if task.can("signatures"):
        commands.append(["export", str(run), "serving"])
    return [shlex.join(["keras-arch", *command]) for command in commands]


def _pictures(run: Path) -> list[Path]:
    """The pictures of a run: those in its directory, and the last sheet of samples."""
    return [*sorted(run.glob("*.png")), *sorted(run.glob("samples/*.png"))[-1:]]


def _example(run: Path) -> Path | None:
    """The first image of the test split, as a file; `None` where it is no 8-bit image."""
    import numpy as np

    from keras_arch import config, data, visualization

    settings = config.load(run).data
    examples = data.load(settings.uri, settings.test, data_dir=settings.data_dir)
    first = next(iter(examples), None)
    image = np.asarray(first[0] if isinstance(first, tuple) else first)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] not in (1, 3):
        return None
    return visualization.save_png(image, run / _EXAMPLE)
