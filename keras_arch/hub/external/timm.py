"""Reader of timm's repositories: `architecture` and `pretrained_cfg` in `config.json`.

R. Wightman: PyTorch Image Models, https://github.com/huggingface/pytorch-image-models.
"""

import logging
import re
from typing import Any

from keras_arch import models
from keras_arch.errors import HubError
from keras_arch.hub.external.base import ExternalModel, Fetch
from keras_arch.preprocessing import Preprocessing

LIBRARY = "timm"
# timm's names of the networks that are ours, old names included.
_OURS = (
    (re.compile(r"(?:tv_|ssl_|swsl_)?resnet(18|34|50|101|152)"), "ResNet"),
    (re.compile(r"gluon_resnet(18|34|50|101|152)_v1b"), "ResNet"),
    (re.compile(r"(?:tv_)?vgg(11|13|16|19)(?:_bn)?"), "VGG"),
)
_KIN = (
    (r".*resnext.*", "its convolutions are grouped"),
    (r".*(seresnet|ecaresnet|skresnet|gcresnet|resnest|resnetrs).*", "its blocks have attention"),
    (r"(wide_resnet|.*x2).*", "its 3x3 convolutions are twice as wide"),
    (r"resnet(blur|aa).*", "it blurs maps before it subsamples them"),
    (r"(resnetv2|preact).*", "its norms come before its convolutions"),
    (r"resnet\d+_gn", "its norms are group norms"),
    (
        r"(resnet\d+[cdst]|gluon_resnet\d+_v1[cdes]).*",
        "its stem is three convolutions, and its shortcuts may pool",
    ),
    (r"resnet\d+", "ResNets here have 18, 34, 50, 101 or 152 layers"),
    (r"(repvgg|.*vgg).*", "VGGs here have 11, 13, 16 or 19 layers, with or without batch norm"),
)
_METHODS = {
    "bicubic": "bicubic",
    "bilinear": "bilinear",
    "nearest": "nearest",
    "lanczos": "lanczos3",
    "box": "area",
}
_WORDNET = re.compile(r"n\d{8}")
# The data of the last training.
_IMAGENET = re.compile(r"(^|_)in1k(_\d+)?$")
# Build arguments that do not change the architecture.
_HARMLESS = ("num_classes", "in_chans", "drop_rate", "drop_path_rate", "global_pool", "pretrained")

_log = logging.getLogger(__name__)


def is_config(config: dict[str, Any]) -> bool:
    """Whether a `config.json` is timm's."""
    return "class_name" not in config and isinstance(config.get("architecture"), str)


def describe(config: dict[str, Any], fetch: Fetch, where: str) -> ExternalModel:
    """Describe a repository of timm, as `base.Reader` says."""
    model = config["architecture"]
    architecture = _architecture(model, where)
    # Early configs have everything in one table.
    facts = config.get("pretrained_cfg") or config
    _check_build(config, facts, where)
    classes = config.get("num_classes", facts.get("num_classes"))
    if not isinstance(classes, int) or isinstance(classes, bool) or classes < 0:
        raise HubError(f"{where} has num_classes {classes!r}, which is no number of classes")
    if classes == 0:
        raise HubError(
            f"{where} has no classifier (num_classes 0), so that it predicts nothing; its backbone "
            f"loads by convert.from_torch({architecture!r}, huggingface_hub.hf_hub_download("
            f"{where.removeprefix('hf://').partition('@')[0]!r}, 'model.safetensors'), "
            "include_top=False)"
        )
    preprocessing = _preprocessing(config, facts, architecture, where)
    arguments = {"classes": classes, "input_shape": preprocessing.input_shape}
    if architecture.startswith("ResNet"):
        arguments["variant"] = "v1.5"
    elif model.endswith("_bn"):
        arguments["norm"] = "batch"
    return ExternalModel(
        LIBRARY,
        model,
        architecture,
        arguments,
        preprocessing,
        _labels(config, facts, classes, where),
        str(facts.get("license") or "unknown"),
    )


