"""Checks of the machine: processor, memory, disks and prepared data sets."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from keras_arch.environment.check import Check

_GB = 2**30
# Free memory and disk in GB: below the first something will not work, below the second perhaps.
_LEAST_MEMORY, _LITTLE_MEMORY = 1, 4
_LEAST_DISK, _LITTLE_DISK = 1, 10
_FLAGS = ("avx2", "avx512f", "avx512_bf16", "avx512_fp16", "amx_bf16", "amx_fp16")


def machine_checks() -> Iterator[Check]:
    """The processor, memory, disks and data sets.

    Example:
        >>> sorted(check.name for check in machine_checks())
        ['data sets', 'disk of data sets', 'disk of models', 'disk of runs', 'memory', 'processor']
    """
    yield _processor()
    yield _memory()
    cache = os.environ.get("HF_HUB_CACHE") or Path(
        os.environ.get("HF_HOME", "~/.cache/huggingface"), "hub"
    )
    data_sets = Path(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()
    for name, folder in (
        ("runs", Path("runs").absolute()),
        ("models", Path(cache).expanduser()),
        ("data sets", data_sets),
    ):
        yield _disk(f"disk of {name}", folder)
    yield _data_sets(data_sets)


def _processor() -> Check:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    text = f"{cores} cores"
    names = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")
    limits = [f"{name}={os.environ[name]}" for name in names if name in os.environ]
    quota = _cgroup_cores()
    if quota is not None and quota < (cores or 1):
        limits.append(f"{quota:g} by the container's limit")
    threads = f"; threads limited: {', '.join(limits)}" if limits else "; threads not limited"
    flags = _processor_flags()
    instructions = f"; {' '.join(flags)}" if flags else ""
    return Check("machine", "processor", "ok", text + threads + instructions)


def _memory() -> Check:
    total, free = _memory_bytes()
    if total is None or free is None:
        return Check("machine", "memory", "info", "not known on this system")
    message = f"{free / _GB:.1f} of {total / _GB:.1f} GB free"
    if free < _LEAST_MEMORY * _GB:
        return Check("machine", "memory", "error", f"{message}: too little to train")
    if free < _LITTLE_MEMORY * _GB:
        return Check("machine", "memory", "warning", f"{message}: enough for small models only")
    return Check("machine", "memory", "ok", message)


def _disk(name: str, folder: Path) -> Check:
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(existing, os.W_OK):
        # Prepared data sets need not be written to.
        needed = name != "disk of data sets"
        return Check(
            "machine", name, "error" if needed else "info", f"{folder} may not be written to"
        )
    free = shutil.disk_usage(existing).free
    message = f"{free / _GB:.1f} GB free in {folder}"
    if free < _LEAST_DISK * _GB:
        return Check("machine", name, "error", f"{message}: too little")
    if free < _LITTLE_DISK * _GB:
        return Check("machine", name, "warning", f"{message}: little")
    return Check("machine", name, "ok", message)


def _data_sets(folder: Path) -> Check:
    if not folder.is_dir():
        message = f"none prepared: {folder} is not there (TFDS_DATA_DIR, or data.data_dir)"
        return Check("machine", "data sets", "info", message)
    # NAME/VERSION or NAME/CONFIG/VERSION has this file.
    files = [*folder.glob("*/*/dataset_info.json"), *folder.glob("*/*/*/dataset_info.json")]
    names = sorted({file.relative_to(folder).parts[0] for file in files})
    message = f"{', '.join(names) or 'none'} prepared in {folder}"
    return Check("machine", "data sets", "ok" if names else "info", message)


def _processor_flags() -> list[str]:
    """Those instructions of the processor that matter for convolutions."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return []
    line = next((line for line in text.splitlines() if line.startswith("flags")), "")
    there = set(line.partition(":")[2].split())
    return [flag for flag in _FLAGS if flag in there]


def _memory_bytes() -> tuple[int | None, int | None]:
    """Bytes of memory in all, and free ones; a container's limit where there is one."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None, None
    sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines if " kB" in line}
    total, free = sizes.get("MemTotal"), sizes.get("MemAvailable")
    limit, used = _cgroup("memory.max"), _cgroup("memory.current")
    if total is not None and free is not None and limit.isdecimal() and used.isdecimal():
        total, free = min(total, int(limit)), min(free, int(limit) - int(used))
    return total, free


def _cgroup_cores() -> float | None:
    quota, _, period = _cgroup("cpu.max").partition(" ")
    return int(quota) / int(period) if quota.isdecimal() and period.isdecimal() else None


def _cgroup(name: str) -> str:
    """A setting of the container that this process is in, or nothing."""
    try:
        return Path("/sys/fs/cgroup", name).read_text().strip()
    except OSError:
        return ""
