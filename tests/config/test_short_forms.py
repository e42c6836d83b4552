"""Short forms of changes to a config, and hints for keys without their sections."""

import pytest

from keras_arch import config
from keras_arch.errors import ConfigError


def test_short_forms_are_the_keys_of_the_recipe():
    short = config.load("resnet20-digits", ["epochs=3", "batch_size=32", "lr=0.2"])
    rate = "recipe.optimizer.learning_rate.values=[0.2, 0.02, 0.002]"
    long = ["recipe.epochs=3", "recipe.batch_size=32", rate]
    assert short == config.load("resnet20-digits", long)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("unet-cells", 0.5),
        ("unet-pets", {"peak": 0.5, "floor": 0.0, "warmup_epochs": 1.0}),
        # The floor is a hundred-thousandth of the first rate, as before.
        ("cgan-mnist", {"initial": 0.5, "floor": 5e-6, "factor": 1.00004}),
        ("pix2pix-facades", {"initial": 0.5, "decay_steps": 40000}),
    ],
)
def test_a_rate_keeps_the_form_of_a_schedule(name, expected):
    recipe = config.load(name, ["lr=5e-1"]).recipe
    rates = [value.learning_rate for key, value in recipe if key.endswith("optimizer")]
    assert len(rates) == (1 if name.startswith("unet") else 2)
    for rate in rates:
        found = {key: getattr(rate, key) for key in expected} if expected != 0.5 else rate
        assert found == pytest.approx(expected)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["lr=nan"], "lr must be a positive number"),
        (["lr=true"], "lr must be a positive number"),
        (["lr=[1]"], "lr must be a positive number"),
        (["epochs=0"], r"recipe\.epochs"),
        (["epochs=1", "recipe.epochs=2"], "epochs and recipe.epochs are the same"),
        (["learning_rate=0.1"], r"did you mean recipe\.optimizer\.learning_rate\?"),
        (["epoch=2"], r"did you mean recipe\.epochs\?"),
        (["size=[8, 8]"], r"did you mean preprocessing\.size\?"),
        (["depth=8"], r"known are .*; an argument of a network is model\.arguments\.depth"),
    ],
)
def test_a_wrong_change_names_the_right_one(changes, message):
    with pytest.raises(ConfigError, match=message):
        config.load("resnet20-digits", changes)


def test_different_rates_are_not_made_one():
    with pytest.raises(ConfigError, match=r"different rates.*g_optimizer\.learning_rate=0\.001"):
        config.load("dcgan-digits", ["lr=0.1"])


def test_the_config_of_a_run_is_that_of_its_directory(tmp_path):
    digits = config.load("resnet20-digits", ["epochs=3"])
    (tmp_path / "config.yaml").write_text(config.dump(digits))
    assert config.load(tmp_path) == config.load(str(tmp_path)) == digits
    assert config.load(tmp_path, ["epochs=4"]).recipe.epochs == 4
