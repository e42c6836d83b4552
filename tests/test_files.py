import errno
import os
import resource
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_arch import files
from keras_arch.errors import ArgumentError, StorageError
from keras_arch.files import atomic_directory, atomic_write, sha256


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


# NIST's examples for FIPS 180-4: one block, two blocks, and a million times "a".
@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (
            b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
        ),
        (b"a" * 10**6, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"),
    ],
)
def test_sha256_of_known_texts(tmp_path, content, expected):
    (tmp_path / "file").write_bytes(content)
    assert sha256(tmp_path / "file") == expected


@settings(deadline=None, max_examples=30)
@given(st.one_of(st.text(), st.binary()))
def test_written_content_is_read_back(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("written")
    atomic_write(folder / "file", "before")
    path = atomic_write(folder / "file", content)
    expected = content.encode() if isinstance(content, str) else content
    assert path.read_bytes() == expected
    assert names(folder) == ["file"]


def test_a_failing_write_leaves_the_old_file(tmp_path):
    atomic_write(tmp_path / "file", "before")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(StorageError, match=r"cannot write .*/file: File too large") as caught:
            atomic_write(tmp_path / "file", "x" * 5000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, OSError)
    assert (tmp_path / "file").read_text() == "before"
    assert names(tmp_path) == ["file"]


def test_a_path_that_cannot_be_written_is_named():
    with pytest.raises(StorageError, match=r"cannot write /sys/kernel/x"):
        atomic_write("/sys/kernel/x", "text")


def test_other_errors_pass_unchanged(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_directory(tmp_path / "new"):
        (tmp_path / "absent").read_text()
    assert names(tmp_path) == []


def test_a_directory_is_replaced_as_a_whole(tmp_path):
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "old").write_text("old")

    def stop_half_way():
        with atomic_directory(tmp_path / "target") as new:
            (new / "a").write_text("a")
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        stop_half_way()
    assert names(tmp_path / "target") == ["old"]
    with atomic_directory(tmp_path / "target") as new:
        (new / "a").write_text("a")
    assert names(tmp_path / "target") == ["a"]
    assert names(tmp_path) == ["target"]


@pytest.mark.parametrize("exchange", [True, False], ids=["in one step", "in two steps"])
def test_a_reader_never_sees_a_mixture(tmp_path, monkeypatch, exchange):
    if not exchange:
        monkeypatch.setattr(files, "_exchange", lambda first, second: False)
    target = tmp_path / "target"
    seen, done = set(), threading.Event()

    def replace():
        for number in range(60):
            with atomic_directory(target) as new:
                (new / f"{number}.txt").write_text("x")
        done.set()

    writer = threading.Thread(target=replace)
    writer.start()
    while not done.is_set():
        try:
            seen.add(len(os.listdir(target)))
        except FileNotFoundError:
            seen.add("absent")
    writer.join()
    # A listing may fall on a folder that was just replaced and is being removed.
    assert seen <= {0, 1, "absent"}
    assert names(target) == ["59.txt"]
    assert names(tmp_path) == ["target"]


def test_when_the_second_step_fails_the_old_directory_comes_back(tmp_path, monkeypatch):
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "old").write_text("old")
    monkeypatch.setattr(files, "_exchange", lambda first, second: False)
    rename = os.rename

    def refuse(source, target):
        if (
            str(source).endswith(".tmp")
            and Path(target).name == "target"
            and "a" in os.listdir(source)
        ):
            raise OSError("refused")
        rename(source, target)

    monkeypatch.setattr(os, "rename", refuse)
    with pytest.raises(OSError, match="refused"), atomic_directory(tmp_path / "target") as new:
        (new / "a").write_text("a")
    assert names(tmp_path / "target") == ["old"]


