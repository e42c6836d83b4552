"""Checks of the environment: packages, machine, Hub, cluster and devices, for `keras-arch doctor`.

Each check is a line: what was looked at, what was found, and what to do where something will not
work.
"""

from collections.abc import Iterator

from keras_arch.environment.check import STATUSES, Check
from keras_arch.environment.cluster import cluster_checks
from keras_arch.environment.hub import hub_checks
from keras_arch.environment.machine import machine_checks
from keras_arch.environment.packages import package_checks

__all__ = ["STATUSES", "Check", "checks", "quick_checks", "tensorflow_checks"]


def checks() -> Iterator[Check]:
    """All checks, those that need no TensorFlow first.

    Example:
        >>> from keras_arch import environment
        >>> next(environment.checks()).section
        'packages'
    """
    yield from quick_checks()
    yield from tensorflow_checks()


def quick_checks() -> Iterator[Check]:
    """Checks that do not import TensorFlow: packages, the machine, the cluster and the Hub.

    Example:
        >>> checks = {check.name: check for check in package_checks()}
        >>> checks["python"].status
        'ok'
    """
    yield from package_checks()
    yield from machine_checks()
    yield from cluster_checks()
    yield from hub_checks()


def tensorflow_checks() -> Iterator[Check]:
    """Checks that import TensorFlow: devices, precision, XLA and the strategies that can be made.

    TensorFlow's runtime is started, so no strategy over several hosts can be made afterwards in the
    same process.

    Example:
        >>> found = {check.name: check.status for check in tensorflow_checks()}
        >>> found["XLA"]
        'ok'
    """
    from keras_arch.environment.devices import device_checks

    yield from device_checks()
