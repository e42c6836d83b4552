"""The config of image segmentation."""

import urllib.parse
from typing import Annotated, Any, Literal

import pydantic

from keras_arch import config
from keras_arch.config.base import NotNegative, Positive, Rate
from keras_arch.config.optimizer_schema import WeightDecayOn

_Byte = Annotated[int, pydantic.Field(ge=0, le=255)]
# Of masks of 8 or 16 bits.
_Value = Annotated[int, pydantic.Field(ge=0, le=65535)]
_Loss = Literal["cross_entropy", "dice", "focal", "jaccard", "tversky"]
_Losses = Annotated[
    Annotated[_Loss, pydantic.Tag("name")]
    | Annotated[dict[_Loss, Rate], pydantic.Field(min_length=1), pydantic.Tag("sum")],
    pydantic.Discriminator(lambda value: "sum" if isinstance(value, dict) else "name"),
]
_OF_PIXELS = {"cross_entropy", "focal"}
_ARGUMENTS = {"focal": {"alpha", "gamma"}, "tversky": {"alpha", "beta"}}
_Color = Annotated[str, pydantic.Field(pattern="^#[0-9a-fA-F]{6}$")]


class SegmentationData(config.Data):
    """Images with masks: `masks:PATH`, `masks:tfds:NAME` or `cells`, as in `keras_arch.data.load`.

    `classes` maps names to values of a `masks:PATH`: a number, a color such as `"#ff00aa"` or
    `[red, green, blue]`; `ignore` names unlabelled pixels. `colors` are those of the classes in
    pictures. `crop_mode` cuts `tiles` of the size of `preprocessing` out of images at their own
    resolution, or resizes `whole` images; an epoch takes `crops_per_image`. `augment` is as in
    `keras_arch.data.segmentation_train_batches`. `background` names the class that `foreground_iu`
    leaves out while training; by default it is a class of the name background, if there is one.
    """

    classes: dict[str, _Value | _Color | Annotated[list[_Byte], pydantic.Field(min_length=3)]] = {}
    colors: dict[str, _Color] = {}
    background: str | None = None
    crop_mode: Literal["tiles", "whole"] = "tiles"
    crops_per_image: Positive = 1

    @pydantic.model_validator(mode="after")
    def _fits(self) -> "SegmentationData":
        plain = self.source.startswith("masks:") and not self.source.startswith("masks:tfds:")
        if self.classes and not plain:
            raise ValueError(
                f"classes is for masks:PATH, {self.source} knows its own; write classes={{}}, got "
                f"{self.classes!r}"
            )
        if self.classes and "classes=" in self.source:
            raise ValueError(
                f"the classes are named in source and in classes; leave one out, got "
                f"{self.classes!r}"
            )
        if not self.cache:
            raise ValueError("segmentation caches images in memory; leave cache out, got False")
        return self

    @property
    def uri(self) -> str:
        """The source with its classes, as `keras_arch.data.load` takes it."""
        if not self.classes:
            return self.source
        named = ",".join(
            f"{urllib.parse.quote(name)}:{_value(value)}" for name, value in self.classes.items()
        )
        return f"{self.source}{'&' if '?' in self.source else '?'}classes={named}"


def _value(value: Any) -> str:
    if isinstance(value, list):
        return "#" + "".join(f"{part:02x}" for part in value[:3])
    return str(value)


class Weights(config.Section):
    """Weight map of the pixels; see `keras_arch.data.WeightMap`."""

    w0: NotNegative = 10.0
    sigma: Rate = 5.0
    balance: bool = True


class SegmentationRecipe(config.Recipe):
    """Training settings of a segmentation network.

    `loss` is one of `keras_arch.losses.PIXEL_LOSSES`, or several with their weights:
    `{cross_entropy: 1.0, dice: 0.5}`. `loss_arguments` are those of each, `{tversky: {alpha: 0.3,
    beta: 0.7}}`. `normalize: false` takes the sum over pixels, as the authors of FCN did.
    `class_weights` are weights of classes by their names, others having 1. `weights` is the weight
    map of cross-entropy and focal loss, or `null`. `freeze_backbone` keeps the weights of the
    backbone and the statistics of its batch norms as they are (`models.freeze_backbone`).
    `interpolation` is that of augmented images. `checkpoint` says which weights are saved: the
    `last`, or those of the epoch with the `best` mean IU on `data.validation`.
    """

    optimizer: config.Optimizer
    loss: _Losses = "cross_entropy"
    loss_arguments: dict[_Loss, dict[str, NotNegative]] = {}
    normalize: bool = True
    class_weights: dict[str, NotNegative] = {}
    weights: Weights | None = None
    freeze_backbone: bool = False
    weight_decay: NotNegative = 0.0
    weight_decay_on: WeightDecayOn = "all"
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    synchronized: bool | Literal["auto"] = "auto"
    checkpoint: Literal["last", "best"] = "last"

    @pydantic.model_validator(mode="after")
    def _fits(self) -> "SegmentationRecipe":
        if self.weights is not None and not _OF_PIXELS & self._losses:
            raise ValueError(f"weights is for cross_entropy and focal, got {self.loss!r}")
        if not self.normalize and self.loss != "cross_entropy":
            raise ValueError(f"normalize is for cross_entropy, got {self.loss!r}")
        for name, arguments in self.loss_arguments.items():
            if name not in self._losses:
                raise ValueError(f"loss_arguments are of loss {self.loss!r}, got {name!r}")
            if unknown := set(arguments) - _ARGUMENTS.get(name, set()):
                raise ValueError(
                    f"{name} takes {', '.join(sorted(_ARGUMENTS.get(name, ['no arguments'])))} in "
                    f"loss_arguments, got {sorted(unknown)[0]!r}"
                )
        if self.optimizer.average is not None:
            raise ValueError("average is for generators, got " + repr(self.optimizer.average))
        return self

    @property
    def _losses(self) -> set[str]:
        return {self.loss} if isinstance(self.loss, str) else set(self.loss)

    def arguments_of_loss(self) -> dict[str, Any]:
        """Arguments of `keras_arch.losses.pixel_loss`, besides those of all losses."""
        if not isinstance(self.loss, str):
            return {"arguments": self.loss_arguments}
        plain = {} if self.normalize else {"normalize": False}
        return {**plain, **self.loss_arguments.get(self.loss, {})}


_Metric = Literal[
    "boundary_f_score",
    "pixel_error",
    "rand_error",
    "warping_error",
    "instance_recall",
    "instance_f_score",
]


class SegmentationConfig(config.TaskConfig):
    """Config of a segmentation network.

    `metrics` are computed on the test split besides those of pixels; the errors of ISBI-2012 and
    the scores of instances are for two classes, membrane and interior.
    """

    model: config.Builder
    data: SegmentationData
    recipe: SegmentationRecipe
    samples: config.Samples = config.Samples(count=4)
    metrics: tuple[_Metric, ...] = ("boundary_f_score",)

    @pydantic.model_validator(mode="after")
    def _has_validation(self) -> "SegmentationConfig":
        if isinstance(self.preprocessing.mean, str):
            raise ValueError(
                f"preprocessing.mean must be a number, or one a channel, got "
                f"{self.preprocessing.mean!r}"
            )
        if self.data.validation is None and self.recipe.checkpoint == "best":
            raise ValueError(
                "recipe.checkpoint needs data.validation, a part of the data that is neither "
                "trained on nor tested on, such as train[90%:], got 'best'"
            )
        return self
