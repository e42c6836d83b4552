"""The command line: listings, training to export, and user errors."""

import functools
import os
import re
import shlex
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
import yaml
from PIL import Image

import keras_arch
from keras_arch import cli, convert, hub, models, presets, registry, training
from keras_arch.cli import _index
from keras_arch.cli._output import log_on_stderr
from keras_arch.cli._result import next_commands, run_result
from keras_arch.cli.app import COMMANDS
from keras_arch.convert.all_mappings import weight_sources
from keras_arch.errors import ArgumentError
from keras_arch.preprocessing import Preprocessing

SHORT = ["data.train=train[:64]", "data.test=test[:40]", "recipe.epochs=1", "recipe.batch_size=32"]
TINY = {
    "resnet20-digits": [*SHORT, "model.arguments.depth=8"],
    "dcgan-digits": [
        *SHORT,
        "generator.arguments.filters=4",
        "discriminator.arguments.filters=4",
        "samples.every=1",
    ],
}


def settings(values):
    return [part for value in values for part in ("--set", value)]


def draw(folder, count, shape):
    """Write pictures of noise."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(count)
    for number in range(count):
        pixels = rng.integers(0, 256, shape, np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")


@pytest.fixture
def run_command(capfd, tmp_path, monkeypatch):
    """Run a command in an empty folder: exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        capfd.readouterr()
        code = cli.main([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        return code, out, err

    return run


@pytest.fixture
def error_of(run_command):
    """The one error line of a command that must fail."""

    def run(*arguments):
        code, _, err = run_command(*arguments)
        assert code == 2
        # The line that says what a folder holds may come before.
        *logged, error = err.splitlines()
        assert all(re.fullmatch(r"\w+: \d+ (images|pairs) \(.*\).*", line) for line in logged), err
        assert error.startswith("error: ")
        assert err.endswith("\n")
        return error

    return run


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Run directories of two tiny runs of the command itself."""
    folder = tmp_path_factory.mktemp("trained")
    for name, values in TINY.items():
        assert cli.main(["train", name, "--out", str(folder / name), *settings(values)]) == 0
    return folder


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Model directories of an untrained conditional generator and an untrained translator."""
    folder = tmp_path_factory.mktemp("saved")
    tiny = {
        "conditional": (
            "DCGANGenerator",
            {"image_shape": [16, 16, 1], "classes": 10},
            (16, 1),
        ),
        "translator": ("CycleGANGenerator", {"blocks": 1, "image_shape": [8, 8, 3]}, (8, 3)),
    }
    facts = {
        "conditional": {
            "task": "conditional-image-generation",
            "labels": list("0123456789"),
            "latent": {"size": 100, "distribution": "normal"},
        },
        "translator": {"task": "image-to-image"},
    }
    for name, (architecture, arguments, (size, channels)) in tiny.items():
        arguments = arguments | {"filters": 2}
        preprocessing = Preprocessing((size, size), channels, scale=1 / 127.5, mean=1.0)
        card = hub.Card(name, architecture, arguments, preprocessing=preprocessing, **facts[name])
        hub.save(models.create(architecture, **arguments), folder / name, card)
    return folder


# Listings.


def test_a_group_without_a_command_shows_its_help(run_command):
    code, out, err = run_command("experiment")
    assert (code, err) == (2, "")
    assert "degradation" in out
    assert "blocks" in out


def test_version_and_help(run_command):
    assert run_command("--version") == (0, f"keras-arch {keras_arch.__version__}\n", "")
    code, listed, _ = run_command("--help")
    assert code == 0
    for command in COMMANDS:
        name = command.__name__.replace("_", "-")
        assert re.search(rf"^\W*{name} ", listed, re.MULTILINE)
        code, text, _ = run_command(name, "--help")
        assert code == 0
        assert " ".join(command.__doc__.split()[:4]) in " ".join(text.split())
    assert run_command() == (0, listed, "")
    assert run_command("train", "-h")[0] == 0


def test_the_program_is_a_module_too():
    found = subprocess.run(
        [sys.executable, "-m", "keras_arch", "--version"], capture_output=True, text=True
    )
    assert (found.returncode, found.stdout) == (0, f"keras-arch {keras_arch.__version__}\n")
    found = subprocess.run(
        [sys.executable, "-m", "keras_arch", "show", "ResNet51"], capture_output=True, text=True
    )
    assert found.returncode == 2
    assert found.stderr.startswith("error: ")


@pytest.mark.parametrize("module", ["keras_arch", "keras_arch.cli"])
def test_no_module_of_the_working_directory_is_run(module, tmp_path):
    (tmp_path / "own.py").write_text("open('was run', 'w')")
    config = presets.path("resnet20-digits").read_text(encoding="utf-8") + "imports: [own]\n"
    (tmp_path / "own.yaml").write_text(config, encoding="utf-8")
    command = [sys.executable, "-m", module, "train", "own.yaml"]
    found = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert found.returncode == 2
    assert "imports names 'own', which cannot be imported" in found.stderr
    assert not (tmp_path / "was run").exists()


def test_models_are_listed_one_a_line(run_command):
    code, out, _ = run_command("models", "dcgan*")
    rows = [line.split("\t") for line in out.splitlines()]
    assert code == 0
    assert [row[0] for row in rows] == ["DCGANDiscriminator", "DCGANGenerator"]
    # The paper's generator: as many as its authors' code has.
    assert rows[1][2] == "18,885,760"
    listed = run_command("models", "dcgangen")[1]
    assert [line.split("\t")[0] for line in listed.splitlines()] == ["DCGANGenerator"]


def test_configs_are_listed_one_a_line(run_command):
    out = run_command("configs")[1]
    assert [line.split("\t")[0] for line in out.splitlines()] == presets.names()
    few = run_command("configs", "UNet*")[1]
    assert [line.split("\t")[0] for line in few.splitlines()] == presets.names()[-5:-1]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("train unet", ["unet-cells", "unet-isbi2012", "unet-isbi2012-paper", "unet-pets"]),
        ("evaluate runs/", ["runs/a"]),
        ("show CIFARR", ["CIFARResNet"]),
    ],
)
def test_names_are_completed_in_the_shell(tmp_path, words, expected):
    (tmp_path / "runs" / "a").mkdir(parents=True)
    (tmp_path / "runs" / "a" / "config.yaml").write_text("")
    asked = {"_KERAS_ARCH_COMPLETE": "complete_bash", "COMP_WORDS": f"keras-arch {words}"}
    done = command(cwd=tmp_path, env=os.environ | asked | {"COMP_CWORD": "2"})
    assert done.stdout.split() == expected


