"""The sections of a hub config: what each key may hold."""

from typing import Annotated, Any, Literal

import pydantic

from keras_arch.config.base import Fraction, NotNegative, Positive, Rate, Section
from keras_arch.config.optimizers import AdamW, Cosine, Decayed, Optimizer
from keras_arch.preprocessing import Preprocessing


class Builder(Section):
    """A registered architecture and its arguments."""

    name: str
    arguments: dict[str, Any] = {}


class Data(Section):
    """Where images come from and how they are varied.

    `source`, `train`, `test` and `data_dir` are as in `keras_arch.data.load`; `augment` is as in
    `keras_arch.data.train_batches`. `cache` holds the images in memory. A classifier is measured after
    every epoch on `validation`, and on `test` at the end; without `validation` on `test` both
    times.
    """

    source: str
    train: str = "train"
    validation: str | None = None
    test: str = "test"
    data_dir: str | None = None
    augment: tuple[str, ...] = ()
    cache: bool = True

    @property
    def address(self) -> str:
        """The source as `keras_arch.data.load` takes it."""
        return self.source

    @pydantic.field_validator("augment", mode="before")
    @classmethod
    def _whole_names(cls, names: Any) -> Any:
        """YAML takes the comma of `[randaugment:2,9]` for the end of the name."""
        if isinstance(names, list) and any(isinstance(each, int | float) for each in names):
            raise ValueError(
                "names with a comma need quotes in a list; write randaugment:2:9 or "
                f"'randaugment:2,9', got {names!r}"
            )
        return names


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
    crop: Annotated[float, pydantic.Field(gt=0, le=1)] | None = None

    @pydantic.model_validator(mode="after")
    def _fits(self) -> "PreprocessingConfig":
        self.build(mean=0.0 if isinstance(self.mean, str) else self.mean)
        return self

    def build(self, mean: Any = None) -> Preprocessing:
        """The `Preprocessing`, with a measured mean in place of `per_pixel` or `per_channel`."""
        return Preprocessing(**(self.model_dump() | ({} if mean is None else {"mean": mean})))


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
    """How a classifier is trained.

    `weight_decay` is the L2 kind of the classic recipes, on `all` weights or on `kernels` only.
    `label_smoothing` shares so much of a label among all classes. `synchronized` batch norm looks
    at the images of all replicas: where there are several, unless it is false.
    `keep` publishes the `last` weights, or those that were `best` on `data.validation` (by
    accuracy, and by loss among equals); with `patience` training ends after so many epochs without
    better ones. The loss of each auxiliary head (GoogLeNet's) counts `auxiliary_weight` times.
    """

    optimizer: Optimizer
    weight_decay: NotNegative = 0.0
    weight_decay_on: Decayed = "all"
    auxiliary_weight: NotNegative = 0.3
    label_smoothing: Fraction = 0.0
    synchronized: bool | Literal["auto"] = "auto"
    keep: Literal["last", "best"] = "last"
    patience: Positive | None = None

    @pydantic.field_validator("optimizer")
    @classmethod
    def _not_averaged(cls, optimizer: Optimizer) -> Optimizer:
        if optimizer.average is not None:
            raise ValueError("average is for generators; leave it out of a classifier's optimizer")
        return optimizer


