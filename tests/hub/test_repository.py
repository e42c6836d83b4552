"""The real client of the Hub against a server on loopback."""

import dataclasses
import json
import logging
import re
import time
from pathlib import Path

import keras
import numpy as np
import pytest
from huggingface_hub import HfApi

from keras_arch import hub
from keras_arch.errors import (
    ArgumentError,
    HubError,
    IntegrityError,
    StorageError,
    UnsafeContentError,
)
from keras_arch.files import sha256
from keras_arch.hub.layout import RECORD


@pytest.fixture
def published(server, alice, folder):
    """A public repository with the small model."""
    hub.push(folder, "alice/small")
    return "hf://alice/small"


@pytest.fixture
def logged_out(monkeypatch):
    """Call it to log out."""
    return lambda: monkeypatch.delenv("HF_TOKEN")


def one_line(error):
    assert "\n" not in str(error)
    return str(error)


# -- push and load -------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_secrets")
def test_push_is_one_commit_and_load_gives_equal_outputs(server, alice, folder, model, images):
    url = hub.push(folder, "alice/small")
    repo = server.repos["alice/small"]
    assert url == f"{server.url}/alice/small/commit/{repo.find('main')}"
    assert len(repo.commits) == 2, "the initial one and ours"
    assert repo.messages[-1].startswith("Publish small-digits with keras_arch")
    assert repo.large == {"model.weights.h5"}, "went through LFS"
    assert not repo.private
    opened = hub.load_with_card("hf://alice/small")
    np.testing.assert_array_equal(opened.model(images), model(images))
    assert opened.card.repository == "alice/small"
    assert server.leaks == []


def test_a_model_is_pushed_with_its_card(server, alice, model, card, images):
    hub.push(model, "hf://alice/direct", card=card)
    np.testing.assert_array_equal(hub.load("hf://alice/direct")(images), model(images))
    with pytest.raises(ArgumentError, match="pass card="):
        hub.push(model, "alice/direct")


def test_pushing_the_same_again_makes_no_commit(server, published, folder):
    before = len(server.repos["alice/small"].commits)
    url = hub.push(folder, "alice/small")
    assert len(server.repos["alice/small"].commits) == before
    assert url.endswith(server.repos["alice/small"].find("main"))


def test_the_hub_accepts_the_metadata_and_the_commands_name_the_repository(server, published):
    text = server.repos["alice/small"].files()["README.md"].decode()
    assert 'hub.load_with_card("hf://alice/small")' in text
    assert HfApi().model_info("alice/small").sha


def test_only_what_is_needed_is_downloaded(server, alice, tmp_path, model, card):
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "optimizer.npz").write_bytes(b"much" * 10_000)
    (tmp_path / "grid.png").write_bytes(b"png\0" * 10_000)
    saved = hub.save(
        model, tmp_path / "m", card, samples=tmp_path / "grid.png", training=tmp_path / "state"
    )
    hub.push(saved, "alice/full")

    def asked():
        found = {re.sub(r".*/resolve/\w+/", "", s.path) for s in server.asked_for("/resolve/")}
        server.requests.clear()
        return found

    server.requests.clear()
    assert hub.read_card("hf://alice/full").labels == ["zero", "one", "two"]
    assert asked() == {RECORD}
    assert hub.load_with_card("hf://alice/full").training is None
    assert asked() == {"config.json", "metadata.json", "model.weights.h5"}
    opened = hub.load_with_card("hf://alice/full", training=True)
    assert asked() == {"training/optimizer.npz"}
    assert (opened.training / "optimizer.npz").read_bytes() == b"much" * 10_000
    pulled = hub.pull("hf://alice/full", tmp_path / "pulled")
    assert asked() == {"README.md", "samples.png"}
    assert not (pulled / "training").exists()
    assert (hub.pull("hf://alice/full", tmp_path / "all", training=True) / "training").is_dir()


def test_all_files_come_from_one_commit(server, published, model, images):
    """Somebody pushes other weights while ours are being downloaded."""
    commit = server.repos["alice/small"].find("main")

    def push_meanwhile(seen):
        if seen.path.endswith(RECORD):
            server.edit("alice/small", "model.weights.h5", b"of another model")

    server.watch = push_meanwhile
    server.requests.clear()
    np.testing.assert_array_equal(hub.load(published)(images), model(images))
    asked = {
        seen.path.split("/resolve/")[1].split("/")[0] for seen in server.asked_for("/resolve/")
    }
    assert asked == {commit}
    assert server.repos["alice/small"].find("main") != commit


