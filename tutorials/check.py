"""Run the tutorials and the Python code of the README as a reader would: `make docs-check`.

Notebooks run top to bottom in a fresh kernel, shortened by KERAS_ARCH_QUICK=1, and are not changed.
The code blocks of a page that are marked `python` run in order in one process, in an empty folder;
a block after the line `<!-- not run: reason -->` is left out. `--quick` runs all pages, and of the
notebooks the first only.

    python tutorials/check.py [--quick] [FILE...]
"""

import dataclasses
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SECONDS_A_CELL = 900

_RUN_BLOCKS = """
import json, sys, time
page, blocks = json.load(open(sys.argv[1]))
names = {"__name__": "__main__"}
for line, code in blocks:
    start = time.perf_counter()
    # Empty lines before the code make tracebacks count as the page does.
    exec(compile("\\n" * line + code, page, "exec"), names)
    print(f"{page}:{line} {time.perf_counter() - start:.1f} s", flush=True)
"""


@dataclasses.dataclass(frozen=True)
class Block:
    """A block of Python code on a page.

    Attributes:
        line: Number of the line that opens it, from 1.
        code: The code.
        not_run: Reason why it is not run, or `None`.
    """

    line: int
    code: str
    not_run: str | None


def blocks(text: str) -> Iterator[Block]:
    """Blocks of a page that are marked `python`."""
    not_run = None
    opened: tuple[int, str, bool] | None = None
    code: list[str] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if opened is not None:
            start, indent, is_python = opened
            if line.strip() == "```":
                if is_python:
                    yield Block(start, "\n".join(code) + "\n", not_run)
                opened, code, not_run = None, [], None
            else:
                code.append(line.removeprefix(indent))
            continue
        fence = re.match(r"(\s*)```\s*(\w*)", line)
        comment = re.match(r"\s*<!--\s*not run:\s*(.*?)\s*-->", line)
        if fence:
            opened = (number, fence[1], fence[2] == "python")
        elif comment:
            not_run = comment[1]
        elif line.strip():
            not_run = None


def check_page(path: Path) -> bool:
    """Run a page's code; returns whether all of it ran."""
    import json

    found = list(blocks(path.read_text(encoding="utf-8")))
    for block in found:
        if block.not_run:
            print(f"{path.name}:{block.line} not run: {block.not_run}")
    to_run = [(block.line, block.code) for block in found if not block.not_run]
    with tempfile.TemporaryDirectory() as scratch:
        listed = Path(scratch) / "blocks.json"
        listed.write_text(json.dumps([path.name, to_run]))
        folder = Path(scratch) / "reader"
        folder.mkdir()
        command = [sys.executable, "-c", _RUN_BLOCKS, str(listed)]
        return subprocess.run(command, cwd=folder).returncode == 0


def check_notebook(path: Path) -> bool:
    """Run a notebook in a fresh kernel; returns whether all of it ran."""
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError

    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(
            notebook,
            timeout=SECONDS_A_CELL,
            kernel_name="python3",
            resources={"metadata": {"path": folder}},
        )
        start = time.perf_counter()
        try:
            client.execute()
        except CellExecutionError as error:
            print(error)
            return False
    print(f"{path.name} {time.perf_counter() - start:.1f} s")
    return True


def main(arguments: list[str]) -> int:
    """Check the given files, or all of them; returns the number of failures."""
    os.environ["KERAS_ARCH_QUICK"] = "1"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    notebooks = sorted((ROOT / "tutorials").glob("*.ipynb"))
    if quick := "--quick" in arguments:
        arguments = [argument for argument in arguments if argument != "--quick"]
    paths = [Path(argument) for argument in arguments] or [
        *(notebooks[:1] if quick else notebooks),
        ROOT / "README.md",
        *sorted((ROOT / "docs").rglob("*.md")),
    ]
    failed = []
    for path in paths:
        check = check_notebook if path.suffix == ".ipynb" else check_page
        if not check(path):
            failed.append(path.name)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return len(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
