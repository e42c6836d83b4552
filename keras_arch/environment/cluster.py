"""Checks of the cluster that `TF_CONFIG` describes, read back in words."""

import concurrent.futures
import os
import socket
from collections.abc import Iterator, Mapping

from keras_arch.distribute.cluster import Cluster, read_tf_config
from keras_arch.distribute.failure import host_timeout
from keras_arch.environment.check import Check
from keras_arch.errors import ArgumentError

_SECONDS = 3.0
# More hosts than this are told in one line.
_SHOWN = 16


def cluster_checks(environ: Mapping[str, str] = os.environ) -> Iterator[Check]:
    """Which process of which cluster this is, and whether it can reach the others.

    Args:
        environ: The environment.

    Example:
        >>> [check.message for check in cluster_checks({})]
        ['not set: this process trains alone']
    """
    try:
        cluster = read_tf_config(environ)
    except ArgumentError as error:
        yield Check("cluster", "TF_CONFIG", "error", str(error).removeprefix("TF_CONFIG "))
        return
    if cluster is None:
        yield _without(environ)
        return
    yield Check("cluster", "TF_CONFIG", "ok", _in_words(cluster))
    if cluster.workers == 1:
        return
    try:
        seconds = host_timeout()
    except ArgumentError as error:
        yield Check("cluster", "time-out", "error", str(error))
    else:
        message = f"hosts wait {seconds:g} s for each other (KERAS_ARCH_HOST_TIMEOUT)"
        yield Check("cluster", "time-out", "ok", message)
    ranks = range(cluster.workers)
    with concurrent.futures.ThreadPoolExecutor(min(32, cluster.workers)) as pool:
        found = list(pool.map(lambda rank: _reach(cluster, rank), ranks))
    if len(found) > _SHOWN:
        fine = [check for check in found if check.status == "ok"]
        message = f"{len(fine)} of {len(found)} have their port, or can be reached"
        yield Check("cluster", "hosts", "ok", message)
        found = [check for check in found if check.status != "ok"]
    yield from found


def _without(environ: Mapping[str, str]) -> Check:
    for variable, scheduler in (("SLURM_STEP_NODELIST", "slurm"), ("JOB_COMPLETION_INDEX", "")):
        if variable in environ:
            name = scheduler or "kubernetes"
            return Check(
                "cluster",
                "TF_CONFIG",
                "warning",
                f"not set, but {variable} is: for several hosts begin the command with "
                f"python -m keras_arch.distribute.join {name}",
            )
    return Check("cluster", "TF_CONFIG", "info", "not set: this process trains alone")


def _in_words(cluster: Cluster) -> str:
    own = f"this is {cluster.type} {cluster.index}, process {cluster.rank + 1} of {cluster.workers}"
    if cluster.is_chief:
        return f"{own}, the chief: it writes the run directory"
    kind, index, address = cluster.tasks[0]
    return f"{own}; the chief, which writes the run directory, is {kind} {index} at {address}"


def _reach(cluster: Cluster, rank: int) -> Check:
    """Whether the port of a process can be taken, if it is this one, or else be reached."""
    kind, index, address = cluster.tasks[rank]
    host, _, port = address.rpartition(":")
    name = f"{kind} {index}"
    try:
        places = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
    except OSError as error:
        message = f"{address}: the name {host} is not known ({error.strerror or error})"
        return Check("cluster", name, "error", message)
    if rank == cluster.rank:
        return _own_port(name, address, int(port))
    family, kind_of_socket, protocol, _, place = places[0]
    with socket.socket(family, kind_of_socket, protocol) as connection:
        connection.settimeout(_SECONDS)
        try:
            connection.connect(place)
        except ConnectionRefusedError:
            message = f"{address}: the host answers; nothing runs at the port yet"
            return Check("cluster", name, "ok", message)
        except OSError:
            message = (
                f"{address}: no answer within {_SECONDS:g} s; is the address right, and the port "
                "open in the firewall?"
            )
            return Check("cluster", name, "error", message)
    return Check("cluster", name, "ok", f"{address}: something runs at the port")


def _own_port(name: str, address: str, port: int) -> Check:
    with socket.socket() as own:
        own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            own.bind(("", port))
        except OSError as error:
            message = f"{address}: this process cannot have its port ({error.strerror})"
            return Check("cluster", name, "error", message)
    return Check("cluster", name, "ok", f"{address}: the port of this process is free")