def test_a_pulled_directory_pushed_back_keeps_the_training_files(
    server, alice, tmp_path, model, card
):
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "optimizer.npz").write_bytes(b"state")
    hub.push(hub.save(model, tmp_path / "m", card, training=tmp_path / "state"), "alice/full")
    pulled = hub.pull("hf://alice/full", tmp_path / "pulled")
    hub.push(pulled, "alice/full")
    assert hub.load_with_card("hf://alice/full", training=True).training.is_dir()
    hub.push(pulled, "alice/elsewhere")
    assert hub.load_with_card("hf://alice/elsewhere", training=True).training is None


def test_files_of_an_older_push_go_and_those_of_others_stay(
    server, alice, tmp_path, model, card, folder
):
    (tmp_path / "grid.png").write_bytes(b"png")
    hub.push(hub.save(model, tmp_path / "m", card, samples=tmp_path / "grid.png"), "alice/small")
    server.edit("alice/small", "notes.txt", b"by somebody")
    hub.push(folder, "alice/small")
    files = server.repos["alice/small"].files()
    assert "samples.png" not in files
    assert files["notes.txt"] == b"by somebody"
    hub.load("hf://alice/small")


def test_a_download_that_breaks_off_is_resumed_where_it_stopped(server, alice, card, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 10_000)
    layers = [keras.layers.Flatten(), keras.layers.Dense(5000, activation="softmax")]
    big = keras.Sequential([keras.Input((8, 8, 1)), *layers])
    hub.push(big, "alice/big", card=dataclasses.replace(card, labels=None))
    size = len(server.repos["alice/big"].files()["model.weights.h5"])
    server.cut.add("model.weights.h5")
    loaded = hub.load("hf://alice/big")
    np.testing.assert_array_equal(loaded.get_weights()[0], big.get_weights()[0])
    (resumed,) = (seen.range for seen in server.asked_for("/storage/") if seen.range)
    start = int(resumed.removeprefix("bytes=").removesuffix("-"))
    assert size // 2 - 10_000 <= start <= size // 2
    assert server.leaks == []


# -- revisions --------------------------------------------------------------------------------


def test_a_branch_is_made_and_read_by_name_and_by_commit(
    server, alice, folder, model, card, images
):
    hub.push(folder, "alice/small")
    other = keras.models.clone_model(model)
    url = hub.push(other, "alice/small", card=card, revision="exp/two")
    repo = server.repos["alice/small"]
    assert set(repo.branches) == {"main", "exp/two"}
    for reference, expected in {
        "hf://alice/small": model,
        "hf://alice/small@main": model,
        "hf://alice/small@exp/two": other,
        f"hf://alice/small@{url.rpartition('/')[2]}": other,
    }.items():
        np.testing.assert_array_equal(hub.load(reference)(images), expected(images))
    hub.push(other, "hf://alice/small@exp/two", card=card, revision="exp/two")
    with pytest.raises(HubError, match=r"hf://alice/small has no branch, tag or commit 'nope'"):
        hub.load("hf://alice/small@nope")


def test_revisions_that_cannot_be_pushed_to(server, published, folder):
    with pytest.raises(ArgumentError, match="is a commit; push to a branch"):
        hub.push(folder, "alice/small", revision=server.repos["alice/small"].find("main"))
    with pytest.raises(ArgumentError, match="two revisions"):
        hub.push(folder, "alice/small@one", revision="two")
    with pytest.raises(ArgumentError, match="not a revision"):
        hub.push(folder, "alice/small", revision="../main")


# -- permissions and tokens ----------------------------------------------------------------------


@pytest.mark.usefixtures("no_secrets")
def test_a_private_repository_needs_the_right_token(
    server, alice, folder, tmp_path, logged_out, monkeypatch
):
    hub.push(folder, "alice/secret", private=True)
    assert server.repos["alice/secret"].private
    logged_out()
    acts = (hub.load, hub.read_card, lambda r, **k: hub.pull(r, tmp_path / "pulled", **k))
    for act in acts:
        with pytest.raises(HubError, match="private") as caught:
            act("hf://alice/secret")
        message = one_line(caught.value)
        assert all(part in message for part in ("hf://alice/secret", "HF_TOKEN", "`hf auth login`"))
        with pytest.raises(HubError, match="the token in use may not see it") as caught:
            act("hf://alice/secret", token="hf_bob")
        assert "hf_bob" not in one_line(caught.value)
        with pytest.raises(HubError, match="does not accept the token") as caught:
            act("hf://alice/secret", token="hf_wrong")
        assert "hf_wrong" not in one_line(caught.value)
    assert hub.load("hf://alice/secret", token="hf_alice").name == "small"
    monkeypatch.setenv("HF_TOKEN", "hf_alice")
    assert hub.load("hf://alice/secret").name == "small"


