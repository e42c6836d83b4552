"""What `keras-arch doctor` finds: packages, the machine, clusters on loopback and devices."""

import importlib.metadata
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from huggingface_hub import constants

from keras_arch import cli
from keras_arch._tensorflow import onednn
from keras_arch.distribute.launch import tf_configs
from keras_arch.environment import STATUSES, devices, machine, packages
from keras_arch.environment.cluster import cluster_checks

ROOT = Path(__file__).parents[2]


def by_name(checks):
    return {check.name: check for check in checks}


def test_tested_versions_are_those_of_the_constraints():
    pinned = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        name, mark, version = line.partition("==")
        if mark:
            pinned[re.sub("[-_.]+", "-", name).lower()] = version
    found = {re.sub("[-_.]+", "-", name).lower(): v for name, v in packages.TESTED.items()}
    assert found == {name: pinned[name] for name in found}


def test_packages_that_are_missing_too_old_or_untested_are_told(tmp_path, monkeypatch):
    # Metadata of other versions, found before those that are installed.
    for name, version in (("keras", "3.1.0"), ("scipy", "99.0")):
        folder = tmp_path / f"{name}-{version}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}")
    own = tmp_path / "keras_arch-0.1.0.dist-info"
    own.mkdir()
    needs = "Requires-Dist: keras<4,>=3.15\nRequires-Dist: scipy>=1.13"
    (own / "METADATA").write_text(f"Metadata-Version: 2.1\nName: keras_arch\nVersion: 0.1\n{needs}")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(packages.TESTED, "no-such-package", "1.0")
    found = by_name(packages.package_checks())
    assert found["keras"].status == "error"
    assert "3.1.0 is outside of <4,>=3.15" in found["keras"].message
    assert found["scipy"].status == "info"
    assert found["scipy"].message == "99.0; the tests ran with 1.17.1"
    assert found["no-such-package"].message == "not installed: pip install 'no-such-package==1.0'"
    assert importlib.metadata.version("numpy") in found["numpy"].message