def rows_of(out):
    return dict(line.split("\t", 1) for line in out.splitlines() if "\t" in line)


def test_show_lists_facts_and_arguments(run_command):
    rows = rows_of(run_command("show", "CIFARResNet")[1])
    assert "He, Zhang, Ren, Sun" in rows["paper"]
    assert rows["parameters (default)"] == "269,722"
    assert rows["argument shortcut"] == "'A'"
    assert "stage1" not in rows


def test_show_builds_for_layers_and_a_plot(run_command):
    arguments = ("--layers", "--set", "depth=32", "--plot", "net.png")
    rows = rows_of(run_command("show", "CIFARResNet", *arguments)[1])
    assert rows["parameters (default)"] == "269,722"
    # 464,154 trained (the paper's table) and 2 x 1,136 moving statistics.
    assert rows["trainable parameters"] == "464,154"
    assert rows["stage1"] == "Activation\t32 x 32 x 16\t0"
    assert Image.open("net.png").format == "PNG"


def test_weights_of_one_config(run_command):
    rows = [line.split("\t")[:2] for line in run_command("weights", "digits")[1].splitlines()]
    assert sorted(name for _, name in rows) == ["cdcgan-digits", "dcgan-digits", "resnet20-digits"]


def test_weights_are_listed_with_how_to_load_them(run_command):
    rows = [line.split("\t") for line in run_command("weights", "*")[1].splitlines()]
    listed = {tuple(row[:2]) for row in rows}
    for name in presets.names():
        content = presets.read(name)
        network = content.get("model") or content["generator"]
        assert (network["name"], name) in listed
    assert ["ResNet50", "keras.applications"] in [row[:2] for row in rows]
    planned = next(row for row in rows if row[1] == "resnet50-imagenet")
    assert planned == [
        "ResNet50",
        "resnet50-imagenet",
        'keras_arch.hub.load("resnet50-imagenet") after: keras-arch train resnet50-imagenet',
        "accuracy 0.753 expected",
        *[""] * 5,
    ]
    # Of the model that ships, and not what its config expects.
    shipped = next(row for row in rows if row[1] == "resnet20-digits")
    assert shipped[2:4] == ['keras_arch.hub.load("resnet20-digits")', "accuracy 0.9944"]
    published = {(row.architecture, row.tag): row for row in models.list_weights()}
    assert published.keys() <= listed
    row = next(row for row in rows if row[:2] == ["AlexNet", "tv_in1k"])
    assert row[2:] == [
        'weights="tv_in1k" or weights="imagenet"',
        "top-1 accuracy 56.5 % at 224",
        "torchvision",
        "bsd-3-clause",
        "224",
        "244.4",
        published["AlexNet", "tv_in1k"].reported,
    ]
    assert {row[0] for row in rows} <= set(models.list_models())
    assert run_command("weights", "gandisc*")[1] == ""


