"""The demo: short in the default tests, in full in the slow ones."""

import json
import subprocess
import sys

import pytest
from PIL import Image

from keras_arch import api, demo, hub, presets
from keras_arch.errors import ArgumentError, RunError

SHORT = [
    "recipe.epochs=1",
    "data.train=train[:64]",
    "data.test=test[:32]",
    "expected={}",
]


def check(out, printed):
    """Check the files and the output of a demo."""
    for name in (demo.GENERATOR, demo.CLASSIFIER):
        assert (out / "serving" / name / "1" / "saved_model.pb").exists()
        assert (out / "hub" / "keras-arch" / name).is_dir()
        assert f"{name} serving_default: " in printed
    assert "dcgan-digits generate: image, image_float equal" in printed
    assert "resnet20-digits serving_bytes: label, probabilities equal" in printed
    assert not list(out.rglob("requests.npz"))
    for line in printed.partition("\nPictures\n")[2].partition("\n\n")[0].splitlines():
        path = out.parent / line.partition(": ")[2]
        assert path.is_dir() or Image.open(path).size[0] > 100


@pytest.mark.slow
def test_the_demo_trains_publishes_and_exports(tmp_path):
    command = [sys.executable, "-m", "keras_arch.cli", "demo", "--out", str(tmp_path / "demo")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    check(tmp_path / "demo", done.stdout)
    metrics = tmp_path / "demo" / "runs" / demo.CLASSIFIER / "metrics.json"
    assert json.loads(metrics.read_text())["accuracy"] > 0.97


@pytest.mark.slow
def test_a_second_demo_replaces_the_first_and_a_wrong_output_is_found(tmp_path, capsys):
    out = tmp_path / "demo"
    demo.run(out, overrides=SHORT)
    check(out, capsys.readouterr().out)
    seconds = demo.run(out, overrides=SHORT)
    assert json.loads((out / "demo.json").read_text())["seconds"] == seconds

    loaded = hub.load_with_card(out / "runs" / demo.CLASSIFIER / "model")
    record = demo._classifier_record(loaded)
    export = out / "serving" / demo.CLASSIFIER / "1"
    assert len(demo._check_export(export, record)) == 2
    record["serving_bytes/out/probabilities"] = record["serving_bytes/out/probabilities"] + 1e-3
    with pytest.raises(RunError, match="serving_bytes: the output probabilities differs"):
        demo._check_export(export, record)


def test_a_classifier_below_its_expected_accuracy_is_refused(tmp_path):
    (tmp_path / "config.yaml").write_text(presets.path(demo.CLASSIFIER).read_text())
    run = api.Run(tmp_path, tmp_path / "model", {"accuracy": 0.9})
    with pytest.raises(RunError, match=r"90.00%.*not 97%"):
        demo._check_accuracy(run, None)


def test_a_folder_with_other_files_is_not_changed(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ArgumentError, match=str(tmp_path)):
        demo.run(tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "mine"
