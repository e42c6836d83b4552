"""Image-to-image translation with conditional adversarial networks (pix2pix) as a trainer."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_arch import losses
from keras_arch.errors import ArgumentError
from keras_arch.trainers.adversarial import (
    AdversarialTrainer,
    Noise,
    Player,
    Tensors,
    Values,
    compiled_optimizer,
    forward,
    serialized,
)

# The five rows of the paper's table 1.
OBJECTIVES = ("l1", "gan", "cgan", "l1+gan", "l1+cgan")


@keras.saving.register_keras_serializable("keras_arch")
class Pix2Pix(AdversarialTrainer):
    """Trains a generator from one kind of image to another on aligned pairs, in `model.fit`.

    Source: Isola et al. 2017, "Image-to-Image Translation with Conditional Adversarial Networks",
    sections 3.1 and 3.3. A batch is `(image, target)`, where `image` is the generator's input.

    Args:
        generator: From images to images.
        discriminator: A map of logits; positive says real. For the objectives with `cgan` it
            takes `[image, target]`, for those with `gan` the target alone; `None` for `l1`.
        objective: `"l1"`, `"gan"`, `"cgan"`, `"l1+gan"` or `"l1+cgan"`: the rows of the paper's
            table 1. Default the last, which is pix2pix.
        seed: Seed of the trainer's own random numbers, or `None` to draw one.
        name: Name of the trainer.

    Raises:
        ArgumentError: If the networks do not fit each other or the objective.

    Example:
        >>> from keras_arch import models, trainers
        >>> pix2pix = trainers.Pix2Pix(
        ...     models.Pix2PixGenerator("encoder_decoder", filters=2),
        ...     models.PatchDiscriminator(70, filters=2),
        ... )
        >>> pix2pix.compile()
        >>> sorted(pix2pix.translate(np.zeros((1, 256, 256, 3), "float32")).shape)
        [1, 3, 256, 256]
    """

    PARTS = ("image", "target")

    def __init__(
        self,
        generator: keras.Model,
        discriminator: keras.Model | None = None,
        objective: str = "l1+cgan",
        seed: int | None = None,
        name: str | None = None,
    ) -> None:
        if objective not in OBJECTIVES:
            raise ArgumentError(
                f"objective must be one of {', '.join(OBJECTIVES)}, got {objective!r}"
            )
        adversarial, l1 = "gan" in objective, "l1" in objective
        logged = ["d_loss", "d_real", "d_fake"] * adversarial + ["g_loss"]
        logged += ["g_gan"] * adversarial + ["g_l1"]
        super().__init__(tuple(logged), seed, name or "pix2pix")
        self.generator = generator
        self.discriminator = discriminator
        self.objective = objective
        self.adversarial, self.conditional = adversarial, "cgan" in objective
        self.uses_l1 = l1
        self._check_networks()
        self.g_optimizer = None
        self.d_optimizer = None
        self.loss_name = "non_saturating"
        self.l1_weight = 100.0
        self.d_weight = 0.5
        self.built = True

    def compile(
        self,
        g_optimizer: keras.optimizers.Optimizer | str | None = None,
        d_optimizer: keras.optimizers.Optimizer | str | None = None,
        loss: str = "non_saturating",
        l1_weight: float = 100.0,
        d_weight: float = 0.5,
        jit_compile: bool | str = "auto",
        run_eagerly: bool = False,
        steps_per_execution: int = 1,
    ) -> None:
        """Say how the two are trained.

        Args:
            g_optimizer: The generator's optimizer. Default Adam(2e-4, beta_1=0.5), the paper's.
            d_optimizer: The discriminator's optimizer, another object. Default the same.
            loss: The adversarial term: `"non_saturating"` (the paper's), `"lsgan"` or `"hinge"`.
            l1_weight: Lambda of the L1 term. Default 100.
            d_weight: Factor on the discriminator's loss. Default one half, which slows the
                discriminator down (section 3.3).
            jit_compile: Compile with XLA; `"auto"` does so where it is faster (on a GPU).
            run_eagerly: Run step by step in Python, for debugging.
            steps_per_execution: Steps in one call of the compiled function.

        Raises:
            ArgumentError: If an argument is not one of the above.
        """
        if losses.adversarial(loss).penalty:
            raise ArgumentError(
                f"loss must be non_saturating, minimax, lsgan or hinge here, got {loss!r}"
            )
        for name, value in (("l1_weight", l1_weight), ("d_weight", d_weight)):
            if not value > 0:
                raise ArgumentError(f"{name} must be positive, got {value!r}")
        optimizers = [compiled_optimizer(self, given) for given in (g_optimizer, d_optimizer)]
        if optimizers[0] is optimizers[1]:
            raise ArgumentError(
                "g_optimizer and d_optimizer must be two objects: each keeps the moments of its "
                "own network"
            )
        self.g_optimizer = optimizers[0]
        self.d_optimizer = optimizers[1] if self.adversarial else None
        self.loss_name, self.l1_weight, self.d_weight = loss, float(l1_weight), float(d_weight)
        self.compile_players(
            update="alternating",
            jit_compile=jit_compile,
            run_eagerly=run_eagerly,
            steps_per_execution=steps_per_execution,
        )

    def call(self, image: Any, training: bool = False) -> Any:
        """Translated images: the generator's forward."""
        return self.generator(image, training=training)

    def translate(self, images: Any, batch_size: int = 1) -> np.ndarray:
        """Translate images as the generator was built to do at inference.

        Where it keeps batch statistics or dropout, they neither move nor change from call to
        call: the same images give the same result.

        Args:
            images: `(count, height, width, channels)` in the range of the training data.
            batch_size: Images in one forward. Where batch statistics are kept it matters; the
                paper's own is 1.

        Returns:
            A `float32` array `(count, height, width, channels)` in the generator's range.
        """
        return translate(self.ema_network(self.generator), images, batch_size)

    # The game.

    def players(self) -> tuple[Player, ...]:
        """The discriminator, where there is one, then the generator."""
        generator = Player("g", (self.generator,), self.g_optimizer, self._generator_loss)
        if not self.adversarial:
            return (generator,)
        return (
            Player("d", (self.discriminator,), self.d_optimizer, self._discriminator_loss),
            generator,
        )

    def noise(self) -> dict[str, Noise]:
        """None: the generator's noise is its dropout."""
        return {}

    def shared_forward(self, tensors: Tensors, training: bool) -> Tensors:
        """Translated images."""
        # Not `training=False`, which would overrule what the generator keeps at inference.
        return {"fake": self.generator(tensors["image"], training=training or None)}

    def input_spec(self) -> dict[str, tuple[int | None, ...]]:
        """Inputs and targets."""
        return {
            "image": tuple(self.generator.input_shape[1:]),
            "target": tuple(self.generator.output_shape[1:]),
        }

    def output_networks(self) -> dict[str, keras.Model]:
        """The generator makes images like the targets."""
        return {"target": self.generator}

    def _judge(self, images: Any, tensors: Tensors, training: bool) -> Any:
        given = [tensors["image"], images] if self.conditional else images
        return self.discriminator(given, training=training)

    def _discriminator_loss(self, tensors: Tensors, training: bool) -> tuple[Any, Values]:
        loss = losses.adversarial(self.loss_name)
        on_real = self._judge(tensors["target"], tensors, training)
        on_fake = self._judge(ops.stop_gradient(tensors["fake"]), tensors, training)
        scores = {
            "d_real": losses.per_example(loss.score(on_real)),
            "d_fake": losses.per_example(loss.score(on_fake)),
        }
        return self.d_weight * loss.discriminator(on_real, on_fake), scores

    def _generator_loss(self, tensors: Tensors, training: bool) -> tuple[Any, Values]:
        fake = ops.cast(tensors["fake"], "float32")
        l1 = losses.per_example(ops.abs(fake - ops.cast(tensors["target"], "float32")))
        total, values = 0.0, {"g_l1": l1}
        if self.uses_l1:
            # Without an adversarial term there is nothing to weigh L1 against.
            total = total + (self.l1_weight if self.adversarial else 1.0) * l1
        if self.adversarial:
            on_fake = self._judge(tensors["fake"], tensors, training)
            values["g_gan"] = losses.adversarial(self.loss_name).generator(on_fake)
            total = total + values["g_gan"]
        return total, values

    def _check_networks(self) -> None:
        if self.adversarial != (self.discriminator is not None):
            raise ArgumentError(
                f"objective {self.objective!r} "
                f"{'needs a' if self.adversarial else 'has no'} discriminator"
            )
        if not self.adversarial:
            return
        made = tuple(self.generator.output_shape[1:])
        wanted = [made] if not self.conditional else [tuple(self.generator.input_shape[1:]), made]
        judged = [tuple(tensor.shape[1:]) for tensor in self.discriminator.inputs]
        if judged != wanted:
            raise ArgumentError(
                f"objective {self.objective!r} needs a discriminator of "
                f"{' and '.join(map(str, wanted))}, {self.discriminator.name} takes "
                f"{' and '.join(map(str, judged))}"
            )

    # Saving.

    def get_config(self) -> dict[str, Any]:
        """The networks and the objective, for `keras.saving`."""
        networks = {"generator": self.generator, "discriminator": self.discriminator}
        return serialized(networks) | {"objective": self.objective, "name": self.name}

    def get_compile_config(self) -> dict[str, Any]:
        """How it was compiled, for `keras.saving`."""
        optimizers = {"g_optimizer": self.g_optimizer, "d_optimizer": self.d_optimizer}
        return serialized(optimizers) | {
            "loss": self.loss_name,
            "l1_weight": self.l1_weight,
            "d_weight": self.d_weight,
            "steps_per_execution": self.steps_per_execution,
        }


def translate(generator: keras.Model, images: Any, batch_size: int = 1) -> np.ndarray:
    """Translate images with a generator alone, as `Pix2Pix.translate` does.

    Args:
        generator: From images to images.
        images: `(count, height, width, channels)` in the range of the training data.
        batch_size: Images in one forward.

    Returns:
        A `float32` array `(count, height, width, channels)` in the generator's range.

    Raises:
        ArgumentError: If the images are not of the generator's shape.

    Example:
        >>> from keras_arch import models, trainers
        >>> generator = models.CycleGANGenerator(blocks=6, image_shape=(16, 16, 3), filters=2)
        >>> trainers.translate(generator, np.zeros((2, 16, 16, 3), "float32")).shape
        (2, 16, 16, 3)
    """
    images = np.asarray(images, np.float32)
    wanted = tuple(generator.input_shape[1:])
    fits = images.ndim == 4 and all(
        want is None or want == got for want, got in zip(wanted, images.shape[1:], strict=True)
    )
    if not fits or not len(images):
        raise ArgumentError(
            f"{generator.name} translates images of shape (count, "
            f"{', '.join(map(str, wanted))}), got {images.shape}"
        )
    parts = [images[i : i + batch_size] for i in range(0, len(images), batch_size)]
    return np.concatenate([forward(generator, part) for part in parts])
