"""Runs that several files look at: a classifier that judges, and one tiny run of each game."""

import functools

import pytest

from keras_arch import api
from tests.tasks import games


@pytest.fixture(scope="session")
def classifier_of_digits(tmp_path_factory):
    """The run directory of a small classifier of digits."""
    overrides = [
        "model.arguments.depth=8",
        "data.train=train[:512]",
        "data.test=test[:100]",
        "recipe.epochs=2",
    ]
    out = tmp_path_factory.mktemp("judge") / "run"
    return api.train("resnet20-digits", out, overrides=overrides, verbose=0).directory


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """Pairs and unpaired domains of a few small pictures."""
    return games.write_pictures(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="session")
def train_game(pictures, classifier_of_digits):
    """Train a game by name, with further settings."""

    def train(name, out, *more, **arguments):
        overrides = games.settings(name, pictures, classifier_of_digits, *more)
        return api.train(games.CONFIGS[name], out, overrides=overrides, verbose=0, **arguments)

    return train


@pytest.fixture(scope="session")
def game_run(train_game, tmp_path_factory):
    """The finished run of a game, trained once in a session."""

    @functools.cache
    def run(name):
        return train_game(name, tmp_path_factory.mktemp(name) / "run")

    return run
