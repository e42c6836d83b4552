"""The game of docs/new_game.md: its code runs, is short, and trains alike on two replicas."""

import importlib.util
import re
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "new_game.md").read_text()


@pytest.fixture(scope="module")
def page():
    """The names that the page defines, once its code has run."""
    spec = importlib.util.spec_from_file_location("docs_check", ROOT / "tutorials" / "check.py")
    check = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(check)
    names = {"__name__": "new_game"}
    for block in check.blocks(PAGE):
        exec(compile("\n" * block.line + block.code, "new_game.md", "exec"), names)
    return names


def test_the_game_is_under_40_lines():
    (code,) = re.findall(r"^class ProjectionGAN.*?(?=^```)", PAGE, re.MULTILINE | re.DOTALL)
    assert 20 < len([line for line in code.splitlines() if line.strip()]) < 40


@pytest.mark.slow
def test_it_trains_and_logs_its_own_values(page):
    assert set(page["history"].history) == {"d_loss", "g_loss", "d_real", "d_fake", "g_ink"}
    assert page["samples"].shape == (10, 8, 8, 1)
    assert np.abs(page["samples"]).max() <= 1
    assert np.isfinite(page["history"].history["d_loss"]).all()
    assert 0 <= page["history"].history["g_ink"][-1] <= 1


@pytest.mark.slow
def test_two_replicas_train_as_one(page, two_replicas):
    def train(strategy, start=None):
        with strategy.scope():
            gan = page["ProjectionGAN"](page["build_generator"](), page["build_discriminator"](), 3)
            gan.compile(keras.optimizers.SGD(0.05), loss="hinge+r1", penalty_weight=1.0)
        if start:
            gan.set_weights(start)
        start = gan.get_weights()
        data = page["images"][:32], page["digits"].target[:32]
        data = tf.data.Dataset.from_tensor_slices(data).batch(8)
        gan.fit(data, verbose=0)
        return start, gan.get_weights()

    start, one = train(tf.distribute.get_strategy())
    _, two = train(two_replicas, start)
    for a, b in zip(one, two, strict=True):
        # Four steps of SGD at 0.05 on gradients of size 1, rounded in float32.
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5)
    assert max(np.abs(a - b).max() for a, b in zip(start, one, strict=True)) > 1e-3
