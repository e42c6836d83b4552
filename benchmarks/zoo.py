"""The trained models that come with the package and the repository, and the page about them.

    python benchmarks/zoo.py add runs/resnet8-mnist --to package
    python benchmarks/zoo.py add runs/gan-mnist --to zoo --float16 --figures FILE.json
    python benchmarks/zoo.py add runs/resnet8-mnist-1            another seed: its figures only
    python benchmarks/zoo.py measure [NAME...]                   size and speed of all or some
    python benchmarks/zoo.py                                     write docs/zoo.md and the READMEs

`add` copies the model of a finished run into `hub_configs/models` (it ships in the wheel) or into
`zoo`, without the files that only a resumed training needs, and its metrics into
`zoo/results/NAME.json`. `measure` writes `zoo/speed.json`. The page is written from those files and
the cards of the models, and from nothing else.
"""

import argparse
import dataclasses
import json
import platform
import statistics
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from keras_arch.files import atomic_write

ROOT = Path(__file__).resolve().parents[1]
PACKAGE, ZOO = ROOT / "hub_configs" / "models", ROOT / "zoo"
RESULTS, SPEED, PAGE = ZOO / "results", ZOO / "speed.json", ROOT / "docs" / "zoo.md"
# Pixels; a wider picture of samples is reduced, as it goes into the wheel.
WIDEST = 1100
READMES = (ROOT / "README.md", ROOT / "README.ko.md")
BEGIN, END = "<!-- zoo.py: begin -->", "<!-- zoo.py: end -->"
# The figures of each task, in the order of their columns, with their names there.
FIGURES = {
    "image-classification": {"accuracy": "test accuracy"},
    "image-segmentation": {
        "mean_iu": "mean IU",
        "pixel_accuracy": "pixel accuracy",
        "boundary_f_score": "boundary F",
        "pixel_error": "pixel error",
        "rand_error": "Rand error",
        "warping_error": "warping error",
        "instance_recall": "instances matched",
        "instance_f_score": "instance F",
    },
    "generation": {
        "classifier_agreement": "classifier agreement",
        "modes_covered": "classes found",
        "fid": "FID",
        "kid": "KID",
        "parzen": "Parzen log-likelihood",
    },
    "translation": {
        "l1": "L1 error",
        "sharpness": "mean gradient",
        "sharpness_of_targets": "mean gradient of photos",
    },
}
TITLES = {
    "image-classification": "Classifiers",
    "image-segmentation": "Segmenters",
    "generation": "Generators",
    "translation": "Translators",
}
# The picture of the READMEs: parts of samples, as fractions of their width and height.
GALLERY = ROOT / "docs" / "zoo.png"
PANELS = (
    ("Generated: cdcgan-fashion_mnist", ZOO / "cdcgan-fashion_mnist", (0, 0, 1, 0.4985)),
    ("A section of nerve tissue", PACKAGE / "unet-isbi2012", (0.002, 0.0111, 0.2495, 0.254)),
    ("Its membranes: unet-isbi2012", PACKAGE / "unet-isbi2012", (0.5005, 0.0111, 0.748, 0.254)),
)
HEIGHT, GAP = 331, 12
# The READMEs give each model one figure: the first of these that it has. Of a generator's metrics
# only those count that its own recipe measures, which are its aim.
HEADLINES = ("accuracy", "instance_recall", "rand_error", "classifier_agreement", "parzen", "fid")
PERCENT = ("accuracy", "pixel_accuracy", "classifier_agreement", "instance_recall")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="command")
    adding = commands.add_parser("add", help="take over a finished run")
    adding.add_argument("run", type=Path)
    adding.add_argument("--to", choices=("package", "zoo"), help="where the model goes")
    adding.add_argument("--float16", action="store_true", help="store weights as float16")
    adding.add_argument("--samples", type=Path, help="another picture than that of the run")
    adding.add_argument("--note", default="", help="a sentence for the card and the page")
    adding.add_argument(
        "--figures", type=Path, nargs="*", default=[], help="files of evaluate-generator --out"
    )
    measuring = commands.add_parser("measure", help="measure size and speed")
    measuring.add_argument("names", nargs="*", help="only these; the others keep their figures")
    given = parser.parse_args()
    if given.command == "add":
        add(given)
    elif given.command == "measure":
        atomic_write(SPEED, json.dumps(measured(given.names), indent=1) + "\n")
    else:
        print(gallery(GALLERY))
        print(atomic_write(PAGE, page()))
        for file in READMES:
            print(atomic_write(file, with_table(file.read_text(encoding="utf-8"))))


