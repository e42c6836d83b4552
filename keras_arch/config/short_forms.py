"""Short forms of changes to a config: `epochs=20`, `batch_size=64` and `lr=0.01`."""

import math
from collections.abc import Iterable
from typing import Any

import yaml

from keras_arch.config.base import Section, TaskConfig
from keras_arch.config.optimizer_schema import OptimizerSection
from keras_arch.errors import ConfigError

LEARNING_RATE = "lr"
SHORT_FORMS = {"epochs": "recipe.epochs", "batch_size": "recipe.batch_size"}
# The fields of schedules that are learning rates.
_RATES = ("values", "initial", "peak", "floor")


def expand(overrides: Iterable[str]) -> tuple[dict[str, Any], float | None]:
    """Changes by their full keys, and the learning rate if one is among them.

    Args:
        overrides: Texts such as `"recipe.epochs=20"` or `"epochs=20"`; the last of a key counts.

    Raises:
        ConfigError: If a text is no `key=value`, the rate is no positive number, or a key is given
            in its short and in its long form.

    Example:
        >>> expand(["epochs=3", "data.source=digits", "lr=0.1"])
        ({'recipe.epochs': 3, 'data.source': 'digits'}, 0.1)
    """
    changes: dict[str, Any] = {}
    written: dict[str, str] = {}
    rate = None
    for override in overrides:
        short, equals, text = override.partition("=")
        if not equals or not short:
            raise ConfigError(f"--set takes key=value (recipe.epochs=20), got {override!r}")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError:
            raise ConfigError(f"--set {override!r}: the value is not YAML") from None
        if short == LEARNING_RATE:
            rate = _rate(value)
            continue
        key = SHORT_FORMS.get(short, short)
        if written.setdefault(key, short) != short:
            raise ConfigError(f"{written[key]} and {short} are the same; give one of them")
        # The order of the last ones, as `a={...}` and `a.b=...` change each other.
        changes.pop(key, None)
        changes[key] = value
    return changes, rate


def learning_rates(checked: TaskConfig, rate: float) -> dict[str, Any]:
    """The changes that make `rate` the highest learning rate of a config's optimizers.

    Raises:
        ConfigError: If its optimizers have different rates, or it has none.
    """
    recipe: Any = getattr(checked, "recipe", None)
    found = {
        f"recipe.{name}.learning_rate": value.learning_rate
        for name, value in recipe
        if isinstance(value, OptimizerSection)
    }
    if not found:
        raise ConfigError(f"lr={rate:g}: the recipe of {checked.name} has no optimizer")
    if len({_highest(each) for each in found.values()}) > 1:
        given = ", ".join(f"{key}={_highest(each):g}" for key, each in found.items())
        raise ConfigError(
            f"lr={rate:g}: the optimizers of {checked.name} have different rates; set each by its "
            f"own key ({given})"
        )
    return {key: _scaled(each, rate) for key, each in found.items()}


def _rate(value: Any) -> float:
    # YAML reads 1e-3 as text.
    try:
        rate = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        rate = math.nan
    if not 0 < rate < math.inf:
        raise ConfigError(f"lr must be a positive number, got {value!r}")
    return rate


def _highest(schedule: Any) -> float:
    if not isinstance(schedule, Section):
        return float(schedule)
    rates = [getattr(schedule, name) for name in _RATES if hasattr(schedule, name)]
    return max(max(each) if isinstance(each, list) else each for each in rates)


def _scaled(schedule: Any, rate: float) -> Any:
    """A learning rate as a config has it, multiplied so that its highest is `rate`."""
    if not isinstance(schedule, Section):
        return rate
    highest = _highest(schedule)

    def change(value: float) -> float:
        return rate if value == highest else float(f"{value / highest * rate:.10g}")

    content = schedule.model_dump(mode="json")
    for name in _RATES:
        if name in content:
            value = content[name]
            content[name] = [*map(change, value)] if isinstance(value, list) else change(value)
    return content
