"""Publishing of the models of shipped configs: `keras-arch publish`."""

import contextlib
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from huggingface_hub import ModelCard

from keras_arch import cli, config, hub, presets
from keras_arch.errors import ArgumentError, HubError, IntegrityError
from keras_arch.files import sha256
from keras_arch.hub import publishing
from keras_arch.hub.layout import RECORD
from keras_arch.training import factories

# Small networks of shipped configs, and what a run changes for them.
NETWORKS = {
    "dcgan-digits": ["generator.arguments.filters=4"],
    "resnet20-digits": ["model.arguments.depth=8"],
    "unet-cells": ["model.arguments.filters=4", "model.arguments.depth=2"],
}
FACTS = {
    "dcgan-digits": {"latent": {"size": 100, "distribution": "normal"}, "metrics": {"fid": 3.5}},
    "resnet20-digits": {"labels": list("0123456789"), "metrics": {"accuracy": 0.975}},
    "unet-cells": {"labels": ["background", "cell"], "metrics": {"mean_iu": 0.875}},
}
OWNER = "classics"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder with the model directory of each, saved as a run does."""
    folder = tmp_path_factory.mktemp("finished")
    for name, overrides in NETWORKS.items():
        checked = config.load(name, overrides)
        if isinstance(checked.preprocessing.mean, str):
            # As a run that has measured it.
            settings = checked.preprocessing.model_copy(update={"mean": [0.3057]})
            checked = checked.model_copy(update={"preprocessing": settings})
        builder = checked.generator if name.startswith("dcgan") else checked.model
        keras.utils.set_random_seed(len(name))
        network = factories.build_in_float32(builder)
        card = factories.make_card(checked, builder, task=checked.task, **FACTS[name])
        picture = folder / "samples.png"
        keras.utils.save_img(picture, np.zeros((8, 8, 1)), scale=False)
        hub.save(network, folder / name, card, samples=picture)
    return folder


@pytest.fixture
def runs(finished, tmp_path, monkeypatch):
    """The current folder, with two finished runs, and a checkout whose package has the third."""
    monkeypatch.chdir(tmp_path)
    for name in ("dcgan-digits", "resnet20-digits"):
        shutil.copytree(finished / name, tmp_path / "runs" / name / "model")
    configs = tmp_path / "hub_configs"
    configs.mkdir()
    for name in (*NETWORKS, "cgan-mnist"):
        shutil.copyfile(presets.path(name), configs / f"{name}.yaml")
    shutil.copytree(finished / "unet-cells", configs / "models" / "unet-cells")
    monkeypatch.setattr(presets, "_folder", lambda: configs)
    return tmp_path


def states(done):
    return {model.name: model.state for model in done.models}


def hashes_on(server, owner, name):
    files = server.repos[f"{owner}/{name}"].files()
    return {path: hashlib.sha256(content).hexdigest() for path, content in files.items()}


def all_is_there(server, owner, finished):
    """Every file of every model is on the Hub as it is here, and the collection is complete."""
    for name in NETWORKS:
        there = hashes_on(server, owner, name)
        here = {
            path.relative_to(finished / name).as_posix(): sha256(path)
            for path in (finished / name).rglob("*")
            if path.is_file() and path.name not in (RECORD, "README.md")
        }
        assert here.items() <= there.items()
        assert there.keys() - here.keys() == {".gitattributes", RECORD, "README.md"}
    assert server.collections.items(owner) == [f"{owner}/{name}" for name in NETWORKS]
    assert server.leaks == []
    return True


def commits(server):
    return {name: len(repo.commits) for name, repo in server.repos.items()}


# -- the whole of it -----------------------------------------------------------------------------


@pytest.mark.usefixtures("alice", "no_secrets")
def test_all_models_are_published_and_a_second_time_nothing_changes(server, runs, finished):
    done = hub.publish(OWNER)
    assert states(done) == dict.fromkeys(NETWORKS, "published") | {"cgan-mnist": "not trained"}
    assert all_is_there(server, OWNER, finished)
    assert set(commits(server).values()) == {2}, "the initial one and ours"
    assert done.collection.startswith(f"{server.url}/collections/classics/keras-arch-")
    again = hub.publish(OWNER)
    assert states(again) == dict.fromkeys(NETWORKS, "up to date") | {"cgan-mnist": "not trained"}
    assert set(commits(server).values()) == {2}
    assert again.collection == done.collection
    assert server.collections.titles() == ["keras_arch"]
    # Nothing was noted in files that a checkout has under version control.
    shipped = runs / "hub_configs" / "models" / "unet-cells"
    assert sha256(shipped / RECORD) == sha256(finished / "unet-cells" / RECORD)


@pytest.mark.usefixtures("alice", "runs")
def test_each_page_names_figures_data_command_and_license(server):
    hub.publish(OWNER, collection=False)
    assert server.collections.titles() == []
    page = ModelCard(server.repos[f"{OWNER}/resnet20-digits"].files()["README.md"].decode())
    (result,) = page.data.eval_results
    assert (result.metric_type, result.metric_value) == ("accuracy", 0.975)
    assert (result.dataset_name, result.dataset_split) == ("digits", "test")
    assert page.data.license == "apache-2.0"
    assert "keras-arch train resnet20-digits --set model.arguments.depth=8" in page.text
    assert "![Confusion matrix" in page.text
    assert "| Training | `train` |" in page.text
    assert "Measured on `test` of `digits`." in page.text
    assert f'load_with_card("hf://{OWNER}/resnet20-digits")' in page.text
    generator = ModelCard(server.repos[f"{OWNER}/dcgan-digits"].files()["README.md"].decode())
    # It is compared with the images that it learnt from.
    assert generator.data.eval_results[0].dataset_split == "train+test"
    assert "| Test |" not in generator.text


@pytest.mark.usefixtures("runs")
def test_a_dry_run_asks_nobody_and_writes_nothing(server):
    before = {path: path.stat().st_mtime_ns for path in Path().rglob("*")}
    plan = hub.publish(OWNER, dry_run=True)
    assert states(plan)["unet-cells"] == "would be published"
    assert plan.models[-1].directory.parts[-2:] == ("models", "unet-cells")
    assert [m.command for m in plan.models if not m.has_model] == ["keras-arch train cgan-mnist"]
    assert server.requests == []
    assert {path: path.stat().st_mtime_ns for path in Path().rglob("*")} == before


@pytest.mark.usefixtures("alice")
def test_a_lost_answer_stops_it_and_the_same_call_goes_on(server, runs, finished):
    server.drop = lambda seen: (
        "after" if seen.path.endswith("resnet20-digits/commit/main") else None
    )
    with pytest.raises(HubError) as caught:
        hub.publish(OWNER)
    message = str(caught.value)
    assert "broke off and hf://classics/resnet20-digits may have changed or not" in message
    assert "published so far: classics/dcgan-digits; run the same again to go on" in message
    assert "\n" not in message
    server.drop = lambda seen: None
    done = states(hub.publish(OWNER))
    # Its commit was made all the same.
    assert [done[name] for name in NETWORKS] == ["up to date", "up to date", "published"]
    assert all_is_there(server, OWNER, finished)


@pytest.mark.usefixtures("alice")
def test_a_hub_in_a_folder(tmp_path, runs):
    place = f"file://{tmp_path}/a hub/me"
    done = hub.publish(place)
    assert done.collection is None
    (model,) = [model for model in done.models if model.name == "unet-cells"]
    assert model.repository == f"file://{tmp_path}/a%20hub/me/unet-cells"
    assert hub.load(model.repository).count_params() > 0
    written = tmp_path / "a hub" / "me" / "unet-cells" / "model.weights.h5"
    before = written.stat()
    assert set(states(hub.publish(place)).values()) == {"up to date", "not trained"}
    assert written.stat() == before
    (written.parent / "model.weights.h5").write_bytes(b"damaged")
    assert states(hub.publish(place, ["unet-cells"])) == {"unet-cells": "published"}
    with pytest.raises(ArgumentError, match="has no private"):
        hub.publish(place, private=True)


@pytest.mark.usefixtures("alice", "runs")
def test_private_repositories_in_a_private_collection(server):
    hub.publish("alice", ["unet-cells"], private=True)
    assert server.repos["alice/unet-cells"].private
    (slug,) = server.collections.known
    assert server.collections[slug]["private"]
    # Later ones join it.
    hub.publish("alice", ["dcgan-digits"], private=True)
    assert server.collections.items("alice") == ["alice/unet-cells", "alice/dcgan-digits"]
    server.repos["alice/unet-cells"].private = False
    with pytest.raises(HubError, match=r"is public and stays so.*published so far: nothing"):
        hub.publish("alice", ["unet-cells"], private=True)


@pytest.mark.usefixtures("alice", "runs")
def test_a_readme_that_was_edited_on_the_hub_is_kept(server, caplog):
    hub.publish(OWNER)
    name = f"{OWNER}/unet-cells"
    edited = server.repos[name].files()["README.md"] + b"\nMine.\n"
    server.edit(name, "README.md", edited)
    hub.publish(OWNER)
    assert server.repos[name].files()["README.md"] == edited
    assert "the README of hf://classics/unet-cells was edited and is not replaced" in caplog.text
    assert states(hub.publish(OWNER))["unet-cells"] == "up to date"


# -- what is refused -----------------------------------------------------------------------------


@pytest.mark.usefixtures("runs", "no_secrets")
def test_it_needs_a_token_that_may_write_there(server, monkeypatch):
    with pytest.raises(HubError, match=r"publishing to classics needs a token; set HF_TOKEN"):
        hub.publish(OWNER)
    assert server.requests == []
    for token in ("hf_bob", "hf_reader"):
        monkeypatch.setenv("HF_TOKEN", token)
        with pytest.raises(HubError, match="write permission there; published so far: nothing"):
            hub.publish(OWNER)
    assert server.repos == {}


@pytest.mark.usefixtures("alice", "runs")
def test_collections_that_the_hub_refuses(server):
    server.failing["POST /api/collections"] = 403
    with pytest.raises(HubError) as caught:
        hub.publish(OWNER)
    message = "the token in use may not do this with the collection 'keras_arch' of classics"
    assert message in str(caught.value)
    assert f"published so far: {OWNER}/dcgan-digits, {OWNER}/resnet20-digits" in str(caught.value)
    assert len(server.repos) == 3


@pytest.mark.usefixtures("alice", "runs")
def test_out_of_reach(down):
    down()
    with pytest.raises(HubError, match="cannot be reached and nothing was pushed to hf://classics"):
        hub.publish(OWNER)


@pytest.mark.parametrize("owner", ["", "a/b", "hf://a/b", "two words", "..", 7])
def test_what_is_no_owner(owner):
    with pytest.raises(ArgumentError, match="is not an owner; give a user or an organization"):
        hub.publish(owner)


@pytest.mark.usefixtures("alice")
def test_models_are_all_checked_before_the_first_is_pushed(server, runs, finished):
    with pytest.raises(HubError, match=r"is not trained; first run: keras-arch train cgan-mnist$"):
        hub.publish(OWNER, ["unet-cells", "cgan-mnist"])
    with pytest.raises(ArgumentError, match="did you mean unet-cells"):
        hub.publish(OWNER, ["unet-cell"])
    with pytest.raises(ArgumentError, match="must be a list"):
        hub.publish(OWNER, [])
    begun = runs / "runs" / "cgan-mnist"
    begun.mkdir()
    shutil.copyfile(presets.path("cgan-mnist"), begun / "config.yaml")
    with pytest.raises(HubError, match=r"not finished; .* train --resume runs/cgan-mnist"):
        hub.publish(OWNER, ["cgan-mnist"])
    shutil.copytree(finished / "dcgan-digits", begun / "model")
    with pytest.raises(IntegrityError, match="holds the model 'dcgan-digits', not 'cgan-mnist'"):
        hub.publish(OWNER)
    shutil.rmtree(begun)
    weights = runs / "hub_configs" / "models" / "unet-cells" / "model.weights.h5"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(IntegrityError, match=r"model\.weights\.h5 of .*unet-cells is truncated"):
        hub.publish(OWNER)
    assert server.requests == []


# -- the command ---------------------------------------------------------------------------------


@pytest.mark.usefixtures("alice", "runs")
def test_the_command_publishes_and_records(server, capfd):
    def publish(*arguments):
        code = cli.main(["publish", *arguments, "--to", OWNER])
        out, err = capfd.readouterr()
        return code, out.splitlines(), err

    before = {name: presets.path(name).read_text() for name in presets.names()}
    code, lines, _ = publish("--all", "--dry-run", "--record")
    assert code == 0
    assert lines[0].startswith("cgan-mnist\tnot trained\tkeras-arch train cgan-mnist\t")
    assert lines[-1] == "unet-cells.yaml: repository: classics/unet-cells"
    code, lines, err = publish("unet-cells", "--record")
    assert code == 0
    assert lines[0].startswith("unet-cells\tpublished\tclassics/unet-cells\t")
    assert lines[0].endswith("mean_iu 0.875")
    assert lines[1] == f"collection: {server.url}/collections/classics/keras-arch-{0:024x}"
    assert lines[2].endswith("unet-cells.yaml: repository: classics/unet-cells")
    assert "1 of 1: " in err
    now = {name: presets.path(name).read_text() for name in presets.names()}
    added = before["unet-cells"] + "repository: classics/unet-cells\n"
    assert now == before | {"unet-cells": added}
    assert config.load("unet-cells").repository == "classics/unet-cells"
    # It says so already.
    assert len(publish("unet-cells", "--record")[1]) == 2
    assert publish("unet-cells", "--all")[0] == 2
    assert publish()[2] == "error: give names of configs, or --all for every config with a model\n"


def test_a_recorded_repository_is_replaced_in_its_line(runs):
    text = presets.path("cgan-mnist").read_text()
    first, rest = text.split("\n", 1)
    presets.path("cgan-mnist").write_text(f"{first}\nrepository: old/one # of before\n{rest}")
    file = publishing.record_repository("cgan-mnist", "new/one")
    assert file.read_text() == f"{first}\nrepository: new/one\n{rest}"
    assert publishing.record_repository("cgan-mnist", "new/one") is None


def test_configs_of_a_package_are_not_written_to(runs, monkeypatch):
    package = runs / "keras_arch"
    package.mkdir()
    (runs / "hub_configs").rename(package / "hub_configs")
    monkeypatch.setattr(presets, "_folder", lambda: package / "hub_configs")
    with pytest.raises(ArgumentError, match="an installed package"):
        publishing.record_repository("unet-cells", "me/unet-cells")


# -- cut off at random points --------------------------------------------------------------------


POINTS = 5
SEED = 16


def requests_of(server, publish):
    """The number of requests that a whole publishing makes."""
    before = len(server.requests)
    publish("whole")
    return len(server.requests) - before


def points(draws, total):
    """Numbers of requests, one at random in each fifth of all."""
    return [draws.randrange(total * n // POINTS, total * (n + 1) // POINTS) for n in range(POINTS)]


@pytest.fixture
def owners(server, finished, tmp_path, monkeypatch):
    """Accounts that alice may publish to, and finished runs of all models in this folder."""
    names = [f"cut-{number}" for number in range(POINTS)]
    server.members |= {name: {"alice"} for name in (*names, "whole")}
    monkeypatch.chdir(tmp_path)
    for name in NETWORKS:
        shutil.copytree(finished / name, tmp_path / "runs" / name / "model")
    return names


@pytest.mark.slow
@pytest.mark.usefixtures("alice")
def test_connections_lost_at_random_points(server, owners, finished):
    """An answer is lost, before or after the Hub acted on the request."""
    names = list(NETWORKS)
    total = requests_of(server, lambda owner: hub.publish(owner, names))
    draws = random.Random(SEED)
    for owner, point in zip(owners, points(draws, total), strict=True):
        server.blobs.clear()
        start, how = len(server.requests), draws.choice(("before", "after"))
        server.drop = lambda _, start=start, point=point, how=how: (
            how if len(server.requests) == start + point + 1 else None
        )
        # The client itself repeats some of its requests.
        with contextlib.suppress(HubError):
            hub.publish(owner, names)
        server.drop = lambda seen: None
        hub.publish(owner, names)
        assert all_is_there(server, owner, finished)
        assert {len(server.repos[f"{owner}/{name}"].commits) for name in names} == {2}


OPENED = """
import sys
sys.modules["keras_arch"] = None  # Importing it is an error.
import keras
import numpy as np