def test_a_link_stays(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    with atomic_directory(tmp_path / "link") as new:
        (new / "a").write_text("a")
    assert (tmp_path / "link").is_symlink()
    assert names(tmp_path / "real") == ["a"]


def test_a_link_to_a_file_stays(tmp_path):
    (tmp_path / "target").write_text("before")
    (tmp_path / "link").symlink_to("target")
    files.atomic_write(tmp_path / "link", "after")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_text() == "after"


def test_a_pipe_is_written_to_and_not_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    files.atomic_write(pipe, "through")
    assert os.read(reader, 100) == b"through"
    os.close(reader)
    assert pipe.is_fifo()


@pytest.mark.parametrize(
    ("raised", "reason"),
    [
        (OSError(errno.ENOSPC, "full"), "No space left on device"),
        # As HDF5 and TensorFlow tell it.
        (OSError("cannot write (file write failed: errno = 27, error message)"), "File too large"),
        (RuntimeError("{{function_node x}} f; No space left on device [Op:SaveV2]"), "No space"),
        (OSError(errno.ENOENT, "is not there"), None),
        (OSError("403 Client Error: Permission denied"), None),
        (RuntimeError("the graph is wrong"), None),
    ],
)
def test_errors_of_a_disk_are_told_from_others(raised, reason):
    found = files.storage_error("model", raised)
    assert (found is None) == (reason is None)
    if found:
        assert str(found).startswith(f"cannot write model: {reason}")
        assert "function_node" not in str(found)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="has no /dev/full")
def test_a_device_is_written_to_and_not_replaced():
    with pytest.raises(StorageError, match="/dev/full"):
        files.atomic_write("/dev/full", "x")
    assert Path("/dev/full").is_char_device()
    files.check_file("/dev/stdout")


@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="has no /dev/shm")
def test_a_file_in_memory_is_written_as_any_other():
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        path = Path(folder) / "new" / "file"
        atomic_write(path, "whole")
        assert path.read_text() == "whole"
        with files.atomic_file(path) as temporary:
            assert temporary != path
            temporary.write_text("after")


def test_a_folder_is_no_file(tmp_path):
    for write in (lambda path: files.atomic_write(path, "x"), files.check_file):
        with pytest.raises(ArgumentError, match=r"is a folder; give a file"):
            write(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_file_is_not_replaced_by_a_directory(tmp_path):
    (tmp_path / "file").write_text("text")
    with pytest.raises(ArgumentError, match="is a file"), atomic_directory(tmp_path / "file"):
        pass
    assert (tmp_path / "file").read_text() == "text"


@pytest.mark.parametrize(
    "act",
    [
        # Between the content and the rename, and half way through filling.
        "files.os.replace = lambda *_: kill(); files.atomic_write(sys.argv[1] + '/file', 'after')",
        "with files.atomic_directory(sys.argv[1]) as new: (new / 'file').write_text('a'); kill()",
    ],
    ids=["file", "directory"],
)
def test_a_kill_leaves_the_previous_content(tmp_path, act):
    atomic_write(tmp_path / "target" / "file", "before")
    code = (
        "import os, signal, sys\n"
        "from keras_arch import files\n"
        "kill = lambda: os.kill(os.getpid(), signal.SIGKILL)\n" + act
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "target")],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
        check=False,
    )
    assert done.returncode == -9
    assert (tmp_path / "target" / "file").read_text() == "before"


WRITER = """
import sys, time
from keras_arch.files import atomic_directory, temporary_beside
from pathlib import Path
with atomic_directory(sys.argv[1]) as new:
    (new / "half").write_text("half")
    with temporary_beside(Path(sys.argv[1] + ".txt")):
        print("writing", flush=True)
        time.sleep(60)
"""


def test_what_a_killed_process_was_writing_is_swept_and_what_one_writes_is_not(tmp_path):
    others = [".model.1234abcd.tmp", ".notes.keras_arch.tmp", "model.1234abcd.keras_arch.tmp"]
    for name in others:
        (tmp_path / name).write_text("another program's")
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path / name)], stdout=subprocess.PIPE, text=True
        )
        for name in ("killed", "alive")
    ]
    try:
        for writer in writers:
            assert writer.stdout.readline() == "writing\n"
        writers[0].kill()
        writers[0].wait()
        assert len(names(tmp_path)) == len(others) + 4
        with atomic_directory(tmp_path / "other") as new:
            (new / "a").write_text("a")
        left = [name for name in names(tmp_path) if name not in others]
        assert sorted(name.split(".")[1] for name in left if name.startswith(".")) == ["alive"] * 2
    finally:
        for writer in writers:
            writer.kill()
            writer.wait()
            writer.stdout.close()


def test_folders_made_for_what_failed_go_too(tmp_path):
    with pytest.raises(RuntimeError), atomic_directory(tmp_path / "a" / "b" / "c"):
        raise RuntimeError
    assert names(tmp_path) == []