@pytest.mark.usefixtures("no_secrets")
def test_pushing_needs_a_token_that_may_write(server, folder, monkeypatch):
    with pytest.raises(HubError, match=r"alice/small needs a token; set HF_TOKEN or run `hf auth"):
        hub.push(folder, "alice/small")
    assert server.requests == [], "nothing is asked without one"
    server.create("alice/small")
    for token, message in {
        "hf_wrong": "does not accept the token",
        "hf_reader": "write permission",
        "hf_bob": "write permission",
    }.items():
        with pytest.raises(HubError, match=message) as caught:
            hub.push(folder, "alice/small", token=token)
        assert token not in one_line(caught.value)
        assert "hf://alice/small" in str(caught.value)
    assert len(server.repos["alice/small"].commits) == 1


@pytest.mark.parametrize("token", ["", "hf_alice\nX-Evil: 1", "hf alice", "hf_ümlaut", 7])
def test_a_token_that_no_header_can_hold_is_not_shown(server, folder, token):
    for act in (
        lambda: hub.push(folder, "a/b", token=token),
        lambda: hub.load("hf://a/b", token=token),
    ):
        with pytest.raises(ArgumentError, match="no token has") as caught:
            act()
        assert "alice" not in str(caught.value)
    assert server.requests == []


def test_private_is_not_forgotten_because_the_repository_exists(server, published, folder):
    before = len(server.repos["alice/small"].commits)
    with pytest.raises(HubError, match="is public and stays so"):
        hub.push(folder, "alice/small", private=True)
    assert len(server.repos["alice/small"].commits) == before


def test_a_repository_that_is_not_there(server, logged_out, alice):
    with pytest.raises(HubError, match="hf://alice/none does not exist, or the token"):
        hub.load("hf://alice/none")
    logged_out()
    with pytest.raises(HubError, match="hf://alice/none does not exist, or it is private"):
        hub.load("hf://alice/none")
    server.create("alice/empty")
    with pytest.raises(HubError, match="hf://alice/empty holds no Keras model"):
        hub.load("hf://alice/empty")


# -- models that are refused ---------------------------------------------------------------------


@pytest.mark.parametrize("how", ["truncated", "altered"])
def test_changed_weights_are_refused_by_name_with_both_hashes(server, published, tmp_path, how):
    good = server.repos["alice/small"].files()["model.weights.h5"]
    bad = good[:-100] if how == "truncated" else good[:-1] + bytes([good[-1] ^ 1])
    server.edit("alice/small", "model.weights.h5", bad)
    (tmp_path / "good").write_bytes(good)
    (tmp_path / "bad").write_bytes(bad)
    for act in (hub.load, lambda r: hub.pull(r, tmp_path / "pulled")):
        with pytest.raises(IntegrityError) as caught:
            act(published)
        message = one_line(caught.value)
        assert "model.weights.h5 of hf://alice/small is truncated or altered" in message
        assert f"expected sha256 {sha256(tmp_path / 'good')}" in message
        assert f"actual {sha256(tmp_path / 'bad')}" in message
    assert not (tmp_path / "pulled").exists()
    assert hub.read_card(published).name == "small-digits", "the card can still be read"


def test_error_of_a_damaged_cache_names_the_folder_to_delete(server, published, client):
    import shutil

    cached = hub.load_with_card(published).directory / "model.weights.h5"
    cached.resolve().write_bytes(b"damaged by the disk")
    with pytest.raises(IntegrityError, match=r"delete (\S+) and load again") as caught:
        hub.load(published)
    shutil.rmtree(re.search(r"delete (\S+) and", str(caught.value))[1])
    hub.load(published)