def _architecture(model: str, where: str) -> str:
    for pattern, family in _OURS:
        if match := pattern.fullmatch(model):
            return f"{family}{match[1]}"
    why = next((why for pattern, why in _KIN if re.fullmatch(pattern, model)), None)
    raise HubError(
        f"{where} holds timm's {model}: {why or 'there is no such architecture here'}; converted "
        "are resnet18, 34, 50, 101, 152 and vgg11, 13, 16, 19 with or without _bn"
    )


def _check_build(config: dict[str, Any], facts: dict[str, Any], where: str) -> None:
    """Refuse a network whose build arguments change its architecture."""
    built = config.get("model_args") or {}
    other = sorted(set(built) - set(_HARMLESS))
    if other:
        raise HubError(
            f"{where} was built with {other[0]}={built[other[0]]!r}, which networks here have not"
        )
    pools = {config.get("global_pool"), built.get("global_pool")} - {None, "", "avg"}
    if pools:
        raise HubError(f"{where} pools by {pools.pop()!r}; networks here by 'avg'")


def _labels(
    config: dict[str, Any], facts: dict[str, Any], classes: int, where: str
) -> list[str] | None:
    """Names of the classes: a list, a table by number, or one of WordNet numbers with descriptions.

    timm's own weights for ImageNet's 1,000 classes have none in their config, but a tag.
    """

    def given(key: str) -> Any:
        return config.get(key) or facts.get(key)

    names = _listed(given("label_names") or given("labels"))
    if names and all(_WORDNET.fullmatch(name) for name in names):
        described = given("label_descriptions")
        known = described if isinstance(described, dict) else dict(models.imagenet_classes())
        names = _listed([known.get(name, name) for name in names])
    elif names is None:
        names = _listed(given("label_descriptions"))
    if names is None and classes == 1000 and _IMAGENET.search(str(facts.get("tag"))):
        return models.imagenet_labels()
    if names is not None and len(names) != classes:
        message = "%s names %d labels for %d classes; its labels are left out"
        _log.warning(message, where, len(names), classes)
        return None
    return names


def _listed(labels: Any) -> list[str] | None:
    """Labels in order, of a list or of a table by number; `None` for others."""
    if isinstance(labels, dict) and all(str(key).isdecimal() for key in labels):
        numbered = {int(key): value for key, value in labels.items()}
        if sorted(numbered) != list(range(len(numbered))):
            return None
        labels = [numbered[number] for number in range(len(numbered))]
    if not isinstance(labels, list | tuple) or not labels:
        return None
    # Exported files have one label a line.
    return [" ".join(str(label).split()) for label in labels]


def _preprocessing(
    config: dict[str, Any], facts: dict[str, Any], architecture: str, where: str
) -> Preprocessing:
    """timm's evaluation transform: resize, center crop, mean and std of pixels in [0, 1]."""
    usual, height, width = facts["input_size"]
    # A network made for other channels than RGB: the size may be that of the weights it began with.
    channels = (config.get("model_args") or {}).get("in_chans", usual) if usual == 3 else usual
    method = facts.get("interpolation", "bilinear")
    if method not in _METHODS:
        known = ", ".join(sorted(_METHODS))
        raise HubError(f"{where} resizes by {method!r}; here there are {known}")
    mode = facts.get("crop_mode") or "center"
    crop = facts.get("crop_pct") or 0.875
    if mode == "squash" and crop == 1:
        crop = None
    elif mode != "center":
        raise HubError(f"{where} crops by {mode!r}; here images are cut out of the 'center'")
    return Preprocessing(
        size=(height, width),
        channels=channels,
        resize=_METHODS[method],
        mean=_each("mean", facts["mean"], channels, architecture, where),
        std=_each("std", facts["std"], channels, architecture, where),
        crop=crop,
    )


def _each(
    name: str, values: list[float], channels: int, architecture: str, where: str
) -> float | list[float]:
    """One number for each channel, or one for all."""
    if len(values) == 3 != channels and len(set(values)) > 1:
        raise HubError(
            f"{where} has in_chans {channels} and a {name} of {len(values)} channels, {values}: "
            "nothing says how its pixels are prepared; load its weights by convert.from_torch("
            f"{architecture!r}, huggingface_hub.hf_hub_download("
            f"{where.removeprefix('hf://').partition('@')[0]!r}, 'model.safetensors'))"
        )
    return values[0] if len(values) != channels and len(values) in (1, 3) else list(values)
