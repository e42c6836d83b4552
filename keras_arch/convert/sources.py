"""Libraries whose weights can be converted, by architecture."""

from keras_arch.convert.all_mappings import MAPPINGS

_RESNETS = tuple(f"ResNet{depth}" for depth in (18, 34, 50, 101, 152))
_KERAS = {"keras.applications": (*_RESNETS[2:], "VGG16", "VGG19"), "KerasHub": _RESNETS}


def weight_sources(architecture: str) -> tuple[str, ...]:
    """The libraries and repositories whose weights of a registered builder can be converted.

    Sources of `convert.from_torch` come first, then `"keras.applications"` and `"KerasHub"`, for
    which `convert.from_keras_applications` and `convert.from_keras_hub` are.

    Example:
        >>> weight_sources("VGG16")
        ('torchvision', 'timm', 'keras.applications')
    """
    torch = tuple(mapping.source for mapping in MAPPINGS.get(architecture, ()))
    return torch + tuple(source for source, names in _KERAS.items() if architecture in names)
