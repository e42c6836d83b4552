"""What is printed: tables and notes."""

import contextlib
import logging
import sys
from collections.abc import Iterator, Sequence

# How the columns of tables begin that hold numbers.
_NUMERIC = (
    "parameters",
    "weights",
    "probability",
    "value",
    "training",
    "test",
    "change",
    "cosine",
    "accuracy",
)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], title: str = "") -> None:
    """A table in a terminal; elsewhere lines of values with tabs between, for other programs."""
    if not sys.stdout.isatty():
        for row in rows:
            print(*row, sep="\t")
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=box.SIMPLE, show_header=any(columns))
    for column in columns:
        numeric = column.startswith(_NUMERIC)
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    Console(highlight=False, markup=False).print(table)


def figures_table(metrics: dict[str, float]) -> None:
    """Figures by name."""
    table(("figure", "value"), [(name, f"{value:.4f}") for name, value in metrics.items()])


@contextlib.contextmanager
def notes_on_stderr() -> Iterator[None]:
    """Show what the package logs, a line each, on standard error."""
    logger = logging.getLogger("keras_arch")
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    before = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    # Libraries give the root logger handlers of their own, which would say it all again.
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before[0])
        logger.propagate = before[1]
