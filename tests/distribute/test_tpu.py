"""Connecting to a TPU ends in one line and in time, whatever is at its address."""

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time

import pytest

from keras_arch import distribute
from keras_arch.cli import main
from keras_arch.errors import ArgumentError

SETTINGS = bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])


@contextlib.contextmanager
def server(answer):
    """The address of a server that accepts connections, answers each with this, and is silent."""
    with socket.create_server(("127.0.0.1", 0)) as listening, contextlib.ExitStack() as accepted:

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    connection = accepted.enter_context(listening.accept()[0])
                    connection.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        yield f"grpc://127.0.0.1:{listening.getsockname()[1]}"
        # Closing alone does not end a thread that waits in `accept`.
        listening.shutdown(socket.SHUT_RDWR)


def closed_port():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return f"grpc://127.0.0.1:{listening.getsockname()[1]}"


def refused(*words, tpu, timeout=5.0):
    """The strategy is refused in one line that has the words; the seconds that it took."""
    start = time.monotonic()
    with pytest.raises(ArgumentError) as raised:
        distribute.strategy("tpu", tpu=tpu, tpu_timeout=timeout)
    message = str(raised.value)
    assert "\n" not in message
    for word in words:
        assert word in message
    return time.monotonic() - start


def test_a_closed_port():
    address = closed_port()
    taken = refused("nobody answers", address.removeprefix("grpc://"), "refused", tpu=address)
    assert taken < 5


def test_a_server_that_never_answers():
    with server(b"") as address:
        assert 0.5 <= refused("does not answer", tpu=address, timeout=0.5) < 5


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0\r\n"])
def test_a_server_of_another_kind(answer):
    with server(answer) as address:
        assert refused("no server of gRPC", tpu=address) < 5


def test_the_second_of_two_addresses():
    with server(SETTINGS) as first:
        second = closed_port()
        refused("nobody answers", second.removeprefix("grpc://"), tpu=f"{first},{second}")


@pytest.mark.parametrize("host", ["no-such-host.invalid", "two..dots"])
def test_a_name_that_does_not_resolve(host):
    assert refused("nobody answers", f"{host}:8470", tpu=f"grpc://{host}") < 6.5


@pytest.mark.parametrize("address", ["grpc://", "grpc://host:port", "grpc://host:99999"])
def test_a_malformed_address(address):
    refused("grpc://HOST:PORT", tpu=address)


def test_none_is_named(monkeypatch):
    for name in ("TPU_NAME", "KUBE_GOOGLE_CLOUD_TPU_ENDPOINTS", "TPU_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    refused("no TPU is named", "TPU_NAME", tpu="")
    with pytest.raises(ArgumentError, match="no TPU is named"):
        distribute.check_name("tpu")


@pytest.mark.parametrize("given", [0, -1, float("nan"), "soon"])
def test_a_wrong_timeout(given):
    refused("seconds above 0", repr(given), tpu=closed_port(), timeout=given)


def test_settings_from_the_environment(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TPU_NAME", closed_port())
    monkeypatch.setenv("KERAS_ARCH_TPU_TIMEOUT", "soon")
    refused("KERAS_ARCH_TPU_TIMEOUT", "'soon'", tpu="", timeout=None)
    monkeypatch.setenv("KERAS_ARCH_TPU_TIMEOUT", "5")
    refused("nobody answers", tpu="", timeout=None)
    assert main(["train", "resnet20-digits", "--strategy", "tpu"]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "nobody answers" in line
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_what_tensorflow_waits_for_is_given_up(tmp_path):
    """A server that speaks HTTP/2 and then is silent: the process ends, with code 2."""
    with server(SETTINGS) as address:
        environment = os.environ | {"TPU_NAME": address, "KERAS_ARCH_TPU_TIMEOUT": "5"}
        # With it the command leaves the log lines of TensorFlow as they are.
        environment.pop("TF_CPP_MIN_LOG_LEVEL", None)
        start = time.monotonic()
        command = [sys.executable, "-m", "keras_arch.cli", "train", "resnet20-digits"]
        process = subprocess.run(
            [*command, "--strategy", "tpu"],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
        )
    assert process.returncode == 2, process.stderr
    (line,) = process.stderr.strip().splitlines()
    assert "not ready within 5 s" in line
    # TensorFlow's import is the most of it.
    assert time.monotonic() - start < 90
