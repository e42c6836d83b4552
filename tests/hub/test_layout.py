import errno
import json
import logging
import resource
import shutil
import subprocess
import sys

import h5py
import keras
import numpy as np
import pytest

from keras_arch import hub
from keras_arch.errors import ArgumentError, HubError, IntegrityError, StorageError
from keras_arch.files import sha256
from keras_arch.hub.layout import RECORD
from keras_arch.preprocessing import Preprocessing


def contents(folder):
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def test_the_round_trip_keeps_outputs_and_card(folder, model, card, images):
    opened = hub.load_with_card(folder)
    np.testing.assert_array_equal(opened.model(images), model(images))
    assert opened.card == card
    assert opened.directory == folder
    assert opened.training is None
    assert hub.read_card(str(folder)) == card


def test_every_file_is_recorded_except_the_record_and_the_readme(tmp_path, model, card):
    (tmp_path / "state" / "deep").mkdir(parents=True)
    (tmp_path / "state" / "deep" / "optimizer.npz").write_bytes(b"state")
    (tmp_path / "grid.png").write_bytes(b"png")
    folder = hub.save(
        model, tmp_path / "m", card, samples=tmp_path / "grid.png", training=tmp_path / "state"
    )
    recorded = json.loads((folder / RECORD).read_text())["sha256"]
    assert set(contents(folder)) - set(recorded) == {RECORD, "README.md"}
    assert all(sha256(folder / name) == value for name, value in recorded.items())
    opened = hub.load_with_card(folder, training=True)
    assert (opened.training / "deep" / "optimizer.npz").read_bytes() == b"state"


def test_a_compiled_model_is_saved_without_its_optimizer_and_stays_compiled(tmp_path, card, images):
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Flatten(),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )
    model.compile("adam", "mse")
    model.fit(images, np.zeros((4, 3)), verbose=0)
    folder = hub.save(model, tmp_path / "m", card)
    with h5py.File(folder / "model.weights.h5") as file:
        assert "optimizer" not in file
    assert not json.loads((folder / "config.json").read_text())["compile_config"]
    assert model.compiled
    assert model.optimizer.iterations == 1
    np.testing.assert_array_equal(hub.load(folder)(images), model(images))


def damage(folder, name, how):
    content = (folder / name).read_bytes()
    if how == "truncated":
        content = content[: len(content) // 2]
    elif how == "one bit":
        middle = len(content) // 2
        content = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
    (folder / name).write_bytes(content)


@pytest.mark.parametrize("name", ["model.weights.h5", "config.json", "metadata.json"])
@pytest.mark.parametrize("how", ["truncated", "one bit"])
def test_a_changed_file_is_refused_with_both_hashes(folder, name, how):
    expected = sha256(folder / name)
    damage(folder, name, how)
    for act in (
        hub.load,
        lambda f: hub.pull(f, f.parent / "pulled"),
        lambda f: hub.push(f, f"file://{f.parent}/hub/me/it"),
    ):
        with pytest.raises(IntegrityError) as caught:
            act(folder)
        message = str(caught.value)
        assert all(part in message for part in (name, expected, sha256(folder / name), str(folder)))
        assert "\n" not in message
    assert sorted(entry.name for entry in folder.parent.iterdir()) == ["saved"]


def test_a_missing_file_is_named(folder):
    (folder / "model.weights.h5").unlink()
    with pytest.raises(IntegrityError, match=r"model\.weights\.h5 .* is missing"):
        hub.load(folder)


def test_a_record_of_a_later_version_asks_for_an_upgrade(folder):
    record = json.loads((folder / RECORD).read_text())
    (folder / RECORD).write_text(json.dumps(record | {"schema_version": 99}))
    with pytest.raises(HubError, match=r"schema version 99.*upgrade"):
        hub.load(folder)


def test_a_plain_keras_directory_loads_without_a_card(tmp_path, model, images, caplog):
    keras.saving.save_model(model, str(tmp_path / "plain"), zipped=False)
    opened = hub.load_with_card(tmp_path / "plain")
    np.testing.assert_array_equal(opened.model(images), model(images))
    assert opened.card is None
    assert "cannot be checked" in caplog.text
    with pytest.raises(HubError, match="plain Keras model"):
        hub.read_card(tmp_path / "plain")
    with pytest.raises(HubError, match="plain Keras model"):
        hub.push(tmp_path / "plain", f"file://{tmp_path}/hub/me/it")


def test_a_directory_without_a_model_says_so(tmp_path):
    for act in (hub.load, hub.read_card):
        with pytest.raises(HubError, match=r"holds no Keras model: it has no config\.json"):
            act(tmp_path)


def test_misshaped_weights_are_an_error_of_one_line(folder, tmp_path, model, card):
    top = [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(3, activation="softmax")]
    other = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(9, 5), *top])
    second = hub.save(other, tmp_path / "other", card)
    shutil.copy(second / "model.weights.h5", folder)
    (folder / RECORD).unlink()
    with pytest.raises(IntegrityError, match="Keras cannot open") as caught:
        hub.load(folder)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


# -- what is there before ---------------------------------------------------------------------


