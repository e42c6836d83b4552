"""What a hub config may say, checked before anything is loaded or trained.

A config is one YAML file for one published model: its builders, data, preprocessing, recipe,
expected figures and repository. Every error names the key, the value and what is allowed.
"""

import difflib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
import yaml

from keras_arch import presets
from keras_arch.errors import ArgumentError, ConfigError
from keras_arch.preprocessing import Preprocessing

Positive = Annotated[int, pydantic.Field(ge=1)]
Rate = Annotated[float, pydantic.Field(gt=0)]
Fraction = Annotated[float, pydantic.Field(ge=0, lt=1)]


class Section(pydantic.BaseModel):
    """A part of a config: keys that it does not know are refused."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, strict=False)


class Builder(Section):
    """A registered architecture and its arguments."""

    name: str
    arguments: dict[str, Any] = {}


class Data(Section):
    """Where images come from and how they are varied.

    `source`, `train`, `test` and `data_dir` are as in `keras_arch.data.load`; `augment` is as in
    `keras_arch.data.training`. `cache` holds the images in memory.
    """

    source: str
    train: str = "train"
    test: str = "test"
    data_dir: str | None = None
    augment: tuple[str, ...] = ()
    cache: bool = True


class PreprocessingConfig(Section):
    """`keras_arch.preprocessing.Preprocessing`, where the mean may be taken from the data.

    `mean: per_pixel` or `mean: per_channel` is measured on the training images when a run starts
    and is written into the resolved config.
    """

    size: tuple[Positive, Positive]
    channels: Literal[1, 3] = 3
    resize: Literal["nearest", "bilinear", "bicubic", "lanczos3", "area", "pad"] = "bilinear"
    scale: Rate = 1 / 255
    mean: Literal["per_pixel", "per_channel"] | float | list[Any] = 0.0
    std: float | list[Any] = 1.0
    channel_order: Literal["rgb", "bgr"] = "rgb"

    @pydantic.model_validator(mode="after")
    def _fits(self) -> "PreprocessingConfig":
        self.build(mean=0.0 if isinstance(self.mean, str) else self.mean)
        return self

    def build(self, mean: Any = None) -> Preprocessing:
        """The `Preprocessing`, with a measured mean in place of `per_pixel` or `per_channel`."""
        return Preprocessing(**(self.model_dump() | ({} if mean is None else {"mean": mean})))


class Schedule(Section):
    """A learning rate that is constant between iterations: `values[i]` until `boundaries[i]`."""

    boundaries: list[Positive]
    values: list[Rate]

    @pydantic.model_validator(mode="after")
    def _one_more_value(self) -> "Schedule":
        if len(self.values) != len(self.boundaries) + 1:
            raise ValueError(
                f"needs one value more than boundaries, got {len(self.values)} values and "
                f"{len(self.boundaries)} boundaries"
            )
        if sorted(set(self.boundaries)) != self.boundaries:
            raise ValueError(f"boundaries must rise, got {self.boundaries}")
        return self


def _kind_of_rate(value: Any) -> str:
    return "schedule" if isinstance(value, dict | Schedule) else "number"


LearningRate = Annotated[
    Annotated[Rate, pydantic.Tag("number")] | Annotated[Schedule, pydantic.Tag("schedule")],
    pydantic.Discriminator(_kind_of_rate),
]


class SGD(Section):
    """Stochastic gradient descent, with the momentum of Keras."""

    name: Literal["sgd"]
    learning_rate: LearningRate
    momentum: Fraction = 0.0
    nesterov: bool = False


class Adam(Section):
    """Adam (Kingma and Ba 2014)."""

    name: Literal["adam"]
    learning_rate: LearningRate
    beta_1: Fraction = 0.9
    beta_2: Fraction = 0.999
    epsilon: Rate = 1e-7


class RMSprop(Section):
    """RMSprop, as the first Wasserstein GANs used it."""

    name: Literal["rmsprop"]
    learning_rate: LearningRate
    rho: Fraction = 0.9
    momentum: Fraction = 0.0


Optimizer = Annotated[SGD | Adam | RMSprop, pydantic.Field(discriminator="name")]


class Recipe(Section):
    """What both kinds of training share.

    `batch_size` is the global batch, over all replicas. `precision` is a Keras dtype policy.
    `deterministic` asks TensorFlow for bit-identical results, at some cost in speed.
    `checkpoint_every` writes a checkpoint each so many steps besides the one each epoch.
    """

    epochs: Positive
    batch_size: Positive
    seed: Annotated[int, pydantic.Field(ge=0, lt=2**31)] = 0
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16", "float64"] = "float32"
    deterministic: bool = False
    jit_compile: bool | Literal["auto"] = "auto"
    steps_per_execution: Positive = 1
    checkpoint_every: Positive | None = None


class ClassifierRecipe(Recipe):
    """How a classifier is trained: `weight_decay` is the L2 kind of the classic recipes."""

    optimizer: Optimizer
    weight_decay: Annotated[float, pydantic.Field(ge=0)] = 0.0


class GANRecipe(Recipe):
    """How a GAN is trained; see `keras_arch.trainers.GAN.compile`.

    `batch_size` is that of one update: with `n_critic` a step takes so many times as many images.
    """

    g_optimizer: Optimizer
    d_optimizer: Optimizer
    loss: Literal["non_saturating", "minimax", "lsgan", "hinge", "wgan-gp"] = "non_saturating"
    n_critic: Positive = 1
    update: Literal["alternating", "simultaneous"] = "alternating"
    latent: Literal["normal", "uniform"] = "normal"


class Samples(Section):
    """The grid that a generator draws from fixed latents after every so many epochs."""

    count: Positive = 64
    every: Positive = 1
    seed: Annotated[int, pydantic.Field(ge=0)] = 0


class Common(Section):
    """What every config holds."""

    name: str
    description: str = ""
    data: Data
    preprocessing: PreprocessingConfig
    license: str = "apache-2.0"
    expected: dict[str, float] = {}
    repository: str | None = None


class ClassifierConfig(Common):
    """A classifier of images, trained by plain `model.fit`."""

    task: Literal["image-classification"]
    model: Builder
    recipe: ClassifierRecipe


class GANConfig(Common):
    """A generator of images, trained by `keras_arch.trainers.GAN`."""

    task: Literal["unconditional-image-generation"]
    generator: Builder
    discriminator: Builder
    recipe: GANRecipe
    samples: Samples = Samples()


Config = ClassifierConfig | GANConfig
_CONFIG = pydantic.TypeAdapter(Annotated[Config, pydantic.Field(discriminator="task")])


def load(source: str | os.PathLike[str], overrides: Sequence[str] = ()) -> Config:
    """Read and check a config.

    Args:
        source: Name of a shipped config (`"resnet20-digits"`) or path of a YAML file.
        overrides: Changes such as `"recipe.epochs=20"`; the value is read as YAML.

    Returns:
        The checked config.

    Raises:
        ConfigError: If a key is unknown or a value is wrong: the message names the key, the value
            and what is allowed.
        ArgumentError: If there is no such config.

    Example:
        >>> from keras_arch import config
        >>> config.load("resnet20-digits", ["recipe.epochs=3"]).recipe.epochs
        3
    """
    return parse(*_read(source), overrides)


def parse(content: dict[str, Any], where: str = "config", overrides: Sequence[str] = ()) -> Config:
    """Check a config that is already read.

    Args:
        content: The nested dictionaries of the YAML file.
        where: What errors call it.
        overrides: As for `load`.

    Raises:
        ConfigError: As for `load`.

    Example:
        >>> from keras_arch import config, presets
        >>> config.parse(presets.read("dcgan-digits")).task
        'unconditional-image-generation'
    """
    for override in overrides:
        content = _override(content, override)
    try:
        return _CONFIG.validate_python(content)
    except pydantic.ValidationError as error:
        raise ConfigError(f"{where}: {_explain(error, content)}") from None


def dump(config: Config) -> str:
    """A config as YAML that `load` reads back.

    Example:
        >>> from keras_arch import config
        >>> digits = config.load("resnet20-digits")
        >>> config.parse(yaml.safe_load(config.dump(digits))) == digits
        True
    """
    content = config.model_dump(mode="json")
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100)


def _read(source: str | os.PathLike[str]) -> tuple[dict[str, Any], str]:
    """A config's content and its name for messages."""
    name = str(source)
    is_path = isinstance(source, Path) or name.endswith((".yaml", ".yml")) or os.sep in name
    if not is_path:
        return presets.read(name), name
    path = Path(source)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise ArgumentError(f"cannot read config {name}: {reason}") from None
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{name} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{name} must hold a mapping of keys to values")
    return content, name


