"""Command `launch`."""

import shlex
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

from keras_arch.cli import _completion
from keras_arch.cli._options import HostTimeout
from keras_arch.cli.train import check_finetune, check_train
from keras_arch.errors import ArgumentError, ConfigError

# Those that can be launched, and their checks.
_COMMANDS: dict[str, Callable[..., Any]] = {"train": check_train, "finetune": check_finetune}


def launch(
    context: typer.Context,
    command: Annotated[
        list[str],
        typer.Argument(
            metavar="COMMAND",
            help="train or finetune, with the arguments of that command.",
            show_default=False,
            autocompletion=_completion.launched,
        ),
    ],
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Number of processes on this machine.", show_default=False),
    ] = None,
    restarts: Annotated[
        int, typer.Option(min=0, help="How often the job is started again after a failure.")
    ] = 0,
    all_output: Annotated[
        bool, typer.Option("--all-output", help="Print the lines of all processes.")
    ] = False,
    print_only: Annotated[
        bool,
        typer.Option("--print", help="Print the command of each of the --hosts; start nothing."),
    ] = False,
    hosts: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT,...", help="The hosts of a cluster, for --print."),
    ] = None,
    host_timeout: HostTimeout = None,
) -> None:
    """Train in several processes: keras-arch launch --workers 2 train resnet20-digits.

    Lines of the first process are printed; of another one when it fails. After a failure all are
    ended and, with --restarts, started again from the last checkpoint.
    """
    if print_only != (hosts is not None):
        given, needed = (
            ("--print", "--hosts a:2222,b:2222") if print_only else ("--hosts", "--print")
        )
        raise ArgumentError(
            f"{given} needs {needed}: launch prints the commands of several hosts, and starts "
            "processes on this machine only"
        )
    if (workers is None) == (hosts is None):
        raise ArgumentError("give --workers N, or --print with --hosts a:2222,b:2222")
    addresses = [] if hosts is None else [host.strip() for host in hosts.split(",")]
    _check(context, command, workers or len(addresses), host_timeout)
    from keras_arch.distribute import launch as processes
    from keras_arch.distribute import read_tf_config

    if addresses:
        try:
            read_tf_config({"TF_CONFIG": processes.tf_configs(addresses)[0]})
        except ArgumentError:
            raise ArgumentError(
                f"--hosts must be HOST:PORT,HOST:PORT,... and all different, got {hosts!r}"
            ) from None
        timeout = [] if host_timeout is None else [f"--host-timeout={host_timeout:g}"]
        line = shlex.join(["keras-arch", *command, *timeout])
        for address, config in zip(addresses, processes.tf_configs(addresses), strict=True):
            print(f"# {address}\nTF_CONFIG={shlex.quote(config)} {line}")
        return
    # As the program itself: modules beside the data are not imported.
    once = [sys.executable, "-P", "-m", "keras_arch.cli", *command]
    again = once if "--resume" in command else [*once, "--resume"]
    job = processes.Job(once, again, workers or 1, restarts, all_output)
    raise typer.Exit(processes.launch(job))


def _check(
    context: typer.Context, command: list[str], workers: int, host_timeout: float | None
) -> None:
    """Refuse mistakes once, before each process does."""
    from keras_arch.distribute import read_tf_config
    from keras_arch.distribute.failure import set_host_timeout

    name, *arguments = command
    if name not in _COMMANDS:
        raise ArgumentError(f"launch runs {' or '.join(_COMMANDS)}, got {name!r}")
    if read_tf_config() is not None:
        raise ArgumentError(
            "TF_CONFIG is set, so this is one host of a cluster: start the command itself on each "
            f"(keras-arch {shlex.join(command)}), or unset TF_CONFIG"
        )
    if host_timeout is not None:
        set_host_timeout(host_timeout)
    parent: Any = context.parent
    parsed = parent.command.commands[name].make_context(name, arguments, parent=parent)
    options = parsed.params
    if options["strategy"] not in ("auto", "multi_worker"):
        raise ArgumentError(
            f"launch trains with strategy multi_worker, got {options['strategy']!r}; leave it out"
        )
    checked = _COMMANDS[name](**options | {"strategy": "auto"})
    if name == "train" and checked[0].recipe.batch_size % workers:
        raise ConfigError(
            f"recipe.batch_size {checked[0].recipe.batch_size} is the batch over all processes and "
            f"must divide by their number, {workers}"
        )
