"""Run directory: the files of a training run."""

import contextlib
import datetime
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from keras_arch import __version__, config, distribute, files
from keras_arch._lazy import keras
from keras_arch.errors import ArgumentError, RunError
from keras_arch.hub.references import RUN_CONFIG, RUN_MODEL, RUNS, resume_command

_PACKAGES = ("keras", "tensorflow", "tensorflow-datasets", "huggingface-hub", "numpy")


class RunDirectory:
    """The files of one run, in a directory that need not exist yet."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.config = self.path / RUN_CONFIG
        self.environment = self.path / "environment.json"
        self.checkpoints = self.path / "checkpoints"
        self.logs = self.path / "logs"
        self.table = self.path / "log.csv"
        self.history = self.path / "history.png"
        self.samples = self.path / "samples"
        self.best = self.path / "best"
        self.confusion = self.path / "confusion_matrix.png"
        self.modes = self.path / "modes.png"
        self.metrics = self.path / "metrics.json"
        self.model = self.path / RUN_MODEL

    @classmethod
    def of(
        cls,
        source: config.TaskConfig | str | os.PathLike[str],
        name: str,
        out: str | os.PathLike[str] | None,
        *,
        resume: bool,
    ) -> "RunDirectory":
        """The directory of a training: `out`, else the run that is resumed, else `runs/NAME`.

        Args:
            source: As for `keras_arch.train`.
            name: Of the config.
            out: As for `keras_arch.train`.
            resume: As for `keras_arch.train`.

        Raises:
            ArgumentError: If a run is resumed into another directory.
            RunError: If the directory cannot be used; see `check`.
        """
        if resume and isinstance(source, str | os.PathLike) and cls(source).config.is_file():
            if out is not None and not cls(source).path.samefile(out):
                raise ArgumentError(
                    f"{source} is the run to resume; it goes on where it is, leave out={out} out"
                )
            out = source
        directory = cls(out or RUNS / name)
        directory.check(resume=resume)
        return directory

    def check(self, *, resume: bool) -> None:
        """Refuse a directory that cannot be that of the run, before anything is loaded.

        Of several hosts all look, before the chief begins to write.

        Raises:
            RunError: If it holds something else, or holds a run and `resume` is not asked for.
            ArgumentError: If it is a file.
            StorageError: If it may not be written to.
        """
        if self.config.exists():
            if not resume:
                raise RunError(
                    f"{self.path} holds a run already; go on with: {resume_command(self.path)}, or "
                    "choose another --out"
                )
        elif self.path.is_dir():
            if any(self.path.iterdir()):
                raise RunError(f"{self.path} holds files of something else; choose another --out")
        elif distribute.is_chief():
            files.check_folder(self.path)

    def reports_in(self, folder: Path) -> "RunDirectory":
        """The directory of a host that writes nothing here: its reports go into another folder.

        Checkpoints and the best weights are those of the run, which it reads.
        """
        other = RunDirectory(folder)
        other.checkpoints, other.best = self.checkpoints, self.best
        return other

    def start(self, resolved: config.TaskConfig, *, resume: bool) -> None:
        """Claim the directory for a new run, or check that it belongs to the run to resume.

        Of several hosts the chief does.

        Raises:
            RunError: If it holds a run and `resume` is not asked for, or the run in it has
                another config.
        """
        if not distribute.is_chief():
            return
        self.check(resume=resume)
        if self.config.exists():
            self._check_same(resolved)
        files.atomic_write(self.config, config.dump(resolved))
        files.atomic_write(self.environment, json.dumps(environment(), indent=1) + "\n")

    def abandon(self) -> None:
        """Remove the files of a new run that failed before its first checkpoint.

        They would otherwise block the directory for a new run, and for `resume` with a corrected
        config.
        """
        if not distribute.is_chief() or any(self.checkpoints.glob("*.npz")):
            return
        for file in (self.config, self.environment, self.table, self.history):
            file.unlink(missing_ok=True)
        for folder in (self.checkpoints, self.logs, self.samples, self.best):
            shutil.rmtree(folder, ignore_errors=True)
        # Not where somebody else has put something.
        with contextlib.suppress(OSError):
            self.path.rmdir()

    def _check_same(self, resolved: config.TaskConfig) -> None:
        before, now = config.load(self.config).model_dump(), resolved.model_dump()
        before["recipe"]["epochs"] = now["recipe"]["epochs"]
        for section in now:
            if before.get(section) != now[section]:
                raise RunError(
                    f"the run in {self.path} was begun with another {section!r}; resume with the "
                    "same config and settings (only recipe.epochs may change)"
                )


def environment() -> dict[str, Any]:
    """Versions, git revision and devices, for a run's record.

    Example:
        >>> environment()["keras_arch"] == __version__
        True
    """
    import tensorflow as tf

    return {
        "keras_arch": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: importlib.metadata.version(name) for name in _PACKAGES},
        "backend": keras.backend.backend(),
        "git_revision": _git_revision(),
        "devices": [device.name for device in tf.config.list_logical_devices()],
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def _git_revision() -> str | None:
    """The revision of the code, with `-dirty` where it was changed; `None` outside a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
