"""The degradation experiment: its recipe, its curves, and resuming it."""

import csv
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from keras_arch import api, cli, config, experiments
from keras_arch.errors import ArgumentError, DataError, Interrupted, RunError
from keras_arch.experiments import depths

SMALL = {
    "source": "digits",
    "depths": [8],
    "limit": 128,
    "test_limit": 40,
    "overrides": ["preprocessing.size=[8, 8]", "recipe.batch_size=32"],
    "verbose": 0,
}


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    return experiments.degradation(2, out=tmp_path_factory.mktemp("degradation"), **SMALL)


@pytest.mark.slow
def test_the_recipe_is_the_papers_scaled_to_the_budget(done):
    for name, residual in (("plain8", False), ("resnet8", True)):
        checked = config.load(done.directory / name / "config.yaml")
        assert checked.model.arguments == {
            "depth": 8,
            "residual": residual,
            "classes": 10,
            "input_shape": [8, 8, 1],
        }
        # 2 epochs of 4 steps: the rate falls at a half and at three quarters of 8.
        assert checked.recipe.optimizer.learning_rate.boundaries == [4, 6]
        assert checked.recipe.optimizer.learning_rate.values == [0.1, 0.01, 0.001]
        assert (checked.recipe.optimizer.momentum, checked.recipe.weight_decay) == (0.9, 1e-4)
        assert checked.data.augment == ("crop:4", "flip")
        assert (checked.data.train, checked.data.test) == ("train[:128]", "test[:40]")
    paper = depths.schedule(64_000, 20)
    assert (
        paper == config.load("resnet20-cifar10-paper").recipe.optimizer.learning_rate.model_dump()
    )


@pytest.mark.parametrize("iterations", [1, 2, 3, 5, 1000])
@pytest.mark.parametrize("depth", [20, 110])
def test_a_schedule_of_any_length_is_valid(iterations, depth):
    rate = config.PiecewiseConstant(**depths.schedule(iterations, depth))
    assert all(boundary <= iterations for boundary in rate.boundaries)
    assert rate.values[-1] == 0.001


@pytest.mark.slow
def test_curves_equal_the_logs_of_the_runs(done):
    table = json.loads(done.table.read_text())
    assert [net["name"] for net in table["nets"]] == ["plain8", "resnet8"]
    for net in table["nets"]:
        with open(done.directory / net["name"] / "log.csv") as log:
            rows = list(csv.DictReader(log))
        assert net["training_error"] == pytest.approx([1 - float(r["accuracy"]) for r in rows])
        assert net["test_error"] == pytest.approx([1 - float(r["val_accuracy"]) for r in rows])
        metrics = json.loads((done.directory / net["name"] / "metrics.json").read_text())
        assert net["test_error"][-1] == pytest.approx(metrics["error"], abs=1e-6)
        # The two nets of a depth have as many parameters: 6n+2 layers of widths 16, 32 and 64.
        convolutions = 9 * (1 * 16 + 2 * 16**2 + 16 * 32 + 32**2 + 32 * 64 + 64**2)
        assert net["parameters"] == convolutions + 2 * (3 * 16 + 2 * 32 + 2 * 64) + 65 * 10
    with Image.open(done.figure) as picture:
        assert picture.size == (1000, 500)


def test_the_caption_names_reductions():
    settings = {
        "budget": 12,
        "source": "npz:/some/where/cifar.npz",
        "training_images": 10_000,
        "test_images": 2_000,
        "iterations": 936,
        "overrides": ["recipe.seed=1"],
    }
    title, caption = depths._title_and_caption(settings, whole=(50_000, 10_000))
    assert "12 epochs of 10,000 images, 936 iterations (the paper: 64,000)" in title
    assert "cifar.npz" in title
    assert "/some" not in title
    for reduced in ("10,000 of 50,000 training", "2,000 of 10,000 test", "recipe.seed=1"):
        assert reduced in caption
    whole = settings | {"training_images": 50_000, "test_images": 10_000, "overrides": []}
    assert "Reduced" not in depths._title_and_caption(whole, whole=(50_000, 10_000))[1]


