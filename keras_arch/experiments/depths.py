"""Degradation experiment: errors of plain and residual nets by depth (He et al. 2015)."""

import contextlib
import csv
import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_arch import api, config, data, errors, files, models, presets, visualization
from keras_arch.errors import ArgumentError, Interrupted, RunError
from keras_arch.hub.training_command import without_folders
from keras_arch.training.run_directory import RunDirectory

# The config with the paper's recipe, and the learning rate from each fraction of its iterations on.
RECIPE = "resnet20-cifar10-paper"
PAPER_ITERATIONS = 64_000
FALLS = {0.0: 0.1, 0.5: 0.01, 0.75: 0.001}
# From this depth on the first iterations have a tenth of the learning rate (section 4.2).
WARM_UP_DEPTH, WARM_UP_ITERATIONS, WARM_UP_RATE = 110, 400, 0.01
_COLOURS = ("tab:orange", "tab:red", "tab:purple", "tab:blue", "tab:green", "tab:brown")


@dataclasses.dataclass(frozen=True)
class Curves:
    """Training and test errors of one net.

    Attributes:
        name: `"plain20"`, `"resnet56"`, ...
        depth: Weighted layers.
        residual: Whether it has shortcuts.
        parameters: Trainable ones.
        training_error: Error rate on the augmented training images during each epoch, in training
            mode, as in the paper's figure.
        test_error: Error rate on the test images after each epoch.
    """

    name: str
    depth: int
    residual: bool
    parameters: int
    training_error: tuple[float, ...]
    test_error: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class Degradation:
    """Results of the degradation experiment.

    Attributes:
        directory: The run directories of all nets, and the files below.
        figure: Errors over the epochs, plain nets left and residual nets right.
        table: `degradation.json`: the settings and all curves.
        nets: The curves of each net, by depth.
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
    """Train plain and residual nets of several depths with one recipe, and plot their errors.

    Source: He et al. 2015, section 4.2 and figure 6. The recipe is that of the config
    `resnet20-cifar10-paper`, with the learning rate of `schedule`.

    Args:
        budget: Epochs of each net. The paper has 164, of 50,000 images.
        source: A labelled data source, as in `keras_arch.data.load`. Images are brought to 32x32.
        depths: Numbers of weighted layers, 6n+2.
        out: Folder of the experiment; each net becomes an ordinary run in `out/NAME`.
        limit: Number of training images, the first ones. Default: all.
        test_limit: Number of test images. Default: all.
        data_dir: As in `keras_arch.data.load`.
        overrides: Changes to the config of every net, such as `"recipe.seed=1"`. The figure names
            them, and both limits.
        strategy: As in `keras_arch.distribute.strategy`.
        resume: Continue the experiment in `out`. Finished nets are not trained again; an
            interrupted one continues. Depths may be added.
        verbose: As in `keras_arch.train`.

    Returns:
        The curves, and the files `degradation.png` and `degradation.json`.

    Raises:
        ArgumentError: If a depth is not 6n+2, or a number is out of range.
        ConfigError: If an override is wrong.
        DataError: If the data is missing or has no labels.
        RunError: If `out` has other files, or an experiment with other settings.
        Interrupted: After SIGTERM or Ctrl-C; the state is saved.

    Example:
        >>> from keras_arch import experiments
        >>> experiments.degradation(30, depths=[18, 34])
        Traceback (most recent call last):
        keras_arch.errors.ArgumentError: depths must be 6n+2 (20, 32, 44, ... in the paper), got 18
        >>> # experiments.degradation(30, source="npz:cifar10.npz", depths=[20, 56]).figure
    """
    depths = _checked_depths(depths)
    budget = errors.whole_number("budget", budget)
    for name, value in (("limit", limit), ("test_limit", test_limit)):
        if value is not None:
            errors.whole_number(name, value)
    out, whole, used, splits = Path(out), {}, {}, {}
    # Loaded before anything is written: a missing data set is downloaded, and its sizes are known.
    for split, most in (("train", limit), ("test", test_limit)):
        whole[split] = int(data.load(source, split, data_dir=data_dir).cardinality())
        used[split] = int(min(most or whole[split], whole[split]))
        splits[split] = f"{split}[:{used[split]}]" if used[split] < whole[split] else split
    settings = {
        "budget": budget,
        "source": source,
        "depths": list(depths),
        "training_images": used["train"],
        "test_images": used["test"],
        "overrides": list(overrides),
    }
    described = data.describe(source, data_dir=data_dir)
    content = presets.read(RECIPE) | {"expected": {}, "repository": None}
    content["data"] |= {"source": source, "data_dir": data_dir, **splits}
    content["preprocessing"]["channels"] = described.image_shape[-1]
    content["recipe"]["epochs"] = budget
    configs = [
        _config(content, depth, residual, len(described.classes or ()), used["train"], overrides)
        for depth in depths
        for residual in (False, True)
    ]
    nets = []
    with _experiment_folder(out, settings, resume=resume):
        for checked in configs:
            _train(checked, out / checked.name, strategy=strategy, resume=resume, verbose=verbose)
            nets.append(_curves(checked, out / checked.name))
    settings["iterations"] = budget * (used["train"] // configs[0].recipe.batch_size)
    table = {"settings": settings, "nets": [dataclasses.asdict(net) for net in nets]}
    written = files.atomic_write(out / "degradation.json", json.dumps(table, indent=1) + "\n")
    title, caption = _title_and_caption(settings, whole=(whole["train"], whole["test"]))
    figure = draw(nets, out / "degradation.png", title=title, caption=caption)
    return Degradation(out, figure, written, tuple(nets))


def draw(nets: Sequence[Curves], path: str | Path, *, title: str = "", caption: str = "") -> Path:
    """Plot errors over the epochs, as in the paper's figure 6.

    Args:
        nets: Plain nets are plotted left, residual ones right; each depth has one colour.
        path: The PNG file, which is returned.
        title: Title above both panels.
        caption: Text below both.

    Example:
        >>> nets = [Curves("plain20", 20, False, 269_722, (0.6, 0.5), (0.7, 0.5))]
        >>> draw(nets, "errors.png").name
        'errors.png'
    """
    figure = visualization.new_figure(width=10, height=5)
    panels = figure.subplots(1, 2, sharey=True)
    colours = dict(zip(sorted({net.depth for net in nets}), _COLOURS, strict=False))
    epochs = max(len(net.test_error) for net in nets)
    for axes, residual in zip(panels, (False, True), strict=True):
        for net in (net for net in nets if net.residual == residual):
            after = np.arange(1, len(net.test_error) + 1)
            colour = colours.get(net.depth, "black")
            label = f"{'ResNet' if residual else 'plain'}-{net.depth}"
            training, test = 100 * np.array([net.training_error, net.test_error])
            axes.plot(after, training, "--", color=colour, lw=1, label=f"{label} training")
            axes.plot(after, test, "-", color=colour, lw=2.2, label=f"{label} test")
        for fall in list(FALLS)[1:]:
            axes.axvline(fall * epochs, color="grey", linestyle=":", linewidth=0.8)
        axes.set_title("residual nets" if residual else "plain nets", fontsize="medium")
        axes.set_xlabel("epoch")
        axes.set_xlim(min(1, epochs - 1), epochs)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.yaxis.set_tick_params(labelleft=True)
        axes.grid(alpha=0.25)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize="small", framealpha=0.9)
    panels[0].set_ylabel("error (%)")
    figure.suptitle(title, fontsize="medium", wrap=True)
    figure.supxlabel(caption, fontsize="x-small", color="dimgrey", wrap=True)
    return visualization.save_figure(figure, path)


def _checked_depths(depths: Sequence[int]) -> tuple[int, ...]:
    depths = [errors.whole_number("depth", depth) for depth in depths]
    for depth in depths:
        if depth < 8 or (depth - 2) % 6:
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
    """The config of one net, with the learning rate scaled to its number of iterations."""
    name = f"{'resnet' if residual else 'plain'}{depth}"
    arguments = {"depth": depth, "residual": residual, "classes": classes}
    recipe = content["recipe"]
    content = content | {
        "name": name,
        "description": f"{name}, one of the nets of a degradation experiment with a budget of "
        f"{recipe['epochs']} epochs (He et al. 2015, section 4.2).",
        "model": {"name": "CIFARResNet", "arguments": arguments},
    }
    # Parsed twice: the schedule and the input shape depend on values that overrides may change.
    checked = config.parse(content, name, overrides)
    arguments["input_shape"] = [*checked.preprocessing.size, checked.preprocessing.channels]
    iterations = checked.recipe.epochs * (images // checked.recipe.batch_size)
    optimizer = recipe["optimizer"] | {"learning_rate": schedule(iterations, depth)}
    return config.parse(content | {"recipe": recipe | {"optimizer": optimizer}}, name, overrides)


def schedule(iterations: int, depth: int) -> dict[str, list[Any]]:
    """The paper's learning rate, scaled to a number of iterations.

    It falls from .1 to .01 after a half of them and to .001 after three quarters.

    Args:
        iterations: Total number of updates.
        depth: Weighted layers. Nets of 110 and more begin with .01 for 400 iterations (at most a
            tenth of all).

    Returns:
        `name`, `boundaries` and `values`, as in a config.

    Example:
        >>> schedule(64_000, 56)
        {'name': 'piecewise_constant', 'boundaries': [32000, 48000], 'values': [0.1, 0.01, 0.001]}
        >>> schedule(64_000, 110)
        {'name': 'piecewise_constant', 'boundaries': [400, 32000, 48000],
         'values': [0.01, 0.1, 0.01, 0.001]}
    """
    starts = {round(share * iterations): rate for share, rate in FALLS.items()}
    warm_up = min(WARM_UP_ITERATIONS, iterations // 10)
    if depth >= WARM_UP_DEPTH and warm_up:
        starts |= {0: WARM_UP_RATE, warm_up: FALLS[0.0]}
    ordered = sorted(starts.items())
    return {
        "name": "piecewise_constant",
        "boundaries": [start for start, _ in ordered[1:]],
        "values": [rate for _, rate in ordered],
    }


@contextlib.contextmanager
def _experiment_folder(out: Path, settings: dict[str, Any], *, resume: bool) -> Iterator[None]:
    """Create the folder of an experiment, or check that it has the same settings.

    A new folder is removed after a user's error, if no net was trained in it yet.
    """
    record = out / "experiment.json"
    new = not record.exists()
    if new and out.exists() and any(out.iterdir()):
        raise RunError(f"{out} has other files; choose another --out")
    if not new and not resume:
        raise RunError(
            f"{out} has an experiment already; continue it with --resume or choose another --out"
        )
    before = settings if new else json.loads(record.read_text(encoding="utf-8"))
    # Depths may be added; all other settings must be equal.
    added = set(before["depths"]) < set(settings["depths"])
    for key, value in settings.items():
        if before.get(key) != value and not (added and key == "depths"):
            raise RunError(
                f"the experiment in {out} was started with {key} {before.get(key)!r}, not "
                f"{value!r}; resume with the same settings"
            )
    files.atomic_write(record, json.dumps(settings, indent=1) + "\n")
    try:
        yield
    except (ArgumentError, errors.ConfigError, errors.DataError):
        if new and [path.name for path in out.iterdir()] == [record.name]:
            record.unlink()
            out.rmdir()
        raise


def _train(checked: config.TaskConfig, out: Path, *, resume: bool, **options: Any) -> None:
    """Train one net that is not finished yet."""
    directory = RunDirectory(out)
    if directory.metrics.exists():
        return
    try:
        api.train(checked, out, resume=resume and directory.config.exists(), **options)
    except Interrupted as error:
        raise Interrupted(
            f"{checked.name} was {error} (that is for this net; to continue the experiment, repeat "
            "the command with --resume)",
            error.signal,
        ) from None


def _curves(checked: config.TaskConfig, out: Path) -> Curves:
    """The curves of a finished run."""
    with open(RunDirectory(out).table, encoding="utf-8", newline="") as table:
        rows = list(csv.DictReader(table))

    def error_rates(column: str) -> tuple[float, ...]:
        return tuple(round(1 - float(row[column]), 6) for row in rows)

    arguments = checked.model.arguments
    return Curves(
        name=checked.name,
        depth=arguments["depth"],
        residual=arguments["residual"],
        parameters=models.trainable_parameters(models.create(checked.model.name, **arguments)),
        training_error=error_rates("accuracy"),
        test_error=error_rates("val_accuracy"),
    )


def _title_and_caption(settings: dict[str, Any], whole: tuple[int, int]) -> tuple[str, str]:
    """Title of the figure, with the budget, and its caption, with what was reduced."""
    name = without_folders(settings["source"]).rpartition(":")[2]
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
    parts = zip((images, tests), whole, ("training", "test"), strict=True)
    reduced = [f"{n:,} of {total:,} {kind} images" for n, total, kind in parts if n < total]
    if reduced := reduced + settings["overrides"]:
        caption += f"\nReduced or changed: {'; '.join(reduced)}."
    return title, caption
