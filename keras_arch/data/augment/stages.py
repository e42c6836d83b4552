"""Stages of augmentation: whole images, pixels, normalised images, labels."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from keras_arch.data.augment.basic import RandomJitter, augmentations
from keras_arch.data.augment.crops import WindowCrop
from keras_arch.data.augment.mixing import CutMix, MixUp, mix
from keras_arch.data.seeds import branches
from keras_arch.errors import ArgumentError
from keras_arch.preprocessing import Preprocessing


@dataclasses.dataclass(frozen=True)
class Stages:
    """Augmentations by the stage of the pipeline in which they are applied.

    Attributes:
        changes: All of them. The position of one decides its seed.
        crop: Cuts each image out of the whole one before it is put into a batch.
        jitter: Cuts a batch of enlarged images.
        pixels: Positions of those that change pixels.
        normalized: Positions of those that change normalised images.
        mixing: Positions of those that mix images and labels of a batch.
    """

    changes: tuple[Callable[..., Any], ...]
    crop: WindowCrop | None
    jitter: RandomJitter | None
    pixels: tuple[int, ...]
    normalized: tuple[int, ...]
    mixing: tuple[int, ...]

    @classmethod
    def of(cls, names: Any) -> "Stages":
        """Sort augmentations into stages; `names` as for `keras_arch.data.augmentations`."""
        changes = augmentations(names)
        first = changes[0] if changes else None
        for change in changes[1:]:
            if isinstance(change, RandomJitter | WindowCrop):
                jitter = isinstance(change, RandomJitter)
                names = "jitter" if jitter else "scale_crop or resized_crop"
                raise ArgumentError(f"augment must begin with {names}: crops come before all else")
        mixing = tuple(n for n, change in enumerate(changes) if isinstance(change, MixUp | CutMix))
        rest = [
            n
            for n, change in enumerate(changes)
            if n not in mixing and not isinstance(change, RandomJitter | WindowCrop)
        ]
        on_pixels = [n for n in rest if getattr(changes[n], "on_pixels", False)]
        return cls(
            changes,
            first if isinstance(first, WindowCrop) else None,
            first if isinstance(first, RandomJitter) else None,
            tuple(on_pixels),
            tuple(n for n in rest if n not in on_pixels),
            mixing,
        )

    def check(self, preprocessings: Sequence[Preprocessing], unpaired: bool, cache: bool) -> None:
        """Refuse augmentations that do not fit the images.

        Args:
            preprocessings: Those of the images of an example.
            unpaired: Whether two images are of two domains, which are changed independently.
            cache: Whether images are in memory.
        """
        if self.crop is not None:
            if cache:
                raise ArgumentError(
                    "scale_crop and resized_crop cut every image out of the whole one in every "
                    "epoch; set cache to false, and they are read each time"
                )
            if len(preprocessings) > 1:
                raise ArgumentError(
                    "scale_crop and resized_crop are for images with labels or alone; for pairs "
                    "and unpaired images there is jitter:30"
                )
            self.crop.check(preprocessings[0])
        sizes = [each.size for each in preprocessings]
        if self.changes and len(set(sizes)) > 1 and not unpaired:
            raise ArgumentError(
                "augment changes both images of a pair alike, which needs one size; preprocessing "
                f"has {sizes[0]} and target_preprocessing {sizes[1]}"
            )

    def seeds(self, seed: Any) -> list[Any]:
        """The seed of each augmentation in a step, from that of the step."""
        return branches(seed, len(self.changes))

    def normalize(self, images: Any, preprocessing: Preprocessing, seeds: list[Any]) -> Any:
        """Change and normalise a batch of pixels."""
        shape = [images.shape[0], *preprocessing.input_shape]
        if self.jitter:
            images = self.jitter(images, seeds[0])
        images.set_shape(shape)
        for number in self.pixels:
            images = self.changes[number](images, seeds[number])
        images = preprocessing.normalize(images)
        images.set_shape(shape)
        for number in self.normalized:
            images = self.changes[number](images, seeds[number])
        return images

    def mix(self, images: Any, labels: Any, seeds: list[Any]) -> tuple[Any, Any]:
        """Mix a batch of images and their labels by one of the changes that do so."""
        mixers = tuple(self.changes[number] for number in self.mixing)
        return mix(mixers, images, labels, seeds[self.mixing[0]])