class FinetuneRecipe(ClassifierRecipe):
    """How a trained classifier learns other classes.

    For the first `head_epochs` of the `epochs` (a fifth of them, at most 3, unless it is said) only
    the new classifier learns, at `head_learning_rate`, in front of a network that stays as it is.
    Then all layers learn by the `optimizer`: the classifier at its learning rate, and each stage
    before it at `layer_decay` times the rate of the one after it.
    """

    epochs: Positive = 30
    batch_size: Positive = 32
    optimizer: Optimizer = AdamW(
        name="adamw", learning_rate=Cosine(peak=1e-3, warmup_epochs=1.0), weight_decay=0.01
    )
    head_epochs: Annotated[int, pydantic.Field(ge=0)] | None = None
    head_learning_rate: Rate = 3e-3
    layer_decay: Annotated[float, pydantic.Field(gt=0, le=1)] = 0.5
    keep: Literal["last", "best"] = "best"
    patience: Positive | None = 10

    @pydantic.model_validator(mode="after")
    def _head_first(self) -> "FinetuneRecipe":
        if self.head_epochs is None:
            # The one way to set a field of what cannot be changed.
            self.__dict__["head_epochs"] = min(3, self.epochs // 5)
        if self.head_epochs > self.epochs:
            raise ValueError(
                f"head_epochs are the first of the epochs, {self.epochs}, got {self.head_epochs}"
            )
        return self


Unpenalized = Literal["non_saturating", "minimax", "lsgan", "hinge"]
Adversarial = Literal["non_saturating", "minimax", "lsgan", "hinge", "wgan-gp"]


class GANRecipe(Recipe):
    """How a GAN is trained; see `keras_arch.trainers.GAN.compile`.

    `batch_size` is that of one update: with `n_critic` a step takes so many times as many images.
    `diff_augment` names changes that the discriminator sees real and generated images through.
    """

    g_optimizer: Optimizer
    d_optimizer: Optimizer
    loss: Adversarial = "non_saturating"
    n_critic: Positive = 1
    update: Literal["alternating", "simultaneous"] = "alternating"
    latent: Literal["normal", "uniform", "uniform01"] = "normal"
    diff_augment: str = ""


class LAPGANRecipe(Recipe):
    """How a LAPGAN is trained; see `keras_arch.trainers.LAPGAN.compile`.

    Every network of every level gets an optimizer of its own, made as described here.
    """

    g_optimizer: Optimizer
    d_optimizer: Optimizer
    loss: Unpenalized = "non_saturating"
    latent: Literal["normal", "uniform", "uniform01"] = "uniform"


class Pix2PixRecipe(Recipe):
    """How a pix2pix is trained; see `keras_arch.trainers.Pix2Pix`."""

    g_optimizer: Optimizer
    d_optimizer: Optimizer
    objective: Literal["l1", "gan", "cgan", "l1+gan", "l1+cgan"] = "l1+cgan"
    loss: Unpenalized = "non_saturating"
    l1_weight: Rate = 100.0
    d_weight: Rate = 0.5


class CycleGANRecipe(Recipe):
    """How a CycleGAN is trained; see `keras_arch.trainers.CycleGAN.compile`."""

    g_optimizer: Optimizer
    d_optimizer: Optimizer
    loss: Unpenalized = "lsgan"
    cycle_weight: Rate = 10.0
    identity_weight: Annotated[float, pydantic.Field(ge=0)] = 0.5
    pool_size: Annotated[int, pydantic.Field(ge=0)] = 50


class Samples(Section):
    """The pictures drawn after every so many epochs, from fixed latents or fixed inputs."""

    count: Positive = 64
    every: Positive = 1
    seed: Annotated[int, pydantic.Field(ge=0)] = 0


Figure = Literal[
    "fid",
    "kid",
    "inception_score",
    "precision",
    "recall",
    "density",
    "coverage",
    "classifier_agreement",
]


class Judge(Section):
    """An independent network that generated images are judged with after every so many epochs.

    `network` is a classifier of ours (a run, a model directory, the name of a config or a Hub
    repository) or `inception`. `images` are generated and compared with as many real ones. The
    model is kept from the epoch in which the first of the `figures` was best.
    """

    network: str
    figures: Annotated[tuple[Figure, ...], pydantic.Field(min_length=1)] = ("fid",)
    images: Annotated[int, pydantic.Field(ge=4)] = 5_000
    every: Positive = 1


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

    @pydantic.model_validator(mode="after")
    def _has_validation(self) -> "ClassifierConfig":
        recipe = self.recipe
        if self.data.validation is None and (recipe.keep == "best" or recipe.patience):
            key = "keep" if recipe.keep == "best" else "patience"
            raise ValueError(
                f"recipe.{key} needs data.validation, a part of the data that is neither trained "
                f"on nor tested on, such as train[90%:], got {getattr(recipe, key)!r}"
            )
        return self


class FinetuneConfig(ClassifierConfig):
    """A classifier that begins with the `weights` of another one (a REF, as on the command line).

    `preprocessing` and the arguments of the `model` are those of the weights, `classes` apart.
    """

    task: Literal["fine-tuning"]
    weights: str
    recipe: FinetuneRecipe = FinetuneRecipe()


class GeneratorConfig(Common):
    """What the configs of all games have in common."""

    generator: Builder
    discriminator: Builder
    samples: Samples = Samples()


class GANConfig(GeneratorConfig):
    """A generator of images, trained by `keras_arch.trainers.GAN`."""

    task: Literal["unconditional-image-generation"]
    recipe: GANRecipe
    judge: Judge | None = None


class ConditionalGANConfig(GeneratorConfig):
    """A generator of images of given classes, trained by `keras_arch.trainers.ConditionalGAN`."""

    task: Literal["conditional-image-generation"]
    recipe: GANRecipe
    judge: Judge | None = None


class LAPGANConfig(GeneratorConfig):
    """A generator in levels, trained by `keras_arch.trainers.LAPGAN`.

    The discriminator's builder is called once a level, with `size` and what the generator has.
    """

    task: Literal["laplacian-pyramid-generation"]
    recipe: LAPGANRecipe
    judge: Judge | None = None


class Pix2PixConfig(GeneratorConfig):
    """A translator of images that learns from pairs, by `keras_arch.trainers.Pix2Pix`."""

    task: Literal["paired-image-translation"]
    recipe: Pix2PixRecipe


class CycleGANConfig(GeneratorConfig):
    """Two translators that learn from unpaired images, by `keras_arch.trainers.CycleGAN`."""

    task: Literal["unpaired-image-translation"]
    recipe: CycleGANRecipe


Config = (
    ClassifierConfig
    | FinetuneConfig
    | GANConfig
    | ConditionalGANConfig
    | LAPGANConfig
    | Pix2PixConfig
    | CycleGANConfig
)