def test_an_edited_readme_is_kept_until_it_is_deleted(folder, model, card, caplog):
    fresh = (folder / "README.md").read_text()
    (folder / "README.md").write_text(fresh + "\nWritten by hand.\n")
    with caplog.at_level(logging.WARNING):
        hub.save(model, folder, card)
    assert "Written by hand." in (folder / "README.md").read_text()
    assert "delete it and save again" in caplog.text
    (folder / "README.md").unlink()
    hub.save(model, folder, card)
    assert (folder / "README.md").read_text() == fresh


def test_a_readme_that_nobody_edited_follows_the_card(folder, model, card):
    import dataclasses

    hub.save(model, folder, dataclasses.replace(card, description="Better now."))
    assert "Better now." in (folder / "README.md").read_text()


def test_saving_removes_files_of_the_old_model_and_leaves_other_files(tmp_path, model, card):
    (tmp_path / "grid.png").write_bytes(b"png")
    folder = hub.save(model, tmp_path / "m", card, samples=tmp_path / "grid.png")
    (folder / "notes.txt").write_text("mine")
    (folder / ".git").mkdir()
    (folder / ".git" / "HEAD").write_text("ref")
    hub.save(model, folder, card)
    assert set(contents(folder)) == {
        ".git/HEAD",
        "README.md",
        "config.json",
        "keras_arch.json",
        "metadata.json",
        "model.weights.h5",
        "notes.txt",
    }


def test_a_folder_with_other_things_is_not_replaced(tmp_path, model, card):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.tex").write_text("years of work")
    before = contents(tmp_path)
    for act in (
        lambda: hub.save(model, tmp_path / "thesis", card),
        lambda: hub.push(model, f"file://{tmp_path}/thesis", card=card),
    ):
        with pytest.raises(ArgumentError, match=r"chapter1\.tex"):
            act()
    with pytest.raises(ArgumentError, match="is a file"):
        hub.save(model, tmp_path / "thesis" / "chapter1.tex", card)
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((object(),), "needs a keras.Model, got object"),
        ((keras.Sequential([keras.layers.Dense(1)]),), "has no weights yet"),
    ],
)
def test_objects_that_are_no_model_are_refused(tmp_path, card, arguments, named):
    with pytest.raises(ArgumentError, match=named):
        hub.save(*arguments, tmp_path / "m", card)
    assert not (tmp_path / "m").exists()


def test_samples_and_training_have_to_be_there(tmp_path, model, card):
    with pytest.raises(ArgumentError, match=r"absent\.png"):
        hub.save(model, tmp_path / "m", card, samples=tmp_path / "absent.png")
    with pytest.raises(ArgumentError, match="absent"):
        hub.save(model, tmp_path / "m", card, training=tmp_path / "absent")
    with pytest.raises(ArgumentError, match=r"needs a hub\.Card"):
        hub.save(model, tmp_path / "m", {"name": "x"})


# -- a full disk ------------------------------------------------------------------------------


def big_model(units):
    inner = [keras.layers.Flatten(), keras.layers.Dense(units)]
    return keras.Sequential(
        [keras.Input((8, 8, 1)), *inner, keras.layers.Dense(3, activation="softmax")]
    )


def test_a_limit_on_file_sizes_leaves_the_old_model(folder, card):
    before = contents(folder.parent)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, limits[1]))
    try:
        with pytest.raises(StorageError) as caught:
            hub.save(big_model(3000), folder, card)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert str(caught.value) == (
        f"cannot write {folder}: File too large; the limit on file sizes (ulimit -f) is in the way"
    )
    assert contents(folder.parent) == before


@pytest.fixture
def tiny_disk(tmp_path):
    """A disk of 64 kB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a small disk needs root")
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_a_full_disk_leaves_the_old_model(tiny_disk, folder, model, card, images):
    kept = hub.pull(folder, tiny_disk / "model")
    before = contents(tiny_disk)
    big = big_model(1000)
    acts = {
        "save": lambda: hub.save(big, kept, card),
        "push": lambda: hub.push(big, f"file://{kept}", card=card),
        "pull": lambda: hub.pull(hub.save(big, tiny_disk.parent / "big", card), kept),
    }
    for name, act in acts.items():
        with pytest.raises(StorageError) as caught:
            act()
        assert str(caught.value) == (
            f"cannot write {kept}: No space left on device; free some space or choose another disk"
        ), name
        assert caught.value.errno == errno.ENOSPC
        assert contents(tiny_disk) == before, name
    np.testing.assert_array_equal(hub.load(kept)(images), model(images))


@pytest.fixture
def shallow_recursion():
    """A lower limit than Python's, so that a net of fewer layers exceeds it."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(450)
    yield
    sys.setrecursionlimit(before)


@pytest.mark.slow
def test_a_net_deeper_than_the_recursion_limit_comes_back(tmp_path, shallow_recursion):
    """Keras walks a graph by some calls a layer; this one has hundreds of layers in a row."""
    from keras_arch import models

    model = models.CIFARResNet(depth=122, input_shape=(4, 4, 1))
    model.compile("sgd", "mse")
    card = hub.Card("deep", "CIFARResNet", {}, "image-classification", Preprocessing((4, 4), 1))
    loaded = hub.load(hub.save(model, tmp_path / "deep", card))
    assert len(loaded.layers) == len(model.layers)
    assert list(models.features(loaded).output) == ["stage1", "stage2", "stage3"]
