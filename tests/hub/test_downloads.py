"""Files by URL: whole or not at all, checked, and cached."""

import hashlib
import socket
import subprocess

import pytest

from keras_arch.errors import HubError, IntegrityError, StorageError
from keras_arch.hub import downloads
from keras_arch.hub.downloads import WebFile
from tests.hub.web import Web

CONTENT = bytes(range(256)) * 2000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
MD5 = hashlib.md5(CONTENT).hexdigest()


@pytest.fixture
def web(monkeypatch):
    monkeypatch.setattr(downloads, "PAUSE", 0.01)
    running = Web()
    running.files["/weights.pth"] = CONTENT
    yield running
    running.stop()


@pytest.fixture
def file(web, tmp_path):
    return WebFile(f"{web.url}/weights.pth", tmp_path / "cache" / "weights.pth")


def test_the_first_download_is_recorded_and_the_next_comes_from_the_cache(web, file, caplog):
    assert file.recorded() is None
    assert file.fetch().read_bytes() == CONTENT
    # As `sha256sum --check` reads it.
    assert file.record.read_text() == f"{SHA256}  weights.pth\n"
    assert f"states no hash; its sha256 {SHA256} is recorded" in caplog.text
    file.fetch()
    assert web.requests == [("/weights.pth", None)]
    assert sorted(path.name for path in file.path.parent.iterdir()) == [
        "weights.pth",
        "weights.pth.sha256",
    ]


def test_another_file_than_at_the_first_download_is_refused(web, file):
    file.fetch().unlink()
    web.files["/weights.pth"] = CONTENT[:-1] + b"x"
    with pytest.raises(IntegrityError, match=rf"another file than .* {SHA256}.*delete .*\.sha256"):
        file.fetch()
    assert not file.path.exists()
    file.record.unlink()
    assert file.fetch().read_bytes().endswith(b"x")


def test_a_damaged_file_in_the_cache_is_replaced(file, caplog):
    file.fetch().write_bytes(CONTENT[:1000])
    assert file.fetch().read_bytes() == CONTENT
    assert "the cached file is replaced" in caplog.text


@pytest.mark.parametrize(
    ("hashes", "right"),
    [
        ({"sha256": SHA256[:8]}, True),
        ({"md5": MD5}, True),
        ({"sha256": "7be5be79"}, False),
        ({"md5": "0" * 32}, False),
    ],
)
def test_hashes_that_the_source_states(web, file, hashes, right, caplog):
    file = WebFile(file.url, file.path, **hashes)
    if right:
        assert file.fetch().read_bytes() == CONTENT
        assert not caplog.records
        return
    with pytest.raises(
        IntegrityError, match=r"truncated or altered: expected (sha256|md5) .*actua"
    ):
        file.fetch()
    assert not file.path.exists()
    assert not file.record.exists()


@pytest.mark.parametrize("ranges", [True, False])
def test_a_download_that_breaks_off_goes_on_or_begins_anew(web, file, ranges):
    web.cut["/weights.pth"] = [100_000, 200_000]
    web.ranges = ranges
    assert file.fetch().read_bytes() == CONTENT
    assert [asked for _, asked in web.requests] == [
        None,
        "bytes=100000-",
        f"bytes={300_000 if ranges else 200_000}-",
    ]


def test_a_file_that_is_replaced_during_its_download(web, file, monkeypatch):
    web.cut["/weights.pth"] = [100_000]

    def replaced(seconds):
        web.files["/weights.pth"] = CONTENT[::-1]

    monkeypatch.setattr(downloads.time, "sleep", replaced)
    assert file.fetch().read_bytes() == CONTENT[::-1]


def test_half_a_download_leaves_nothing(web, file):
    web.cut["/weights.pth"] = [100_000, 1, 1, 1]
    with pytest.raises(
        HubError, match=r"not in the cache \(it ended at byte 100003 of 512000\); ch"
    ):
        file.fetch()
    assert not file.path.parent.exists()


def test_a_server_that_is_busy_is_asked_again(web, file):
    web.failing["/weights.pth"] = [503, 429]
    assert file.fetch().read_bytes() == CONTENT
    web.failing["/weights.pth"] = [503] * 4
    file.path.unlink()
    with pytest.raises(HubError, match="the server answers with status 503"):
        file.fetch()


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (404, "not there any more .*its source has moved it; .*put it at"),
        (403, "is refused by its"),
    ],
)
def test_a_source_that_moved_names_the_place_for_a_file_by_hand(web, file, status, message):
    web.failing["/weights.pth"] = [status]
    with pytest.raises(HubError, match=message) as caught:
        file.fetch()
    assert str(file.path) in str(caught.value)
    assert "\n" not in str(caught.value)
    file.path.parent.mkdir()
    file.path.write_bytes(CONTENT)
    assert file.fetch().read_bytes() == CONTENT
    assert file.recorded() == SHA256
    assert len(web.requests) == 1


def test_a_web_page_in_place_of_the_file(web, file):
    web.files["/weights.pth"] = b"\n<!DOCTYPE html><html>Too large to scan for viruses</html>"
    with pytest.raises(HubError, match=r"answers with a web page .*browser and save the fil"):
        file.fetch()
    assert not file.path.exists()


def test_without_a_network_the_cached_file_else_one_line(web, file, monkeypatch):
    file.fetch()
    web.stop()
    assert file.fetch().read_bytes() == CONTENT
    file.path.unlink()
    with pytest.raises(
        HubError, match=r"cannot be reached and is not in the cache .*Connection ref"
    ):
        file.fetch()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(HubError, match="HF_HUB_OFFLINE is set"):
        file.fetch()
    # The fixture stops it again.
    web.__init__()


def test_a_server_that_never_answers(file, monkeypatch):
    monkeypatch.setattr(downloads, "TIMEOUT", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/weights.pth"
        with pytest.raises(HubError, match=r"cannot be reached .*\(timed out\)"):
            WebFile(url, file.path).fetch()


def test_a_full_disk(web, tmp_path):
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", place]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk needs root")
    try:
        with pytest.raises(StorageError, match=r"cannot write .*weights\.pth: No space left"):
            WebFile(f"{web.url}/weights.pth", place / "cache" / "weights.pth").fetch()
        assert list(place.iterdir()) == []
    finally:
        subprocess.run(["umount", place], check=True)
