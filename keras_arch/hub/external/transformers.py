"""Reader of the transformers library's repositories of ResNets: `model_type` in `config.json`.

T. Wolf et al.: Transformers: State-of-the-Art Natural Language Processing (2020).
"""

from typing import Any

from keras_arch.convert.resnets import depth_of
from keras_arch.errors import HubError
from keras_arch.hub.external.base import ExternalModel, Fetch, crop_of, read_json
from keras_arch.models.resnet import STAGE_FILTERS
from keras_arch.preprocessing import Preprocessing

LIBRARY = "transformers"
# Pillow's numbers.
_METHODS = {0: "nearest", 1: "lanczos3", 2: "bilinear", 3: "bicubic", 4: "area"}
# From this size on ConvNext resizes the whole image and crops nothing.
_CONVNEXT_WHOLE = 384


def is_config(config: dict[str, Any]) -> bool:
    """Whether a `config.json` is of the transformers library."""
    return "class_name" not in config and isinstance(config.get("model_type"), str)


def describe(config: dict[str, Any], fetch: Fetch, where: str) -> ExternalModel:
    """Describe a repository of the transformers library, as `base.Reader` says."""
    kind, built = config["model_type"], config.get("architectures") or ["nothing"]
    if kind != "resnet" or built[0] != "ResNetForImageClassification":
        raise HubError(
            f"{where} holds a {built[0]} (model_type {kind!r}) of transformers; converted are "
            "ResNetForImageClassification"
        )
    depth = _depth(config, where)
    labels = _labels(config)
    preparation = read_json(fetch, "preprocessor_config.json", where)
    if preparation is None:
        raise HubError(
            f"{where} has no preprocessor_config.json: nothing says how its pixels are prepared; "
            f"download its weights and use convert.from_torch('ResNet{depth}', ...)"
        )
    channels = config.get("num_channels", 3)
    preprocessing = _preprocessing(preparation, channels, where)
    classes = len(labels) if labels else config.get("num_labels", 2)
    named = labels and not all(label.startswith("LABEL_") for label in labels)
    return ExternalModel(
        LIBRARY,
        built[0],
        f"ResNet{depth}",
        {
            "classes": classes,
            "input_shape": preprocessing.input_shape,
            "variant": "v1" if config.get("downsample_in_bottleneck") else "v1.5",
        },
        preprocessing,
        labels if named else None,
        "unknown",
    )


def _depth(config: dict[str, Any], where: str) -> int:
    bottleneck = config.get("layer_type", "bottleneck") == "bottleneck"
    counts = tuple(config.get("depths", (3, 4, 6, 3)))
    depth = depth_of(counts, bottleneck=bottleneck)
    widths = [(4 if bottleneck else 1) * filters for filters in STAGE_FILTERS]
    usual = {
        "embedding_size": 64,
        "hidden_sizes": widths,
        "hidden_act": "relu",
        "downsample_in_first_stage": False,
    }
    found = {key: config.get(key, value) for key, value in usual.items()}
    other = next((key for key in usual if found[key] != usual[key]), None)
    if depth is None or other is not None:
        reason = f"depths={list(counts)}" if depth is None else f"{other}={found[other]!r}"
        raise HubError(f"{where} has {reason}, which no ResNet here has")
    return depth


def _labels(config: dict[str, Any]) -> list[str] | None:
    """Names of the classes in order; the config has their numbers as texts."""
    named = {int(number): str(label) for number, label in (config.get("id2label") or {}).items()}
    if not named or sorted(named) != list(range(len(named))):
        return None
    # Exported files have one label a line.
    return [" ".join(named[number].split()) for number in range(len(named))]


def _preprocessing(facts: dict[str, Any], channels: int, where: str) -> Preprocessing:
    """Preprocessing of the repository's image processor, of the kinds that ResNets have."""
    kind = str(facts.get("image_processor_type") or facts.get("feature_extractor_type"))
    family = kind.removesuffix("Fast").removesuffix("ImageProcessor")
    family = family.removesuffix("FeatureExtractor")
    if family not in ("ConvNext", "Bit", "CLIP", "ViT") or not facts.get("do_resize", True):
        raise HubError(
            f"{where} prepares images by {kind}"
            + ("" if facts.get("do_resize", True) else " without resizing them")
            + "; understood are the image processors of ConvNext, Bit, CLIP and ViT"
        )
    size, crop = _window(family, facts)
    method = facts.get("resample", 3 if family in ("Bit", "CLIP") else 2)
    if method not in _METHODS:
        raise HubError(f"{where} resizes by Pillow's method {method!r}, which there is not here")
    normalized = facts.get("do_normalize", True)
    return Preprocessing(
        size=size,
        channels=channels,
        resize=_METHODS[method],
        scale=facts.get("rescale_factor", 1 / 255) if facts.get("do_rescale", True) else 1.0,
        mean=facts.get("image_mean", [0.485, 0.456, 0.406]) if normalized else 0.0,
        std=facts.get("image_std", [0.229, 0.224, 0.225]) if normalized else 1.0,
        crop=crop,
    )


def _window(family: str, facts: dict[str, Any]) -> tuple[tuple[int, int], float | None]:
    """Size of the output, and the fraction of the shorter side that is cropped."""
    size = facts.get("size", 384 if family == "ConvNext" else 224)
    edge = size if isinstance(size, int) else size.get("shortest_edge")
    if edge is None:
        return (size["height"], size["width"]), None
    if family == "ViT":
        return (edge, edge), None
    if family == "ConvNext":
        whole = edge >= _CONVNEXT_WHOLE
        return (edge, edge), None if whole else facts.get("crop_pct", 224 / 256)
    cut = facts.get("crop_size", 224)
    height, width = (cut, cut) if isinstance(cut, int) else (cut["height"], cut["width"])
    return (height, width), crop_of(min(height, width), edge)
