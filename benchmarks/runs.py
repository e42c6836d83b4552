"""Runs of a benchmark that are trained once."""

import json
from collections.abc import Sequence
from pathlib import Path


def metrics_of(config: str, directory: Path, overrides: Sequence[str]) -> dict[str, float]:
    """Metrics of a run, which is trained, or goes on, if it is not finished yet."""
    file = directory / "metrics.json"
    if not file.is_file():
        from keras_arch import api

        api.train(
            config, directory, overrides=list(overrides), resume=directory.exists(), verbose=2
        )
    return json.loads(file.read_text())
