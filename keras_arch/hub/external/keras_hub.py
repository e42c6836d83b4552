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
    """Refuse a preset of KerasHub with the line that converts it."""
    name = config["class_name"]
    if name not in ("ResNetBackbone", "ResNetImageClassifier"):
        raise HubError(
            f"{where} is a preset of KerasHub with a {name}, of which there is no such network "
            "here; converted are ResNetBackbone and ResNetImageClassifier"
        )
    raise HubError(
        f"{where} is a preset of KerasHub, which only KerasHub reads; with keras-hub installed it "
        f"loads by keras_arch.convert.from_keras_hub(keras_hub.models.{name}.from_preset("
        f"{where!r}))"
    )
