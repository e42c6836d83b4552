"""Checks that use TensorFlow: devices, precision, XLA, and the strategies that can be made."""

import importlib.metadata
import os
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from keras_arch.distribute.cluster import read_tf_config
from keras_arch.environment.check import Check
from keras_arch.errors import ArgumentError

# A layer of the size that networks spend their time in: images, pixels, channels.
_IMAGES, _PIXELS, _CHANNELS = 4, 28, 64
_TURNS = 5
# How much faster a precision must be to be worth its smaller range.
_WORTH = 1.2


def device_checks() -> Iterator[Check]:
    """Devices, precision, XLA and strategies.

    Example:
        >>> [check.section for check in device_checks()][0]
        'devices'
    """
    try:
        import keras
        import tensorflow as tf
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        yield Check("devices", "TensorFlow", "error", f"it cannot be imported: {reason}")
        return
    backend = keras.backend.backend()
    if backend != "tensorflow":
        message = (
            f"Keras runs on {backend}: the command line, tf.distribute and export need TensorFlow; "
            "set KERAS_BACKEND=tensorflow (trainers and networks work on it from Python)"
        )
        yield Check("devices", "backend", "error", message)
    else:
        yield Check("devices", "backend", "ok", "Keras runs on TensorFlow")
    gpus = tf.config.list_physical_devices("GPU")
    yield from _gpus(gpus)
    yield from _onednn(bool(gpus))
    yield from _precision("GPU" if gpus else "CPU")
    yield _xla()
    yield _fast_paths()
    yield from _strategies(len(gpus))


def _gpus(gpus: list[Any]) -> Iterator[Check]:
    import tensorflow as tf

    for number, gpu in enumerate(gpus):
        # Otherwise the checks below would take all of its memory.
        tf.config.experimental.set_memory_growth(gpu, True)
        details = tf.config.experimental.get_device_details(gpu)
        capability = ".".join(map(str, details.get("compute_capability", ()))) or "not known"
        message = f"{details.get('device_name', 'GPU')}, compute capability {capability}"
        yield Check("devices", f"GPU:{number}", "ok", message)
    if gpus:
        return
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        yield Check("devices", "GPU", "info", "hidden by CUDA_VISIBLE_DEVICES")
    elif list(Path("/dev").glob("nvidia[0-9]*")):
        message = (
            "there is one, which TensorFlow cannot use: pip install 'tensorflow[and-cuda]', with "
            "a driver that fits"
        )
        yield Check("devices", "GPU", "error", message)
    else:
        yield Check("devices", "GPU", "info", "none: training runs on the CPU")


def _onednn(on_gpu: bool) -> Iterator[Check]:
    """Whether convolutions on the CPU use oneDNN's kernels, which are the faster ones."""
    from keras_arch._tensorflow import onednn

    enabled = onednn.enabled()
    if enabled is None or on_gpu:
        return
    if enabled:
        yield Check("devices", "oneDNN", "ok", "in use")
    elif (chosen := os.environ.get(onednn.VARIABLE)) is not None:
        message = f"off by {onednn.VARIABLE}={chosen}"
        yield Check("devices", "oneDNN", "info", message)
    else:
        message = (
            f"off, TensorFlow's choice for this CPU: try {onednn.VARIABLE}=1 in the environment, "
            "which can make training much faster"
        )
        yield Check("devices", "oneDNN", "info", message)


def _precision(device: str) -> Iterator[Check]:
    """How fast a convolution is in each precision, against float32."""
    base = _seconds("float32")
    yield Check("precision", "float32", "ok", f"a convolution takes {base * 1000:.1f} ms")
    for name in ("bfloat16", "float16"):
        policy = f"mixed_{name}"
        try:
            ratio = base / _seconds(name)
        except Exception as error:
            reason = " ".join(str(error).split())[:120]
            yield Check("precision", policy, "warning", f"does not work on this {device}: {reason}")
            continue
        speed = f"{ratio:.1f} times as fast as float32 on this {device}"
        if ratio >= _WORTH:
            message = f"{speed}: worth a try with --set recipe.precision={policy}"
            yield Check("precision", policy, "ok", message)
        else:
            yield Check("precision", policy, "info", f"{speed}: leave recipe.precision at float32")


def _seconds(dtype: str) -> float:
    """Median time of a convolution."""
    import tensorflow as tf

    images = tf.cast(tf.random.uniform((_IMAGES, _PIXELS, _PIXELS, _CHANNELS)), dtype)
    kernel = tf.cast(tf.random.uniform((3, 3, _CHANNELS, _CHANNELS)), dtype)
    times = []
    for _ in range(_TURNS + 1):
        start = time.perf_counter()
        # Read back, because devices compute while the program goes on.
        float(tf.nn.conv2d(images, kernel, 1, "SAME")[0, 0, 0, 0])
        times.append(time.perf_counter() - start)
    # The first one sets up kernels.
    return statistics.median(times[1:])


def _xla() -> Check:
    import tensorflow as tf

    @tf.function(jit_compile=True)
    def double(value: Any) -> Any:
        return value + value

    try:
        works = float(double(tf.constant(2.0))) == 4.0
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        message = f"compiling fails, so jit_compile=True and TPUs do not work: {reason}"
        return Check("devices", "XLA", "warning", message)
    assert works
    return Check("devices", "XLA", "ok", "compiles")


def _fast_paths() -> Check:
    from keras_arch._tensorflow import (
        fused_batch_norm,
        last_maps,
        one_pass_adam,
        switch,
        synchronized_norm,
    )

    if not switch.fast_paths():
        return Check("devices", "fast paths", "info", "off by KERAS_ARCH_FAST_PATHS")
    modules = (fused_batch_norm, last_maps, one_pass_adam, synchronized_norm)
    off = [module.PATH.name for module in modules if not module.PATH.enabled]
    if off:
        message = f"off, because not checked for these versions: {', '.join(off)}"
        return Check("devices", "fast paths", "warning", message)
    return Check("devices", "fast paths", "ok", "on")


def _strategies(gpus: int) -> Iterator[Check]:
    """What each name of `--strategy` would do here."""
    yield Check("strategies", "none", "ok", f"one {'GPU' if gpus else 'CPU'}")
    if gpus > 1:
        yield Check("strategies", "mirrored", "ok", f"yes, {gpus} GPUs")
    else:
        yield Check("strategies", "mirrored", "info", "one device only: as strategy none")
    try:
        cluster = read_tf_config()
    except ArgumentError:
        yield Check("strategies", "multi_worker", "error", "no: TF_CONFIG is malformed")
    else:
        if cluster is None:
            message = "no: TF_CONFIG is not set (processes on this machine: keras-arch launch)"
            yield Check("strategies", "multi_worker", "info", message)
        else:
            plural = "host" if cluster.workers == 1 else "hosts"
            message = f"yes, {cluster.workers} {plural}"
            yield Check("strategies", "multi_worker", "ok", message)
    yield _tpu()


def _tpu() -> Check:
    local = [*Path("/dev").glob("accel[0-9]*"), *Path("/dev").glob("vfio/[0-9]*")]
    try:
        libtpu = importlib.metadata.version("libtpu")
    except importlib.metadata.PackageNotFoundError:
        libtpu = ""
    if local and libtpu:
        return Check("strategies", "tpu", "ok", f"a TPU may be here (libtpu {libtpu})")
    named = [name for name in ("TPU_NAME", "TPU_WORKER_HOSTNAMES") if os.environ.get(name)]
    if named:
        return Check("strategies", "tpu", "info", f"{named[0]} names one; not tried")
    return Check("strategies", "tpu", "info", "no: no TPU on this machine")
