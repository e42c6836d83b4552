"""Connection to a TPU for `tf.distribute`, which is given up after a time.

TensorFlow waits without end for an address that nobody answers. Here the address is tried first by
a plain socket, and TensorFlow connects in a thread that can be left behind.
"""

import os
import socket
import threading
import time
from typing import Any

from keras_arch.errors import ArgumentError

TIMEOUT = 20.0
ENVIRONMENT = "KERAS_ARCH_TPU_TIMEOUT"
_PORT = 8470
# Where TensorFlow looks for an address that is not given.
_NAMES = ("KUBE_GOOGLE_CLOUD_TPU_ENDPOINTS", "TPU_NAME")
# A client of HTTP/2, which gRPC is, begins with these words and an empty frame of settings; the
# server answers with a frame of settings of its own.
_HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
_FRAME, _SETTINGS = 9, 4
_CHECK = "check the address, and that the TPU is up"
_LONGER = f"check that it is up, or give it longer: {ENVIRONMENT}, in seconds"
_NAME = (
    "give its name or address (grpc://HOST:PORT), or set TPU_NAME; local is that of this machine"
)


def strategy(tpu: str = "", timeout: float | None = None) -> Any:
    """A strategy over the cores of a TPU.

    Args:
        tpu: Its name, `"local"` for one of this machine, or its address `"grpc://HOST:PORT"`, or
            several joined by commas; empty takes the environment variable `TPU_NAME`.
        timeout: Seconds after which the connection is given up. Default: the environment variable
            `KERAS_ARCH_TPU_TIMEOUT`, else 20.

    Returns:
        A `tf.distribute.TPUStrategy`.

    Raises:
        ArgumentError: If there is no TPU, or it does not answer in time. Where a server answered
            and is not ready in time, TensorFlow still waits for it: end the process.

    Example:
        >>> try:
        ...     strategy("grpc://127.0.0.1:1", timeout=5)
        ... except ArgumentError as error:
        ...     print(str(error)[:46])
        strategy tpu: nobody answers at 127.0.0.1:1 (C
    """
    check_named(tpu)
    limit = _seconds(timeout)
    end = time.monotonic() + limit
    name = tpu or next((os.environ[each] for each in _NAMES if os.environ.get(each)), "")
    for address in name.split(",") if name.startswith("grpc://") else ():
        _try_address(address.removeprefix("grpc://"), limit, end)
    found = _connect(name, limit, end)
    import tensorflow as tf

    return tf.distribute.TPUStrategy(found)


def check_named(tpu: str = "") -> None:
    """Refuse (`ArgumentError`) a TPU that neither an argument nor the environment names.

    Args:
        tpu: As for `strategy`.

    Example:
        >>> check_named("local")
    """
    if not tpu and not any(os.environ.get(name) for name in (*_NAMES, "TPU_CONFIG")):
        raise _error("no TPU is named", _NAME)


def _seconds(timeout: float | None) -> float:
    given: Any = os.environ.get(ENVIRONMENT, TIMEOUT) if timeout is None else timeout
    try:
        seconds = float(given)
    except (TypeError, ValueError):
        seconds = 0.0
    if not 0 < seconds < threading.TIMEOUT_MAX:
        named = "the time-out of strategy tpu" if timeout is not None else ENVIRONMENT
        raise ArgumentError(f"{named} must be seconds above 0, got {given!r}")
    return seconds


def _try_address(address: str, limit: float, end: float) -> None:
    """Refuse an address that no server of gRPC answers."""
    host, _, port = address.partition(":")
    if not host or (port and not (port.isdecimal() and 0 < int(port) < 65536)):
        raise ArgumentError(
            f"the address of a TPU is grpc://HOST:PORT, such as grpc://10.0.0.2:{_PORT}, got "
            f"{address!r}"
        )
    place = f"{host}:{port or _PORT}"
    found: dict[str, str] = {}

    def reason() -> None:
        try:
            found["reason"] = _silent(host, int(port or _PORT), end)
        except (OSError, UnicodeError) as error:
            why = getattr(error, "strerror", None) or error
            found["reason"] = f"nobody answers at {place} ({why})"

    # Looking up a name has no time-out of its own. What has one says more when it is over.
    _within(reason, end + 1.0)
    if why := found.get("reason", f"nobody answers at {place} within {limit:g} s"):
        raise _error(why)


def _silent(host: str, port: int, end: float) -> str:
    """Why a place is no server of gRPC; empty for one."""
    place, answer = f"{host}:{port}", b""
    try:
        remaining = max(end - time.monotonic(), 0.001)
        with socket.create_connection((host, port), remaining) as connection:
            connection.sendall(_HELLO)
            while len(answer) < _FRAME:
                connection.settimeout(max(end - time.monotonic(), 0.001))
                part = connection.recv(_FRAME)
                if not part:
                    break
                answer += part
    except TimeoutError:
        pass
    if not answer:
        return f"the server at {place} does not answer"
    if len(answer) < _FRAME or answer[3] != _SETTINGS:
        return f"what answers at {place} is no server of gRPC"
    return ""


def _connect(name: str, limit: float, end: float) -> Any:
    """The resolver of a TPU that TensorFlow has connected to and initialised."""
    import tensorflow as tf

    found: dict[str, Any] = {}

    def connect() -> None:
        try:
            found["resolver"] = tf.distribute.cluster_resolver.TPUClusterResolver.connect(name)
        # Whatever it is: there is nobody above to catch it.
        except Exception as error:
            found["error"] = error

    _within(connect, end)
    if "resolver" in found:
        return found["resolver"]
    if "error" not in found:
        raise _error(f"TPU {name} is not ready within {limit:g} s", _LONGER)
    error = found["error"]
    expected = (ValueError, RuntimeError, OSError, ImportError, tf.errors.OpError)
    if not isinstance(error, expected):
        raise error
    reason = str(error).strip().partition("\n")[0].rstrip(".")
    raise _error(f"found no TPU {name}: {reason}", _NAME)


def _within(work: Any, end: float) -> None:
    """Run in a thread that is left behind where it takes too long."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(max(end - time.monotonic(), 0.001))


def _error(reason: str, remedy: str = _CHECK) -> ArgumentError:
    return ArgumentError(f"strategy tpu: {reason}; {remedy}")
