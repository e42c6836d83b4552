"""The command line `keras-arch`: each command is a thin call of one function below.

Nothing here imports Keras or TensorFlow before a command needs them, so that help and listings
answer at once. A user's mistake is told in one line, with exit code 2.
"""

import contextlib
import inspect
import logging
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from keras_arch import __version__, presets
from keras_arch.errors import ArgumentError, Interrupted, KerasArchError

MISTAKE, INTERRUPTED = 2, 130
# How the columns of tables begin that hold numbers.
_NUMERIC = (
    "parameters",
    "weights",
    "probability",
    "value",
    "training",
    "test",
    "change",
    "cosine",
    "accuracy",
)

app = typer.Typer(
    name="keras-arch",
    help="Classic vision architectures for Keras 3: train, publish, load back and serve.",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

experiment = typer.Typer(
    help="Repeat experiments of the papers: measured, drawn and written down.",
    no_args_is_help=True,
)
app.add_typer(experiment, name="experiment")

_REF = (
    r"A run directory, a model directory, the name of a config, hf://user/repo\[@revision] or "
    "file://FOLDER/user/repo."
)
Ref = Annotated[str, typer.Argument(metavar="REF", help=_REF, show_default=False)]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a value; may be repeated."),
]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: What follows the program's name. Default: those of the process.

    Returns:
        The exit code: 0, 2 for a user's mistake, 130 after Ctrl-C, 143 after a SIGTERM that
        saved the run.

    Example:
        >>> from keras_arch import cli
        >>> cli.main(["--version"])
        keras-arch 0.1.0
        0
    """
    from typer import Abort
    from typer.exceptions import TyperException

    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        with _notes_on_stderr():
            code = app(args=arguments, prog_name="keras-arch", standalone_mode=False) or 0
            sys.stdout.flush()
            return code
    except TyperException as error:
        context = getattr(error, "ctx", None)
        where = context.command_path if context is not None else "keras-arch"
        return _fail(f"{error.format_message().rstrip('.')} (see {where} --help)")
    except Interrupted as error:
        # As a shell reports a process that a signal ended.
        return _fail(error, 128 + error.signal, label="interrupted")
    except KerasArchError as error:
        return _fail(error)
    except (KeyboardInterrupt, Abort):
        return _fail("interrupted", INTERRUPTED)
    except BrokenPipeError:
        # The reader of our output has gone (`keras-arch models | head`): nothing more to say.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        if error.filename is None:
            raise
        return _fail(f"{error.filename}: {error.strerror}")


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Tell the version.")] = False,
) -> None:
    if version:
        print(f"keras-arch {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        print(context.get_help())


@app.command()
def models(
    filter: Annotated[
        str, typer.Argument(metavar="[FILTER]", help="A pattern as in a shell: 'dcgan*'.")
    ] = "*",
) -> None:
    """List the architectures."""
    with _quiet_loading():
        from keras_arch import models as builders
    from keras_arch import registry

    pattern = filter if any(sign in filter for sign in "*?[") else f"*{filter}*"
    names = builders.list_models(pattern)
    if not names:
        raise ArgumentError(
            f"no architecture matches {filter!r}; there are {', '.join(builders.list_models())}"
        )
    rows = []
    for entry in map(registry.entry, names):
        # Of the builder without arguments, or the smallest that is known.
        smallest = min(entry.parameters.values(), default=None)
        known = entry.parameters.get("", smallest)
        count = "" if known is None else f"{known:,}"
        rows.append((entry.name, entry.task, count, entry.paper))
    _table(("name", "task", "parameters from", "paper"), rows)


@app.command()
def show(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="An architecture, or a REF as elsewhere.")
    ],
    settings: Settings = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Draw the architecture.")
    ] = None,
) -> None:
    """Show what is known of an architecture, and its layers.

    With --set, arguments of the builder are changed: --set depth=56.
    """
    if plot is not None and plot.suffix.lower() != ".png":
        raise ArgumentError(f"--plot writes PNG; give a name that ends in .png, got {str(plot)!r}")
    with _quiet_loading():
        from keras_arch import models as builders
    from keras_arch import registry

    if name not in builders.list_models() and _is_reference(name):
        if settings:
            raise ArgumentError(f"--set changes an architecture's arguments; {name} is built")
        opened = _runs().open_model(name)
        facts = _facts_of_card(opened.card) if opened.card else []
        model = opened.model
    else:
        entry = registry.entry(name)
        model = builders.create(name, **_values(settings))
        facts = _facts_of_entry(entry)
    facts.append(("trainable parameters", f"{builders.trainable_parameters(model):,}"))
    _table(("", ""), facts, title=model.name)
    layers = [
        (layer.name, type(layer).__name__, _shape_text(layer.output), f"{layer.count_params():,}")
        for layer in model.layers
    ]
    _table(("layer", "kind", "output", "weights"), layers, title="Layers")
    if plot is not None:
        from keras_arch import diagram

        print(diagram.draw(model, plot))


@app.command()
def configs() -> None:
    """List the configs that ship with the package."""
    rows = []
    for name in presets.names():
        content = presets.read(name)
        description = " ".join(content.get("description", "").split())
        source = content.get("data", {}).get("source", "")
        rows.append((name, content.get("task", ""), source, description))
    _table(("name", "task", "data", "what it is"), rows)


@app.command()
def train(
    config: Annotated[
        str, typer.Argument(metavar="CONFIG", help="Name of a config, or path of a YAML file.")
    ],
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Run directory.", show_default="runs/NAME")
    ] = None,
    settings: Settings = None,
    strategy: Annotated[
        str, typer.Option(metavar="NAME", help="auto, none, mirrored, multi_worker or tpu.")
    ] = "auto",
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in DIR.")] = False,
) -> None:
    """Train what a config describes: keras-arch train resnet20-digits --set recipe.epochs=20."""
    # Wrong configs are told before TensorFlow is loaded.
    from keras_arch import config as checks

    checked = checks.load(config, settings or ())
    run = _runs().train(checked, out, strategy=strategy, resume=resume)
    _figures(run.metrics)
    print(f"run: {run.directory}")
    print(f"model: {run.model}")


@app.command()
def finetune(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help=_REF, show_default=False)],
    images: Annotated[
        str,
        typer.Option(
            "--data",
            metavar="DATA",
            help="folder:PATH (a sub-folder a class), npz:PATH, digits, or a TFDS name.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Run directory.", show_default="runs/NAME")
    ] = None,
    settings: Settings = None,
    data_dir: Annotated[str | None, typer.Option(help="Where the data is kept.")] = None,
    strategy: Annotated[
        str, typer.Option(metavar="NAME", help="auto, none, mirrored, multi_worker or tpu.")
    ] = "auto",
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in DIR.")] = False,
) -> None:
    """Teach a trained classifier other classes: keras-arch finetune resnet20-cifar10 --data digits.

    The head is replaced and learns alone first, then all layers do, those near the image slowest.
    The weights that are best on a validation part are kept.
    """
    run = _runs().finetune(
        source,
        images,
        out,
        data_dir=data_dir,
        overrides=settings or (),
        strategy=strategy,
        resume=resume,
    )
    _figures(run.metrics)
    print(f"run: {run.directory}")
    print(f"model: {run.model}")


@app.command()
def evaluate(
    ref: Ref,
    source: Annotated[
        str | None, typer.Option(help="Data source.", show_default="what it was trained on")
    ] = None,
    split: Annotated[str | None, typer.Option(help="Part of the data, such as test.")] = None,
    data_dir: Annotated[str | None, typer.Option(help="Where the data is kept.")] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write metrics.json and pictures here.")
    ] = None,
) -> None:
    """Measure a model on a data set."""
    _figures(_runs().evaluate(ref, source=source, split=split, data_dir=data_dir, out=out))


@app.command()
def generate(
    ref: Ref,
    count: Annotated[int, typer.Option(help="How many images.")] = 64,
    seed: Annotated[int | None, typer.Option(help="The same seed, the same images.")] = None,
    labels: Annotated[
        list[str] | None,
        typer.Option("--label", help="A class to draw, by number or name; may be repeated."),
    ] = None,
    out: Annotated[Path, typer.Option(metavar="FILE.png")] = Path("samples.png"),
) -> None:
    """Draw images from a generator into one picture."""
    print(_runs().generate(ref, count, seed, out, labels=labels))


@app.command()
def judge(
    ref: Ref,
    network: Annotated[
        str, typer.Option(help="A classifier (a REF as elsewhere), or inception.")
    ] = "inception",
    figures: Annotated[
        str,
        typer.Option(
            metavar="NAMES",
            help="Out of fid, kid, inception_score, precision, recall, density, coverage, parzen.",
        ),
    ] = "fid,kid",
    images: Annotated[int, typer.Option(min=2, help="Generated images.")] = 10_000,
    source: Annotated[
        str | None, typer.Option(help="Data source.", show_default="what it was trained on")
    ] = None,
    split: Annotated[str | None, typer.Option(help="Part of the data, such as test.")] = None,
    data_dir: Annotated[str | None, typer.Option(help="Where the data is kept.")] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write figures.json here.")
    ] = None,
) -> None:
    """Measure a generator's images against real ones."""
    found = _runs().judge(
        ref,
        network,
        figures=[name.strip() for name in figures.split(",")],
        images=images,
        source=source,
        split=split,
        data_dir=data_dir,
        out=out,
    )
    _figures(found.values)
    print(f"taken with: {found.description}")