def test_sources_of_keras_weights_are_those_that_are_converted():
    model = keras.Sequential([keras.Input((8, 8, 3))], name="other")
    with pytest.raises(ArgumentError) as caught:
        convert.from_keras_applications(model)
    named = set(re.findall(r"(?:ResNet|VGG)\d+", str(caught.value)))
    for source, expected in (
        ("keras.applications", sorted(named)),
        ("KerasHub", models.list_models("ResNet*")),
    ):
        found = [name for name in models.list_models() if source in weight_sources(name)]
        assert found == expected


def test_the_index_of_architectures_is_that_of_the_registry():
    assert _index.PATH.read_text() == _index.current(), "run `make index`"


@pytest.fixture
def plugins(tmp_path, monkeypatch):
    """Two installed packages with architectures: one works, one fails when it is imported."""
    folder = tmp_path / "installed"
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr(registry.ARCHITECTURES, "_objects", dict(registry.ARCHITECTURES._objects))
    monkeypatch.setattr(registry.ARCHITECTURES, "_failed", {})
    code = """
from keras_arch.registry import register

@register(task="image-classification", paper="Nobody (2026)", url="https://example.org",
          default_input=(4, 4, 1), parameters={"": 170})
def TinyNet(classes=10):
    "A dense layer over the pixels."
    import keras
    image = keras.Input((4, 4, 1))
    return keras.Model(image, keras.layers.Dense(classes)(keras.layers.Flatten()(image)))
"""
    for name, builder, text in (("tiny", "TinyNet", code), ("bad", "BadNet", "raise OSError(3)")):
        info = folder / f"{name}_net-1.0.dist-info"
        info.mkdir(parents=True)
        (folder / f"{name}_net.py").write_text(text)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}-net\nVersion: 1.0\n")
        entry = f"[keras_arch.models]\n{builder} = {name}_net:{builder}\n"
        (info / "entry_points.txt").write_text(entry)
    yield
    sys.modules.pop("tiny_net", None)


@pytest.mark.usefixtures("plugins")
def test_architectures_of_installed_packages_are_listed_and_shown(run_command, error_of):
    rows = rows_of(run_command("models", "*net")[1])
    assert rows["TinyNet"] == "\t\tfrom the package tiny-net"
    assert "tiny_net" not in sys.modules
    rows = rows_of(run_command("show", "TinyNet", "--layers")[1])
    assert rows["paper"] == "Nobody (2026)"
    assert rows["argument classes"] == "10"
    assert rows["trainable parameters"] == "170"
    with pytest.warns(UserWarning, match="bad-net") as caught:
        assert "TinyNet" in models.list_models()
    assert len(caught) == 1
    with log_on_stderr():
        line = warnings.formatwarning(caught[0].message, UserWarning, registry.__file__, 1)
    assert re.fullmatch(r"warning: architecture 'BadNet' of the package bad-net .*\n", line)
    message = error_of("show", "BadNet")
    assert re.search(r"'BadNet' of the package bad-net cannot be imported: OSError: 3", message)
    assert models.create("TinyNet", classes=2).output_shape == (None, 2)


