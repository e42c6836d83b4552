"""Files of `deploy/`: manifests by their schemas, and jobs of Ray and Slurm that train here."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml

from keras_arch import presets
from keras_arch.cli.app import USER_ERROR
from keras_arch.distribute import join
from keras_arch.errors import HostError

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
TFJOB = "kubeflow_tfjob.yaml"


def objects(name):
    return {each["kind"]: each for each in yaml.safe_load_all((DEPLOY / name).read_text())}


@pytest.fixture
def job():
    return objects("kubernetes_job.yaml")["Job"]


@pytest.fixture
def worker():
    return objects(TFJOB)["TFJob"]["spec"]["tfReplicaSpecs"]["Worker"]


def training(command):
    """The arguments behind `keras-arch train`, which the command line takes."""
    assert command[:2] == ["keras-arch", "train"]
    config, out, resume = command[2:]
    assert config in presets.names()
    assert out.startswith("--out=/shared/")
    assert resume == "--resume"


def test_manifests_keep_to_the_schemas_of_kubernetes(job, worker):
    validate = pytest.importorskip("kubernetes_validate")
    version = validate.latest_version()
    for each in objects("kubernetes_job.yaml").values():
        validate.validate(each, version, strict=True)
    # The pods of Kubeflow's job, whose own schema is not at hand.
    template = worker["template"]
    pod = {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "x"}}
    validate.validate(pod | {"template": template}, version, strict=True)


def test_pods_of_the_job_find_each_other(job):
    service = objects("kubernetes_job.yaml")["Service"]
    assert service["spec"]["clusterIP"] == "None"
    name = job["metadata"]["name"]
    assert service["spec"]["selector"] == {"job-name": name}
    spec = job["spec"]
    pod = spec["template"]["spec"]
    assert pod["subdomain"] == service["metadata"]["name"]
    (container,) = pod["containers"]
    assert container["command"] == ["python", "-m", "keras_arch.distribute.join", "kubernetes"]
    own, train = (list(part) for part in split(container["args"], "--"))
    given = dict(each.removeprefix("--").split("=") for each in own)
    assert int(given["workers"]) == spec["completions"] == spec["parallelism"]
    assert spec["completionMode"] == "Indexed"
    cluster = join.from_kubernetes(
        {"JOB_COMPLETION_INDEX": "1"},
        workers=int(given["workers"]),
        service=given["service"],
        job=given["job"],
        port=int(given["port"]),
    )
    # Kubernetes names a pod JOB-INDEX.SUBDOMAIN.
    assert cluster.tasks[1][2] == f"{name}-1.{service['metadata']['name']}:2222"
    assert {port["containerPort"] for port in container["ports"]} == {2222}
    training(train)


def test_a_lost_pod_is_started_again_and_a_users_error_is_not(job):
    rules = job["spec"]["podFailurePolicy"]["rules"]
    (stopping,) = [rule["onExitCodes"] for rule in rules if rule["action"] == "FailJob"]
    assert USER_ERROR in stopping["values"]
    assert HostError.exit_code not in stopping["values"]
    # Kubernetes takes a failure policy with this one only.
    assert job["spec"]["template"]["spec"]["restartPolicy"] == "Never"


def test_the_job_of_kubeflow_has_the_fields_of_its_schema(worker):
    tfjob = objects(TFJOB)["TFJob"]
    assert tfjob["apiVersion"] == "kubeflow.org/v1"
    assert set(tfjob["spec"]) <= {
        "enableDynamicWorker",
        "runPolicy",
        "successPolicy",
        "tfReplicaSpecs",
    }
    assert tfjob["spec"]["runPolicy"]["cleanPodPolicy"] in {"None", "Running", "All"}
    assert set(worker) <= {"replicas", "restartPolicy", "template"}
    # ExitCode would take 75 for an error that comes again.
    assert worker["restartPolicy"] == "OnFailure"
    (container,) = worker["template"]["spec"]["containers"]
    assert container["name"] == "tensorflow"
    assert [port["name"] for port in container["ports"]] == ["tfjob-port"]
    training([*container["command"], *container["args"]])


def split(values, mark):
    at = values.index(mark)
    return values[:at], values[at + 1 :]


def test_the_image_has_what_the_package_is_built_from():
    copied = set()
    for line in (DEPLOY / "Dockerfile").read_text().splitlines():
        if line.startswith("COPY"):
            copied |= set(line.split()[1:-1])
    assert {"setup.cfg", "pyproject.toml", "constraints.txt"} <= copied
    assert all((ROOT / name).exists() for name in copied)


# Slurm's part: two tasks on this machine, with the variables of a job step.
SRUN = """#!/bin/bash
while [[ $1 == --* ]]; do shift; done
echo start >> starts
if [[ $(wc -l < starts) -le ${FAILURES:-0} ]]; then exit 75; fi
export SLURM_JOB_ID=$PORT SLURM_STEP_NODELIST=localhost SLURM_STEP_TASKS_PER_NODE=2
export SLURM_STEP_NUM_TASKS=2 SLURMD_NODENAME=localhost
SLURM_PROCID=1 "$@" & second=$!
SLURM_PROCID=0 "$@"; code=$?
wait $second; other=$?
exit $((code > other ? code : other))
"""


@pytest.fixture
def machine(tmp_path):
    """The environment of a machine with `srun`, `python` and `keras-arch`."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "srun").write_text(SRUN)
    (programs / "python").write_text(f'#!/bin/bash\nexec {sys.executable} "$@"\n')
    (programs / "keras-arch").write_text(
        f'#!/bin/bash\nexec {sys.executable} -m keras_arch.cli "$@"\n'
    )
    for program in programs.iterdir():
        program.chmod(0o755)
    environ = os.environ | {"PATH": f"{programs}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    environ.pop("TF_CONFIG", None)
    # As `launch` and Ray give a process of two on two cores.
    return environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_NUM_INTRAOP_THREADS": "1"}


def slurm(machine, tmp_path, *arguments, **more):
    # Two runs at once take other ports.
    environ = machine | {"PORT": str(os.getpid())} | more
    command = [DEPLOY / "slurm.sh", *arguments]
    return subprocess.run(command, env=environ, cwd=tmp_path, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("failures", "restarts", "code", "starts"),
    [(1, 3, 2, 2), (9, 1, 75, 2), pytest.param(0, 3, 2, 1, marks=pytest.mark.slow)],
)
def test_slurm_starts_lost_jobs_again_and_no_others(
    machine, tmp_path, failures, restarts, code, starts
):
    # The first start that is none of the failures ends with a user's error.
    done = slurm(
        machine, tmp_path, "no-such-config", FAILURES=str(failures), RESTARTS=str(restarts)
    )
    assert done.returncode == code, done.stderr
    assert (tmp_path / "starts").read_text().count("start") == starts
    assert (code == 2) == ("no-such-config" in done.stderr)


FEW_STEPS = ("recipe.epochs=1", "data.train=train[:256]", "data.test=test[:64]")


def weights(run):
    found = {}
    with h5py.File(run / "model" / "model.weights.h5") as file:
        file.visititems(
            lambda name, value: (
                found.update({name: value[()]}) if isinstance(value, h5py.Dataset) else None
            )
        )
    return found


@pytest.fixture(scope="module")
def launched(tmp_path_factory):
    """Weights of a training in two processes of `launch`."""
    run = tmp_path_factory.mktemp("launch") / "run"
    command = [sys.executable, "-m", "keras_arch.cli", "launch", "--workers=2"]
    command += [
        "train",
        "resnet20-digits",
        f"--out={run}",
        *(f"--set={each}" for each in FEW_STEPS),
    ]
    done = subprocess.run(
        command, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return weights(run)


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.slow
def test_slurm_trains_as_launch_does(machine, tmp_path, launched):
    settings = [f"--set={each}" for each in FEW_STEPS]
    done = slurm(machine, tmp_path, "resnet20-digits", "--out", str(tmp_path / "run"), *settings)
    assert done.returncode == 0, done.stderr
    assert_same(weights(tmp_path / "run"), launched)


@pytest.mark.slow
def test_ray_trains_as_launch_does(tmp_path, launched):
    pytest.importorskip("ray")
    # A copy, so that the package is found by the environment, as it is on a cluster.
    script = shutil.copy(DEPLOY / "ray_train.py", tmp_path)
    settings = [f"--set={each}" for each in FEW_STEPS]
    environ = os.environ | {"PYTHONPATH": str(ROOT)}
    environ.pop("RAY_ADDRESS", None)
    done = subprocess.run(
        [sys.executable, script, "resnet20-digits", "--out", str(tmp_path / "run"), *settings],
        env=environ,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert_same(weights(tmp_path / "run"), launched)
