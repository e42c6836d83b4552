"""Errors that commands report before Keras and TensorFlow are imported."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import keras_arch

# Runs command lines in one process: exit code, error line, seconds, and what was imported so far.
PROGRAM = """
import contextlib, io, json, sys, time
from keras_arch import cli
answers = []
for arguments in json.load(sys.stdin):
    error, begin = io.StringIO(), time.perf_counter()
    with contextlib.redirect_stderr(error), contextlib.redirect_stdout(io.StringIO()):
        code = cli.main(arguments)
    imported = [name for name in ("keras", "tensorflow") if name in sys.modules]
    answers.append([code, error.getvalue(), time.perf_counter() - begin, imported])
json.dump(answers, sys.stdout)
"""
TRAIN = ["train", "resnet20-digits"]
SET = [*TRAIN, "--set"]
LAUNCH = ["launch", "--workers", "2"]
# The whole line, to its end.
NOT_THERE = r"no .*nowhere; name what is there in the data source .*--source\)$"
MISTAKES = {
    "config": (["train", "resnet20-digit"], r"did you mean resnet20-digits"),
    "file": (["train", "missing.yaml"], r"missing\.yaml: No such file"),
    "bare key": ([*SET, "epoch=1"], r"unknown key 'epoch'.*did you mean recipe\.epochs\?"),
    "bare key of a section": ([*SET, "momentum=1"], r"did you mean recipe\.optimizer\.momentum\?"),
    "argument of the network": ([*SET, "depth=8"], r"model\.arguments\.depth"),
    "twice": ([*TRAIN, "--epochs", "3", "--set", "recipe.epochs=4"], r"are the same; give one"),
    "rate": ([*TRAIN, "--lr", "-1"], r"lr must be a positive number, got -1"),
    "architecture": ([*SET, "model.name=ResNet21"], r"'ResNet21'; did you mean .*ResNet18"),
    "argument": ([*SET, "model.arguments.dept=8"], r"no argument 'dept'; it has depth"),
    "weights": (
        [*SET, "model.arguments.weights=nowhere"],
        r"error: model\.arguments\.weights: there is no model directory 'nowhere'$",
    ),
    "file of weights": (
        [*SET, "model.arguments.weights=a file/net.keras"],
        r"error: model\.arguments\.weights: there is no file 'a file/net\.keras'; check the path$",
    ),
    "kind of weights": (
        [*SET, "model.arguments.weights=5"],
        r"model\.arguments\.weights .* got 5$",
    ),
    "backbone": (
        ["train", "deeplabv3plus-pets", "--set", "model.arguments.backbone=ResNet51"],
        r"error: model\.arguments\.backbone: no architecture named 'ResNet51'; did you mean",
    ),
    "name": (
        [*SET, "name=../run"],
        r"name: must be the name of a folder, without / .* '\.\./run'$",
    ),
    "name of nothing": ([*SET, "name=.."], r"name: must be the name of a folder, .* got '\.\.'$"),
    "name on a card": (["finetune", "elsewhere", "--data", "digits"], r"name: .* '/tmp/x-digits'$"),
    "weights of a backbone": (
        ["train", "deeplabv3plus-pets", "--set", "model.arguments.backbone_weights=a1_in1"],
        r"error: model\.arguments\.backbone_weights: ResNet.*'?a1_in1'?",
    ),
    "strategy": ([*TRAIN, "--strategy", "two"], r"'two'"),
    "hosts": ([*TRAIN, "--strategy", "multi_worker"], r"TF_CONFIG"),
    "folder": ([*SET, "data.source=folder:nowhere"], r"there is no .*nowhere"),
    "options of a folder": ([*SET, "data.source=masks:nowhere?images=a"], NOT_THERE),
    "inner folder": ([*SET, "data.source=unpaired:pairs:nowhere"], NOT_THERE),
    "set": ([*SET, "data.source=mnis"], r"'mnis' \(did you mean mnist"),
    "out is a file": ([*TRAIN, "--out", "a file"], r"a file is a file; give a folder"),
    "out is in a file": ([*TRAIN, "--out", "a file/run"], r"a file is a file; give a folder"),
    "out is taken": ([*TRAIN, "--out", "some run"], r"train --resume 'some run', or"),
    "out has others": ([*TRAIN, "--out", "other"], r"holds files of something else"),
    "no PNG": (["generate", "dcgan-digits", "--out", "a.jpg"], r"PNG file, .* got 'a\.jpg'"),
    "no run": (["train", "--resume", "other"], r"there is no run in other"),
    "two directories": (
        ["train", "--resume", "some run", "--out", "other"],
        r"some run is the run to resume; .* leave out=other out",
    ),
    "evaluate": (["evaluate", "nowhere"], r"no model directory 'nowhere'"),
    "evaluate what": (["evaluate", "model", "--source", "folder:nowhere"], NOT_THERE),
    "evaluate data": (["evaluate", "model", "--data", "folder:nowhere"], NOT_THERE),
    "finetune source": (["finetune", "model", "--source", "folder:nowhere"], NOT_THERE),
    "compare source": (["compare", "model", "model", "--source", "folder:nowhere"], NOT_THERE),
    "evaluate out": (["evaluate", "model", "--out", "a file"], r"give a folder"),
    "unfinished": (["evaluate", "some run"], r"not finished; .*train --resume 'some run'$"),
    "predict": (["predict", "model", "nothing.png"], r"nothing\.png does not exist"),
    "pattern": (["predict", "model", "*.jpg"], r"no file matches the pattern \*\.jpg"),
    "empty folder": (["predict", "model", "other"], r"folder other holds no image"),
    "text": (["predict", "model", "other/notes.txt"], r"notes\.txt cannot be read"),
    "option": (["predict", "model", "a.png", "--overlay"], r"overlay is no option of flat"),
    "csv": (["predict", "model", "a.png", "--csv", "a file/x.csv"], r"give a folder"),
    "tile": (["predict", "model", "a.png", "--tile", "5x"], r"--tile takes 512 or .*'5x'"),
    "generate": (["generate", "model"], r"has no generate"),
    "class": (["generate", "cdcgan-digits", "--label", "11"], r"no class 11; .* 0 to 9$"),
    "classes": (["generate", "dcgan-digits", "--label", "1"], r"takes no labels"),
    "plot": (["show", "ResNet18", "--plot", "a.jpg"], r"--plot takes .* PNG .* 'a\.jpg'$"),
    "compare": (["compare", "model"], r"compare at least two models, got 1"),
    "compare tasks": (["compare", "model", "unet-cells"], r"compare models of one task"),
    "metrics": (["evaluate-generator", "dcgan-digits", "--metrics", "fod"], r"parzen, got 'fod'"),
    "agreement": (
        ["evaluate-generator", "dcgan-digits", "--metrics", "classifier_agreement"],
        r"dcgan-digits has no classes",
    ),
    "network": (
        ["evaluate-generator", "dcgan-digits", "--network", "unet-cells"],
        r"unet-cells is no classifier",
    ),
    "no generator": (["diagnose", "model"], r"; this is for generators"),
    "data of the training": (
        ["evaluate", "unet-isbi2012"],
        r"no .*data/isbi2012/train; name what .*--source\)$",
    ),
    "translate": (["translate", "model", "a.png"], r"has no translate"),
    "finetune": (["finetune", "nowhere", "--data", "digits"], r"'nowhere'"),
    "finetune data": (["finetune", "model", "--data", "folder:nowhere"], NOT_THERE),
    "finetune key": (["finetune", "model", "--data", "digits", "--set", "epoch=1"], r"recipe.epo"),
    "push": (["push", "nowhere", "user/repo"], r"'nowhere'"),
    "publish": (["publish", "vgg16-imagenet", "--to", "me"], r"first run: keras-arch train vgg16"),
    "publish what": (["publish", "--to", "me"], r"names of configs, or --all"),
    "publish where": (["publish", "--all", "--to", "me/it"], r"'me/it' is not an owner"),
    "export": (["export", "model", "a file"], r"give a folder"),
    "time-out of hosts": ([*TRAIN, "--host-timeout", "2"], r"must be 5 to 86400 seconds, got 2"),
    "launch what": (["launch", "--workers", "2", "evaluate", "model"], r"runs train or finetune"),
    "launch how many": (["launch", *TRAIN], r"give --workers N, or --print with --hosts"),
    "launch where": (["launch", "--hosts", "a:1", *TRAIN], r"--hosts needs --print"),
    "launch print": (["launch", "--print", "--workers", "2", *TRAIN], r"--print needs --hosts"),
    "launch hosts": (["launch", "--print", "--hosts", "a:1,b", *TRAIN], r"HOST:PORT.*'a:1,b'"),
    "launch option": ([*LAUNCH, *TRAIN, "--epoch", "2"], r"No such option: --epoch"),
    "launch config": ([*LAUNCH, "train", "missing.yaml"], r"missing\.yaml: No such file"),
    "launch strategy": ([*LAUNCH, *TRAIN, "--strategy", "none"], r"multi_worker, got 'none'"),
    "launch batch": ([*LAUNCH, *TRAIN, "--batch-size", "9"], r"batch_size 9 .* number, 2"),
    "launch out": ([*LAUNCH, *TRAIN, "--out", "a file"], r"give a folder"),
    "launch finetune": ([*LAUNCH, "finetune", "nowhere", "--data", "digits"], r"'nowhere'"),
    "configs": (["configs", "nothing"], r"no config matches 'nothing'"),
}


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """Code, error line and seconds of each mistake."""
    from keras_arch.hub.example import saved_example

    folder = tmp_path_factory.mktemp("early")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        saved_example().rename("model")
    shutil.copytree(folder / "model", folder / "elsewhere")
    record = json.loads((folder / "model" / "keras_arch.json").read_text())
    record["card"]["name"] = "/tmp/x"
    (folder / "elsewhere" / "keras_arch.json").write_text(json.dumps(record))
    (folder / "a file").write_text("")
    (folder / "other").mkdir()
    (folder / "other" / "notes.txt").write_text("none")
    (folder / "some run").mkdir()
    # As a stopped run has it.
    (folder / "some run" / "config.yaml").write_bytes(
        keras_arch.presets.path("resnet20-digits").read_bytes()
    )
    from PIL import Image

    Image.new("L", (8, 8)).save(folder / "a.png")
    root = str(Path(keras_arch.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        input=json.dumps([arguments for arguments, _ in MISTAKES.values()]),
        capture_output=True,
        text=True,
        cwd=folder,
        env={name: value for name, value in os.environ.items() if name != "TF_CONFIG"}
        | {"PYTHONPATH": root},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return dict(zip(MISTAKES, json.loads(done.stdout), strict=True))


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_reported_before_tensorflow_is_imported(answers, name):
    code, error, _, imported = answers[name]
    assert re.fullmatch(r"error: [^\n]*\n", error)
    assert re.search(MISTAKES[name][1], error.strip()), error
    assert (code, imported) == (2, [])


def test_mistakes_are_reported_at_once(answers):
    # All of them together, on a machine that does other things too.
    assert sum(seconds for _, _, seconds, _ in answers.values()) < 15