def test_a_missing_file_is_named(server, published):
    server.edit("alice/small", "model.weights.h5", None)
    with pytest.raises(IntegrityError, match=r"model\.weights\.h5 of hf://alice/small is missing"):
        hub.load(published)


def test_lambda_and_pickles_are_refused_from_the_hub(server, published, tmp_path):
    image = keras.Input((8, 8, 1))
    evil = keras.Model(image, keras.layers.Lambda(lambda x: x)(image))
    keras.saving.save_model(evil, str(tmp_path / "evil"), zipped=False)
    files = server.repos["alice/small"].files()
    record = json.loads(files[RECORD])
    record["sha256"]["config.json"] = sha256(tmp_path / "evil" / "config.json")
    server.edit("alice/small", "config.json", (tmp_path / "evil" / "config.json").read_bytes())
    server.edit("alice/small", RECORD, json.dumps(record).encode())
    for act in (hub.load, lambda r: hub.pull(r, tmp_path / "pulled")):
        with pytest.raises(UnsafeContentError, match="hf://alice/small holds a Lambda"):
            act(published)

    record["sha256"]["weights.pkl"] = "0" * 64
    server.edit("alice/small", RECORD, json.dumps(record).encode())
    server.edit("alice/small", "weights.pkl", b"\x80\x04.")
    server.requests.clear()
    with pytest.raises(UnsafeContentError, match=r"hf://alice/small holds weights\.pkl"):
        hub.load(published)
    assert not server.asked_for("weights.pkl")
    assert not (tmp_path / "pulled").exists()


def test_a_plain_keras_repository_loads_with_a_warning(server, tmp_path, model, images, caplog):
    keras.saving.save_model(model, str(tmp_path / "plain"), zipped=False)
    plain = {file.name: file.read_bytes() for file in (tmp_path / "plain").glob("*.*")}
    server.create("bob/plain", files=plain | {"README.md": b"mine"})
    opened = hub.load_with_card("hf://bob/plain")
    np.testing.assert_array_equal(opened.model(images), model(images))
    assert opened.card is None
    assert "hf://bob/plain has no keras_arch.json" in caplog.text
    pulled = hub.pull("hf://bob/plain", tmp_path / "pulled")
    assert (pulled / "README.md").read_text() == "mine"
    with pytest.raises(HubError, match="plain Keras model"):
        hub.read_card("hf://bob/plain")


# -- README ----------------------------------------------------------------------------------


def readme_of(server):
    return server.repos["alice/small"].files()["README.md"]


def test_a_readme_edited_on_the_hub_is_kept(server, published, folder, model, card, caplog):
    edited = readme_of(server) + b"\nEdited in the browser.\n"
    server.edit("alice/small", "README.md", edited)
    with caplog.at_level(logging.WARNING):
        hub.push(folder, "alice/small")
    assert "delete it there and push again" in caplog.text
    hub.push(model, "alice/small", card=dataclasses.replace(card, description="New."))
    assert readme_of(server) == edited
    assert json.loads(server.repos["alice/small"].files()[RECORD])["card"]["description"] == "New."

    server.edit("alice/small", "README.md", None)
    hub.push(folder, "alice/small")
    assert b"# small-digits" in readme_of(server)
    assert b"Edited" not in readme_of(server)


def test_a_readme_that_was_there_before_the_first_push_is_kept(server, alice, folder):
    server.create("alice/small", files={"README.md": b"# What I plan to put here\n"})
    hub.push(folder, "alice/small")
    assert readme_of(server) == b"# What I plan to put here\n"


def test_a_readme_edited_here_is_published_each_time_it_changes(server, published, folder):
    for text in ("First edit.", "Second edit."):
        (folder / "README.md").write_text(f"---\nlibrary_name: keras\n---\n{text}\n")
        hub.push(folder, "alice/small")
        assert text.encode() in readme_of(server)


def test_a_readme_edited_on_both_sides_is_kept_there(server, published, folder, caplog):
    (folder / "README.md").write_text("Mine.\n")
    hub.push(folder, "alice/small")
    server.edit("alice/small", "README.md", b"Theirs, later.\n")
    (folder / "README.md").write_text("Mine, further.\n")
    hub.push(folder, "alice/small")
    assert readme_of(server) == b"Theirs, later.\n"
    assert (folder / "README.md").read_text() == "Mine, further.\n"


