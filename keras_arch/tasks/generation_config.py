"""The configs of image generation."""

from typing import Annotated, Literal

import pydantic

from keras_arch import config
from keras_arch.config.base import Positive, Rate

Latent = Literal["normal", "uniform", "uniform01"]
# Losses without a gradient penalty, and all.
UnpenalizedLoss = Literal["non_saturating", "minimax", "lsgan", "hinge"]
AdversarialLoss = Literal["non_saturating", "minimax", "lsgan", "hinge", "wgan-gp"]


GeneratorMetric = Literal[
    "fid",
    "kid",
    "inception_score",
    "precision",
    "recall",
    "density",
    "coverage",
    "classifier_agreement",
    "parzen",
]


class GANRecipe(config.Recipe):
    """Training settings of a GAN; see `keras_arch.trainers.GAN.compile`.

    `batch_size` is that of one update: with `n_critic` a step takes so many times as many images.
    `diff_augment` names augmentations of the discriminator's inputs, real and generated. `d_weight`
    is a factor on the discriminator's loss. `output_bias: mean_image` starts the generator's output
    at the mean of the training images; see `keras_arch.models.start_at_mean_image`.
    """

    g_optimizer: config.Optimizer
    d_optimizer: config.Optimizer
    loss: AdversarialLoss = "non_saturating"
    n_critic: Positive = 1
    update: Literal["alternating", "simultaneous"] = "alternating"
    latent: Latent = "normal"
    diff_augment: str = ""
    d_weight: Rate = 1.0
    output_bias: Literal["zero", "mean_image"] = "zero"


class LAPGANRecipe(config.Recipe):
    """Training settings of a LAPGAN; see `keras_arch.trainers.LAPGAN.compile`.

    Every network of every level gets an optimizer of its own with these settings. `levels` are the
    sizes of the levels to train (default: all). The others stay as they are, which for a generator
    with `weights` are those of an earlier run.
    """

    g_optimizer: config.Optimizer
    d_optimizer: config.Optimizer
    loss: UnpenalizedLoss = "non_saturating"
    latent: Latent = "uniform"
    levels: Annotated[tuple[Positive, ...], pydantic.Field(min_length=1)] | None = None


class GeneratorEvaluation(config.Section):
    """Evaluation of the generator during training, by an independent network.

    `network` is a classifier of ours (a run, a model directory, the name of a config or a Hub
    repository) or `inception`. `images` are generated every so many epochs and compared with as
    many real ones. The model of the epoch with the best first metric is saved. `parzen` is the
    log-likelihood of the last 1,000 training images, by which the first papers stopped.
    """

    network: str
    metrics: Annotated[
        tuple[GeneratorMetric, ...],
        pydantic.Field(min_length=1),
    ] = ("fid",)
    images: Annotated[int, pydantic.Field(ge=4)] = 5_000
    every: Positive = 1


class AdversarialConfig(config.TaskConfig):
    """The keys of all adversarial tasks."""

    generator: config.Builder
    discriminator: config.Builder
    samples: config.Samples = config.Samples()


class GenerationConfig(AdversarialConfig):
    """Config of a GAN, conditional or not."""

    recipe: GANRecipe
    generator_evaluation: GeneratorEvaluation | None = None


class LAPGANConfig(AdversarialConfig):
    """Config of a LAPGAN.

    The discriminator's builder is called once a level, with `size` and the generator's arguments.
    """

    recipe: LAPGANRecipe
    generator_evaluation: GeneratorEvaluation | None = None
