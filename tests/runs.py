"""What every run leaves, and what it refuses before it writes anything."""

import contextlib

import pytest

EVERY_RUN = {
    "config.yaml",
    "environment.json",
    "checkpoints",
    "logs",
    "log.csv",
    "history.png",
    "samples",
    "metrics.json",
    "model",
}


@contextlib.contextmanager
def refused_in_one_line(error, word, directory):
    """What runs inside ends in one line that holds the word, and leaves no directory."""
    with pytest.raises(error) as caught:
        yield
    assert word in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not directory.exists()
