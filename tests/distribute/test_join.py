"""Clusters from the variables of Slurm, as TensorFlow's resolver reads them, and of Kubernetes."""

import json
import os
import subprocess
import sys

import pytest
import tensorflow as tf

from keras_arch.distribute import join
from keras_arch.errors import ArgumentError


def slurm(nodes, tasks, rank, **more):
    names = {"STEP_NODELIST": nodes, "STEP_TASKS_PER_NODE": tasks, "PROCID": str(rank)}
    names |= {"JOB_ID": "40007", "STEP_NUM_TASKS": "0"}
    return {f"SLURM_{name}": value for name, value in names.items()} | more


@pytest.mark.parametrize(
    ("nodes", "tasks", "count"),
    [
        ("node1", "1", 1),
        ("node1", "4", 4),
        ("node[1-3]", "1(x3)", 3),
        ("gpu[08-11,20]", "2(x4),1", 9),
        ("a[1-2],b7,c[3,5]", "1,2,3(x2),1", 10),
    ],
)
def test_it_is_what_the_resolver_of_tensorflow_reads(nodes, tasks, count, monkeypatch):
    for rank in range(count):
        environ = slurm(nodes, tasks, rank, SLURM_STEP_NUM_TASKS=str(count))
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        # It must be told of GPUs, else it asks nvidia-smi for them.
        resolver = tf.distribute.cluster_resolver.SlurmClusterResolver(
            port_base=8888, gpus_per_node=4, gpus_per_task=1, auto_set_gpu=False
        )
        expected = resolver.cluster_spec().as_dict()["worker"]
        cluster = join.from_slurm(port=8888)
        assert [address for *_, address in cluster.tasks] == expected
        assert (cluster.type, cluster.index) == resolver.get_task_info() == ("worker", rank)


def test_nodes_keep_the_order_in_which_slurm_numbers_its_tasks(monkeypatch):
    environ = slurm("node[9-10]", "1(x2)", 0, SLURMD_NODENAME="node9", SLURM_STEP_NUM_TASKS="2")
    cluster = join.from_slurm(environ, port=8888)
    assert cluster.tasks[0][2] == "node9:8888"
    # A reason not to use the resolver; when it is mended, it can be.
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    resolver = tf.distribute.cluster_resolver.SlurmClusterResolver(
        gpus_per_node=1, gpus_per_task=1, auto_set_gpu=False
    )
    assert resolver.cluster_spec().task_address("worker", 0) == "node10:8888"


def test_names_of_several_ranges():
    cluster = join.from_slurm(slurm("r[1-2]n[3-4]", "1(x4)", 0), port=1)
    hosts = [address.removesuffix(":1") for *_, address in cluster.tasks]
    assert hosts == ["r1n3", "r1n4", "r2n3", "r2n4"]


def test_jobs_that_share_a_node_have_other_ports():
    ports = [
        join.from_slurm(slurm("a,b", "1,1", 0, SLURM_JOB_ID=str(job))).tasks[0][2]
        for job in (40007, 40008, 99999)
    ]
    assert ports == ["a:12007", "a:12008", "a:31999"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"SLURM_STEP_NODELIST": None}, "no task of a Slurm job step; use srun"),
        ({"SLURM_STEP_NODELIST": "a[1-x]"}, r"range '1-x', not like 1-4"),
        ({"SLURM_STEP_NODELIST": "a"}, "has 1 nodes, SLURM_STEP_TASKS_PER_NODE 2"),
        ({"SLURM_STEP_TASKS_PER_NODE": "2(3)"}, r"must be like 2\(x3\),1, got '2\(3\)'"),
        ({"SLURM_PROCID": "2"}, "SLURM_PROCID is 2, but the step has 2 tasks"),
        ({"SLURM_PROCID": "-1"}, "whole number, got '-1'"),
        ({"SLURMD_NODENAME": "b"}, "task 0 runs on b, but a is its place .*--distribution=block"),
    ],
)
def test_other_slurm_jobs_are_refused(change, message):
    environ = slurm("a,b", "1(x2)", 0, SLURMD_NODENAME="a") | change
    with pytest.raises(ArgumentError, match=message):
        join.from_slurm({name: value for name, value in environ.items() if value is not None})


@pytest.mark.parametrize(
    ("environ", "more", "message"),
    [
        ({}, {}, "no pod of an indexed Kubernetes Job"),
        ({"JOB_COMPLETION_INDEX": "2", "HOSTNAME": "a-2"}, {}, "INDEX is 2, but there"),
        ({"JOB_COMPLETION_INDEX": "0", "HOSTNAME": "a-1"}, {}, "'a-1' does not end in .*index 0"),
        ({"JOB_COMPLETION_INDEX": "0"}, {}, "give --job"),
        ({"JOB_COMPLETION_INDEX": "0"}, {"job": "a", "port": 0}, "must be HOST:PORT"),
    ],
)
def test_other_pods_are_refused(environ, more, message):
    with pytest.raises(ArgumentError, match=message):
        join.from_kubernetes(environ, workers=2, service="s", **more)


def test_the_command_runs_with_tf_config_and_without_tensorflow():
    program = "import os; print(os.environ['TF_CONFIG'])"
    own = [sys.executable, "-m", "keras_arch.distribute.join"]
    arguments = ["kubernetes", "--workers=2", "--service=s", "--port=77", "--"]
    environ = os.environ | {"JOB_COMPLETION_INDEX": "1", "HOSTNAME": "job-1"}
    environ.pop("TF_CONFIG", None)
    done = subprocess.run(
        [*own, *arguments, sys.executable, "-c", program],
        env=environ,
        capture_output=True,
        text=True,
    )
    assert json.loads(done.stdout) == {
        "cluster": {"worker": ["job-0.s:77", "job-1.s:77"]},
        "task": {"type": "worker", "index": 1},
    }


@pytest.mark.parametrize(
    ("arguments", "config", "message"),
    [
        (["slurm"], "", "give the command to run"),
        (["slurm", "true"], "{}", "TF_CONFIG is set already"),
        (["slurm", "--port=1", "no-such-command"], "", "no-such-command: No such file"),
    ],
)
def test_mistakes_are_told_in_one_line(arguments, config, message, monkeypatch, capsys):
    for name, value in slurm("a,b", "1(x2)", 0).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TF_CONFIG", config)
    assert join.main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert error.count("\n") == 1