def test_in_a_terminal_there_are_tables(run_command, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    _, out, _ = run_command("models", "dcgan*")
    assert "parameters from" in out
    assert "\t" not in out


def test_weights_are_found_by_their_tag(run_command):
    rows = [line.split("\t") for line in run_command("weights", "tv2")[1].splitlines()]
    assert [row[:2] for row in rows] == [[f"ResNet{n}", "tv2_in1k"] for n in (101, 152, 50)]
    rows = [line.split("\t") for line in run_command("weights", "imagenet")[1].splitlines()]
    chosen = {row[0] for row in rows if row[2].endswith(' or weights="imagenet"')}
    assert {"ResNet18", "ResNet152", "VGG16", "AlexNet", "GoogLeNet"} <= chosen
    # Of a network, the row that the word chooses.
    assert [row[0] for row in rows if row[1] == "a1_in1k"] == ["ResNet18", "ResNet34", "ResNet50"]


def test_a_table_that_is_too_wide_for_the_terminal_is_printed_row_by_row(run_command, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    _, out, _ = run_command("weights", "VGG16")
    lines = out.splitlines()
    begin = lines.index("  weights      tv_in1k") - 1
    assert lines[begin : begin + 4] == [
        "VGG16",
        "  weights      tv_in1k",
        '  how to load  weights="tv_in1k" or weights="imagenet"',
        "  accuracy     top-1 accuracy 71.6 % at 224",
    ]


# Training, evaluation, publication, export.


def test_evaluate_repeats_the_metrics_of_the_run(run_command, trained):
    metrics = yaml.safe_load((trained / "resnet20-digits" / "metrics.json").read_text())
    code, out, _ = run_command("evaluate", trained / "resnet20-digits", "--out", "report")
    assert code == 0
    assert f"accuracy\t{metrics['accuracy']:.4f}" in out.splitlines()
    assert Path("report/confusion_matrix.png").exists()


def test_a_run_names_its_pictures_and_what_to_do_next(run_command, trained, capfd):
    run = trained / "resnet20-digits"
    run_result(training.loop.Run(run, run / "model", {}))
    lines = capfd.readouterr().out.splitlines()
    assert f"picture: {run}/confusion_matrix.png" in lines
    commands = [shlex.split(line.removeprefix("next: ")) for line in lines if "next: " in line]
    names = [command[1] for command in commands]
    assert names == ["evaluate", "predict", "push", "export"]
    # The other ones take longer and are the same commands as elsewhere.
    code, out, _ = run_command(*commands[1][1:])
    assert code == 0
    assert out.startswith(f"{run}/example.png\t")
    assert hub.load(run).count_params() == hub.load(run / "model").count_params()
    generator = [shlex.split(line)[1] for line in next_commands(trained / "dcgan-digits")]
    assert generator == ["evaluate", "generate", "push", "export"]


def test_generate_is_repeatable(run_command, trained):
    for name in ("a.png", "b.png"):
        arguments = ("--count", 5, "--seed", 3, "--out", name)
        assert run_command("generate", trained / "dcgan-digits", *arguments)[0] == 0
    assert Path("a.png").read_bytes() == Path("b.png").read_bytes()
    assert run_command("generate", trained / "dcgan-digits")[1] == "samples.png\n"


def test_predict_names_the_best_classes(run_command, trained):
    Image.fromarray(np.full((8, 8), 90, np.uint8)).save("grey.png")
    run = trained / "resnet20-digits"
    code, out, _ = run_command("predict", run, "grey.png", "grey.png", "--top", 3)
    rows = [line.split("\t") for line in out.splitlines()]
    assert code == 0
    assert len(rows) == 6
    assert rows[:3] == rows[3:]
    assert {row[1] for row in rows} <= set("0123456789")
    probabilities = [float(row[2]) for row in rows[:3]]
    assert probabilities == sorted(probabilities, reverse=True)
    np.save("grey.npy", np.full((8, 8), 90, np.uint8))
    code, out, _ = run_command("predict", run, "grey.npy", "--top", 3)
    assert code == 0
    assert [line.split("\t")[1:] for line in out.splitlines()] == [row[1:] for row in rows[:3]]


def test_predict_explains_images(run_command, trained):
    draw("photos", 2, (8, 8, 3))
    run = trained / "resnet20-digits"
    code, out, _ = run_command("predict", run, "photos/0.png", "--top", 1, "--explain")
    assert code == 0
    assert out.splitlines()[1] == "explained: photos/0_explained.png"
    as_seven = ("--explain", "--label", 7, "--out", "seen")
    out = run_command("predict", run, "photos/0.png", "photos/1.png", *as_seven)[1]
    assert out.splitlines()[-2:] == [f"explained: seen/{n}_explained.png" for n in (0, 1)]
    assert Path("seen/0_explained.png").read_bytes() != Path("photos/0_explained.png").read_bytes()


def test_classes_are_drawn_on_request(run_command, saved):
    run = saved / "conditional"
    sheets = []
    for labels in (("--label", 3), ("--label", "3", "--label", 7), ()):
        arguments = ("generate", run, "--count", 20, "--seed", 1, "--out", "a.png", *labels)
        assert run_command(*arguments) == (0, "a.png\n", "")
        sheets.append(Image.open("a.png").copy())
    # Five by four images of 64 pixels; without labels a column for each of the ten classes.
    assert [sheet.size for sheet in sheets] == [(332, 266), (332, 266), (662, 134)]
    assert sheets[0].tobytes() != sheets[1].tobytes()


def test_evaluate_generator_and_diagnose(run_command, trained):
    run, network = trained / "dcgan-digits", trained / "resnet20-digits"
    options = ("--network", network, "--images", 30, "--metrics", "fid, recall", "--out", "report")
    code, out, _ = run_command("evaluate-generator", run, *options)
    rows = [line.split("\t") for line in out.splitlines()]
    assert code == 0
    assert [row[0] for row in rows[:2]] == ["fid", "recall"]
    assert re.fullmatch(r"measured with: resnet20-digits.*30 generated", rows[2][0])
    written = yaml.safe_load(Path("report/generator_evaluation.json").read_text())
    assert rows[0][1] == f"{written['metrics']['fid']:.4f}"
    code, out, _ = run_command("diagnose", run, "--network", network, "--out", "seen")
    assert code == 0
    assert sorted(out.split()) == sorted(str(path) for path in Path("seen").iterdir())
    assert Path("seen/modes.png") in Path("seen").iterdir()


def test_translate_writes_a_file_for_each(run_command, saved):
    draw("photos", 2, (11, 7, 3))
    arguments = ("photos/0.png", "photos/1.png", "--out", "made")
    code, out, _ = run_command("translate", saved / "translator", *arguments)
    assert (code, out) == (0, "made/0.png\nmade/1.png\n")
    assert Image.open("made/1.png").size == (8, 8)


def test_push_pull_show_and_export_through_a_hub_in_a_folder(run_command, trained, tmp_path):
    address = f"file://{tmp_path}/hub/someone/digits"
    assert run_command("push", trained / "dcgan-digits", address)[0] == 0
    assert run_command("pull", address, "copy")[0] == 0
    weights = "model.weights.h5"
    original = trained / "dcgan-digits" / "model" / weights
    assert (tmp_path / "copy" / weights).read_bytes() == original.read_bytes()
    assert "DCGANGenerator" in run_command("show", "copy")[1]
    # Neither is the repository of the shipped config.
    for place in (trained / "dcgan-digits", "copy"):
        assert hub.read_card(place).repository is None
    readme = Path("copy/README.md").read_text()
    assert 'load_with_card(".")' in readme
    assert "hf://" not in readme
    code, out, _ = run_command("export", address, "serving")
    assert code == 0
    assert (Path(out.strip()) / "saved_model.pb").exists()
    assert Path(out.strip()).parts[-2:] == ("dcgan-digits", "1")
    limited = ("--version", 7, "--max-batch", 2, "--max-pixels", 4096)
    path = run_command("export", "copy", "serving", *limited)[1].strip()
    assert path.endswith("7")
    generate = tf.saved_model.load(path).signatures["generate"]
    with pytest.raises(tf.errors.InvalidArgumentError, match="count must be 0 to 2"):
        generate(seed=tf.constant(0, tf.int64), count=tf.constant(3))


@pytest.mark.slow
def test_a_finished_run_can_go_on_for_more_epochs(run_command):
    values = [value for value in TINY["resnet20-digits"] if "epochs" not in value]
    out = ("--out", "run", "--set", "recipe.epochs=1")
    assert run_command("train", "resnet20-digits", *out, *settings(values))[0] == 0
    more = ("--out", "run", "--set", "recipe.epochs=2", "--resume")
    assert run_command("train", "resnet20-digits", *more, *settings(values))[0] == 0
    assert len(Path("run/log.csv").read_text().splitlines()) == 3


# User errors: one line, and exit code 2.


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trian"], r"trian.*train"),
        (["train"], r"CONFIG.*keras-arch train --help"),
        (["train", "resnet20-digits", "--epoch", "3"], r"--epoch"),
        (["train", "resnet20-digit"], r"'resnet20-digit'; did you mean resnet20-digits"),
        (["train", "missing.yaml"], r"missing\.yaml: No such file"),
        (["train", "resnet20-digits", "--set", "recipe.epoch=3"], r"'recipe.epoch'.*epochs"),
        (["train", "resnet20-digits", "--set", "recipe.epochs=many"], r"recipe.epochs.*'many'"),
        (["train", "resnet20-digits", "--set", "epochs"], r"key=value.*'epochs'"),
        (
            ["train", "resnet20-digits", "--set", "model.arguments.depth=21"],
            r"6n\+2.*got 21.*20",
        ),
        (
            ["train", "dcgan-digits", "--set", "generator.arguments.image_shape=[48,48,1]"],
            r"32, 64.*48",
        ),
        (["train", "resnet20-digits", "--set", "model.name=ResNet21"], r"'ResNet21'"),
        (["train", "resnet20-digits", "--set", "data.source=digitz"], r"digitz"),
        (["train", "resnet20-digits", "--set", "data.source=folder:nowhere"], r"nowhere"),
        (["train", "resnet20-digits", "--set", "data.train=train[:50]"], r"50.*64"),
        (["train", "resnet20-digits", "--strategy", "two"], r"'two'"),
        (["train", "resnet20-digits", "--strategy", "ps"], r"'ps' is not supported"),
        (["show", "CIFARResnet"], r"'CIFARResnet'; did you mean CIFARResNet"),
        (["show", "CIFARResNet", "--set", "dept=20"], r"'dept'.*depth"),
        (["show", "CIFARResNet", "--set", "depth"], r"key=value.*'depth'"),
        (["show", "CIFARResNet", "--plot", "net.jpg"], r"\.png.*'net\.jpg'"),
        (["models", "transformer"], r"'transformer'.*CIFARResNet"),
        (["evaluate", "nowhere"], r"nowhere"),
        (["generate", "nowhere"], r"nowhere"),
        (["predict", "nowhere"], r"IMAGE"),
        (["predict", "nowhere", "a.png", "--label", "cat"], r"--label needs --explain"),
        (["finetune"], r"SOURCE.*finetune --help"),
        (["finetune", "nowhere"], r"--data.*finetune --help"),
        (["finetune", "nowhere", "--data", "digits"], r"nowhere"),
        (["push", "nowhere", "someone/model"], r"nowhere"),
        (["pull", "hf://someone/../model", "copy"], r"'hf://someone/\.\./model'"),
        (["pull", "hf://someone/model@no..revision", "copy"], r"no\.\.revision"),
        (["export", ".", "serving"], r"config\.json"),
    ],
    ids=lambda value: " ".join(value[:4]) if isinstance(value, list) else "",
)
def test_a_user_error_is_one_line(error_of, arguments, message):
    assert re.search(message, error_of(*arguments))


