"""The command line as a user meets it: listings, a road from training to export, and mistakes."""

import functools
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

import keras_arch
from keras_arch import cli, hub, models, presets
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
def keras_arch_says(capfd, tmp_path, monkeypatch):
    """Run a command in an empty folder: its code, what it prints, and what it complains of."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        capfd.readouterr()
        code = cli.main([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        return code, out, err

    return run


@pytest.fixture
def mistake(keras_arch_says):
    """The one line of a command that must fail."""

    def run(*arguments):
        code, _, err = keras_arch_says(*arguments)
        assert code == 2
        assert err.startswith("error: ")
        assert err.count("\n") == 1, err
        assert err.endswith("\n")
        return err.strip()

    return run


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Run directories of two tiny runs, made by the command itself."""
    folder = tmp_path_factory.mktemp("trained")
    for name, values in TINY.items():
        assert cli.main(["train", name, "--out", str(folder / name), *settings(values)]) == 0
    return folder


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Model directories of a conditional generator and a translator that nobody trained."""
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


def test_a_group_without_a_command_shows_its_help(keras_arch_says):
    code, out, err = keras_arch_says("experiment")
    assert (code, err) == (2, "")
    assert "degradation" in out
    assert "blocks" in out


def test_version_and_help(keras_arch_says):
    assert keras_arch_says("--version") == (0, f"keras-arch {keras_arch.__version__}\n", "")
    code, listed, _ = keras_arch_says("--help")
    assert code == 0
    commands = (
        "models show configs train finetune evaluate generate judge diagnose translate predict push"
    )
    for known in commands.split():
        assert re.search(rf"^\W*{known} ", listed, re.MULTILINE)
    assert keras_arch_says() == (0, listed, "")
    assert keras_arch_says("train", "-h")[0] == 0


def test_models_are_listed_one_a_line(keras_arch_says):
    code, out, _ = keras_arch_says("models", "dcgan*")
    rows = [line.split("\t") for line in out.splitlines()]
    assert code == 0
    assert [row[0] for row in rows] == ["DCGANDiscriminator", "DCGANGenerator"]
    assert rows[1][2] == "3,576,704"
    listed = keras_arch_says("models", "dcgangen")[1]
    assert [line.split("\t")[0] for line in listed.splitlines()] == ["DCGANGenerator"]


def test_configs_are_listed_one_a_line(keras_arch_says):
    out = keras_arch_says("configs")[1]
    assert [line.split("\t")[0] for line in out.splitlines()] == presets.names()


def test_show_tells_facts_arguments_and_layers(keras_arch_says):
    _, out, _ = keras_arch_says("show", "CIFARResNet", "--set", "depth=32", "--plot", "net.png")
    rows = dict(line.split("\t", 1) for line in out.splitlines() if "\t" in line)
    assert "He, Zhang, Ren, Sun" in rows["paper"]
    assert rows["parameters (depth=20)"] == "269,722"
    assert rows["argument shortcut"] == "'A'"
    # 464,154 trained (the paper's table) and 2 x 1,136 moving statistics.
    assert rows["trainable parameters"] == "464,154"
    assert rows["stage1"] == "Activation\t32 x 32 x 16\t0"
    assert Image.open("net.png").format == "PNG"


def test_in_a_terminal_there_are_tables(keras_arch_says, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    _, out, _ = keras_arch_says("models", "dcgan*")
    assert "parameters from" in out
    assert "\t" not in out


# The road.


def test_evaluate_repeats_the_figures_of_the_run(keras_arch_says, trained):
    figures = yaml.safe_load((trained / "resnet20-digits" / "metrics.json").read_text())
    code, out, _ = keras_arch_says("evaluate", trained / "resnet20-digits", "--out", "figures")
    assert code == 0
    assert f"accuracy\t{figures['accuracy']:.4f}" in out.splitlines()
    assert Path("figures/confusion_matrix.png").exists()


def test_generate_is_repeatable(keras_arch_says, trained):
    for name in ("a.png", "b.png"):
        arguments = ("--count", 5, "--seed", 3, "--out", name)
        assert keras_arch_says("generate", trained / "dcgan-digits", *arguments)[0] == 0
    assert Path("a.png").read_bytes() == Path("b.png").read_bytes()
    assert keras_arch_says("generate", trained / "dcgan-digits")[1] == "samples.png\n"


def test_predict_names_the_best_classes(keras_arch_says, trained):
    Image.fromarray(np.full((8, 8), 90, np.uint8)).save("grey.png")
    run = trained / "resnet20-digits"
    code, out, _ = keras_arch_says("predict", run, "grey.png", "grey.png", "--top", 3)
    rows = [line.split("\t") for line in out.splitlines()]
    assert code == 0
    assert len(rows) == 6
    assert rows[:3] == rows[3:]
    assert {row[1] for row in rows} <= set("0123456789")
    probabilities = [float(row[2]) for row in rows[:3]]
    assert probabilities == sorted(probabilities, reverse=True)


def test_predict_explains_what_it_sees(keras_arch_says, trained):
    draw("photos", 2, (8, 8, 3))
    run = trained / "resnet20-digits"
    code, out, _ = keras_arch_says("predict", run, "photos/0.png", "--top", 1, "--explain")
    assert code == 0
    assert out.splitlines()[1] == "explained: photos/0_explained.png"
    as_seven = ("--explain", "--label", 7, "--out", "seen")
    out = keras_arch_says("predict", run, "photos/0.png", "photos/1.png", *as_seven)[1]
    assert out.splitlines()[-2:] == [f"explained: seen/{n}_explained.png" for n in (0, 1)]
    assert Path("seen/0_explained.png").read_bytes() != Path("photos/0_explained.png").read_bytes()


def test_classes_are_drawn_on_request(keras_arch_says, saved):
    run = saved / "conditional"
    sheets = []
    for labels in (("--label", 3), ("--label", "3", "--label", 7), ()):
        arguments = ("generate", run, "--count", 20, "--seed", 1, "--out", "a.png", *labels)
        assert keras_arch_says(*arguments) == (0, "a.png\n", "")
        sheets.append(Image.open("a.png").copy())
    # Five by four images of 64 pixels; without labels a column for each of the ten classes.
    assert [sheet.size for sheet in sheets] == [(332, 266), (332, 266), (662, 134)]
    assert sheets[0].tobytes() != sheets[1].tobytes()


def test_judge_and_diagnose(keras_arch_says, trained):
    run, network = trained / "dcgan-digits", trained / "resnet20-digits"
    asked = ("--network", network, "--images", 30, "--figures", "fid, recall", "--out", "judged")
    code, out, _ = keras_arch_says("judge", run, *asked)
    rows = [line.split("\t") for line in out.splitlines()]
    assert code == 0
    assert [row[0] for row in rows[:2]] == ["fid", "recall"]
    assert re.fullmatch(r"taken with: resnet20-digits.*30 generated", rows[2][0])
    written = yaml.safe_load(Path("judged/figures.json").read_text())
    assert rows[0][1] == f"{written['figures']['fid']:.4f}"
    code, out, _ = keras_arch_says("diagnose", run, "--network", network, "--out", "seen")
    assert code == 0
    assert sorted(out.split()) == sorted(str(path) for path in Path("seen").iterdir())
    assert Path("seen/modes.png") in Path("seen").iterdir()


def test_translate_writes_a_file_for_each(keras_arch_says, saved):
    draw("photos", 2, (11, 7, 3))
    arguments = ("photos/0.png", "photos/1.png", "--out", "made")
    code, out, _ = keras_arch_says("translate", saved / "translator", *arguments)
    assert (code, out) == (0, "made/0.png\nmade/1.png\n")
    assert Image.open("made/1.png").size == (8, 8)


def test_push_pull_show_and_export_through_a_hub_in_a_folder(keras_arch_says, trained, tmp_path):
    address = f"file://{tmp_path}/hub/someone/digits"
    assert keras_arch_says("push", trained / "dcgan-digits", address)[0] == 0
    assert keras_arch_says("pull", address, "copy")[0] == 0
    weights = "model.weights.h5"
    original = trained / "dcgan-digits" / "model" / weights
    assert (tmp_path / "copy" / weights).read_bytes() == original.read_bytes()
    assert "DCGANGenerator" in keras_arch_says("show", "copy")[1]
    code, out, _ = keras_arch_says("export", address, "serving")
    assert code == 0
    assert (Path(out.strip()) / "saved_model.pb").exists()
    assert Path(out.strip()).parts[-2:] == ("dcgan-digits", "1")
    assert keras_arch_says("export", "copy", "serving", "--version", 7)[1].strip().endswith("7")


@pytest.mark.slow
def test_a_finished_run_can_go_on_for_more_epochs(keras_arch_says):
    values = [value for value in TINY["resnet20-digits"] if "epochs" not in value]
    out = ("--out", "run", "--set", "recipe.epochs=1")
    assert keras_arch_says("train", "resnet20-digits", *out, *settings(values))[0] == 0
    more = ("--out", "run", "--set", "recipe.epochs=2", "--resume")
    assert keras_arch_says("train", "resnet20-digits", *more, *settings(values))[0] == 0
    assert len(Path("run/log.csv").read_text().splitlines()) == 3


# Mistakes: one line, and exit code 2.


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["trian"], r"trian.*train"),
        (["train"], r"CONFIG.*keras-arch train --help"),
        (["train", "resnet20-digits", "--epochs", "3"], r"--epochs"),
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
        (["predict", "nowhere", "a.png", "--label", "cat"], r"--label is for --explain"),
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
def test_a_mistake_is_told_in_one_line(mistake, arguments, told):
    assert re.search(told, mistake(*arguments))


def test_the_wrong_kind_of_model_is_told(mistake, trained):
    Image.fromarray(np.zeros((8, 8), np.uint8)).save("black.png")
    classifier, generator = trained / "resnet20-digits", trained / "dcgan-digits"
    assert "generates no images" in mistake("generate", classifier)
    assert "does not classify" in mistake("predict", generator, "black.png")
    assert "nothere.png" in mistake("predict", classifier, "nothere.png")
    Path("text.png").write_text("no picture")
    assert "text.png" in mistake("predict", classifier, "text.png")
    explained = mistake("predict", classifier, "black.png", "--explain", "--label", "eleven")
    assert "no class 'eleven'; it has 0, 1, 2" in explained
    assert "does not classify" in mistake("finetune", generator, "--data", "digits")
    assert "count" in mistake("generate", generator, "--count", 0)
    assert "--set" in mistake("show", classifier, "--set", "depth=8")


def test_the_wrong_kind_of_model_for_a_game_is_told(mistake, trained, saved):
    draw("photos", 1, (8, 8, 3))
    classifier, generator = trained / "resnet20-digits", trained / "dcgan-digits"
    conditional, translator = saved / "conditional", saved / "translator"
    assert "does not translate" in mistake("translate", classifier, "photos/0.png")
    assert "would replace photos/0.png" in mistake(
        "translate", translator, "photos/0.png", "--out", "photos"
    )
    for label in ("11", "-1", "seven"):
        told = mistake("generate", conditional, "--label", label)
        assert "0, 1, 2" in told
        assert f"no class {label!r}" in told
    assert "leave labels out" in mistake("generate", generator, "--label", "1")
    assert "generates no images" in mistake("generate", translator)
    assert "generates no images" in mistake("judge", translator, "--network", classifier)
    assert "no classifier" in mistake("judge", generator, "--network", generator)
    assert "'fud'" in mistake("judge", generator, "--network", classifier, "--figures", "fid,fud")
    assert "nowhere" in mistake("judge", generator, "--network", "nowhere")
    assert "images" in mistake("judge", generator, "--network", classifier, "--images", 1)
    assert "generates no images" in mistake("diagnose", classifier)
    assert "pairs:PATH" in mistake("evaluate", translator, "--source", "digits")


def test_data_that_does_not_fit_a_game_is_told(mistake):
    draw("plain", 3, (28, 28))
    draw("pairs/train", 2, (8, 16, 3))
    draw("odd/train", 2, (8, 15, 3))

    def told(name, *values):
        without = ["judge=null"] if name == "cgan-mnist" else []
        return mistake("train", name, *settings([*without, *values]))

    assert "no labels" in told("cgan-mnist", "data.source=folder:plain")
    assert "has pairs" in told("cgan-mnist", "data.source=pairs:pairs")
    classes = ["generator.arguments.classes=7", "discriminator.arguments.classes=7"]
    assert re.search(r"7, digits has 10", told("cgan-mnist", "data.source=digits", *classes))
    assert "must be 10" in told("cgan-mnist", "data.source=digits", classes[1])
    small = [
        "generator.arguments={variant: unet_128, filters: 1}",
        "discriminator.arguments={receptive_field: 16, input_shape: [128, 128, 3], filters: 1}",
        "preprocessing.size=[128, 128]",
    ]
    pix2pix = functools.partial(told, "pix2pix-facades", *small)
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


def test_a_run_is_not_overwritten(mistake, trained):
    out = ("--out", trained / "resnet20-digits")
    values = settings(TINY["resnet20-digits"])
    assert "--resume" in mistake("train", "resnet20-digits", *out, *values)
    # Resumed with other settings it would be another run.
    other = ("--resume", "--set", "recipe.seed=9")
    assert "'recipe'" in mistake("train", "resnet20-digits", *out, *values, *other)


def test_bad_images_are_named(mistake):
    train = ("train", "resnet20-digits", "--set")
    for label in "01":
        Path("images", label).mkdir(parents=True)
    assert "images" in mistake(*train, "data.source=folder:images")
    pixels = np.zeros((8, 8), np.uint8)
    for label in "01":
        for number in range(40):
            Image.fromarray(pixels).save(f"images/{label}/{number}.png")
    whole = Path("images/1/7.png").read_bytes()
    Path("images/1/7.png").write_bytes(whole[: len(whole) // 2])
    values = settings(["model.arguments.classes=2", "data.test=train"])
    assert "images/1/7.png" in mistake(*train, "data.source=folder:images", *values)


def test_bad_arrays_are_named(mistake):
    train = ("train", "resnet20-digits", "--set", "data.source=npz:set.npz")
    images, labels = np.zeros((64, 8, 8, 1), np.uint8), np.arange(64) % 10

    def save(images, labels):
        np.savez(
            "set.npz", x_train=images, y_train=labels, x_test=images[:20], y_test=labels[:20] % 10
        )

    save(images, np.where(labels == 9, 12, labels))
    assert re.search(r"classes is 10.* 13 classes", mistake(*train))
    with_nan = images.astype(np.float32)
    with_nan[5, 0, 0] = np.nan
    save(with_nan, labels)
    assert re.search(r"image 5\b.*set\.npz|set\.npz.*image 5\b|x_train.* 5\b", mistake(*train))


def test_a_hub_that_does_not_answer_is_told(tmp_path):
    # Nobody listens on port 9; the address is read when the client is imported, so a process.
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


def test_a_process_ends_with_two_and_says_nothing_but_the_mistake(tmp_path):
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


def test_a_pipe_that_closes_early_is_no_cause_for_complaint():
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


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)]
)
def test_a_run_that_is_told_to_stop_says_how_to_go_on(number, tmp_path):
    values = [value for value in TINY["resnet20-digits"] if "epochs" not in value]
    arguments = ["train", "resnet20-digits", "--out", "run", *settings(values)]
    process = subprocess.Popen(
        [sys.executable, "-m", "keras_arch.cli", *arguments, "--set", "recipe.epochs=100000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        **place({}),
    )
    table = tmp_path / "run" / "log.csv"
    deadline = time.monotonic() + 120
    while not table.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(number)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 128 + number, err
    assert err.count("\n") == 1, err
    assert number.name in err
    assert "--resume" in err
    assert list((tmp_path / "run" / "checkpoints").iterdir())