@app.command()
def diagnose(
    ref: Ref,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the pictures.")] = Path(
        "diagnosis"
    ),
    network: Annotated[
        str | None, typer.Option(help="A classifier that counts the classes there are.")
    ] = None,
    source: Annotated[
        str | None, typer.Option(help="Training images.", show_default="what it was trained on")
    ] = None,
    data_dir: Annotated[str | None, typer.Option(help="Where the data is kept.")] = None,
) -> None:
    """Draw what tells a generator's illnesses: walks, sums, neighbours, modes."""
    for path in _runs().diagnose(ref, out, network=network, source=source, data_dir=data_dir):
        print(path)


@app.command()
def translate(
    ref: Ref,
    images: Annotated[list[str], typer.Argument(metavar="IMAGE...", help="Image files.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Gets NAME.png for each.")] = Path(
        "translated"
    ),
) -> None:
    """Translate image files with a pix2pix or CycleGAN."""
    for path in _runs().translate(ref, images, out):
        print(path)


@app.command()
def predict(
    ref: Ref,
    images: Annotated[list[str], typer.Argument(metavar="IMAGE...", help="Image files.")],
    top: Annotated[int, typer.Option(min=1, help="How many classes to tell.")] = 5,
    explain: Annotated[
        bool, typer.Option("--explain", help="Draw where it looks (Grad-CAM): NAME_explained.png.")
    ] = False,
    label: Annotated[
        str | None,
        typer.Option(help="Explain this class, by number or name.", show_default="the predicted"),
    ] = None,
    overlay: Annotated[
        bool, typer.Option("--overlay", help="Draw classes of pixels: NAME_overlay.png.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Folder of the pictures.", show_default="where each image is"
        ),
    ] = None,
) -> None:
    """Classify image files, or their pixels (NAME_mask.png)."""
    if not explain and label is not None:
        raise ArgumentError("--label is for --explain; add it")
    predictions = _runs().predict(
        ref, images, top, explain=explain, label=label, overlay=overlay, out=out
    )
    if predictions and hasattr(predictions[0], "mask"):
        _segmented(predictions)
        return
    rows = [
        (str(prediction.path), label, f"{probability:.4f}")
        for prediction in predictions
        for label, probability in zip(prediction.labels, prediction.probabilities, strict=True)
    ]
    _table(("image", "label", "probability"), rows)
    for prediction in predictions:
        if prediction.explanation is not None:
            print(f"explained: {prediction.explanation}")