def _override(content: dict[str, Any], override: str) -> dict[str, Any]:
    """A copy of the content with one `a.b.c=value` set."""
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"--set takes key=value (recipe.epochs=20), got {override!r}")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise ConfigError(f"--set {override!r}: the value is not YAML") from None
    changed = dict(content)
    inner = changed
    *parents, last = key.split(".")
    for parent in parents:
        below = inner.get(parent, {})
        if not isinstance(below, dict):
            raise ConfigError(f"--set {key}: {parent} is {below!r} and has no keys below it")
        inner[parent] = inner = dict(below)
    inner[last] = value
    return changed


def _explain(error: pydantic.ValidationError, content: dict[str, Any]) -> str:
    """The first thing that is wrong, in one line."""
    problem = error.errors(include_url=False)[0]
    # Pydantic puts the chosen member of a union into the path; users know only their own keys.
    absent = problem["type"] in ("extra_forbidden", "missing")
    path = _users_path(problem["loc"], content, keep_last=absent)
    key = ".".join(map(str, path)) or "config"
    value = problem.get("input")
    if problem["type"] == "extra_forbidden":
        known = _keys_beside(problem["loc"])
        close = difflib.get_close_matches(str(path[-1]), known, n=2, cutoff=0.5)
        hint = f"did you mean {' or '.join(close)}?" if close else f"known are {', '.join(known)}"
        return f"unknown key {key!r} with value {_short(value)}; {hint}"
    if problem["type"] == "missing":
        return f"key {key!r} is missing"
    if problem["type"].startswith("union_tag"):
        expected = problem.get("ctx", {}).get("expected_tags", "")
        tag = problem.get("ctx", {}).get("discriminator", "'task'").strip("'")
        got = value.get(tag) if isinstance(value, dict) else value
        place = f"{key}.{tag}" if path else tag
        allowed = f"must be one of {expected}" if expected else "is missing"
        return f"{place} {allowed}, got {_short(got)}"
    message = problem["msg"].removeprefix("Value error, ")
    return f"{key}: {message[0].lower()}{message[1:]}, got {_short(value)}"


