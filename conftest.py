"""Examples in docstrings run in a temporary folder, where they may write files."""

import pytest


@pytest.fixture(autouse=True)
def temporary_folder_of_an_example(request, tmp_path_factory, monkeypatch):
    """Change to a new folder before each docstring."""
    if isinstance(request.node, pytest.DoctestItem):
        monkeypatch.chdir(tmp_path_factory.mktemp("example"))
