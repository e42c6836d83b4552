"""Clusters that Slurm and Kubernetes have started: `TF_CONFIG` from their own variables.

    srun python -m keras_arch.distribute.join slurm keras-arch train resnet20-cifar10 --resume

sets `TF_CONFIG` for the process that it is in, and becomes the command behind it: one of
`keras-arch`, or a program of your own. TensorFlow is not imported.
"""

import argparse
import itertools
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence

from keras_arch.distribute.cluster import Cluster, read_tf_config
from keras_arch.distribute.launch import tf_configs
from keras_arch.errors import ArgumentError, KerasArchError

# Below the ports that systems hand out for connections, which begin at 32768 on Linux.
_FIRST_PORT, _PORTS = 12_000, 20_000
KUBERNETES_PORT = 2222


def from_slurm(environ: Mapping[str, str] = os.environ, *, port: int | None = None) -> Cluster:
    """The tasks of a Slurm job step, and this one among them.

    It reads what `tf.distribute.cluster_resolver.SlurmClusterResolver` reads, and differs where
    that one fails: nodes keep Slurm's order (the resolver sorts their names as text, so that task 0
    of `node[9-10]` is given the address of node 10), and a node needs no GPU. Tasks of a node must
    follow each other, as by Slurm's default (`--distribution=block`).

    Args:
        environ: The environment, with Slurm's variables of a job step (`srun`).
        port: Port of the first task of each node; others of a node have the next ones. Default:
            one that follows from the number of the job, so that two jobs can share a node.

    Raises:
        ArgumentError: If this is no job step, or its tasks have another order.

    Example:
        >>> environ = {
        ...     "SLURM_JOB_ID": "7", "SLURM_PROCID": "2", "SLURM_STEP_NODELIST": "gpu[09-10]",
        ...     "SLURM_STEP_TASKS_PER_NODE": "2(x2)", "SLURMD_NODENAME": "gpu10"}
        >>> cluster = from_slurm(environ, port=5000)
        >>> [address for *_, address in cluster.tasks]
        ['gpu09:5000', 'gpu09:5001', 'gpu10:5000', 'gpu10:5001']
        >>> cluster.rank
        2
    """
    nodes = list(_expand_nodes(_slurm(environ, "SLURM_STEP_NODELIST")))
    counts = _expand_counts(_slurm(environ, "SLURM_STEP_TASKS_PER_NODE"))
    if len(nodes) != len(counts):
        raise ArgumentError(
            f"SLURM_STEP_NODELIST has {len(nodes)} nodes, SLURM_STEP_TASKS_PER_NODE {len(counts)}"
        )
    if port is None:
        port = _FIRST_PORT + _number(environ, "SLURM_JOB_ID") % _PORTS
    hosts = [node for node, count in zip(nodes, counts, strict=True) for _ in range(count)]
    offsets = itertools.chain.from_iterable(map(range, counts))
    addresses = [f"{host}:{port + offset}" for host, offset in zip(hosts, offsets, strict=True)]
    rank = _number(environ, "SLURM_PROCID")
    if rank >= len(hosts):
        raise ArgumentError(f"SLURM_PROCID is {rank}, but the step has {len(hosts)} tasks")
    here = environ.get("SLURMD_NODENAME", hosts[rank])
    if here != hosts[rank]:
        raise ArgumentError(
            f"task {rank} runs on {here}, but {hosts[rank]} is its place when the tasks of a node "
            "follow each other; give srun --distribution=block"
        )
    return _cluster(addresses, rank)


def from_kubernetes(
    environ: Mapping[str, str] = os.environ,
    *,
    workers: int,
    service: str,
    job: str | None = None,
    port: int = KUBERNETES_PORT,
) -> Cluster:
    """The pods of an indexed Kubernetes Job, and this one among them.

    Args:
        environ: The environment, with `JOB_COMPLETION_INDEX`, which Kubernetes sets.
        workers: Number of pods: `completions` of the Job.
        service: Name of the headless Service that gives the pods their names; `subdomain` of the
            pods.
        job: Name of the Job. Default: from `HOSTNAME`, which is JOB-INDEX.
        port: Port of each pod.

    Raises:
        ArgumentError: If this is no pod of such a Job.

    Example:
        >>> environ = {"JOB_COMPLETION_INDEX": "1", "HOSTNAME": "resnet-1"}
        >>> cluster = from_kubernetes(environ, workers=2, service="resnet")
        >>> [address for *_, address in cluster.tasks], cluster.rank
        (['resnet-0.resnet:2222', 'resnet-1.resnet:2222'], 1)
    """
    if "JOB_COMPLETION_INDEX" not in environ:
        raise ArgumentError(
            "JOB_COMPLETION_INDEX is not set: this is no pod of an indexed Kubernetes Job "
            "(completionMode: Indexed)"
        )
    rank = _number(environ, "JOB_COMPLETION_INDEX")
    if rank >= workers:
        raise ArgumentError(
            f"JOB_COMPLETION_INDEX is {rank}, but there are {workers} workers; give --workers as "
            "completions of the Job"
        )
    if job is None:
        job, dash, index = environ.get("HOSTNAME", "").rpartition("-")
        if not (job and dash and index == str(rank)):
            raise ArgumentError(
                f"HOSTNAME {environ.get('HOSTNAME', '')!r} does not end in the pod's index {rank}; "
                "give --job, the name of the Job"
            )
    return _cluster([f"{job}-{index}.{service}:{port}" for index in range(workers)], rank)


