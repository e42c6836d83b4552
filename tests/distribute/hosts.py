"""Runs a program in several processes on this machine, which are the hosts of a cluster."""

import contextlib
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def tf_configs(hosts):
    """`TF_CONFIG` of each host, on ports that are free now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(hosts)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        addresses = [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
    cluster = {"worker": addresses}
    return [
        json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}})
        for index in range(hosts)
    ]


@contextlib.contextmanager
def started(command, hosts, folder):
    """`python COMMAND` on each host; the output of host 1 goes into `FOLDER/host1.txt`."""
    folder.mkdir(parents=True, exist_ok=True)
    processes = []
    configs = [{"TF_CONFIG": config} for config in tf_configs(hosts)] if hosts > 1 else [{}]
    for number, config in enumerate(configs):
        environment = os.environ | config | {"TF_CPP_MIN_LOG_LEVEL": "3"}
        environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        with (folder / f"host{number}.txt").open("w") as output:
            processes.append(
                subprocess.Popen(
                    [sys.executable, *map(str, command)],
                    env=environment,
                    cwd=folder,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                )
            )
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.wait()


def finish(processes, folder, codes=(0,), timeout=300):
    """Wait for all hosts; their outputs, after each has ended with one of the exit codes."""
    for process in processes:
        process.wait(timeout)
    outputs = [(folder / f"host{number}.txt").read_text() for number in range(len(processes))]
    for process, output in zip(processes, outputs, strict=True):
        assert process.returncode in codes, (process.returncode, output[-3000:])
    return outputs


def run(command, hosts, folder, codes=(0,), timeout=300):
    """Start the hosts and wait for them."""
    with started(command, hosts, folder) as processes:
        return finish(processes, folder, codes, timeout)