def test_a_model_of_another_task_is_refused(error_of, trained):
    Image.fromarray(np.zeros((8, 8), np.uint8)).save("black.png")
    classifier, generator = trained / "resnet20-digits", trained / "dcgan-digits"
    assert "has no generate" in error_of("generate", classifier)
    assert "has no predict" in error_of("predict", generator, "black.png")
    assert "nothere.png" in error_of("predict", classifier, "nothere.png")
    Path("text.png").write_text("no picture")
    assert "text.png" in error_of("predict", classifier, "text.png")
    explained = error_of("predict", classifier, "black.png", "--explain", "--label", "eleven")
    assert "no class 'eleven'; it has 0, 1, 2" in explained
    assert "takes a classifier or a segm" in error_of("finetune", generator, "--data", "digits")
    assert "count" in error_of("generate", generator, "--count", 0)
    assert "--set" in error_of("show", classifier, "--set", "depth=8")


def test_generator_commands_refuse_models_of_other_tasks(error_of, trained, saved):
    draw("photos", 1, (8, 8, 3))
    classifier, generator = trained / "resnet20-digits", trained / "dcgan-digits"
    conditional, translator = saved / "conditional", saved / "translator"
    assert "have it: image-to-image" in error_of("translate", classifier, "photos/0.png")
    assert "would replace photos/0.png" in error_of(
        "translate", translator, "photos/0.png", "--out", "photos"
    )
    for label, hint in (("11", "numbers 0 to "), ("-1", "1"), ("seven", "it has 0, 1, 2")):
        message = error_of("generate", conditional, "--label", label)
        assert re.search(rf"no class '?{label}'?; .*{re.escape(hint)}", message)
    assert "takes no labels" in error_of("generate", generator, "--label", "1")
    assert "has no generate" in error_of("generate", translator)
    refused = error_of("evaluate-generator", translator, "--network", classifier)
    assert "image-to-image; this is for generators" in refused
    assert "no classifier" in error_of("evaluate-generator", generator, "--network", generator)
    assert "'fud'" in error_of(
        "evaluate-generator", generator, "--network", classifier, "--metrics", "fid,fud"
    )
    assert "nowhere" in error_of("evaluate-generator", generator, "--network", "nowhere")
    assert "images" in error_of(
        "evaluate-generator", generator, "--network", classifier, "--images", 1
    )
    assert "image-classification; this is for generators" in error_of("diagnose", classifier)
    assert "pairs:PATH" in error_of("evaluate", translator, "--source", "digits")