def add(given: argparse.Namespace) -> None:
    """Take over the model and the metrics of a run."""
    import numpy as np

    from keras_arch import hub
    from keras_arch.hub.training_command import training_command

    run = given.run
    metrics = json.loads((run / "metrics.json").read_text())
    more: dict[str, float] = {}
    measured_with: dict[str, str] = {}
    for file in given.figures:
        found = json.loads(file.read_text())
        more |= found["metrics"]
        measured_with[", ".join(found["metrics"])] = found["description"]
    metrics |= more
    recipe = yaml.safe_load((run / "config.yaml").read_text())
    loaded = hub.load_with_card(run / "model")
    card, name = loaded.card, recipe["name"]
    card = dataclasses.replace(card, metrics=card.metrics | more)
    for names, words in measured_with.items():
        again = f"Measured again after the training: {names}, with {words}."
        card = dataclasses.replace(card, description=f"{card.description.strip()}\n\n{again}")
    if given.note:
        card = dataclasses.replace(card, description=f"{card.description.strip()} {given.note}")
    if given.to is not None:
        target = {"package": PACKAGE, "zoo": ZOO}[given.to] / name
        picture = given.samples or run / "model" / "samples.png"
        with tempfile.TemporaryDirectory() as folder:
            hub.save(
                loaded.model,
                target,
                card,
                samples=reduced(picture, Path(folder)) if picture.is_file() else None,
                weights_dtype="float16" if given.float16 else "float32",
            )
        draw = np.random.default_rng(0)
        inputs = [
            draw.uniform(0, 2, (4, *(side or 64 for side in each.shape[1:]))).astype(each.dtype)
            for each in loaded.model.inputs
        ]
        inputs = inputs if len(inputs) > 1 else inputs[0]
        before, after = (np.asarray(net(inputs)) for net in (loaded.model, hub.load(target)))
        print(f"{target}: largest difference of outputs {np.abs(before - after).max():.3g}")
    file = RESULTS / f"{name}.json"
    runs = json.loads(file.read_text()) if file.is_file() else []
    seed = recipe["recipe"]["seed"]
    entry = {"seed": seed, "command": training_command(card), "metrics": metrics}
    if given.note:
        entry["note"] = given.note
    if measured_with:
        entry["measured_with"] = measured_with
    runs = sorted([*(each for each in runs if each["seed"] != seed), entry], key=_seed)
    print(atomic_write(file, json.dumps(runs, indent=1) + "\n"))


def reduced(picture: Path, folder: Path) -> Path:
    """The picture, or if it is wider than WIDEST a smaller copy of it in the folder."""
    from PIL import Image

    with Image.open(picture) as image:
        if image.width <= WIDEST:
            return picture
        size = WIDEST, round(image.height * WIDEST / image.width)
        image.resize(size, Image.Resampling.LANCZOS).quantize(64, dither=Image.Dither.NONE).save(
            folder / picture.name, optimize=True
        )
    return folder / picture.name


def _seed(run: dict[str, Any]) -> int:
    return run["seed"]


def models() -> Iterator[tuple[str, Path]]:
    """The names of the trained models and their folders."""
    for folder in (PACKAGE, ZOO):
        for record in sorted(folder.glob("*/keras_arch.json")):
            yield record.parent.name, record.parent


def measured(names: list[str]) -> dict[str, Any]:
    """Parameters, operations and speed of each model, and the machine that it was measured on."""
    import keras

    from keras_arch import hub
    from keras_arch.tasks.comparison import gflop_of, images_per_second

    known = json.loads(SPEED.read_text())["models"] if names else {}
    found: dict[str, Any] = {}
    for name, folder in models():
        if names and name not in names:
            found[name] = known[name]
            continue
        network = hub.load(folder)
        row: dict[str, Any] = {"parameters": network.count_params()}
        shape = network.inputs[0].shape[1:]
        if len(network.inputs) == 1 and len(shape) == 3 and None not in shape:
            row["gflop"] = float(f"{gflop_of(network, shape):.4g}")
            row["images_per_second"] = float(f"{images_per_second(network, shape):.3g}")
        found[name] = row
        keras.backend.clear_session()
        print(name, row)
    return {"machine": f"{platform.machine()}, 2 cores, batches of 32", "models": found}


