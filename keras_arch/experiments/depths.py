"""Deeper plain nets train worse, deeper residual nets do not (He et al. 2015, section 4.2)."""

import contextlib
import csv
import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_arch import api, config, data, files, models, presets, visualization
from keras_arch.errors import ArgumentError, ConfigError, DataError, Interrupted, RunError
from keras_arch.training.run_directory import RunDirectory

# The published recipe, and where in the course of its iterations the learning rate falls.
RECIPE = "resnet20-cifar10"
PAPER_ITERATIONS = 64_000
FALLS = {0.0: 0.1, 0.5: 0.01, 0.75: 0.001}
# From this depth on the first iterations go at a tenth of the rate, until training has begun.
WARM_UP_DEPTH, WARM_UP_ITERATIONS, WARM_UP_RATE = 110, 400, 0.01
_COLOURS = ("tab:orange", "tab:red", "tab:purple", "tab:blue", "tab:green", "tab:brown")


@dataclasses.dataclass(frozen=True)
class Curves:
    """How one net went.

    Attributes:
        name: `"plain20"`, `"resnet56"`, ...
        depth: Weighted layers.
        residual: Whether it has shortcuts.
        parameters: Trainable ones.
        training_error: After each epoch, the share of augmented training images that were read
            wrongly in the course of it, in training mode: what the paper draws.
        test_error: After each epoch, the share of test images that are read wrongly.
    """

    name: str
    depth: int
    residual: bool
    parameters: int
    training_error: tuple[float, ...]
    test_error: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class Degradation:
    """The finished experiment.

    Attributes:
        directory: The run directories of all nets, and the files below.
        figure: Errors over the epochs, plain nets left and residual nets right.
        table: `degradation.json`: the settings and all curves.
        nets: In the order of the table, by depth.
    """

    directory: Path
    figure: Path
    table: Path
    nets: tuple[Curves, ...]


