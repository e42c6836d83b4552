"""The `keras-arch` program: its commands, exit codes and error lines."""

import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from keras_arch import __version__
from keras_arch.cli._lazy import defer_parts_of_keras
from keras_arch.cli._output import log_on_stderr
from keras_arch.cli.demo import demo
from keras_arch.cli.doctor import doctor
from keras_arch.cli.evaluate import compare, diagnose, evaluate, evaluate_generator
from keras_arch.cli.experiment import experiment
from keras_arch.cli.export import export
from keras_arch.cli.hub import publish, pull, push
from keras_arch.cli.launch import launch
from keras_arch.cli.listings import configs, models, weights
from keras_arch.cli.predict import generate, predict, translate
from keras_arch.cli.show import show
from keras_arch.cli.train import finetune, train
from keras_arch.errors import HostError, Interrupted, KerasArchError

USER_ERROR, INTERRUPTED = 2, 130
# In the order of the help.
COMMANDS = (
    models,
    weights,
    show,
    configs,
    train,
    finetune,
    launch,
    evaluate,
    compare,
    predict,
    generate,
    translate,
    evaluate_generator,
    diagnose,
    push,
    pull,
    publish,
    export,
    demo,
    doctor,
)

app = typer.Typer(
    name="keras-arch",
    help="Classic vision architectures for Keras 3: train, publish, load back and serve.",
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
# The options behind the command that is launched are its own.
SETTINGS: dict[Any, dict[str, Any]] = {launch: {"allow_interspersed_args": False}}
for _command in COMMANDS:
    app.command(context_settings=SETTINGS.get(_command))(_command)

app.add_typer(experiment, name="experiment")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: Command line after the program's name. Default: that of the process.

    Returns:
        Exit code: 0; 1 where `doctor` finds what will not work; 2 after a user's error; 75 after
        the loss of a host, to run it again; 130 after Ctrl-C; 143 after a SIGTERM, with the run
        saved.

    Example:
        >>> from keras_arch import cli
        >>> cli.main(["--version"])
        keras-arch 0.1.0
        0
    """
    from typer import Abort
    from typer.exceptions import TyperException

    arguments = list(sys.argv[1:] if arguments is None else arguments)
    defer_parts_of_keras()
    try:
        with log_on_stderr():
            code = app(args=arguments, prog_name="keras-arch", standalone_mode=False) or 0
            sys.stdout.flush()
            return code
    except TyperException as error:
        context = getattr(error, "ctx", None)
        where = context.command_path if context is not None else "keras-arch"
        message = error.format_message().rstrip(".")
        # A group without a command has printed its help, and has no message.
        return _fail(f"{message} (see {where} --help)") if message else USER_ERROR
    except Interrupted as error:
        # The exit code that shells give a process ended by a signal.
        return _fail(error, 128 + error.signal, label="interrupted")
    except HostError as error:
        return _fail(error, error.exit_code)
    except KerasArchError as error:
        return _fail(error)
    except (KeyboardInterrupt, Abort):
        return _fail("interrupted", INTERRUPTED)
    except BrokenPipeError:
        # The reader has closed the pipe (`keras-arch models | head`).
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        if error.filename is None:
            raise
        return _fail(f"{error.filename}: {error.strerror}")


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        print(f"keras-arch {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        print(context.get_help())


def _fail(message: Any, code: int = USER_ERROR, label: str = "error") -> int:
    """Print an error in one line, and return the exit code."""
    sys.stdout.flush()
    print(f"{label}: {' '.join(str(message).split())}", file=sys.stderr)
    return code
