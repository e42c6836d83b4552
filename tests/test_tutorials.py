"""Code blocks that `make docs-check` finds on a page, and outputs saved in the notebooks."""

import importlib.util
from pathlib import Path

import nbformat
import pytest

TUTORIALS = Path(__file__).parents[1] / "tutorials"


@pytest.fixture(scope="module")
def check():
    spec = importlib.util.spec_from_file_location("docs_check", TUTORIALS / "check.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PAGE = """\
# Page

```python
first = 1
```

    ```python
    not_at_the_margin = first
    ```

```bash
```python is a word here
```

<!-- not run: needs a token -->

```python
push()
```

```python
print(first)
```
"""


def test_blocks_of_python_are_found(check):
    found = list(check.blocks(PAGE))
    assert [(block.line, block.not_run) for block in found] == [
        (3, None),
        (7, None),
        (17, "needs a token"),
        (21, None),
    ]
    assert found[1].code == "not_at_the_margin = first\n"


def test_a_page_runs_in_order_and_a_mistake_is_found_at_its_line(check, tmp_path, capfd):
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    assert check.check_page(page)
    assert "page.md:17 not run: needs a token" in capfd.readouterr().out
    page.write_text(PAGE.replace("print(first)", "print(second)"))
    assert not check.check_page(page)
    assert 'File "page.md", line 22' in capfd.readouterr().err
    assert list(tmp_path.iterdir()) == [page]


@pytest.mark.parametrize("path", sorted(TUTORIALS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_notebooks_keep_small_outputs_of_a_run_without_errors(path):
    assert path.stat().st_size < 1_000_000
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    assert not [output for output in outputs if output.get("name") == "stderr"]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert "KERAS_ARCH_QUICK" in cells[0].source


def test_the_quick_check_runs_all_pages_and_the_first_notebook(check, monkeypatch):
    # Restored after the test, which sets it.
    monkeypatch.setenv("KERAS_ARCH_QUICK", "1")
    ran = []
    for name in ("check_page", "check_notebook"):
        monkeypatch.setattr(check, name, lambda path: ran.append(path.name) or True)
    assert check.main(["--quick"]) == 0
    assert ran[:2] == ["01_first_gan.ipynb", "README.md"]
    assert not [name for name in ran[1:] if name.endswith(".ipynb")]
    ran.clear()
    assert check.main([]) == 0
    assert len([name for name in ran if name.endswith(".ipynb")]) == len(
        list(TUTORIALS.glob("*.ipynb"))
    )
