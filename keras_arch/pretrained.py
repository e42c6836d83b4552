"""Published ImageNet weights of each architecture: where they are, or the line that loads them."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from keras_arch.errors import ArgumentError

IMAGENET = "imagenet"


@dataclasses.dataclass(frozen=True)
class Pretrained:
    """Weights of one architecture.

    Attributes:
        uri: A repository that `keras_arch.hub.load` reads.
        settings: Arguments of the builder that the weights have.
    """

    uri: str
    settings: Mapping[str, Any]


# The recipes that timm takes by default; VGGs are torchvision's, as timm publishes them.
_TAGS = {18: "a1", 34: "a1", 50: "a1", 101: "a1h", 152: "a1h"}
_TABLE: dict[str, tuple[Pretrained, ...]] = {
    f"ResNet{depth}": (
        Pretrained(
            f"hf://timm/resnet{depth}.{tag}_in1k",
            # Basic blocks are the same in both variants.
            {"residual": True} | ({"variant": "v1.5"} if depth >= 50 else {}),
        ),
    )
    for depth, tag in _TAGS.items()
}
_TABLE |= {
    f"VGG{depth}": (
        Pretrained(f"hf://timm/vgg{depth}.tv_in1k", {"variant": column, "norm": None}),
        Pretrained(f"hf://timm/vgg{depth}_bn.tv_in1k", {"variant": column, "norm": "batch"}),
    )
    for depth, column in {11: "A", 13: "B", 16: "D", 19: "E"}.items()
}
# Networks whose published weights are a file, but no repository.
_FILE = (
    'keras_arch.convert.from_torch("{0}", keras.utils.get_file(origin='
    '"https://download.pytorch.org/models/{1}"))'
)
_LINES = {
    "AlexNet": _FILE.format("AlexNet", "alexnet-owt-7be5be79.pth"),
    "GoogLeNet": _FILE.format("GoogLeNet", "googlenet-1378be20.pth"),
}
_V1 = "keras_arch.convert.from_keras_applications(keras.applications.{0}())"


def imagenet_uri(architecture: str, **settings: Any) -> str:
    """The repository that `weights="imagenet"` of a builder loads.

    Args:
        architecture: Name of the builder.
        **settings: Arguments of the builder that the weights must have.

    Raises:
        ArgumentError: If there is none; the message has the line that loads other weights.

    Example:
        >>> imagenet_uri("VGG16", norm="batch")
        'hf://timm/vgg16_bn.tv_in1k'
    """
    entries = _TABLE.get(architecture, ())
    for entry in entries:
        if all(entry.settings.get(key, value) == value for key, value in settings.items()):
            return entry.uri
    if architecture in _LINES:
        raise ArgumentError(
            f'{architecture}(weights="imagenet"): no repository of the Hub holds them; those of '
            f"torchvision load by {_LINES[architecture]}"
        )
    if entries:
        given = ", ".join(f"{key}={value!r}" for key, value in settings.items())
        own = ", ".join(f"{key}={value!r}" for key, value in entries[0].settings.items())
        other = f"leave the argument out, or give {own}"
        if settings.get("variant") == "v1" and settings.get("residual", True):
            other += f"; of keras.applications there are some: {_V1.format(architecture)}"
        raise ArgumentError(
            f'{architecture}(weights="imagenet"): there are none with {given}; {other}'
        )
    raise ArgumentError(
        f'{architecture}(weights="imagenet"): there are none of this network; there are of '
        f"{', '.join([*_TABLE, *_LINES])}, and a U-Net or an FCN starts from those of its "
        'backbone: UNet(backbone="ResNet18", backbone_weights="imagenet")'
    )
