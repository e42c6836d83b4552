"""The README in both languages."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
READMES = ("README.md", "README.ko.md")


def code(name):
    """The blocks of a page that are code: fenced, or indented by four spaces."""
    text = (ROOT / name).read_text(encoding="utf-8")
    fenced = re.findall(r"^(?:<!--[^\n]*-->\n)?```.*?^```", text, re.MULTILINE | re.DOTALL)
    indented = re.findall(
        r"(?:^ {4}.*\n)+", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S), re.M
    )
    return fenced + indented


def test_both_languages_have_the_same_code():
    english, korean = map(code, READMES)
    assert english == korean
    assert len(english) > 8


@pytest.mark.parametrize("name", READMES)
def test_a_readme_is_short_and_its_links_lead_to_files(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 200
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert len(links) > 10
    for link in links:
        assert (ROOT / link).exists(), link