def page() -> str:
    """The text of docs/zoo.md."""
    speed = json.loads(SPEED.read_text())
    parts = [
        "# Trained models",
        "<!-- Written by benchmarks/zoo.py; change that, and run it again. -->",
        _wrapped(
            "Figures of classifiers and segmenters are of images that they were not trained on, "
            "those of generators are of generated images. They were measured at the end of the run "
            "that the command repeats, or, where a line below the picture says so, on more images "
            "later. FID is that of the classifier's features, and not Inception's. Several seeds "
            "are given as mean (lowest to highest); the model is that of the first. Models marked "
            "*package* come with `pip install`, so `keras_arch.hub.load(NAME)` works "
            "offline; those marked *zoo* lie in the folder `zoo` of the repository. The files have "
            "the weights alone, as float32 or float16, without the discriminator of a generator."
        ),
        _wrapped(
            "GFLOP are of one image, forward; images a second too, measured on one CPU "
            f"({speed['machine']})."
        ),
    ]
    for kind, figures in FIGURES.items():
        rows = [
            _row(name, folder, speed["models"])
            for name, folder in models()
            if _kind(folder) == kind
        ]
        if not rows:
            continue
        used = [key for key in figures if any(key in row["metrics"] for row in rows)]
        header = ["model", "where", *(figures[key] for key in used), "parameters"]
        header += ["GFLOP", "images/s", "file"] if kind != "generation" else ["file"]
        table = [header, ["---"] * len(header)]
        for row in rows:
            cells = [f"`{row['name']}`", row["where"]]
            cells += [row["metrics"].get(key, "") for key in used]
            cells.append(f"{row['parameters']:,}")
            if kind != "generation":
                speed_of = row.get("images_per_second")
                cells += [str(row.get("gflop", "")), f"{speed_of:,.0f}" if speed_of else ""]
            table.append([*cells, row["file"]])
        parts += [f"## {TITLES[kind]}", "\n".join(f"| {' | '.join(line)} |" for line in table)]
        parts.append("\n".join(f"    {row['command']}" for row in rows))
        if note := " ".join(_data_notes(rows)):
            parts.append(_wrapped(note))
        parts += [
            f"![{row['name']}]({row['picture']})\n\n" + _wrapped(_caption(row))
            for row in rows
            if row["picture"]
        ]
    return "\n\n".join(parts) + "\n"


def gallery(file: Path) -> Path:
    """Write the picture at the top of the READMEs, from the samples of models."""
    import numpy as np
    from PIL import Image

    from keras_arch import visualization

    parts = []
    for title, folder, (left, top, right, bottom) in PANELS:
        with Image.open(folder / "samples.png") as image:
            width, height = image.size
            box = (width * left, height * top, width * right, height * bottom)
            part = image.convert("RGB").crop(tuple(map(round, box)))
        size = round(part.width * HEIGHT / part.height), HEIGHT
        part = np.asarray(part.resize(size, Image.Resampling.LANCZOS))
        sheet = visualization.annotate(part, titles=[title])
        gap = np.full((len(sheet), GAP if parts else 0, 3), 255, np.uint8)
        parts += [gap, sheet]
    image = Image.fromarray(np.concatenate(parts, axis=1))
    image.quantize(64, dither=Image.Dither.NONE).save(file, optimize=True)
    return file


def _data_notes(rows: list[dict[str, Any]]) -> Iterator[str]:
    """What to know of data that is in no package: where the commands look for it."""
    from keras_arch import presets

    if any("data.source=" in row["command"] for row in rows):
        yield "Write the whole path of your own file after `data.source=`."
    for row in rows:
        source = presets.read(row["name"])["data"]["source"]
        if "/" in source and "data.source=" not in row["command"]:
            yield (
                f"`{row['name']}` looks for `{source}`; give another folder by the key "
                "`data.source`."
            )
        if ".weights=" in row["command"]:
            yield (
                f"`{row['name']}` goes on with the weights of another run, as its command says; "
                "the commands of both are in [results.md](results.md)."
            )


