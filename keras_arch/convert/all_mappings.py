"""All mappings of PyTorch sources by architecture."""

from keras_arch.convert import classifiers, generators, resnets, segmenters
from keras_arch.convert.weight_mapping import Shapes, WeightMapping

_ALL = classifiers.MAPPINGS | resnets.MAPPINGS | segmenters.MAPPINGS | generators.MAPPINGS
MAPPINGS: dict[str, tuple[WeightMapping, ...]] = dict(sorted(_ALL.items()))
_RESNETS = tuple(f"ResNet{depth}" for depth in (18, 34, 50, 101, 152))
_KERAS = {"keras.applications": (*_RESNETS[2:], "VGG16", "VGG19"), "KerasHub": _RESNETS}


def register_mapping(architecture: str, *mappings: WeightMapping) -> None:
    """Add the PyTorch sources of an architecture, which `convert.from_torch` then reads.

    Args:
        architecture: Registered name of the builder.
        mappings: One for each source; the first is the default.

    Example:
        >>> from keras_arch import convert
        >>> from keras_arch.convert.weight_mapping import WeightMapping
        >>> mapping = WeightMapping(
        ...     source="my code",
        ...     arguments=lambda shapes, given: {"classes": shapes["head.weight"][0]},
        ...     prefixes=lambda model, shapes: {"conv1": "stem", "logits": "head"},
        ... )
        >>> convert.register_mapping("MyNetwork", mapping)
        >>> "MyNetwork" in convert.convertible()
        True
        >>> del MAPPINGS["MyNetwork"]
    """
    MAPPINGS[architecture] = (*mappings, *MAPPINGS.get(architecture, ()))


def mapping_of(name: str, shapes: Shapes) -> WeightMapping:
    """Find the source whose names a state dict has, else the default one.

    Example:
        >>> mapping_of("VGG16", {"pre_logits.fc1.weight": (4096, 512, 7, 7)}).source
        'timm'
    """
    first, *others = MAPPINGS[name]
    return next((mapping for mapping in others if mapping.recognizes(shapes)), first)


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
