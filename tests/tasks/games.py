"""Every game as a shipped config made tiny: five steps an epoch, two epochs."""

import numpy as np
from PIL import Image

STEPS = 5
# As `recipe.checkpoint_every`: a checkpoint inside each epoch.
CHECKPOINT = 3

COMMON = ["recipe.epochs=2", f"recipe.checkpoint_every={CHECKPOINT}", "samples.every=1"]
DIGITS = ["data.source=digits", f"data.train=train[:{STEPS * 24}]", "recipe.batch_size=24"]
RAMP = [
    f"recipe.{side}_optimizer={{name: sgd, "
    "learning_rate: {name: floored_decay, initial: 0.1, factor: 1.01}, "
    "momentum: {name: linear_ramp, start: 0.5, end: 0.7, steps: 7}}"
    for side in "gd"
]
CONFIGS = {
    "gan": "gan-mnist",
    "cgan": "cgan-mnist",
    "lapgan": "lapgan-cifar10",
    "pix2pix": "pix2pix-facades",
    "cyclegan": "cyclegan-facades",
}
SETTINGS = {
    "gan": [
        *DIGITS,
        *RAMP,
        "generator.arguments={image_shape: [8, 8, 1], latent_size: 8, units: 16}",
        "discriminator.arguments={input_shape: [8, 8, 1], units: 8, pieces: 2}",
        "preprocessing.size=[8, 8]",
        "samples.count=6",
        "generator_evaluation={network: JUDGE, metrics: [fid, precision], images: 40}",
    ],
    "cgan": [
        *DIGITS,
        *RAMP,
        "generator.arguments={classes: 10, image_shape: [8, 8, 1], latent_size: 8, "
        "latent_units: 8, label_units: 8, joint_units: 16, dropout: 0.3}",
        "discriminator.arguments={classes: 10, input_shape: [8, 8, 1], image_units: 8, "
        "label_units: 4, joint_units: 8}",
        "preprocessing.size=[8, 8]",
        "samples.count=20",
        "generator_evaluation={network: JUDGE, metrics: [parzen, classifier_agreement, fid], "
        "images: 40}",
    ],
    "lapgan": [
        *DIGITS,
        "generator.arguments={image_shape: [12, 12, 1], coarser_sizes: [4], classes: 10, "
        "latent_size: 8, filters: 4, units: 8}",
        "discriminator.arguments={filters: 4, units: 8}",
        "preprocessing.size=[12, 12]",
        "preprocessing.channels=1",
        "recipe.g_optimizer.average=0.9",
        "samples.count=20",
        "generator_evaluation=null",
    ],
    "pix2pix": [
        "data.source=pairs:PAIRS?direction=BtoA",
        "data.augment=[jitter:4, flip]",
        "generator.arguments={variant: unet_128, filters: 1}",
        "discriminator.arguments={receptive_field: 16, input_shape: [128, 128, 3], filters: 2}",
        "preprocessing.size=[128, 128]",
        "samples.count=2",
    ],
    "cyclegan": [
        "data.source=unpaired:DOMAINS",
        "data.augment=[flip]",
        "generator.arguments={blocks: 1, image_shape: [8, 8, 3], filters: 2}",
        "discriminator.arguments={receptive_field: 16, input_shape: [8, 8, 3], filters: 2, "
        "target_channels: null, norm: instance}",
        "preprocessing.size=[8, 8]",
        # Full before the first checkpoint.
        "recipe.pool_size=2",
        "recipe.g_optimizer.average=0.9",
        "samples.count=2",
    ],
}


def settings(name, pictures, judge, *more):
    """What to change in the shipped config of a game."""
    places = {"PAIRS": pictures / "pairs", "DOMAINS": pictures / "domains", "JUDGE": judge}
    changed = [*COMMON, *SETTINGS[name], *more]
    for word, place in places.items():
        changed = [value.replace(word, str(place)) for value in changed]
    return changed


def write_pictures(folder):
    """Pairs side by side, whose halves are each other's negatives, and two unpaired domains."""
    rng = np.random.default_rng(5)
    for split, count in (("train", STEPS), ("test", 3)):
        for number in range(count):
            small = rng.integers(0, 256, (4, 4, 3), np.uint8)
            half = small.repeat(32, axis=0).repeat(32, axis=1)
            save(np.concatenate([half, 255 - half], axis=1), folder / "pairs" / split, number)
    for split, counts in (("train", (STEPS, 3)), ("test", (3, 2))):
        for side, count in zip("AB", counts, strict=True):
            for number in range(count):
                pixels = rng.integers(0, 256, (8, 8, 3), np.uint8) // (1 if side == "A" else 2)
                save(pixels, folder / "domains" / f"{split}{side}", number)
    return folder


def save(pixels, folder, number):
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(folder / f"{number}.png")