def _users_path(location: tuple[Any, ...], content: Any, keep_last: bool) -> list[Any]:
    """The part of pydantic's path that exists in what the user wrote, and an absent last key."""
    path: list[Any] = []
    for position, key in enumerate(location):
        last = keep_last and position == len(location) - 1
        if isinstance(content, dict) and (key in content or last):
            path.append(key)
            content = content.get(key)
        elif isinstance(content, list | tuple) and isinstance(key, int) and key < len(content):
            path.append(key)
            content = content[key]
    return path


def _keys_beside(location: tuple[Any, ...]) -> list[str]:
    """The keys that the section of an unknown key has."""
    sections: list[Any] = [ClassifierConfig, GANConfig]
    tags = {section.model_fields["task"].annotation.__args__[0]: section for section in sections}
    section: Any = tags.get(location[0], ClassifierConfig)
    for key in location[1:-1]:
        annotation = section.model_fields[key].annotation if key in section.model_fields else None
        members = getattr(annotation, "__args__", (annotation,))
        if annotation is None:
            # A tag that chose the member of a union, such as the optimizer's name.
            members = (_named(key),)
        found = [m for m in members if isinstance(m, type) and issubclass(m, Section)]
        if not found:
            break
        section = found[0]
    return sorted(section.model_fields)


def _named(tag: Any) -> Any:
    """The optimizer of a name."""
    return {"sgd": SGD, "adam": Adam, "rmsprop": RMSprop}.get(tag)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
