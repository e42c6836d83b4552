"""The command on a model's page that trains it again."""

import dataclasses
import json
import shlex
import subprocess
import sys

import pytest

from keras_arch import config, hub, presets
from keras_arch.hub.training_command import training_command
from keras_arch.preprocessing import Preprocessing
from keras_arch.training import factories


def card_of(checked):
    """What a card has of a config, as a run resolves it: steps of schedules, measured means."""
    recipe = checked.model_dump(mode="json", exclude={"preprocessing", "expected", "repository"})
    for name, section in checked.recipe:
        rate = getattr(section, "learning_rate", None)
        if isinstance(rate, config.Cosine):
            resolved = rate.resolved(117, checked.recipe.epochs)
            recipe["recipe"][name]["learning_rate"] = resolved.model_dump(mode="json")
    source = checked.data.source
    scheme, colon, path = source.partition(":")
    recipe["data"]["source"] = f"{scheme}{colon}{path.rpartition('/')[2]}"
    mean = checked.preprocessing.mean
    return hub.Card(
        checked.name,
        "Any",
        {},
        "discriminator",
        checked.preprocessing.build(mean=[0.5] if isinstance(mean, str) else None),
        recipe=recipe,
    )


@pytest.mark.parametrize("name", presets.names())
def test_a_shipped_config_is_trained_by_its_name(name):
    assert training_command(card_of(config.load(name))) == f"keras-arch train {name}"


@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        ("resnet20-cifar10", ["data.source=npz:cifar10.npz", "recipe.epochs=3"]),
        ("resnet20-cifar10", ["recipe.seed=2", "data.augment=['crop:4']", "data.cache=false"]),
        ("resnet20-cifar10", ["recipe.optimizer={name: adam, learning_rate: 1.0e-05}"]),
        ("resnet20-cifar10", ["recipe.optimizer.learning_rate={name: cosine, peak: 0.1}"]),
        ("resnet20-cifar10", ["preprocessing.mean=0.5", "preprocessing.resize=bicubic"]),
        ("pix2pix-facades", ["preprocessing.size=[128, 128]", "recipe.objective=l1+gan"]),
        ("pix2pix-facades", ["generator.arguments.variant=unet_128"]),
        ("cgan-mnist", ["generator_evaluation=null"]),
        ("unet-isbi2012-paper", ["recipe.weights.w0=0.0", "model.arguments.filters=16"]),
        ("vgg16-imagenet", ["preprocessing.crop=null"]),
    ],
)
def test_changes_are_named_and_give_the_same_config(name, overrides):
    changed = config.load(name, overrides)
    words = shlex.split(training_command(card_of(changed)))
    assert words[:3] == ["keras-arch", "train", name]
    assert set(words[3::2]) == {"--set"}
    keys = {setting.partition("=")[0] for setting in words[4::2]}
    assert all(any(key.startswith(o.partition("=")[0]) for o in overrides) for key in keys)
    again = card_of(config.load(name, words[4::2]))
    assert (again.recipe, again.preprocessing) == tuple(
        getattr(card_of(changed), field) for field in ("recipe", "preprocessing")
    )


@pytest.mark.parametrize(
    ("overrides", "command"),
    [
        (["discriminator.arguments.max_norm=null"], "keras-arch train cgan-mnist"),
        (
            ["generator.arguments.latent_size=100", "generator.arguments.dropout=0.25"],
            "keras-arch train cgan-mnist --set generator.arguments.dropout=0.25",
        ),
    ],
)
def test_arguments_with_the_builders_default_are_left_out(overrides, command):
    assert training_command(card_of(config.load("cgan-mnist", overrides))) == command


def test_it_is_the_same_before_the_networks_are_imported():
    code = """
from keras_arch import presets
from keras_arch.hub import layout
from keras_arch.hub.training_command import training_command
folder = presets.model_folder("cdcgan-digits")
print(training_command(layout.read_record(folder / layout.RECORD, "it").card))
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "keras-arch train cdcgan-digits\n"


def test_a_default_in_place_of_what_the_config_gives_is_named():
    card = card_of(config.load("dcgan-digits", ["generator.arguments.variant=paper"]))
    expected = "keras-arch train dcgan-digits --set generator.arguments.variant=paper"
    assert training_command(card) == expected


@pytest.mark.parametrize("name", ["dcgan-digits", "cgan-mnist", "unet-cells"])
def test_settings_that_came_after_a_card_are_the_default_ones(name):
    checked = config.load(name)
    card = card_of(checked)
    settings = checked.recipe.model_dump(mode="json")
    defaults = {
        key: field.get_default(call_default_factory=True)
        for key, field in type(checked.recipe).model_fields.items()
        if not field.is_required()
    }
    before = {key for key, value in defaults.items() if settings[key] == value}
    assert before
    for key in before:
        del card.recipe["recipe"][key]
    assert training_command(card) == f"keras-arch train {name}"


def test_models_that_no_shipped_config_trained():
    card = card_of(config.load("resnet20-digits"))
    for change in (
        {"name": "mine"},
        {"recipe": {}},
        {"base": "hf://someone/net"},
        # Written by hand.
        {"recipe": {"data": 3}},
        {"recipe": {"data": {"source": 3}, "recipe": []}},
    ):
        assert training_command(dataclasses.replace(card, **change)) is None
    assert training_command(
        dataclasses.replace(card, preprocessing=Preprocessing((8, 8), 1, mean=0.5))
    )


@pytest.mark.parametrize("prefix", ["", "file://"])
@pytest.mark.parametrize("key", ["weights", "backbone_weights"])
def test_a_card_has_no_folder_of_the_one_who_trained(tmp_path, key, prefix):
    arguments = "backbone: ResNet18, input_shape: [256, 256, 3], classes: 3"
    sources = [
        f"model.arguments={{{arguments}, {key}: {prefix}{tmp_path / 'start.weights.h5'}}}",
        f"data.source=masks:{tmp_path / 'cells'}",
        f"data.data_dir={tmp_path}",
    ]
    checked = config.load("unet-pets", sources)
    card = factories.make_card(
        checked, checked.model, task="image-segmentation", labels=["pet", "background", "border"]
    )
    assert str(tmp_path) not in json.dumps(card.to_dict())
    assert card.arguments[key] == card.recipe["model"]["arguments"][key] == "start.weights.h5"


@pytest.mark.parametrize("weights", ["imagenet", "tv_in1k", "tag://resnet50", "hf://user/repo"])
def test_a_card_keeps_names_and_addresses_of_weights(weights):
    arguments = "backbone: ResNet18, input_shape: [256, 256, 3], classes: 3"
    checked = config.load(
        "unet-pets", [f"model.arguments={{{arguments}, backbone_weights: '{weights}'}}"]
    )
    card = factories.make_card(
        checked, checked.model, task="image-segmentation", labels=["pet", "background", "border"]
    )
    assert card.arguments["backbone_weights"] == weights