def test_disks_and_data_sets(tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    for name in ("mnist/3.0.1", "oxford/config/1.0.0"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "dataset_info.json").write_text("{}")
    found = by_name(machine.machine_checks())
    assert found["data sets"].message == f"mnist, oxford prepared in {tmp_path}"
    free = shutil.disk_usage(tmp_path).free / 2**30
    told = float(re.match(r"([\d.]+) GB free", found["disk of data sets"].message)[1])
    assert told == pytest.approx(free, abs=1)
    monkeypatch.setattr(machine, "_LEAST_DISK", 10**9)
    monkeypatch.setattr(machine, "_LEAST_MEMORY", 10**9)
    found = by_name(machine.machine_checks())
    assert found["disk of runs"].status == found["memory"].status == "error"


def test_limits_of_threads_are_told(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    message = by_name(machine.machine_checks())["processor"].message
    assert "threads limited:" in message
    assert "OMP_NUM_THREADS=1" in message


@pytest.fixture
def ports():
    """A port that is open, and two that are not."""
    sockets = [socket.socket() for _ in range(3)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    sockets[0].listen()
    names = [each.getsockname()[1] for each in sockets]
    for each in sockets[1:]:
        each.close()
    yield names
    sockets[0].close()


def of_cluster(addresses, rank):
    return by_name(cluster_checks({"TF_CONFIG": tf_configs(addresses)[rank]}))


def test_a_cluster_is_read_back_in_words(ports):
    used, free, other = (f"127.0.0.1:{port}" for port in ports)
    found = of_cluster([used, free, other], 1)
    assert found["TF_CONFIG"].message == (
        "this is worker 1, process 2 of 3; the chief, which writes the run directory, is worker 0 "
        f"at {used}"
    )
    assert found["worker 0"].message == f"{used}: something runs at the port"
    assert found["worker 1"].message == f"{free}: the port of this process is free"
    assert found["worker 2"].message == f"{other}: the host answers; nothing runs at the port yet"
    assert {check.status for check in found.values()} == {"ok"}
    first = of_cluster([used, free], 0)
    assert first["TF_CONFIG"].message.endswith("the chief: it writes the run directory")
    assert first["worker 0"].status == "error"
    assert "cannot have its port (Address already in use)" in first["worker 0"].message


def test_hosts_without_a_name_are_told(ports):
    found = of_cluster([f"127.0.0.1:{ports[1]}", "no-such-host.invalid:2222"], 0)
    assert found["worker 1"].status == "error"
    assert "the name no-such-host.invalid is not known" in found["worker 1"].message


def test_many_hosts_are_counted(ports):
    addresses = [f"127.0.0.1:{ports[1]}", *(f"127.0.0.{n}:{ports[2]}" for n in range(2, 22))]
    found = of_cluster([*addresses, "no-such-host.invalid:2222"], 0)
    assert found["hosts"].message == "21 of 22 have their port, or can be reached"
    assert found["worker 21"].status == "error"
    assert "worker 3" not in found


@pytest.mark.parametrize(
    ("environ", "status", "message"),
    [
        ({}, "info", "not set: this process trains alone"),
        ({"TF_CONFIG": "{"}, "error", "is malformed: it is no JSON"),
        ({"SLURM_STEP_NODELIST": "a"}, "warning", "keras_arch.distribute.join slurm"),
        ({"JOB_COMPLETION_INDEX": "0"}, "warning", "keras_arch.distribute.join kubernetes"),
    ],
)
def test_no_cluster(environ, status, message):
    (check,) = cluster_checks(environ)
    assert check.status == status
    assert message in check.message


def test_strategies_say_what_they_would_do(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", tf_configs(["a:1", "b:1"])[0])
    found = by_name(devices.device_checks())
    assert found["multi_worker"].message == "yes, 2 hosts"
    assert found["tpu"].message.startswith("no")
    assert found["XLA"].status == "ok"
    for policy in ("mixed_bfloat16", "mixed_float16"):
        assert re.match(r"[\d.]+ times as fast as float32 on this CPU", found[policy].message)
    monkeypatch.setenv("TF_CONFIG", "{")
    assert by_name(devices.device_checks())["multi_worker"].status == "error"


@pytest.mark.skipif(onednn.enabled() is None, reason="this TensorFlow does not tell")
@pytest.mark.parametrize(
    ("enabled", "chosen", "status", "message"),
    [
        (True, None, "ok", "in use"),
        (False, "0", "info", "off by TF_ENABLE_ONEDNN_OPTS=0"),
        (False, None, "info", "try TF_ENABLE_ONEDNN_OPTS=1 in the environment"),
    ],
)
def test_kernels_that_are_off_are_told(monkeypatch, enabled, chosen, status, message):
    monkeypatch.setattr(onednn, "enabled", lambda: enabled)
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS", raising=False)
    if chosen is not None:
        monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", chosen)
    (check,) = devices._onednn(on_gpu=False)
    assert check.status == status
    assert message in check.message
    assert not list(devices._onednn(on_gpu=True))


@pytest.mark.slow
def test_tensorflow_tells_that_its_kernels_are_off():
    code = "from keras_arch._tensorflow import onednn; print(onednn.enabled())"
    environ = os.environ | {"PYTHONPATH": str(ROOT), "TF_ENABLE_ONEDNN_OPTS": "0"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
    assert done.stdout.strip() in ("False", "None")


def test_the_command_prints_json_and_nothing_else():
    environ = os.environ | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    environ.pop("TF_CPP_MIN_LOG_LEVEL", None)
    command = [sys.executable, "-m", "keras_arch.cli", "doctor", "--json"]
    done = subprocess.run(command, env=environ, capture_output=True, text=True)
    found = json.loads(done.stdout)
    assert done.returncode == (1 if found["counts"]["error"] else 0), done.stdout
    checks = {each["name"]: each for each in found["checks"]}
    assert set(found["counts"]) == set(STATUSES)
    assert {each["section"] for each in checks.values()} == {
        *("packages", "machine", "cluster", "hub", "devices", "precision", "strategies"),
    }
    assert checks["Hub"]["message"].startswith("offline by HF_HUB_OFFLINE")
    assert checks["backend"]["status"] == "ok"
    assert not done.stderr


def test_the_command_ends_with_1_where_something_will_not_work(monkeypatch, capsys):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("TF_CONFIG", "{")
    assert cli.main(["doctor", "--quick"]) == 1
    out = capsys.readouterr().out
    assert "cluster\tTF_CONFIG\terror\tis malformed" in out
    assert "will not work: cluster, TF_CONFIG: is malformed" in out
    assert "devices" not in out
    assert cli.main(["doctor", "--no-such-option"]) == 2