def _segmented(results: list[Any]) -> None:
    """The share of each class in each image, and what was written."""
    rows = [
        (str(result.path), label, f"{share:.4f}")
        for result in results
        for label, share in result.shares.items()
    ]
    _table(("image", "label", "share"), rows)
    for result in results:
        print(f"mask: {result.mask}")
        if result.overlay is not None:
            print(f"overlay: {result.overlay}")


@app.command()
def push(
    ref: Ref,
    repository: Annotated[
        str, typer.Argument(metavar="REPO", help="user/repo, or file://FOLDER/user/repo.")
    ],
    private: Annotated[
        bool, typer.Option("--private", help="A new repository is private.")
    ] = False,
    revision: Annotated[str | None, typer.Option(help="Branch.", show_default="main")] = None,
) -> None:
    """Publish a run's model."""
    print(_runs().push(ref, repository, private=private, revision=revision))


@app.command()
def pull(
    ref: Ref,
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to make.")],
) -> None:
    """Download a model directory."""
    with _quiet_loading():
        from keras_arch import hub
    print(hub.pull(ref, directory))


@app.command()
def export(
    ref: Ref,
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Gets NAME/VERSION/.")],
    version: Annotated[
        int | None, typer.Option(min=1, help="Version number.", show_default="the next free one")
    ] = None,
) -> None:
    """Write a SavedModel for TF Serving."""
    print(_runs().export_model(ref, directory, version=version))