def test_data_that_does_not_fit_a_generator_is_refused(error_of):
    draw("plain", 3, (28, 28))
    draw("pairs/train", 2, (8, 16, 3))
    draw("odd/train", 2, (8, 15, 3))

    def refusal(name, *values):
        without = ["generator_evaluation=null", "data.train=train"] if name == "cgan-mnist" else []
        return error_of("train", name, *settings([*without, *values]))

    assert "no labels" in refusal("cgan-mnist", "data.source=folder:plain")
    assert "has pairs" in refusal("cgan-mnist", "data.source=pairs:pairs")
    classes = ["generator.arguments.classes=7", "discriminator.arguments.classes=7"]
    assert re.search(r"7, digits has 10", refusal("cgan-mnist", "data.source=digits", *classes))
    assert "must be 10" in refusal("cgan-mnist", "data.source=digits", classes[1])
    small = [
        "generator.arguments={variant: unet_128, filters: 1}",
        "discriminator.arguments={receptive_field: 16, input_shape: [128, 128, 3], filters: 1}",
        "preprocessing.size=[128, 128]",
    ]
    pix2pix = functools.partial(refusal, "pix2pix-facades", *small)
    assert "pairs:PATH" in pix2pix("data.source=digits")
    assert "pairs:PATH" in pix2pix("data.source=unpaired:pairs:pairs")
    assert re.search(r"odd/train/0\.png is 15 pixels wide", pix2pix("data.source=pairs:odd"))
    assert "no split 'test'" in pix2pix("data.source=pairs:pairs")
    tanh = ["preprocessing.scale=0.00392156862745098", "preprocessing.mean=0"]
    assert re.search(r"\[0, 1\].*tanh.*\[-1, 1\]", pix2pix("data.source=pairs:pairs", *tanh))
    assert re.search(
        r"multiple of 128.*got 96",
        pix2pix(
            "data.source=pairs:pairs",
            "preprocessing.size=[96, 96]",
            "generator.arguments.image_shape=[96, 96, 3]",
        ),
    )
    shown = ["data.source=pairs:pairs", "data.test=train"]
    patch = pix2pix(*shown, "discriminator.arguments.input_shape=[4, 4, 3]")
    assert re.search(r"at least 6 pixels a side, got 4x4", patch)
    # None of them has left a run behind.
    assert sorted(path.name for path in Path().iterdir()) == ["odd", "pairs", "plain"]


