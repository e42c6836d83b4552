"""Completion of names in the shell."""

from keras_arch import presets
from keras_arch.cli import _index


def configs(incomplete: str) -> list[str]:
    """Names of configs."""
    return _beginning(incomplete, presets.names())


def launched(incomplete: str) -> list[str]:
    """What `launch` takes: commands, and names of configs."""
    return _beginning(incomplete, ["train", "finetune", *presets.names()])


def references(incomplete: str) -> list[str]:
    """Runs in the folder `runs`, and names of configs."""
    from keras_arch.hub.references import RUNS, is_run

    runs = [str(path) for path in sorted(RUNS.glob("*")) if is_run(path)]
    return _beginning(incomplete, [*runs, *presets.names()])


def architectures(incomplete: str) -> list[str]:
    """Names of architectures."""
    return _beginning(incomplete, sorted(_index.read()))


def shown(incomplete: str) -> list[str]:
    """What `show` takes: architectures and references."""
    return [*architectures(incomplete), *references(incomplete)]


def _beginning(incomplete: str, names: list[str]) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]