@app.command()
def demo(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where everything goes.")] = Path("demo"),
) -> None:
    """Train, publish, load back and export a GAN and a classifier on embedded digits."""
    with _quiet_loading():
        from keras_arch import demo as demonstration
    demonstration.run(out)


@experiment.command()
def degradation(
    budget: Annotated[
        int, typer.Option(metavar="EPOCHS", min=1, help="Epochs for each net; the paper's is 164.")
    ],
    source: Annotated[str, typer.Option("--data", metavar="SOURCE", help="Data source.")] = (
        "cifar10"
    ),
    depths: Annotated[str, typer.Option(metavar="NUMBERS", help="Weighted layers, 6n+2.")] = (
        "20,56"
    ),
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Gets a run for each net, the figure and a table.")
    ] = Path("degradation"),
    limit: Annotated[
        int | None, typer.Option(min=1, help="Train on so many images.", show_default="all")
    ] = None,
    test_limit: Annotated[
        int | None, typer.Option(min=1, help="Test on so many images.", show_default="all")
    ] = None,
    data_dir: Annotated[str | None, typer.Option(help="Where the data is kept.")] = None,
    settings: Settings = None,
    strategy: Annotated[
        str, typer.Option(metavar="NAME", help="auto, none, mirrored, multi_worker or tpu.")
    ] = "auto",
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the experiment in DIR.")
    ] = False,
) -> None:
    """Train plain and residual nets of several depths, and draw their errors in one figure."""
    try:
        numbers = [int(depth) for depth in depths.split(",")]
    except ValueError:
        raise ArgumentError(f"--depths takes numbers such as 20,56, got {depths!r}") from None
    done = _experiments().degradation(
        budget,
        source=source,
        depths=numbers,
        out=out,
        limit=limit,
        test_limit=test_limit,
        data_dir=data_dir,
        overrides=settings or (),
        strategy=strategy,
        resume=resume,
    )
    rows = [
        (
            net.name,
            f"{net.parameters:,}",
            f"{100 * net.training_error[-1]:.2f}",
            f"{100 * net.test_error[-1]:.2f}",
        )
        for net in done.nets
    ]
    _table(("net", "parameters", "training error %", "test error %"), rows)
    print(f"figure: {done.figure}")
    print(f"table: {done.table}")


@experiment.command()
def blocks(
    ref: Ref,
    source: Annotated[
        str | None,
        typer.Option(
            "--data", metavar="SOURCE", help="Data.", show_default="what it was trained on"
        ),
    ] = None,
    split: Annotated[str | None, typer.Option(help="Part of the data, such as test.")] = None,
    data_dir: Annotated[str | None, typer.Option(help="Where the data is kept.")] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Measure on so many images.", show_default="all")
    ] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Gets the figure and a table.")] = Path(
        "residual_blocks"
    ),
) -> None:
    """Measure how much each block of a residual net changes its input, and the net without it."""
    done = _experiments().blocks(
        ref, source=source, split=split, data_dir=data_dir, limit=limit, out=out
    )
    rows = [
        (
            block.name,
            block.shortcut,
            f"{block.change:.3f}",
            f"{block.cosine:.3f}",
            f"{block.accuracy:.4f}",
        )
        for block in done.blocks
    ]
    rows.append(("(whole net)", "", "", "", f"{done.accuracy:.4f}"))
    columns = ("block", "shortcut", "change", "cosine", "accuracy without it")
    _table(columns, rows)
    print(f"figure: {done.figure}")
    print(f"table: {done.table}")


def _experiments() -> Any:
    with _quiet_loading():
        from keras_arch import experiments
    return experiments


