"""Sections that the configs of all tasks share."""

import re
from typing import Annotated, Any, Literal

import pydantic

from keras_arch.preprocessing import Preprocessing

Positive = Annotated[int, pydantic.Field(ge=1)]
Rate = Annotated[float, pydantic.Field(gt=0)]
Fraction = Annotated[float, pydantic.Field(ge=0, lt=1)]
NotNegative = Annotated[float, pydantic.Field(ge=0)]


# Signs that names of files cannot have on every system.
_NOT_IN_NAMES = re.compile(r"[/\\\0-\x1f\x7f]")


def _folder_name(name: str) -> str:
    """Refuse a name that cannot be that of a folder: runs are in `runs/NAME`."""
    reserved = name.strip() in ("", ".", "..")
    if reserved or len(name.encode()) > 200 or _NOT_IN_NAMES.search(name):
        raise ValueError(
            "must be the name of a folder, without / and \\ and of at most 200 bytes; choose "
            f"another by --set name=NAME, got {name!r}"
        )
    return name


class Section(pydantic.BaseModel):
    """Base class of the sections of a config; unknown keys are refused."""

    model_config = pydantic.ConfigDict(
        extra="forbid", frozen=True, strict=False, allow_inf_nan=False
    )


class Builder(Section):
    """A registered architecture and its arguments."""

    name: str
    arguments: dict[str, Any] = {}


class Data(Section):
    """The data source, its splits and its augmentation.

    `source`, `train`, `test` and `data_dir` are as in `keras_arch.data.load`; `augment` is as in
    `keras_arch.data.train_batches`. `cache` keeps the images in memory. A classifier is evaluated
    after every epoch on `validation`, and on `test` at the end; without `validation` on `test`
    both times.
    """

    source: str
    train: str = "train"
    validation: str | None = None
    test: str = "test"
    data_dir: str | None = None
    augment: tuple[str, ...] = ()
    cache: bool = True

    @property
    def uri(self) -> str:
        """The source as `keras_arch.data.load` takes it."""
        return self.source

    @pydantic.field_validator("augment", mode="before")
    @classmethod
    def _whole_names(cls, names: Any) -> Any:
        """YAML reads the comma of `[randaugment:2,9]` as the end of the name."""
        if isinstance(names, list) and any(isinstance(each, int | float) for each in names):
            raise ValueError(
                "names with a comma need quotes in a list; write randaugment:2:9 or "
                f"'randaugment:2,9', got {names!r}"
            )
        return names


class PreprocessingConfig(Section):
    """`keras_arch.preprocessing.Preprocessing`, whose mean may be measured on the data.

    `mean: per_pixel` or `mean: per_channel` is measured on the training images when a run starts
    and is written into the resolved config.
    """

    size: tuple[Positive, Positive]
    channels: Positive = 3
    resize: Literal["nearest", "bilinear", "bicubic", "lanczos3", "area", "pad"] = "bilinear"
    scale: Rate = 1 / 255
    mean: Literal["per_pixel", "per_channel"] | float | list[Any] = 0.0
    std: float | list[Any] = 1.0
    channel_order: Literal["rgb", "bgr"] = "rgb"
    crop: Annotated[float, pydantic.Field(gt=0, le=1)] | None = None
    value_range: tuple[float, float] | None = None

    @pydantic.model_validator(mode="after")
    def _fits(self) -> "PreprocessingConfig":
        self.build(mean=0.0 if isinstance(self.mean, str) else self.mean)
        return self

    def build(self, mean: Any = None) -> Preprocessing:
        """The `Preprocessing`, with a measured mean in place of `per_pixel` or `per_channel`."""
        return Preprocessing(**(self.model_dump() | ({} if mean is None else {"mean": mean})))


class Recipe(Section):
    """Training settings of every task.

    `batch_size` is the global batch, over all replicas. `precision` is a Keras dtype policy.
    `deterministic` asks TensorFlow for bit-identical results, at some cost in speed.
    `checkpoint_every` writes a checkpoint every so many steps, besides the one of each epoch.
    """

    epochs: Positive
    batch_size: Positive
    seed: Annotated[int, pydantic.Field(ge=0, lt=2**31)] = 0
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16", "float64"] = "float32"
    deterministic: bool = False
    jit_compile: bool | Literal["auto"] = "auto"
    steps_per_execution: Positive = 1
    checkpoint_every: Positive | None = None


class Samples(Section):
    """Sample images drawn every so many epochs, from fixed latents or fixed inputs."""

    count: Positive = 64
    every: Positive = 1
    seed: Annotated[int, pydantic.Field(ge=0)] = 0


class TaskConfig(Section):
    """Base class of the configs of tasks: the keys that all of them have.

    `imports` names installed modules to import before the config is read, such as those that
    register architectures, data sources or tasks. `expected` holds the metrics that the recipe
    reached.
    """

    name: Annotated[str, pydantic.AfterValidator(_folder_name)]
    task: str
    description: str = ""
    imports: tuple[str, ...] = ()
    data: Data
    preprocessing: PreprocessingConfig
    recipe: Recipe
    license: str = "apache-2.0"
    expected: dict[str, float] = {}
    repository: str | None = None