@pytest.mark.slow
def test_resume_continues_and_does_not_repeat_finished_nets(done, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(done.directory, broken)
    # As if it had been killed in the second epoch of the second net.
    for trace in ("degradation.json", "degradation.png", "resnet8/metrics.json"):
        (broken / trace).unlink()
    shutil.rmtree(broken / "resnet8/model")
    for checkpoint in broken.glob("resnet8/checkpoints/epoch-00002*"):
        checkpoint.unlink()
    finished = (broken / "plain8/config.yaml").stat().st_mtime_ns
    again = experiments.degradation(2, out=broken, resume=True, **SMALL)
    assert (broken / "plain8/config.yaml").stat().st_mtime_ns == finished
    assert (broken / "resnet8/metrics.json").exists()
    assert again.nets[0] == done.nets[0]
    # The first epoch was read back, the second one done again.
    assert again.nets[1].training_error[0] == done.nets[1].training_error[0]
    assert again.nets[1].training_error == pytest.approx(done.nets[1].training_error, abs=0.05)
    tables = [json.loads(each.table.read_text())["settings"] for each in (done, again)]
    assert tables[0] == tables[1]


@pytest.mark.slow
def test_depths_can_be_added(done, tmp_path, monkeypatch):
    grown = tmp_path / "grown"
    shutil.copytree(done.directory, grown)
    started = []

    def stopped(checked, out, **options):
        started.append(checked.name)
        raise Interrupted("stopped by SIGTERM", 15)

    monkeypatch.setattr(api, "train", stopped)
    with pytest.raises(Interrupted):
        experiments.degradation(2, out=grown, resume=True, **(SMALL | {"depths": [14, 8]}))
    # The two of depth 8 are finished; the first of depth 14 is started.
    assert started == ["plain14"]
    assert json.loads((grown / "experiment.json").read_text())["depths"] == [8, 14]


def test_an_interruption_names_resume(tmp_path, monkeypatch):
    def stopped(checked, out, **options):
        raise Interrupted("stopped by SIGTERM after epoch 1, step 2", 15)

    monkeypatch.setattr(api, "train", stopped)
    with pytest.raises(Interrupted, match=r"plain8 was stopped by SIGTERM.*--resume") as caught:
        experiments.degradation(2, out=tmp_path / "e", **SMALL)
    assert caught.value.signal == 15


@pytest.mark.slow
def test_the_command_prints_the_results(done, capfd):
    command = ["experiment", "degradation", "--budget", "2", "--data", "digits", "--depths", "8"]
    command += ["--limit", "128", "--test-limit", "40", "--out", str(done.directory), "--resume"]
    for override in SMALL["overrides"]:
        command += ["--set", override]
    assert cli.main(command) == 0
    rows = [line.split("\t") for line in capfd.readouterr().out.splitlines()]
    for net, (name, parameters, training, test) in zip(done.nets, rows[:2], strict=True):
        assert (name, parameters) == (net.name, f"{net.parameters:,}")
        assert float(training) == pytest.approx(100 * net.training_error[-1], abs=0.01)
        assert float(test) == pytest.approx(100 * net.test_error[-1], abs=0.01)
    assert rows[2] == [f"figure: {done.figure}"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--budget", "1", "--depths", "20,x"], "--depths takes numbers such as 20,56, got '20,x'"),
        (["--budget", "1", "--depths", "20,21"], "depths must be 6n+2"),
        (["--budget", "1", "--data", "nonsense"], "nonsense"),
        ([], "--budget"),
    ],
)
def test_errors_of_the_command_have_one_line(options, message, capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["experiment", "degradation", *options]) == 2
    error = capfd.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_errors(done, tmp_path):
    def start(budget=1, **changes):
        return experiments.degradation(budget, **(SMALL | {"out": tmp_path / "new"} | changes))

    with pytest.raises(ArgumentError, match=r"depths must be 6n\+2 .*got 21"):
        start(depths=[20, 21])
    with pytest.raises(ArgumentError, match=r"different depths, got \[8, 8\]"):
        start(depths=[8, 8])
    with pytest.raises(ArgumentError, match="budget must be a positive whole number, got 0"):
        start(budget=0)
    with pytest.raises(DataError, match="fewer than one batch of 32"):
        start(limit=31)
    np_file = tmp_path / "unlabelled.npz"
    np.savez(np_file, x_train=np.zeros((4, 8, 8), np.uint8), x_test=np.zeros((4, 8, 8), np.uint8))
    with pytest.raises(DataError, match="no labels"):
        start(source=f"npz:{np_file}")
    # None of these wrote anything.
    assert not (tmp_path / "new").exists()
    with pytest.raises(RunError, match="has an experiment already; continue it with --resume"):
        start(out=done.directory)
    with pytest.raises(RunError, match="was started with budget 2, not 1"):
        start(out=done.directory, resume=True)
    with pytest.raises(RunError, match=r"was started with depths \[8\], not \[14\]"):
        start(2, out=done.directory, resume=True, depths=[14])
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis/chapter.txt").write_text("mine")
    with pytest.raises(RunError, match="has other files"):
        start(out=tmp_path / "thesis")
