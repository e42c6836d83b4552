"""Every architecture with the PyTorch sources that are known of it."""

from keras_arch.convert import classifiers, generators, resnets, segmenters
from keras_arch.convert.family import Family, Shapes

_ONE_SOURCE = {name: (family,) for name, family in generators.FAMILIES.items()}
FAMILIES: dict[str, tuple[Family, ...]] = dict(
    sorted((classifiers.FAMILIES | resnets.FAMILIES | segmenters.FAMILIES | _ONE_SOURCE).items())
)


def family_of(name: str, shapes: Shapes) -> Family:
    """The source whose names a state dict has; the usual one where it has none's.

    Args:
        name: One of `FAMILIES`.
        shapes: Of the state dict.

    Example:
        >>> family_of("VGG16", {"pre_logits.fc1.weight": (4096, 512, 7, 7)}).source
        'timm'
    """
    first, *others = FAMILIES[name]
    return next((family for family in others if family.recognises(shapes)), first)
