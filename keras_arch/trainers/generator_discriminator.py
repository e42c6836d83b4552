"""Base class of trainers with two players: generators against discriminators."""

from typing import Any, Unpack

import keras

from keras_arch.trainers.adversarial import AdversarialTrainer
from keras_arch.trainers.players import CompileOptions, Loss


class GeneratorDiscriminatorTrainer(AdversarialTrainer):
    """Base class of trainers with two players, `g` and `d`, each with its optimizer."""

    def compile(  # type: ignore[override]
        self,
        g_optimizer: keras.optimizers.Optimizer | str | None = None,
        d_optimizer: keras.optimizers.Optimizer | str | None = None,
        loss: Loss = "non_saturating",
        **options: Unpack[CompileOptions],
    ) -> None:
        """Set how generators and discriminators are trained.

        Args:
            g_optimizer: The generators' optimizer. Default Adam(2e-4, beta_1=0.5).
            d_optimizer: The discriminators' optimizer, another object. Default the same.
            loss: The adversarial loss; see `AdversarialTrainer.compile`.
            **options: Further arguments of `AdversarialTrainer.compile`.

        Raises:
            ArgumentError: If an argument is not one of the above.
        """
        given = {"g": g_optimizer, "d": d_optimizer}
        optimizers = {player.name: given[player.name] for player in self.players()}
        super().compile(optimizers, loss, **options)

    @property
    def g_optimizer(self) -> keras.optimizers.Optimizer | None:
        """The generators' optimizer; `None` before `compile`."""
        return self.player_optimizers.get("g")

    @property
    def d_optimizer(self) -> keras.optimizers.Optimizer | None:
        """The discriminators' optimizer; `None` before `compile`."""
        return self.player_optimizers.get("d")

    def get_compile_config(self) -> dict[str, Any] | None:
        """The arguments of `compile`, for `keras.saving`; see `AdversarialTrainer`."""
        config = super().get_compile_config()
        if config is None:
            return None
        optimizers = config.pop("optimizer")
        return {f"{name}_optimizer": value for name, value in optimizers.items()} | config
