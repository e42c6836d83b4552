"""Another package's architecture, data source, loss, trainer and tasks, through the command line.

The package is `tests/plugin/`. Commands run in processes that have it on their path, as if it were
installed; this process has not.
"""

import csv
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
import yaml
from PIL import Image, ImageDraw

import keras_arch
from keras_arch import cli, hub, registry
from keras_arch.errors import HubError

ROOT = Path(__file__).parents[1]
PLUGIN = Path(__file__).parent / "plugin"
RUN_COMMANDS = """
import contextlib, io, json, sys
from keras_arch import cli

results = []
for command in json.load(sys.stdin):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = cli.main(command)
    results.append((code, out.getvalue(), err.getvalue()))
with open(sys.argv[1], "w") as file:
    json.dump(results, file)
"""


def run_commands(commands, folder, *path, **environment):
    """Run commands in one new process: exit code, standard output and error of each."""
    path = os.pathsep.join(map(str, [*path, ROOT]))
    process = subprocess.run(
        [sys.executable, "-c", RUN_COMMANDS, folder / "results.json"],
        input=json.dumps([[str(part) for part in command] for command in commands]),
        capture_output=True,
        text=True,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": path, "HF_HOME": str(folder / "home")} | environment,
    )
    assert process.returncode == 0, process.stderr
    return json.loads((folder / "results.json").read_text())


def metrics_of(out):
    """Metrics as a command prints them."""
    pairs = [line.split("\t") for line in out.splitlines() if line.count("\t") == 1]
    return {name: float(value) for name, value in pairs}


