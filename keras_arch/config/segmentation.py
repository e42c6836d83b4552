"""The sections of a config for segmentation, and the union of all configs."""

import urllib.parse
from typing import Annotated, Any, Literal

import pydantic

from keras_arch.config import sections
from keras_arch.config.base import NotNegative, Positive, Rate, Section
from keras_arch.config.optimizers import Decayed, Optimizer
from keras_arch.config.sections import Builder, Common, Data, Recipe

_Byte = Annotated[int, pydantic.Field(ge=0, le=255)]
# Of masks of 8 or 16 bits.
_Value = Annotated[int, pydantic.Field(ge=0, le=65535)]
_Colour = Annotated[str, pydantic.Field(pattern="^#[0-9a-fA-F]{6}$")]


class SegmentationData(Data):
    """Images with masks: `masks:PATH`, `masks:tfds:NAME` or `cells`, as in `keras_arch.data.load`.

    `classes` says which value of a `masks:PATH` is which class: a number, a colour such as
    `"#ff00aa"` or `[red, green, blue]`; `ignore` is what is not known. `colors` are those that
    classes are drawn in. `cut` takes `tiles` of the size of `preprocessing` out of images at their
    own resolution, or brings images to it `whole`; `crops_per_image` is how often an epoch goes
    over the images. `augment` is as in `keras_arch.data.segmentation_train_batches`.
    """

    classes: dict[str, _Value | _Colour | Annotated[list[_Byte], pydantic.Field(min_length=3)]] = {}
    colors: dict[str, _Colour] = {}
    cut: Literal["tiles", "whole"] = "tiles"
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
            raise ValueError("segmentation holds its images in memory; leave cache out, got False")
        return self

    @property
    def address(self) -> str:
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


class Weights(Section):
    """What pixels weigh; see `keras_arch.data.WeightMap`."""

    w0: NotNegative = 10.0
    sigma: Rate = 5.0
    balance: bool = True


class SegmentationRecipe(Recipe):
    """How a segmentation network is trained.

    `loss` is that of `keras_arch.losses.pixel`; `normalize: false` takes the sum over pixels, as
    the authors of FCN did. `weights` is the weight map of cross-entropy and focal loss, or nothing.
    `interpolation` is how moved images are sampled. `keep` publishes the `last` weights, or those
    of the epoch with the `best` mean IU on `data.validation`.
    """

    optimizer: Optimizer
    loss: Literal["cross_entropy", "dice", "focal", "tversky"] = "cross_entropy"
    normalize: bool = True
    weights: Weights | None = None
    weight_decay: NotNegative = 0.0
    weight_decay_on: Decayed = "all"
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    synchronized: bool | Literal["auto"] = "auto"
    keep: Literal["last", "best"] = "last"

    @pydantic.model_validator(mode="after")
    def _fits(self) -> "SegmentationRecipe":
        if self.weights is not None and self.loss in ("dice", "tversky"):
            raise ValueError(f"weights is for cross_entropy and focal, got {self.loss!r}")
        if not self.normalize and self.loss != "cross_entropy":
            raise ValueError(f"normalize is for cross_entropy, got {self.loss!r}")
        if self.optimizer.average is not None:
            raise ValueError("average is for generators, got " + repr(self.optimizer.average))
        return self


class SegmentationConfig(Common):
    """A network that classifies pixels, trained by plain `model.fit`.

    `figures` are taken of the test split besides those of pixels; the errors of ISBI-2012 are of
    two classes, membrane and interior.
    """

    task: Literal["image-segmentation"]
    model: Builder
    data: SegmentationData
    recipe: SegmentationRecipe
    samples: sections.Samples = sections.Samples(count=4)
    figures: tuple[
        Literal["boundary_f_score", "pixel_error", "rand_error", "warping_error"], ...
    ] = ("boundary_f_score",)

    @pydantic.model_validator(mode="after")
    def _has_validation(self) -> "SegmentationConfig":
        if isinstance(self.preprocessing.mean, str):
            raise ValueError(
                f"preprocessing.mean must be a number, or one a channel, got "
                f"{self.preprocessing.mean!r}"
            )
        if self.data.validation is None and self.recipe.keep == "best":
            raise ValueError(
                "recipe.keep needs data.validation, a part of the data that is neither trained on "
                "nor tested on, such as train[90%:], got 'best'"
            )
        return self


Config = sections.Config | SegmentationConfig