def _caption(row: dict[str, Any]) -> str:
    """The line below the picture of a model: what was measured with which network, and its note."""
    parts = []
    for names, description in row["measured_with"].items():
        # Without the standard errors, which are no metrics of their own.
        measures = [f"`{name}`" for name in names.split(", ") if name in FIGURES["generation"]]
        listed = " and ".join(filter(None, [", ".join(measures[:-1]), measures[-1]]))
        parts.append(f"{listed} by `keras-arch evaluate-generator`: {description}.")
    if row["note"]:
        parts.append(row["note"])
    return ": ".join([f"*`{row['name']}`*", *([" ".join(parts)] if parts else [])])


def with_table(text: str) -> str:
    """A README with its table of the trained models written anew: a line for each kind."""
    speed = json.loads(SPEED.read_text())["models"]
    lines = ["| | |", "|---|---|"]
    for kind, figures in FIGURES.items():
        cells = []
        for name, folder in models():
            if _kind(folder) != kind:
                continue
            row = _row(name, folder, speed, seeds=1)
            found = row["metrics"]
            aims = _evaluated(folder) or found
            known = [key for key in (*HEADLINES, *figures) if key in found]
            first = next((key for key in known if key in aims), None)
            figure = f" {figures[first]} {found[first]}" if first else ""
            cells.append(f"`{name}`{'*' * (row['where'] == 'zoo')}{figure}")
        if cells:
            lines.append(f"| {TITLES[kind]} | {', '.join(cells)} |")
    before, _, rest = text.partition(BEGIN)
    return before + "\n".join([BEGIN, *lines, END]) + rest.partition(END)[2]


def _wrapped(text: str) -> str:
    return textwrap.fill(text, 120)


def _card(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "keras_arch.json").read_text())["card"]


def _evaluated(folder: Path) -> list[str]:
    """The metrics of generated images that the recipe of a model asks for."""
    return (_card(folder)["recipe"].get("generator_evaluation") or {}).get("metrics", [])


def _kind(folder: Path) -> str:
    task = _card(folder)["task"]
    if task in FIGURES:
        return task
    return "translation" if "translation" in task or task == "image-to-image" else "generation"


def _row(name: str, folder: Path, speed: dict[str, Any], seeds: int | None = None) -> dict:
    """What the page has of a model; its figures are those of so many seeds, `None` for all."""
    runs = json.loads((RESULTS / f"{name}.json").read_text())[:seeds]
    keys = dict.fromkeys(key for run in runs for key in run["metrics"])
    values = {key: [run["metrics"][key] for run in runs if key in run["metrics"]] for key in keys}
    size = (folder / "model.weights.h5").stat().st_size / 1e6
    picture = folder / "samples.png"
    where = "package" if folder.is_relative_to(PACKAGE) else "zoo"
    figures = {key: _figure(key, found) for key, found in values.items()}
    if len(errors := values.get("parzen_error", [])) == len(runs) == 1:
        figures["parzen"] += f" ± {errors[0]:.1f}"
    return {
        "name": name,
        "where": where,
        "metrics": figures,
        "file": f"{size:.1f} MB, {_stored(folder / 'model.weights.h5')}",
        "command": runs[0]["command"],
        "note": runs[0].get("note"),
        "measured_with": runs[0].get("measured_with", {}),
        "picture": f"../{picture.relative_to(ROOT).as_posix()}" if picture.is_file() else None,
        **speed[name],
    }


def _stored(file: Path) -> str:
    """The dtype of most arrays of a weights file."""
    import h5py

    dtypes: list[str] = []
    with h5py.File(file) as opened:
        opened.visititems(lambda _, item: dtypes.append(str(getattr(item, "dtype", ""))))
    return statistics.mode(dtype for dtype in dtypes if dtype.startswith("float"))


def _figure(key: str, values: list[float]) -> str:
    percent = key in PERCENT

    def text(value: float) -> str:
        if percent:
            return f"{100 * value:.2f}"
        return f"{value:.1f}" if key == "parzen" else f"{value:.4g}"

    mean = text(statistics.fmean(values)) + (" %" if percent else "")
    if len(values) == 1:
        return mean
    return f"{mean} ({text(min(values))} to {text(max(values))})"


if __name__ == "__main__":
    main()