@pytest.fixture(scope="module")
def hands(tmp_path_factory):
    """Images of one hand of a clock, with the angles at which they were drawn."""
    folder = tmp_path_factory.mktemp("hands")
    draws = np.random.default_rng(0)
    for split, count in (("train", 512), ("test", 96)):
        rows = []
        for number, angle in enumerate(draws.uniform(0, 360, count)):
            # Drawn larger and reduced, for smooth edges. Angles run against the clock.
            image = Image.new("L", (64, 64))
            end = 32 + 26 * np.cos(np.radians(angle)), 32 - 26 * np.sin(np.radians(angle))
            ImageDraw.Draw(image).line([(32, 32), end], fill=255, width=8)
            name = f"{split}{number}.png"
            image.resize((16, 16), Image.Resampling.BOX).save(folder / name)
            rows.append({"file": name, "angle": f"{angle:.3f}"})
        with (folder / f"{split}.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, ["file", "angle"])
            writer.writeheader()
            writer.writerows(rows)
    return folder


@pytest.fixture(scope="module")
def server():
    """The test Hub on loopback."""
    spec = importlib.util.spec_from_file_location("plugin_hub", ROOT / "tests/hub/server.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    running = module.Hub()
    yield running
    running.stop()
    del sys.modules[spec.name]


COMMANDS = {
    "models": ["models"],
    "show": ["show", "AngleNet", "--layers"],
    "wrong data": ["train", PLUGIN / "angles.yaml", "--set", "data.source=digits"],
    "wrong key": ["train", PLUGIN / "angles.yaml", "--set", "recipe.loss=mse"],
    "train": ["train", PLUGIN / "angles.yaml", "--out", "run", "--set", "data.source=angles:HANDS"],
    "evaluate": ["evaluate", "run", "--out", "evaluated"],
    "predict": ["predict", "run", "HANDS/test0.png", "HANDS/test1.png", "--out", "predicted"],
    "predict other": ["predict", "run", "HANDS/test0.png", "--overlay"],
    "generate": ["generate", "run"],
    "push": ["push", "run", "alice/angles"],
    "pull": ["pull", "hf://alice/angles", "pulled"],
    "evaluate pushed": ["evaluate", "hf://alice/angles", "--source", "angles:HANDS"],
    "show pushed": ["show", "hf://alice/angles"],
    "export": ["export", "hf://alice/angles", "served"],
    "train game": ["train", PLUGIN / "relativistic.yaml", "--out", "game"],
    "evaluate game": ["evaluate", "game"],
    "generate game": ["generate", "game", "--count", "4", "--out", "game.png"],
    "export game": ["export", "game", "served"],
}


@pytest.fixture(scope="module")
def commands(hands, server, tmp_path_factory):
    """The folder in which all `COMMANDS` ran with the package installed, and their results."""
    folder = tmp_path_factory.mktemp("commands")
    filled = [[str(part).replace("HANDS", str(hands)) for part in c] for c in COMMANDS.values()]
    environment = {
        "HF_ENDPOINT": server.url,
        "HF_TOKEN": "hf_alice",
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "NO_PROXY": "127.0.0.1,localhost",
    }
    results = run_commands(filled, folder, PLUGIN, **environment)
    return folder, dict(zip(COMMANDS, results, strict=True))


@pytest.fixture
def output_of(commands):
    """Standard output of a command that succeeded."""

    def output(name):
        code, out, err = commands[1][name]
        assert code == 0, err
        return out

    return output


@pytest.fixture
def error_of(commands):
    """The error line of a command that had to fail."""

    def error(name):
        code, _, err = commands[1][name]
        assert code == 2
        assert err.startswith("error: ")
        assert err.count("\n") == 1
        return err

    return error


def test_the_architecture_is_listed_and_shown(output_of):
    assert "AngleNet\t\t\tfrom the package keras_arch_angles" in output_of("models").splitlines()
    shown = output_of("show")
    assert "task\timage-regression" in shown
    # (9 + 1) 16 + (9 16 + 1) 32 + (4 4 32 + 1) 16 + (16 + 1) 2
    assert "trainable parameters\t13,042" in shown


def test_a_run_learns_angles_and_its_evaluation_repeats_its_metrics(commands, output_of):
    folder, _ = commands
    metrics = json.loads((folder / "run/metrics.json").read_text())
    assert metrics["mean_error"] < 15, "degrees; a guess is 90 off"
    again = json.loads((folder / "evaluated/metrics.json").read_text())
    assert again == pytest.approx(metrics, abs=0.01)
    for name in ("train", "evaluate", "evaluate pushed"):
        printed = metrics_of(output_of(name))
        assert {key: printed[key] for key in metrics} == pytest.approx(metrics, abs=0.01)


def test_predictions_are_tables_and_files(commands, hands, output_of):
    folder, _ = commands
    lines = output_of("predict").splitlines()
    with (hands / "test.csv").open() as file:
        truth = [float(row["angle"]) for row in csv.DictReader(file)]
    network = keras.saving.load_model(folder / "run/model")
    for number in range(2):
        image, angle = lines[number].split("\t")
        assert image == str(hands / f"test{number}.png")
        assert abs((float(angle) - truth[number] + 180) % 360 - 180) < 45
        x, y = network(np.asarray(Image.open(image), "float32")[None, ..., None] / 255)[0]
        assert float(angle) == pytest.approx(np.degrees(np.arctan2(y, x)) % 360, abs=0.06)
    assert lines[2] == "upright: predicted/test0_upright.png"
    upright = np.asarray(Image.open(folder / "predicted/test0_upright.png"), float)
    # The hand now points to the right.
    assert upright[:, 8:].sum() > 2 * upright[:, :8].sum()


def test_errors_name_the_task(error_of):
    assert "data source digits has images, not angles" in error_of("wrong data")
    assert "unknown key 'recipe.loss'" in error_of("wrong key")
    assert "known are batch_size" in error_of("wrong key")
    for name in ("generate", "predict other"):
        assert "angles" in error_of(name)
        assert "of the task image-regression" in error_of(name)


def test_a_pushed_model_is_that_of_the_run(commands, server, output_of):
    folder, _ = commands
    assert f"{server.url}/alice/angles" in output_of("push")
    assert "task\timage-regression" in output_of("show pushed")
    files = [folder / name / "model.weights.h5" for name in ("run/model", "pulled")]
    assert files[0].read_bytes() == files[1].read_bytes()
    readme = (folder / "pulled/README.md").read_text()
    assert 'load_with_card("hf://alice/angles")' in readme
    assert "- image-regression" not in readme.split("---")[1], "not a task of the Hub"


def test_a_saved_model_answers_as_the_network(commands, hands, output_of):
    folder, _ = commands
    path = folder / output_of("export").strip()
    files = [hands / f"test{number}.png" for number in range(8)]
    pixels = np.stack([np.asarray(Image.open(file), "float32") for file in files])[..., None]
    expected = keras.saving.load_model(folder / "run/model")(pixels / 255).numpy()
    signatures = tf.saved_model.load(str(path)).signatures
    encoded = tf.constant([file.read_bytes() for file in files])
    for found in (
        signatures["serving_default"](image=tf.constant(pixels)),
        signatures["serving_bytes"](image_bytes=encoded),
    ):
        # Two programs of float32 for one network.
        np.testing.assert_allclose(found["direction"], expected, atol=1e-5)
        angle = np.radians(found["angle"])
        lengths = np.linalg.norm(expected, axis=1, keepdims=True)
        directions = np.stack([np.cos(angle), np.sin(angle)], 1)
        np.testing.assert_allclose(directions, expected / lengths, atol=1e-5)


def test_a_second_task_trains_with_the_trainer_and_the_loss(commands, output_of):
    folder, _ = commands
    metrics = json.loads((folder / "game/metrics.json").read_text())
    # Mean losses over drawn latents: the order of sums differs.
    assert metrics_of(output_of("evaluate game")) == pytest.approx(metrics, abs=1e-3)
    assert Image.open(folder / "game.png").size[0] > 0
    generator = keras.saving.load_model(folder / "game/model")
    serve = tf.saved_model.load(str(folder / output_of("export game").strip()))
    latent = np.random.default_rng(0).normal(size=(3, 100)).astype("float32")
    found = serve.signatures["serving_default"](latent=tf.constant(latent))
    np.testing.assert_allclose(found["image_float"], generator(latent), atol=1e-5)


def refusal(capfd, *arguments):
    capfd.readouterr()
    assert cli.main([str(argument) for argument in arguments]) == 2
    error = capfd.readouterr().err
    assert error.count("\n") == 1
    return error


def test_without_the_package_its_models_say_what_to_install(commands, capfd):
    folder, _ = commands
    assert "image-regression" not in registry.TASKS
    for arguments in (["evaluate", folder / "pulled"], ["export", folder / "run/model", folder]):
        assert (
            "is a model of the task 'image-regression', which keras_arch does not have; install "
            "the package that has it, keras_arch_angles"
        ) in refusal(capfd, *arguments)
    for arguments in (["evaluate", folder / "run"], ["train", PLUGIN / "angles.yaml"]):
        assert (
            "got 'image-regression'; install the package that has it, or name its module under "
            "imports"
        ) in refusal(capfd, *arguments)


def test_a_record_cannot_put_other_text_than_a_name_into_the_message(commands, tmp_path):
    record = json.loads((commands[0] / "pulled/keras_arch.json").read_text())
    assert record["package"] == "keras_arch_angles"
    for package in ("evil; rm -rf /", "https://evil.example/x.whl", ["x"], "a\nb"):
        text = json.dumps(record | {"package": package}).encode()
        with pytest.raises(HubError, match=r"install the package that has it$"):
            hub.layout.Record.parse(text, "model")


@pytest.mark.slow
def test_imports_of_a_local_config_register_all_parts(hands, tmp_path):
    """The package without entry points, as a folder on PYTHONPATH."""
    library = tmp_path / "library"
    library.mkdir()
    (library / "keras_arch_angles").symlink_to(PLUGIN / "keras_arch_angles")
    # A module that shows by a file that it was imported.
    (library / "surprise.py").write_text(f"open({str(tmp_path / 'imported')!r}, 'w').close()")
    content = yaml.safe_load((PLUGIN / "angles.yaml").read_text())
    content["imports"] = [f"keras_arch_angles.{name}" for name in ("tasks", "models", "sources")]
    content["data"]["source"] = f"angles:{hands}"
    content["recipe"]["epochs"] = 1
    (tmp_path / "local.yaml").write_text(yaml.safe_dump(content))
    surprise = content | {"imports": ["surprise"]}
    # Configs that name it lie in the directory of a model, as they might after a download.
    for folder in ("pulled", "pulled/inner"):
        (tmp_path / folder / "model").mkdir(parents=True)
        (tmp_path / folder / "config.yaml").write_text(yaml.safe_dump(surprise))
    (tmp_path / "pulled/keras_arch.json").touch()
    done = run_commands(
        [
            ["train", "local.yaml", "--out", "run"],
            ["evaluate", "run"],
            ["pull", f"file://{tmp_path}/run/model", "pulled"],
            ["evaluate", "pulled", "--source", f"angles:{hands}"],
            ["train", "pulled/config.yaml"],
            ["evaluate", "pulled/inner"],
        ],
        tmp_path,
        library,
    )
    metrics = json.loads((tmp_path / "run/metrics.json").read_text())
    for number, (code, out, error) in enumerate(done[:4]):
        assert code == 0, error
        if number in (1, 3):
            assert metrics_of(out) == pytest.approx(metrics, abs=0.01)
    refusals = "imports are not read from the directory of a model", "has not finished"
    for (code, _, error), refusal in zip(done[4:], refusals, strict=True):
        assert code == 2
        assert refusal in error
    assert not (tmp_path / "imported").exists()


@pytest.fixture
def importable(monkeypatch):
    """The modules of the package that register nothing with keras_arch, for this process."""
    monkeypatch.syspath_prepend(str(PLUGIN))
    yield
    for name in [name for name in sys.modules if name.startswith("keras_arch_angles")]:
        del sys.modules[name]


@pytest.mark.usefixtures("importable")
def test_the_trainer_takes_the_loss_in_fit_and_is_saved_with_it(tmp_path):
    from keras_arch_angles.losses import RELATIVISTIC
    from keras_arch_angles.trainers import RelativisticGAN

    keras.utils.set_random_seed(0)
    build = keras_arch.models
    game = RelativisticGAN(
        build.DCGANGenerator(image_shape=(16, 16, 1), filters=4, latent_size=8),
        build.DCGANDiscriminator(input_shape=(16, 16, 1), filters=4),
        seed=1,
    )
    game.compile(loss=RELATIVISTIC)
    draws = np.random.default_rng(0)
    batch = {
        "image": draws.uniform(-1, 1, (8, 16, 16, 1)).astype("float32"),
        "latent": draws.normal(size=(8, 8)).astype("float32"),
    }
    fake = game.generator(batch["latent"])
    on_fake, on_real = (game.discriminator(x).numpy() for x in (fake, batch["image"]))
    expected = {
        "d_loss": np.log1p(np.exp(on_fake - on_real)).mean(),
        "g_loss": np.log1p(np.exp(on_real - on_fake)).mean(),
    }
    data = tf.data.Dataset.from_tensors(batch)
    found = game.evaluate(data, return_dict=True, verbose=0)
    assert {key: found[key] for key in expected} == pytest.approx(expected, rel=1e-5)
    before = [variable.numpy() for variable in game.generator.trainable_variables]
    history = game.fit(data, epochs=2, verbose=0).history
    assert sorted(history) == ["d_fake", "d_loss", "d_real", "g_loss"]
    moved = zip(before, game.generator.trainable_variables, strict=True)
    assert all(np.abs(old - new.numpy()).max() > 0 for old, new in moved)
    game.save(tmp_path / "game.keras")
    loaded = keras.saving.load_model(tmp_path / "game.keras")
    assert loaded.adversarial_loss == RELATIVISTIC
    again = [trainer.evaluate(data, return_dict=True, verbose=0) for trainer in (game, loaded)]
    assert again[0] == pytest.approx(again[1], rel=1e-5)


def test_a_trainer_is_a_few_lines():
    assert len((PLUGIN / "keras_arch_angles/trainers.py").read_text().splitlines()) < 40