def test_a_run_is_not_overwritten(error_of, trained):
    out = ("--out", trained / "resnet20-digits")
    values = settings(TINY["resnet20-digits"])
    assert "--resume" in error_of("train", "resnet20-digits", *out, *values)
    # Resumed with other settings it would be another run.
    other = ("--resume", "--set", "recipe.seed=9")
    assert "'recipe'" in error_of("train", "resnet20-digits", *out, *values, *other)


def test_bad_images_are_named(error_of):
    train = ("train", "resnet20-digits", "--set")
    for label in "01":
        Path("images", label).mkdir(parents=True)
    assert "images" in error_of(*train, "data.source=folder:images")
    pixels = np.zeros((8, 8), np.uint8)
    for label in "01":
        for number in range(40):
            Image.fromarray(pixels).save(f"images/{label}/{number}.png")
    whole = Path("images/1/7.png").read_bytes()
    Path("images/1/7.png").write_bytes(whole[: len(whole) // 2])
    values = settings(["model.arguments.classes=2", "data.test=train"])
    assert "images/1/7.png" in error_of(*train, "data.source=folder:images", *values)


def test_bad_arrays_are_named(error_of):
    train = ("train", "resnet20-digits", "--set", "data.source=npz:set.npz")
    images, labels = np.zeros((64, 8, 8, 1), np.uint8), np.arange(64) % 10

    def save(images, labels):
        np.savez(
            "set.npz", x_train=images, y_train=labels, x_test=images[:20], y_test=labels[:20] % 10
        )

    save(images, np.where(labels == 9, 12, labels))
    assert re.search(r"classes is 10.* 13 classes", error_of(*train))
    with_nan = images.astype(np.float32)
    with_nan[5, 0, 0] = np.nan
    save(with_nan, labels)
    assert re.search(r"image 5\b.*set\.npz|set\.npz.*image 5\b|x_train.* 5\b", error_of(*train))


def test_a_hub_that_does_not_answer_is_named(tmp_path):
    # No server listens on port 9; the URL is read when the client is imported, so a process.
    environment = os.environ | {
        "HF_ENDPOINT": "http://127.0.0.1:9",
        "HF_HOME": str(tmp_path / "cache"),
    }
    done = command("evaluate", "hf://someone/model", env=environment)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert "someone/model" in done.stderr


# In a process of its own.


def command(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "keras_arch.cli", *arguments],
        capture_output=True,
        text=True,
        **place(options),
    )


def place(options):
    """Where the package can be imported from, installed or not."""
    root = str(Path(keras_arch.__file__).parents[1])
    environment = dict(options.pop("env", os.environ))
    environment["PYTHONPATH"] = os.pathsep.join([root, environment.get("PYTHONPATH", "")])
    environment.pop("TF_CPP_MIN_LOG_LEVEL", None)
    return options | {"env": environment}


def test_a_process_ends_with_two_and_prints_the_error_only(tmp_path):
    depth = ("--set", "model.arguments.depth=21")
    done = command("train", "resnet20-digits", *depth, cwd=tmp_path)
    assert done.returncode == 2
    assert re.fullmatch(r"error: depth must be 6n\+2[^\n]*got 21[^\n]*\n", done.stderr)
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_mirrored_on_one_device_works_and_says_so(tmp_path):
    # Here rather than above: the tests' own process has two devices.
    values = settings(TINY["resnet20-digits"])
    done = command("train", "resnet20-digits", "--strategy", "mirrored", *values, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("strategy mirrored: one device only")
    assert (tmp_path / "runs" / "resnet20-digits" / "model" / "config.json").exists()


def test_a_pipe_that_closes_early_is_no_error():
    process = subprocess.Popen(
        [sys.executable, "-m", "keras_arch.cli", "configs"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **place({}),
    )
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == 1


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_run_names_the_way_to_resume(number, tmp_path, monkeypatch):
    values = [value for value in TINY["resnet20-digits"] if "epochs" not in value]
    arguments = ["train", "resnet20-digits", "--out", "a run", *settings(values)]
    process = subprocess.Popen(
        [sys.executable, "-m", "keras_arch.cli", *arguments, "--set", "recipe.epochs=100000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        **place({}),
    )
    table = tmp_path / "a run" / "log.csv"
    deadline = time.monotonic() + 120
    while not table.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(number)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 128 + number, err
    assert err.count("\n") == 1, err
    assert number.name in err
    assert err.endswith("Resume with: keras-arch train --resume 'a run'\n")
    assert list((tmp_path / "a run" / "checkpoints").iterdir())
    # Nothing else is needed; with fewer epochs it has ended already.
    monkeypatch.chdir(tmp_path)
    assert cli.main(["train", "--resume", "a run", "--epochs", "1"]) == 0
    assert (tmp_path / "a run" / "metrics.json").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["a run"]
