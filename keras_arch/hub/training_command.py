"""The command that trains a published model again, from its card."""

import copy
import shlex
from pathlib import PurePath
from typing import Any

from keras_arch import presets, registry
from keras_arch.errors import KerasArchError
from keras_arch.hub.card import Card

# Keys of a config that change neither the weights nor the metrics.
_NOT_TRAINED = ("name", "description", "license", "samples")


def training_command(card: Card) -> str | None:
    """The command that trained the model of a shipped config.

    Where the recipe on the card differs from the config, the command changes the config with
    `--set`. Of the path of a data source the card has the last part only.

    Args:
        card: The card of a trained model.

    Returns:
        The command, quoted for a shell; `None` where the card has no recipe, or no shipped config
        has its name.

    Example:
        >>> from keras_arch import config
        >>> from keras_arch.hub import Card
        >>> checked = config.load("resnet8-mnist", ["recipe.epochs=3"])
        >>> card = Card("resnet8-mnist", "CIFARResNet", {}, "image-classification",
        ...             checked.preprocessing.build(), recipe=checked.model_dump(mode="json"))
        >>> training_command(card)
        'keras-arch train resnet8-mnist --set recipe.epochs=3'
    """
    if card.name not in presets.names() or not card.recipe or card.base:
        return None
    try:
        changes = _changes(card, presets.read(card.name))
    # A recipe that a person wrote, or a config that was damaged since: a README can do without.
    except (KerasArchError, ValueError, KeyError, TypeError, AttributeError):
        return None
    words = ["keras-arch", "train", card.name]
    for key, value in changes.items():
        words += ["--set", f"{key}={_in_yaml(value)}"]
    return shlex.join(words)


def without_folders(source: str) -> str:
    """A data source with the last part of its path only.

    Example:
        >>> without_folders("npz:/home/user/cells.npz"), without_folders("digits")
        ('npz:cells.npz', 'digits')
    """
    scheme, colon, path = source.partition(":")
    return f"{scheme}:{PurePath(path).name}" if colon else source


def without_path(reference: str) -> str:
    """A reference to a model or its weights: of a local path the last part, else as it is.

    Example:
        >>> without_path("/home/user/runs/judge"), without_path("file:///home/user/hub/me/judge")
        ('judge', 'judge')
        >>> without_path("hf://user/repo"), without_path("imagenet")
        ('hf://user/repo', 'imagenet')
    """
    local = "://" not in reference or reference.startswith("file://")
    # "." has no last part.
    return (PurePath(reference).name or reference) if local else reference


def _changes(card: Card, content: dict[str, Any]) -> dict[str, Any]:
    """The keys of a config that a model was trained with other values of."""
    config = registry.TASKS.get(content["task"]).Config.model_validate(content)
    given = _comparable(config.model_dump(mode="json"))
    used = _comparable(card.recipe)
    # A card of before lacks the settings that came later, whose defaults are what it had.
    recipe = type(config.recipe).model_validate(used["recipe"])
    used["recipe"] = recipe.model_dump(mode="json")
    _resolve_schedules(config, given, used)
    found = _differences(given, used)
    for key in [key for key in found if key.endswith(".warmup_steps")]:
        # The config may count its warm-up in epochs, and only one of both may be given.
        found[key.removesuffix("steps") + "epochs"] = 0.0
    planned = config.preprocessing
    measured = isinstance(planned.mean, str)
    before = planned.build(mean=0.0 if measured else planned.mean).to_dict()
    now = card.preprocessing.to_dict()
    if measured and isinstance(now["mean"], list):
        now["mean"] = before["mean"]
    defaults = {"crop": None, "value_range": None}
    found |= _differences(defaults | before, defaults | now, "preprocessing.")
    return {key: value for key, value in found.items() if not _is_default(config, key, value)}


def _is_default(config: Any, key: str, value: Any) -> bool:
    """Whether a key is a builder's argument that the config leaves out, with its default."""
    part, _, argument = key.partition(".arguments.")
    builder = getattr(config, part, None)
    if not argument or builder is None or argument in builder.arguments:
        return False
    from keras_arch import models  # noqa: F401 (registers the architectures)

    known = registry.entry(builder.name).arguments
    return argument in known and known[argument].default == value


def _comparable(content: dict[str, Any]) -> dict[str, Any]:
    """The keys of a config that a card has too, with paths as a card has them."""
    own = (*_NOT_TRAINED, "preprocessing", "expected", "imports", "repository")
    compared = copy.deepcopy({key: value for key, value in content.items() if key not in own})
    compared["data"] |= {"source": without_folders(compared["data"]["source"]), "data_dir": None}
    evaluation = compared.get("generator_evaluation")
    if evaluation:
        evaluation["network"] = without_path(evaluation["network"])
    return compared


def _resolve_schedules(config: Any, given: dict[str, Any], used: dict[str, Any]) -> None:
    """Give the schedules of a config the numbers of steps that its run measured."""
    for name, value in config.recipe:
        rate: Any = getattr(value, "learning_rate", None)
        if not hasattr(rate, "resolved"):
            continue
        trained = (used["recipe"].get(name) or {}).get("learning_rate")
        if not isinstance(trained, dict):
            continue
        epochs = used["recipe"]["epochs"]
        steps = (trained.get("warmup_steps") or 0) + (trained.get("decay_steps") or 0)
        if steps and steps % epochs == 0:
            resolved = rate.resolved(steps // epochs, epochs)
            given["recipe"][name]["learning_rate"] = resolved.model_dump(mode="json")


def _differences(given: dict[str, Any], used: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """The keys of `used` that `given` has not, or with other values, by their dotted names."""
    found: dict[str, Any] = {}
    for key, value in used.items():
        before: Any = given.get(key)
        if key in given and value == before:
            continue
        # Of another kind, or with fewer keys: no single key tells it.
        if (
            isinstance(value, dict)
            and isinstance(before, dict)
            and value.get("name") == before.get("name")
            and set(before) <= set(value)
        ):
            found |= _differences(before, value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def _in_yaml(value: Any) -> str:
    """A value on one line, as `--set` reads it."""
    import yaml

    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10**6)
    return text.removesuffix("\n").removesuffix("\n...")