def test_pull_edit_push(server, published, tmp_path):
    server.edit("alice/small", "README.md", b"Theirs.\n")
    pulled = hub.pull(published, tmp_path / "pulled")
    assert (pulled / "README.md").read_bytes() == b"Theirs.\n"
    (pulled / "README.md").write_text("Theirs.\nAnd mine.\n")
    hub.push(pulled, "alice/small")
    assert readme_of(server) == b"Theirs.\nAnd mine.\n"


def test_pull_keeps_a_readme_that_was_edited_here(server, published, tmp_path, caplog):
    pulled = hub.pull(published, tmp_path / "pulled")
    server.edit("alice/small", "README.md", b"Theirs.\n")
    hub.pull(published, pulled)
    assert (pulled / "README.md").read_bytes() == b"Theirs.\n", "nobody had edited it here"
    server.edit("alice/small", "README.md", b"Theirs, again.\n")
    hub.pull(published, pulled)
    assert (pulled / "README.md").read_bytes() == b"Theirs, again.\n"
    (pulled / "README.md").write_text("Mine.\n")
    with caplog.at_level(logging.WARNING):
        hub.pull(published, pulled)
    assert (pulled / "README.md").read_text() == "Mine.\n"
    assert "delete it and pull again" in caplog.text
    (pulled / "README.md").unlink()
    hub.pull(published, pulled)
    assert (pulled / "README.md").read_bytes() == b"Theirs, again.\n"


def test_a_readme_that_the_hub_refuses(server, alice, folder):
    (folder / "README.md").write_text("---\nlicense: [\n---\nBroken.\n")
    with pytest.raises(HubError, match=r"Invalid metadata in README\.md") as caught:
        hub.push(folder, "alice/small")
    one_line(caught.value)


def test_an_edit_during_the_push_is_not_overwritten(server, published, folder):
    """Somebody saves the README in the browser between our look at it and our commit."""

    def edit_meanwhile(seen):
        if "/preupload/" in seen.path:
            server.edit("alice/small", "README.md", b"Just now.\n")

    (folder / "README.md").write_text("Mine.\n")
    server.watch = edit_meanwhile
    with pytest.raises(HubError, match="has changed on the Hub in the meantime; push again"):
        hub.push(folder, "alice/small")
    assert readme_of(server) == b"Just now.\n"


# -- out of reach -----------------------------------------------------------------------------


def test_out_of_reach_without_a_cached_copy(down, folder, alice, tmp_path):
    down()
    started = time.monotonic()
    for act in (hub.load, hub.read_card, lambda r: hub.pull(r, tmp_path / "pulled")):
        with pytest.raises(
            HubError, match="cannot be reached and there is no cached copy"
        ) as caught:
            act("hf://alice/small")
        message = one_line(caught.value)
        assert all(
            part in message for part in ("hf://alice/small", "http://127.0.0.1:9", "HF_ENDPOINT")
        )
    with pytest.raises(HubError, match="cannot be reached and nothing was pushed"):
        hub.push(folder, "alice/small")
    assert time.monotonic() - started < 10


@pytest.mark.usefixtures("alice")
def test_offline_by_the_environment_says_so(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(HubError, match="no cached copy of hf://alice/small; HF_HUB_OFFLINE is set"):
        hub.load("hf://alice/small")


@pytest.mark.parametrize("how", ["down", "server error", "offline"])
@pytest.mark.parametrize("revision", ["", "@main", "@exp", "commit"])
def test_out_of_reach_with_a_cached_copy(
    server, published, folder, images, model, down, monkeypatch, caplog, how, revision
):
    if revision == "@exp":
        hub.push(folder, "alice/small", revision="exp")
    if revision == "commit":
        revision = "@" + server.repos["alice/small"].find("main")
    hub.load(published + revision)
    if how == "down":
        down()
    elif how == "offline":
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    else:
        server.failing["GET /api/models"] = 503
    with caplog.at_level(logging.WARNING, logger="keras_arch"):
        loaded = hub.load(published + revision)
    np.testing.assert_array_equal(loaded(images), model(images))
    assert "cached copy of hf://alice/small" in caplog.text
    with pytest.raises(HubError, match="cached copy of hf://alice/small"):
        hub.pull("hf://alice/small@other", folder)


def test_out_of_reach_with_half_a_cached_copy(server, published, down):
    hub.read_card(published)
    down()
    assert hub.read_card(published).name == "small-digits"
    with pytest.raises(HubError, match=r"the cached copy of hf://alice/small lacks config\.json"):
        hub.load(published)


def test_a_cached_copy_is_no_way_around_a_closed_door(server, published, logged_out):
    hub.load(published)
    server.repos["alice/small"].private = True
    logged_out()
    with pytest.raises(HubError, match="or it is private"):
        hub.load(published)


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (400, "is an error"),
        (403, "write permission"),
        (429, "slow down"),
        (500, "nothing was pushed"),
    ],
)
def test_every_refusal_of_a_commit_is_one_line(server, published, folder, status, message):
    server.failing["POST /api/models/alice/small/commit"] = status
    with pytest.raises(HubError, match=message) as caught:
        hub.push(hub.save(hub.load(folder), folder, hub.read_card(folder)), "alice/small")
    assert "hf://alice/small" in one_line(caught.value)