def _runs() -> Any:
    with _quiet_loading():
        from keras_arch import runs
    return runs


@contextlib.contextmanager
def _quiet_loading() -> Iterator[None]:
    """Import TensorFlow without what its libraries print about themselves.

    They write to the process's standard error before any logging level is heeded. Other lines
    are passed on. Whoever sets TF_CPP_MIN_LOG_LEVEL sees all that it lets through.
    """
    if "TF_CPP_MIN_LOG_LEVEL" in os.environ or "tensorflow" in sys.modules:
        yield
        return
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    sys.stderr.flush()
    terminal = os.dup(2)
    try:
        with tempfile.TemporaryFile() as printed:
            os.dup2(printed.fileno(), 2)
            try:
                yield
            finally:
                sys.stderr.flush()
                os.dup2(terminal, 2)
                printed.seek(0)
                for line in printed:
                    if not re.match(rb"[IWE]\d{4} |WARNING: All log messages before absl", line):
                        os.write(terminal, line)
    finally:
        os.close(terminal)


@contextlib.contextmanager
def _notes_on_stderr() -> Iterator[None]:
    """Show what the package logs, a line each, on standard error."""
    logger = logging.getLogger("keras_arch")
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    before = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    # Libraries give the root logger handlers of their own, which would say it all again.
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before[0])
        logger.propagate = before[1]


def _fail(message: Any, code: int = MISTAKE, label: str = "error") -> int:
    """Say in one line what is wrong."""
    sys.stdout.flush()
    print(f"{label}: {' '.join(str(message).split())}", file=sys.stderr)
    return code


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]], title: str = "") -> None:
    """A table in a terminal; elsewhere lines of values with tabs between, for other programs."""
    if not sys.stdout.isatty():
        for row in rows:
            print(*row, sep="\t")
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=box.SIMPLE, show_header=any(columns))
    for column in columns:
        numeric = column.startswith(_NUMERIC)
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    Console(highlight=False, markup=False).print(table)


def _figures(metrics: dict[str, float]) -> None:
    _table(("figure", "value"), [(name, f"{value:.4f}") for name, value in metrics.items()])


def _is_reference(name: str) -> bool:
    return "://" in name or name in presets.names() or Path(name).exists()


def _facts_of_entry(entry: Any) -> list[tuple[str, str]]:
    facts = [
        ("architecture", entry.name),
        ("what it is", entry.summary),
        ("task", entry.task),
        ("paper", entry.paper),
        ("address", entry.url),
        ("default input", " x ".join(map(str, entry.default_input))),
    ]
    facts += [(f"latent ({variant})", name) for variant, name in entry.latent.items()]
    facts += [(f"parameters ({call})", f"{count:,}") for call, count in entry.parameters.items()]
    for argument in entry.arguments.values():
        default = "" if argument.default is inspect.Parameter.empty else repr(argument.default)
        facts.append((f"argument {argument.name}", default))
    return facts


def _facts_of_card(card: Any) -> list[tuple[str, str]]:
    facts = [
        ("model", card.name),
        ("what it is", " ".join(card.description.split())),
        ("architecture", card.architecture),
        ("task", card.task),
        ("license", card.license),
    ]
    facts += [(f"argument {name}", repr(value)) for name, value in card.arguments.items()]
    facts += [(name, f"{value:.4f}") for name, value in card.metrics.items()]
    if card.labels:
        facts.append(("labels", ", ".join(card.labels)))
    return facts


def _values(settings: Sequence[str] | None) -> dict[str, Any]:
    """`["depth=56"]` as `{"depth": 56}`; the values are YAML, as in `train --set`."""
    import yaml

    values = {}
    for setting in settings or ():
        key, equals, text = setting.partition("=")
        if not equals or not key:
            raise ArgumentError(f"--set takes key=value (depth=56), got {setting!r}")
        try:
            values[key] = yaml.safe_load(text)
        except yaml.YAMLError:
            raise ArgumentError(f"--set {setting!r}: the value is not YAML") from None
    return values


def _shape_text(output: Any) -> str:
    first = output[0] if isinstance(output, list | tuple) else output
    return " x ".join("?" if size is None else str(size) for size in first.shape[1:])


if __name__ == "__main__":
    sys.exit(main())
