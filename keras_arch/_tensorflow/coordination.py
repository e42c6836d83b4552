"""Time limits of TensorFlow's coordination service, by which hosts watch each other.

`MultiWorkerMirroredStrategy` starts the service without them: it waits for ever for a host that
never comes. TensorFlow has all that is needed, but no public way to set it. Checked with TensorFlow
2.21; other releases that have the same functions are set in the same way.
"""

import logging
from collections.abc import Sequence
from typing import Any

_log = logging.getLogger("keras_arch")


def set_time_limits(jobs: Sequence[tuple[str, int]], seconds: float) -> bool:
    """Set how long the hosts wait for each other, before the strategy over them is made.

    Nothing is set where a program has configured the service itself.

    Args:
        jobs: `(type, count)` of the tasks, the type of the first task first.
        seconds: How long to wait for all hosts to come, and how long a host may be silent.

    Returns:
        Whether the limits are set.
    """
    try:
        from tensorflow.compiler.xla.tsl.protobuf import coordination_config_pb2
        from tensorflow.python.eager import context

        current: Any = context.context()
        configured: Any = current.coordination_service
        if configured is not None:
            return False
        milliseconds = int(1000 * seconds)
        current.configure_coordination_service(
            service_type="standalone",
            service_leader=f"/job:{jobs[0][0]}/replica:0/task:0",
            cluster_register_timeout_in_ms=milliseconds,
            heartbeat_timeout_in_ms=milliseconds,
            coordinated_jobs=[
                coordination_config_pb2.CoordinatedJob(name=name, num_tasks=count)
                for name, count in jobs
            ],
        )
        # The leader, too, waits for all others at most that long.
        current.coordination_service.cluster_register_with_barrier = True
    except (ImportError, AttributeError, TypeError) as error:
        _log.warning("this TensorFlow takes no time limits for hosts, its own apply: %s", error)
        return False
    return True


def answers(task: tuple[str, int], seconds: float = 2.0) -> bool:
    """Whether a process of the cluster answers.

    Args:
        task: Its type and index.
        seconds: How long to wait for its answer. No Python code of this process runs meanwhile.

    Returns:
        Whether it has answered in time; true where it cannot be asked.
    """
    import tensorflow as tf
    from tensorflow.python.eager import context

    name = f"/job:{task[0]}/replica:0/task:{task[1]}"
    ask: Any = getattr(context.context(), "check_collective_ops_peer_health", None)
    if ask is None:
        return True
    try:
        ask(name, timeout_in_ms=int(1000 * seconds))
    except tf.errors.OpError:
        return False
    return True
