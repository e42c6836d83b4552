"""Image generation level by level: LAPGAN."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keras_arch import config as configs
from keras_arch.errors import ConfigError
from keras_arch.tasks._modules import factories, optimizer_from_config, trainers
from keras_arch.tasks.base import register_task
from keras_arch.tasks.generation import ConditionalGeneration
from keras_arch.tasks.generation_config import LAPGANConfig

if TYPE_CHECKING:
    import keras


@register_task("laplacian-pyramid-generation")
class LaplacianPyramid(ConditionalGeneration):
    """Task of generators in levels: a LAPGAN, conditional or not."""

    Config = LAPGANConfig
    model_task = "unconditional-image-generation"
    architectures = ("conditional-image-generation",)

    def check(self) -> None:
        """Check all that any generator is checked for, and the levels to train."""
        super().check()
        sizes, levels = tuple(self._level_builders()), self.config.recipe.levels or ()
        if unknown := [size for size in levels if size not in sizes]:
            raise ConfigError(
                f"recipe.levels has {unknown[0]}; the generator's levels are "
                f"{', '.join(map(str, sizes))}"
            )

    def check_classes(self, source: Any) -> None:
        """Check that the data has the generator's classes, if it takes labels."""
        if self.classes is not None:
            self.check_labels(source)

    def build(self) -> keras.Model:
        """The compiled trainer, with optimizers for each network of each level."""
        recipe = self.config.recipe
        trainer = trainers.LAPGAN(
            factories.build_network(self.config.generator, self.replicas),
            {
                size: factories.build_network(builder, self.replicas)
                for size, builder in self._level_builders().items()
            },
            classes=self.classes,
            levels=recipe.levels,
            **self._trainer_arguments(),
        )
        sides = {"g": recipe.g_optimizer, "d": recipe.d_optimizer}
        optimizers = {
            player.name: optimizer_from_config.make_optimizer(sides[player.name[0]])
            for player in trainer.players()
        }
        trainer.compile(optimizers, **self._compile_arguments())
        return trainer

    def trained_discriminators(
        self, model: keras.Model
    ) -> dict[str, tuple[configs.Builder, keras.Model]]:
        """The discriminator of each level that is trained."""
        networks = dict(zip(model.sizes, model.discriminators, strict=True))
        return {
            f"discriminator{size}": (builder, networks[size])
            for size, builder in self._level_builders().items()
            if size in model.levels
        }

    def _level_builders(self) -> dict[int, configs.Builder]:
        """The builder of each level's discriminator, with the arguments of the generator."""
        builder = self.config.discriminator
        classes, coarser_sizes, image_shape = (
            factories.argument(self.config.generator, name)
            for name in ("classes", "coarser_sizes", "image_shape")
        )
        side, _, channels = image_shape
        builders = {}
        for size in (*coarser_sizes, side):
            arguments = {"input_shape": (size, size, channels), "classes": classes}
            if size == coarser_sizes[0]:
                arguments["coarsest"] = True
            builders[size] = configs.Builder(
                name=builder.name, arguments=arguments | builder.arguments
            )
        return builders