def main(arguments: Sequence[str] | None = None) -> int:
    """Set `TF_CONFIG` and become the command; it returns after a user's error only.

    Args:
        arguments: Command line. Default: that of the process.

    Returns:
        Exit code 2.

    Example:
        >>> main(["slurm"])
        2
    """
    parser = argparse.ArgumentParser(
        prog="python -m keras_arch.distribute.join",
        description="Set TF_CONFIG from the variables of a scheduler, and run a command.",
    )
    kinds = parser.add_subparsers(dest="kind", required=True)
    slurm = kinds.add_parser("slurm", help="a task of srun")
    slurm.add_argument("--port", type=int, help="port of the first task of each node")
    pods = kinds.add_parser("kubernetes", help="a pod of an indexed Job")
    pods.add_argument("--workers", type=int, required=True, help="completions of the Job")
    pods.add_argument("--service", required=True, help="name of the headless Service")
    pods.add_argument("--job", help="name of the Job (default: from HOSTNAME)")
    pods.add_argument("--port", type=int, default=KUBERNETES_PORT, help="port of each pod")
    for kind in (slurm, pods):
        kind.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND ...")
    given = vars(parser.parse_args(arguments))
    kind, command = given.pop("kind"), given.pop("command")
    command = command[1:] if command[:1] == ["--"] else command
    try:
        if not command:
            raise ArgumentError("give the command to run, such as keras-arch train CONFIG")
        if os.environ.get("TF_CONFIG", "").strip():
            raise ArgumentError("TF_CONFIG is set already; run the command itself, or unset it")
        cluster = from_slurm(**given) if kind == "slurm" else from_kubernetes(**given)
        addresses = [address for *_, address in cluster.tasks]
        os.environ["TF_CONFIG"] = tf_configs(addresses)[cluster.rank]
        sys.stdout.flush()
        os.execvp(command[0], command)
    except KerasArchError as error:
        print(f"error: {error}", file=sys.stderr)
    except OSError as error:
        print(f"error: {command[0]}: {error.strerror}", file=sys.stderr)
    return 2


def _cluster(addresses: Sequence[str], rank: int) -> Cluster:
    """A cluster of workers, which is checked as any other one."""
    cluster = read_tf_config({"TF_CONFIG": tf_configs(addresses)[rank]})
    assert cluster is not None
    return cluster


def _slurm(environ: Mapping[str, str], name: str) -> str:
    if name not in environ:
        raise ArgumentError(f"{name} is not set: this is no task of a Slurm job step; use srun")
    return environ[name]


def _number(environ: Mapping[str, str], name: str) -> int:
    text = _slurm(environ, name)
    if not text.isdecimal():
        raise ArgumentError(f"{name} must be a whole number, got {text!r}")
    return int(text)


def _expand_nodes(text: str) -> Iterator[str]:
    """Names of a list of Slurm: `a[1-3,7],b` has five."""
    # Commas between nodes are outside of brackets.
    for names in re.findall(r"(?:[^,\[\]]|\[[^\[\]]*\])+", text):
        pieces = re.split(r"\[([^\]]*)\]", names)
        # Every second piece was in brackets.
        choices = [
            list(_expand_ranges(piece, text)) if number % 2 else [piece]
            for number, piece in enumerate(pieces)
        ]
        yield from map("".join, itertools.product(*choices))


def _expand_ranges(ranges: str, text: str) -> Iterator[str]:
    for each in ranges.split(","):
        found = re.fullmatch(r"(\d+)(?:-(\d+))?", each)
        if found is None:
            raise ArgumentError(f"SLURM_STEP_NODELIST {text!r} has a range {each!r}, not like 1-4")
        first, last = found[1], found[2] or found[1]
        # With the zeros of the first: 08-10 is 08, 09, 10.
        yield from (f"{number:0{len(first)}}" for number in range(int(first), int(last) + 1))


def _expand_counts(text: str) -> list[int]:
    """Tasks of each node: `2(x3),1` is 2, 2, 2, 1."""
    counts: list[int] = []
    for each in text.split(","):
        found = re.fullmatch(r"(\d+)(?:\(x(\d+)\))?", each)
        if found is None:
            raise ArgumentError(f"SLURM_STEP_TASKS_PER_NODE must be like 2(x3),1, got {text!r}")
        counts += [int(found[1])] * int(found[2] or 1)
    return counts


if __name__ == "__main__":
    sys.exit(main())
