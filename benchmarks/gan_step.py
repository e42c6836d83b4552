"""Benchmark of a GAN training step: `keras_arch`, PyTorch, and TensorFlow with two forwards.

    python benchmarks/gan_step.py --torch-python /path/to/venv-with-torch/bin/python --game all

Games: DCGAN at 64 pixels, pix2pix at 256 and CycleGAN at 128. Every variant of a game trains the
same networks (equal parameter counts, checked before anything is timed) with the same losses and
optimizers (Adam 2e-4, beta1 0.5) on the same shapes in float32, with the same number of threads.
They take turns, each in its own process (`turns.py`).
"""

import argparse
import dataclasses
import functools
import sys
from collections.abc import Callable

import keras_steps
from steps import GAMES, Settings
from turns import OURS, Built, Worker, commands, compete, serve

# ----------------------------------------------------------------------------------- the variants


def torch_step(settings: Settings, **options: bool) -> Built:
    """The same networks and step in PyTorch, which only its own processes import."""
    import torch_steps

    return torch_steps.build(settings, torch_steps.Options(**options))


def _variants(tunings: dict[str, dict[str, bool]]) -> dict[str, Callable[[Settings], Built]]:
    """Variants: ours, and PyTorch in both layouts, eager and compiled, with each set of options."""
    found: dict[str, Callable[[Settings], Built]] = {OURS: keras_steps.keras_arch_step}
    for tuning, options in tunings.items():
        for compiled in (False, True):
            for channels_last in (False, True):
                name = "torch-compile" if compiled else "torch-eager"
                name += "-channels-last" * channels_last + tuning
                found[name] = functools.partial(
                    torch_step, compiled=compiled, channels_last=channels_last, **options
                )
    return found


# DCGAN's step as it is commonly written computes the gradients of the discriminator's weights in
# the generator's update too; the authors of pix2pix and CycleGAN leave them out.
_TRANSLATING = {"": {"freeze": True}, "-fused": {"freeze": True, "fused": True}}
VARIANTS = {
    "dcgan": _variants(
        {"": {}, "-frozen": {"freeze": True}, "-frozen-fused": {"freeze": True, "fused": True}}
    )
    | {"tensorflow-two-forwards": keras_steps.two_forwards_step},
    "pix2pix": _variants(_TRANSLATING),
    "cyclegan": _variants(_TRANSLATING),
}
ALL_VARIANTS = list(dict.fromkeys(name for variants in VARIANTS.values() for name in variants))


def check_parameters(running: list[Worker], settings: Settings) -> None:
    """Check that all variants train the same networks."""
    counts = {worker.variant: worker.parameters for worker in running}
    if len(set(counts.values())) > 1:
        raise SystemExit(f"the variants train different networks: {counts}")
    game = GAMES[settings.game]
    if settings.image_size == game.image_size:
        for variant, count in counts.items():
            if count != game.parameters:
                raise SystemExit(f"{variant} has {count} parameters, not {game.parameters}")


def measure(settings: Settings, arguments: argparse.Namespace) -> None:
    """Time the variants of one game in turns, and print the results."""
    flags = []
    for field in dataclasses.fields(settings):
        flags += [f"--{field.name.replace('_', '-')}", str(getattr(settings, field.name))]
    chosen = [name for name in VARIANTS[settings.game] if name in arguments.variants]
    compete(
        f"{settings.game}, {settings.image_size}x{settings.image_size}x3, batch {settings.batch}",
        commands(__file__, chosen, arguments.torch_python, flags),
        functools.partial(check_parameters, settings=settings),
        steps=arguments.steps or GAMES[settings.game].steps,
        rounds=arguments.rounds,
        warmup=settings.warmup,
        threads=settings.threads,
    )


def main() -> None:
    """Run the parent process or, with `--worker`, one of its workers."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--game", choices=[*GAMES, "all"], default="dcgan")
    parser.add_argument("--image-size", type=int, help="default 64, 256 and 128 by game")
    parser.add_argument("--batch", type=int, help="default 64 for dcgan, else 1")
    parser.add_argument(
        "--steps", type=int, help="timed steps of each variant; default 30, 15 for cyclegan"
    )
    parser.add_argument("--rounds", type=int, default=5, help="number of turns of each variant")
    parser.add_argument("--warmup", type=int, default=4, help="steps before the first turn")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--variants", nargs="+", choices=ALL_VARIANTS, default=ALL_VARIANTS)
    parser.add_argument(
        "--torch-python", default=sys.executable, help="interpreter that has torch; default this"
    )
    parser.add_argument("--worker", choices=ALL_VARIANTS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    for game in GAMES if arguments.game == "all" else [arguments.game]:
        settings = Settings(
            game=game,
            image_size=arguments.image_size or GAMES[game].image_size,
            batch=arguments.batch or GAMES[game].batch,
            warmup=arguments.warmup,
            threads=arguments.threads,
        )
        if arguments.worker:
            build = VARIANTS[game][arguments.worker]
            serve(arguments.worker, functools.partial(build, settings))
        else:
            measure(settings, arguments)


if __name__ == "__main__":
    main()