data = np.load("data.npz")
for name in sys.argv[2:]:
    model = keras.saving.load_model(f"hf://{sys.argv[1]}/{name}")
    np.testing.assert_allclose(model(data[f"{name}_in"]), data[f"{name}_out"], atol=1e-5)
print("equal without keras_arch")
"""


@pytest.mark.slow
@pytest.mark.usefixtures("alice")
def test_processes_killed_at_random_points(server, owners, finished, root, tmp_path):
    """What they leave is completed by the same command, and opens in stock Keras."""

    def publish(owner, drop=lambda process: None):
        command = [sys.executable, "-m", "keras_arch.cli", "publish", *NETWORKS, "--to", owner]
        process = subprocess.Popen(
            command,
            env=os.environ | {"PYTHONPATH": root},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        server.drop = lambda seen: drop(process)
        out, err = process.communicate(timeout=120)
        server.drop = lambda seen: None
        return process.returncode, out, err

    total = requests_of(server, publish)
    cuts = random.Random(SEED)
    for owner, point in zip(owners, points(cuts, total), strict=True):
        server.blobs.clear()
        start = len(server.requests)

        def kill(process, start=start, point=point):
            if len(server.requests) != start + point + 1:
                return None
            process.send_signal(signal.SIGKILL)
            return cuts.choice(("before", "after"))

        assert publish(owner, kill)[0] == -signal.SIGKILL
        code, out, err = publish(owner)
        assert code == 0, err
        assert [line.split("\t")[0] for line in out.splitlines()[:3]] == list(NETWORKS)
        assert all_is_there(server, owner, finished)
        assert publish(owner)[1].count("up to date") == len(NETWORKS)
        assert {len(server.repos[f"{owner}/{name}"].commits) for name in NETWORKS} == {2}

    draws, data = np.random.default_rng(0), {}
    for name in NETWORKS:
        network = hub.load(finished / name)
        shape = [side or 32 for side in network.inputs[0].shape[1:]]
        data[f"{name}_in"] = draws.normal(size=(2, *shape)).astype("float32")
        data[f"{name}_out"] = np.asarray(network(data[f"{name}_in"]))
    np.savez(tmp_path / "data.npz", **data)
    (tmp_path / "as_a_user.py").write_text(OPENED)
    for owner in owners:
        opened = subprocess.run(
            [sys.executable, "-I", "as_a_user.py", owner, *NETWORKS],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert opened.stdout == "equal without keras_arch\n", opened.stderr[-3000:]