def test_a_cache_that_cannot_be_written_is_named(server, published, client, monkeypatch):
    (client.parent / "file").write_text("in the way")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", "/proc/nowhere")
    with pytest.raises((StorageError, HubError)) as caught:
        hub.load(published)
    one_line(caught.value)


# -- a folder hub -----------------------------------------------------------------------------


def test_a_folder_hub_needs_no_server_and_no_token(tmp_path, folder, model, images, card):
    url = hub.push(folder, f"file://{tmp_path}/hub/me/small")
    assert url == f"file://{tmp_path}/hub/me/small"
    opened = hub.load_with_card(url)
    np.testing.assert_array_equal(opened.model(images), model(images))
    assert opened.card == card
    stock = keras.saving.load_model(str(tmp_path / "hub" / "me" / "small"))
    np.testing.assert_array_equal(stock(images), model(images))
    pulled = hub.pull(url, tmp_path / "pulled")
    assert hub.read_card(pulled) == card


def test_a_folder_hub_keeps_edited_readmes_and_other_files(tmp_path, folder, model, card):
    url = hub.push(folder, f"file://{tmp_path}/hub/me/small")
    place = tmp_path / "hub" / "me" / "small"
    (place / "notes.txt").write_text("mine")
    (place / "README.md").write_text("By hand.\n")
    hub.push(model, url, card=card)
    assert (place / "README.md").read_text() == "By hand.\n"
    assert (place / "notes.txt").read_text() == "mine"
    (place / "README.md").unlink()
    hub.push(folder, url)
    assert "# small-digits" in (place / "README.md").read_text()


def test_pull_does_not_replace_another_model(tmp_path, folder, model, card):
    other = dataclasses.replace(card, name="other-digits")
    hub.save(model, tmp_path / "other", other)
    before = sha256(tmp_path / "other" / RECORD)
    with pytest.raises(ArgumentError, match="holds another model, other-digits; give"):
        hub.pull(f"file://{folder}", tmp_path / "other")
    assert sha256(tmp_path / "other" / RECORD) == before


def test_a_folder_hub_keeps_training_that_was_not_pulled(tmp_path, model, card):
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "optimizer.npz").write_bytes(b"state")
    saved = hub.save(model, tmp_path / "m", card, training=tmp_path / "state")
    url = hub.push(saved, f"file://{tmp_path}/hub/me/small")
    hub.push(hub.pull(url, tmp_path / "pulled"), url)
    assert (
        hub.load_with_card(url, training=True).training / "optimizer.npz"
    ).read_bytes() == b"state"


def test_options_that_a_folder_hub_lacks(tmp_path, folder):
    url = f"file://{tmp_path}/hub/me/small"
    with pytest.raises(ArgumentError, match="has no revision"):
        hub.push(folder, url, revision="two")
    with pytest.raises(ArgumentError, match="has no private"):
        hub.push(folder, url, private=True)
    with pytest.raises(HubError, match="there is no model at file://"):
        hub.load(url)
    with pytest.raises(ArgumentError, match="give another one"):
        hub.push(folder, f"file://{folder}")
    with pytest.raises(ArgumentError, match="give another folder"):
        hub.pull(folder, folder)
    assert not Path(tmp_path / "hub").exists()


def test_only_directories_and_models_can_be_pushed(folder, card):
    with pytest.raises(ArgumentError, match=r"is on the Hub already; hub\.pull it first"):
        hub.push("hf://alice/small", "alice/other")
    with pytest.raises(ArgumentError, match="a model directory has its card"):
        hub.push(folder, "alice/small", card=card)
