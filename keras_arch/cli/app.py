"""The program: its commands, and what a user's mistake looks like."""

import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from keras_arch import __version__
from keras_arch.cli import experimenting, listing, sharing, training, using
from keras_arch.cli._output import notes_on_stderr
from keras_arch.errors import Interrupted, KerasArchError

MISTAKE, INTERRUPTED = 2, 130
# As the help lists them.
COMMANDS = (
    listing.models,
    listing.show,
    listing.configs,
    training.train,
    training.finetune,
    using.evaluate,
    using.generate,
    using.judge,
    using.diagnose,
    using.translate,
    using.predict,
    sharing.push,
    sharing.pull,
    sharing.export,
    sharing.demo,
)

app = typer.Typer(
    name="keras-arch",
    help="Classic vision architectures for Keras 3: train, publish, load back and serve.",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _command in COMMANDS:
    app.command()(_command)

experiment = typer.Typer(
    help="Repeat experiments of the papers: measured, drawn and written down.",
    no_args_is_help=True,
)
experiment.command()(experimenting.degradation)
experiment.command()(experimenting.blocks)
app.add_typer(experiment, name="experiment")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: What follows the program's name. Default: those of the process.

    Returns:
        The exit code: 0, 2 for a user's mistake, 130 after Ctrl-C, 143 after a SIGTERM that
        saved the run.

    Example:
        >>> from keras_arch import cli
        >>> cli.main(["--version"])
        keras-arch 0.1.0
        0
    """
    from typer import Abort
    from typer.exceptions import TyperException

    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        with notes_on_stderr():
            code = app(args=arguments, prog_name="keras-arch", standalone_mode=False) or 0
            sys.stdout.flush()
            return code
    except TyperException as error:
        context = getattr(error, "ctx", None)
        where = context.command_path if context is not None else "keras-arch"
        said = error.format_message().rstrip(".")
        # Without a message it has printed the help: a group of commands was given no command.
        return _fail(f"{said} (see {where} --help)") if said else MISTAKE
    except Interrupted as error:
        # As a shell reports a process that a signal ended.
        return _fail(error, 128 + error.signal, label="interrupted")
    except KerasArchError as error:
        return _fail(error)
    except (KeyboardInterrupt, Abort):
        return _fail("interrupted", INTERRUPTED)
    except BrokenPipeError:
        # The reader of our output has gone (`keras-arch models | head`): nothing more to say.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        if error.filename is None:
            raise
        return _fail(f"{error.filename}: {error.strerror}")


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Tell the version.")] = False,
) -> None:
    if version:
        print(f"keras-arch {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        print(context.get_help())


def _fail(message: Any, code: int = MISTAKE, label: str = "error") -> int:
    """Say in one line what is wrong."""
    sys.stdout.flush()
    print(f"{label}: {' '.join(str(message).split())}", file=sys.stderr)
    return code
