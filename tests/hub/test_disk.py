"""Disks that are full, of every size: one error, nothing left behind, and no crash."""

import subprocess

import pytest

from keras_arch import api, hub
from keras_arch.cli.app import main
from keras_arch.errors import StorageError


@pytest.fixture
def disk(tmp_path):
    """A disk, and a function that sets its size in kilobytes."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", place]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk needs root")

    def resize(kilobytes):
        subprocess.run(["mount", "-o", f"remount,size={kilobytes}k", place], check=True)

    yield place, resize
    subprocess.run(["umount", place], check=True)


def size_of(folder):
    """Kilobytes of a folder's files in blocks of 4."""
    return sum(4 * -(-file.stat().st_size // 4096) for file in folder.rglob("*") if file.is_file())


def test_a_model_on_disks_of_every_size(disk, folder, model, card, images):
    place, resize = disk
    needed = size_of(folder)
    outcomes = []
    for kilobytes in range(4, needed + 12, 4):
        resize(kilobytes)
        if kilobytes < needed:
            with pytest.raises(StorageError) as caught:
                hub.save(model, place / "new" / "model", card)
            assert str(caught.value).startswith(f"cannot write {place}/new/model: No space left")
            assert list(place.iterdir()) == []
            outcomes.append("refused")
            continue
        hub.save(model, place / "new" / "model", card)
        assert (hub.load(place / "new" / "model")(images) == model(images)).numpy().all()
        outcomes.append("saved")
        break
    assert outcomes[-1] == "saved"
    assert len(outcomes) > 3


CLASSIFIER = ["model.arguments.depth=8", "data.train=train[:32]", "data.test=test[:16]"]
CLASSIFIER += ["recipe.epochs=1", "recipe.batch_size=16"]


@pytest.mark.slow
def test_training_on_disks_of_every_size(disk, tmp_path, capsys):
    (place, resize), steps = disk, 24
    whole = api.train("resnet20-digits", tmp_path / "run", overrides=CLASSIFIER, verbose=0)
    needed = size_of(whole.directory)
    sets = [part for setting in CLASSIFIER for part in ("--set", setting)]
    outcomes = []
    for step in range(steps):
        resize(4 + step * needed // steps)
        capsys.readouterr()
        code = main(["train", "resnet20-digits", "--out", str(place / "run"), *sets])
        told = capsys.readouterr().err.strip().splitlines()
        outcomes.append(code)
        if code:
            assert code == 2, told
            assert "No space left on device" in told[-1]
        assert not list(place.rglob("*.tmp"))
        assert not (place / "run" / "model").exists() or hub.load(place / "run" / "model")
        subprocess.run(f"rm -rf {place}/*", shell=True, check=True)
    assert 2 in outcomes
