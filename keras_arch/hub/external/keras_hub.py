"""Reader of KerasHub's presets, which names the way to convert them.

A preset needs KerasHub's classes to be read, and only KerasHub knows the order of its weights.
`convert.from_keras_hub` converts the model that it builds.
"""

from typing import Any

from keras_arch.errors import HubError
from keras_arch.hub.external.base import ExternalModel, Fetch

LIBRARY = "keras_hub"


def is_config(config: dict[str, Any]) -> bool:
    """Whether a `config.json` is of KerasHub."""
    return str(config.get("registered_name")).startswith("keras_hub>")


def describe(config: dict[str, Any], fetch: Fetch, where: str) -> ExternalModel:
    """Refuse a preset of KerasHub with the steps to convert it."""
    name = config["class_name"]
    raise HubError(
        f"{where} is a preset of KerasHub with a {name}; load it with "
        f"keras_hub.models.{name}.from_preset({where!r}) and convert it by convert.from_keras_hub"
    )