def degradation(
    budget: int,
    *,
    source: str = "cifar10",
    depths: Sequence[int] = (20, 56),
    out: str | Path = "degradation",
    limit: int | None = None,
    test_limit: int | None = None,
    data_dir: str | None = None,
    overrides: Sequence[str] = (),
    strategy: str = "auto",
    resume: bool = False,
    verbose: int | str = "auto",
) -> Degradation:
    """Train plain and residual nets of several depths alike, and draw their errors side by side.

    Source: He et al. 2015, section 4.2 and figure 6. The recipe is the paper's (that of the config
    `resnet20-cifar10`); its learning rate of .1 falls to .01 after half of the budget and to .001
    after three quarters, as after 32,000 and 48,000 of the paper's 64,000 iterations. Nets of 110
    layers and more begin with .01 for 400 iterations (at most a tenth of the budget).

    Args:
        budget: Epochs for each net. The paper's is 164, of 50,000 images.
        source: A labelled data source, as in `keras_arch.data.load`. Images are brought to 32x32.
        depths: Numbers of weighted layers, 6n+2.
        out: Folder of the experiment; each net becomes an ordinary run in `out/NAME`.
        limit: Train on so many of the first images. Default: all. Said in the figure.
        test_limit: Test on so many. Default: all. Said in the figure.
        data_dir: As in `keras_arch.data.load`.
        overrides: Changes to the config of every net, such as `"recipe.seed=1"`. Said in the
            figure.
        strategy: As in `keras_arch.distribute.strategy`.
        resume: Go on with the experiment in `out`: finished nets are left as they are, and the one
            under way goes on where it was. There may be more depths than before.
        verbose: As in `keras_arch.train`.

    Returns:
        The curves and where everything is: `degradation.png`, `degradation.json`.

    Raises:
        ArgumentError: If a depth is not 6n+2, or a number is out of range.
        ConfigError: If an override is wrong.
        DataError: If the data is missing or has no labels.
        RunError: If `out` holds something else, or an experiment that was begun otherwise.
        Interrupted: If SIGTERM or Ctrl-C came; the state is saved.

    Example:
        >>> from keras_arch import experiments
        >>> experiments.degradation(30, depths=[18, 34])
        Traceback (most recent call last):
        keras_arch.errors.ArgumentError: depths must be 6n+2 (20, 32, 44, ... in the paper), got 18
        >>> # experiments.degradation(30, source="npz:cifar10.npz", depths=[20, 56]).figure
    """
    depths = _checked_depths(depths)
    for name, number in {"budget": budget, "limit": limit, "test_limit": test_limit}.items():
        if number is not None and (type(number) is not int or number < 1):
            raise ArgumentError(f"{name} must be a positive whole number, got {number!r}")
    out = Path(out)
    # Loading first: what is not there yet is fetched, and then its sizes are known.
    total = int(data.load(source, "train", data_dir=data_dir).cardinality())
    tests = int(data.load(source, "test", data_dir=data_dir).cardinality())
    kept = {"train": min(limit or total, total), "test": min(test_limit or tests, tests)}
    settings = {
        "budget": budget,
        "source": source,
        "depths": list(depths),
        "training_images": kept["train"],
        "test_images": kept["test"],
        "overrides": list(overrides),
    }
    described = data.describe(source, data_dir=data_dir)
    content = presets.read(RECIPE)
    content["data"] |= {
        "source": source,
        "data_dir": data_dir,
        "train": f"train[:{kept['train']}]" if kept["train"] < total else "train",
        "test": f"test[:{kept['test']}]" if kept["test"] < tests else "test",
    }
    content["preprocessing"]["channels"] = described.image_shape[-1]
    content["recipe"]["epochs"] = budget
    content |= {"expected": {}, "repository": None}
    configs = [
        _config(content, depth, residual, len(described.classes or ()), kept["train"], overrides)
        for depth in depths
        for residual in (False, True)
    ]
    nets = []
    with _begun(out, settings, resume=resume):
        for checked in configs:
            _train(checked, out / checked.name, strategy=strategy, resume=resume, verbose=verbose)
            nets.append(_curves(checked, out / checked.name))
    settings["iterations"] = budget * (kept["train"] // configs[0].recipe.batch_size)
    table = {"settings": settings, "nets": [dataclasses.asdict(net) for net in nets]}
    written = files.atomic_write(out / "degradation.json", json.dumps(table, indent=1) + "\n")
    title, caption = _words(settings, whole=(total, tests))
    figure = draw(nets, out / "degradation.png", title=title, caption=caption)
    return Degradation(out, figure, written, tuple(nets))


def draw(nets: Sequence[Curves], path: str | Path, *, title: str = "", caption: str = "") -> Path:
    """Draw errors over the epochs in the manner of the paper's figure 6.

    Args:
        nets: Plain nets go left, residual ones right; a depth has one colour in both.
        path: The PNG file.
        title: Above both panels.
        caption: Below both.

    Returns:
        The path.

    Example:
        >>> import tempfile
        >>> nets = [Curves("plain20", 20, False, 269_722, (0.6, 0.5), (0.7, 0.5))]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     draw(nets, folder + "/errors.png").name
        'errors.png'
    """
    figure = visualization.new_figure(width=10, height=5)
    panels = figure.subplots(1, 2, sharey=True)
    colours = dict(zip(sorted({net.depth for net in nets}), _COLOURS, strict=False))
    epochs = max(len(net.test_error) for net in nets)
    for axes, residual in zip(panels, (False, True), strict=True):
        for net in nets:
            if net.residual != residual:
                continue
            after = np.arange(1, len(net.test_error) + 1)
            colour = colours.get(net.depth, "black")
            named = f"{'ResNet' if residual else 'plain'}-{net.depth}"
            for errors, what, style in (
                (net.training_error, "training", {"linestyle": "--", "linewidth": 1}),
                (net.test_error, "test", {"linestyle": "-", "linewidth": 2.2}),
            ):
                axes.plot(
                    after, 100 * np.array(errors), color=colour, label=f"{named} {what}", **style
                )
        for fall in list(FALLS)[1:]:
            axes.axvline(fall * epochs, color="grey", linestyle=":", linewidth=0.8)
        axes.set_title("residual nets" if residual else "plain nets", fontsize="medium")
        axes.set_xlabel("epoch")
        axes.set_xlim(min(1, epochs - 1), epochs)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.yaxis.set_tick_params(labelleft=True)
        axes.grid(alpha=0.25)
        if axes.lines and any(net.residual == residual for net in nets):
            axes.legend(fontsize="small", framealpha=0.9)
    panels[0].set_ylabel("error (%)")
    figure.suptitle(title, fontsize="medium", wrap=True)
    figure.supxlabel(caption, fontsize="x-small", color="dimgrey", wrap=True)
    return visualization.save_figure(figure, path)


def _checked_depths(depths: Sequence[int]) -> tuple[int, ...]:
    for depth in depths:
        if type(depth) is not int or depth < 8 or (depth - 2) % 6:
            raise ArgumentError(
                f"depths must be 6n+2 (20, 32, 44, 56, 110 in the paper), got {depth!r}"
            )
    if not depths or len(set(depths)) < len(depths) or len(depths) > len(_COLOURS):
        raise ArgumentError(f"give one to {len(_COLOURS)} different depths, got {list(depths)}")
    return tuple(sorted(depths))


def _config(
    content: dict[str, Any],
    depth: int,
    residual: bool,
    classes: int,
    images: int,
    overrides: Sequence[str],
) -> config.TaskConfig:
    """The config of one net, its learning rate scaled to the number of its iterations."""
    name = f"{'resnet' if residual else 'plain'}{depth}"
    arguments = {"depth": depth, "residual": residual, "classes": classes}
    content = content | {
        "name": name,
        "description": f"{name}, one of the nets of a degradation experiment with a budget of "
        f"{content['recipe']['epochs']} epochs (He et al. 2015, section 4.2).",
        "model": {"name": "CIFARResNet", "arguments": arguments},
    }
    # Twice: the schedule and the input's shape follow from what overrides may change.
    checked = config.parse(content, name, overrides)
    shape = [*checked.preprocessing.size, checked.preprocessing.channels]
    arguments["input_shape"] = shape
    recipe = content["recipe"]
    iterations = checked.recipe.epochs * (images // checked.recipe.batch_size)
    optimizer = recipe["optimizer"] | {"learning_rate": schedule(iterations, depth)}
    content["recipe"] = recipe | {"optimizer": optimizer}
    return config.parse(content, name, overrides)


def schedule(iterations: int, depth: int) -> dict[str, list[Any]]:
    """The paper's learning rate, scaled to a number of iterations.

    Args:
        iterations: Updates in all.
        depth: Weighted layers: those of 110 and more are warmed up.

    Returns:
        `name`, `boundaries` and `values`, as a config has them.

    Example:
        >>> schedule(64_000, 56)
        {'name': 'piecewise_constant', 'boundaries': [32000, 48000], 'values': [0.1, 0.01, 0.001]}
        >>> schedule(64_000, 110)
        {'name': 'piecewise_constant', 'boundaries': [400, 32000, 48000],
         'values': [0.01, 0.1, 0.01, 0.001]}
    """
    begins = {round(share * iterations): rate for share, rate in FALLS.items()}
    warm_up = min(WARM_UP_ITERATIONS, iterations // 10)
    if depth >= WARM_UP_DEPTH and warm_up:
        begins |= {0: WARM_UP_RATE, warm_up: FALLS[0.0]}
    ordered = sorted(begins.items())
    return {
        "name": "piecewise_constant",
        "boundaries": [start for start, _ in ordered[1:]],
        "values": [rate for _, rate in ordered],
    }


@contextlib.contextmanager
def _begun(out: Path, settings: dict[str, Any], *, resume: bool) -> Iterator[None]:
    """Take the folder for an experiment, or make sure that it is this one's.

    It is given back when a mistake shows before any net has begun.
    """
    record = out / "experiment.json"
    new = not record.exists()
    if new:
        if out.exists() and any(out.iterdir()):
            raise RunError(f"{out} holds files of something else; choose another --out")
        files.atomic_write(record, json.dumps(settings, indent=1) + "\n")
    elif not resume:
        raise RunError(
            f"{out} holds an experiment already; go on with --resume or choose another --out"
        )
    else:
        before = json.loads(record.read_text(encoding="utf-8"))
        if set(before.get("depths", ())) < set(settings["depths"]):
            # More depths are the one change that an experiment may see: the others stay.
            before["depths"] = settings["depths"]
            files.atomic_write(record, json.dumps(before, indent=1) + "\n")
        for key, value in settings.items():
            if before.get(key) != value:
                raise RunError(
                    f"the experiment in {out} was begun with {key} {before.get(key)!r}, not "
                    f"{value!r}; resume with the same settings"
                )
    try:
        yield
    except (ArgumentError, ConfigError, DataError):
        if new and [path.name for path in out.iterdir()] == [record.name]:
            record.unlink()
            out.rmdir()
        raise


def _train(checked: config.TaskConfig, out: Path, *, resume: bool, **how: Any) -> None:
    """Train one net, or leave it when it is finished."""
    directory = RunDirectory(out)
    if directory.metrics.exists():
        return
    try:
        api.train(checked, out, resume=resume and directory.config.exists(), **how)
    except Interrupted as error:
        raise Interrupted(
            f"{checked.name} was {error} (this net alone; the whole experiment goes on with the "
            "same command and --resume)",
            error.signal,
        ) from None


def _curves(checked: config.TaskConfig, out: Path) -> Curves:
    """What a finished run wrote down."""
    with open(RunDirectory(out).table, encoding="utf-8", newline="") as table:
        rows = list(csv.DictReader(table))

    def errors(column: str) -> tuple[float, ...]:
        return tuple(round(1 - float(row[column]), 6) for row in rows)

    arguments = checked.model.arguments
    return Curves(
        name=checked.name,
        depth=arguments["depth"],
        residual=arguments["residual"],
        parameters=models.trainable_parameters(models.create(checked.model.name, **arguments)),
        training_error=errors("accuracy"),
        test_error=errors("val_accuracy"),
    )


def _words(settings: dict[str, Any], whole: tuple[int, int]) -> tuple[str, str]:
    """The figure's title, with the budget, and the caption, with all that was reduced."""
    kind, colon, path = settings["source"].partition(":")
    name = Path(path).name if colon else kind
    images, tests = settings["training_images"], settings["test_images"]
    epochs = settings["budget"]
    title = (
        f"Plain and residual nets on {name}: a budget of {epochs} "
        f"epoch{'s' if epochs > 1 else ''} of {images:,} images, {settings['iterations']:,} "
        f"iterations (the paper: {PAPER_ITERATIONS:,})"
    )
    caption = (
        "Dashed: training error, mean over the epoch in training mode on augmented images. Bold: "
        "test error after each epoch. Dotted: learning rate divided by 10."
    )
    reduced = [
        f"{part:,} of {all_of:,} {what} images"
        for part, all_of, what in zip((images, tests), whole, ("training", "test"), strict=True)
        if part < all_of
    ]
    reduced += settings["overrides"]
    if reduced:
        caption += f"\nReduced or changed: {'; '.join(reduced)}."
    return title, caption
