"""Output of the commands: tables, results of a training run, log lines."""

import contextlib
import logging
import re
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence

from keras_arch.distribute.cluster import is_chief
from keras_arch.errors import ArgumentError


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], title: str = "") -> None:
    """Print a table in a terminal, and tab-separated values elsewhere.

    A table that is wider than the terminal, even with its words on lines of their own, is printed
    row by row: the first cell, and below it the others that have a value, with their columns.
    """
    if not sys.stdout.isatty():
        for row in rows:
            print(*row, sep="\t")
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=box.SIMPLE, show_header=any(columns))
    for number, column in enumerate(columns):
        numeric = all(re.fullmatch(r"[\d.,]*", row[number]) for row in rows)
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    console = Console(highlight=False, markup=False)
    longest = sum(3 + max(map(_longest_word, cells)) for cells in zip(columns, *rows, strict=True))
    if longest <= console.width:
        console.print(table)
        return
    width = max(map(len, columns[1:]))
    for row in rows:
        console.print(row[0], soft_wrap=True)
        for column, cell in zip(columns[1:], row[1:], strict=True):
            if cell:
                console.print(f"  {column:{width}}  {cell}", soft_wrap=True)


def _longest_word(cell: str) -> int:
    return max(map(len, cell.split()), default=0)


def metrics_table(metrics: Mapping[str, float]) -> None:
    """Print metrics by name."""
    table(("metric", "value"), [(name, f"{value:.4f}") for name, value in metrics.items()])


def _shows_progress() -> bool:
    """Whether this process is the one of its cluster that tells what it does."""
    try:
        return is_chief()
    except ArgumentError:
        # Told where a command makes a strategy; others need no cluster.
        return True


@contextlib.contextmanager
def log_on_stderr() -> Iterator[None]:
    """Context in which the package's log lines and warnings go to standard error, one line each."""
    logger = logging.getLogger("keras_arch")
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    before = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO if _shows_progress() else logging.WARNING)
    # Other libraries give the root logger handlers, which would print every line again.
    logger.propagate = False
    format_warning = warnings.formatwarning

    def one_line(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        line: str | None = None,
    ) -> str:
        if category is UserWarning and "keras_arch" in filename:
            return f"warning: {message}\n"
        return format_warning(message, category, filename, lineno, line)

    warnings.formatwarning = one_line
    try:
        yield
    finally:
        warnings.formatwarning = format_warning
        logger.removeHandler(handler)
        logger.setLevel(before[0])
        logger.propagate = before[1]
