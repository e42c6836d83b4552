"""Names that were replaced by the field's terms are not used again.

Every public name of the package is written as `module kind name`: modules, classes, functions,
arguments, attributes and command-line options. None may match the patterns below. A pattern is
limited to one subpackage where the old name is an ordinary word that is right elsewhere.
"""

import ast
import re

import pytest

from keras_arch import presets
from tests.test_imports import MODULES

OLD = {
    "anywhere": r"\S+ \w+ (told_errors|judge|Judge|read_as|classes_seen|in_use|room_for_deep_graphs"
    r"|PlayersTrainer|train_masks|measure_masks|guarded|tiles_per_image|has_enough|stage_decay"
    r"|Opened|Kept|Saved|Catalog|figures_table)",
    "modules": r"\S*\.(runs|membranes|judge|pixel_losses|fused_norm) module \w+",
    "metrics": r"keras_arch\.(metrics|tasks|api|cli)\S* (function|class|argument) "
    r"(figures|FIGURES)",
    "trainers": r"keras_arch\.trainers\S* (function|attribute) "
    r"(part|made|expected|turns|produce)",
    "tasks": r"keras_arch\.(tasks\.(?!segmentation)|training)\S* (attribute shares|function enter)",
    "data": r"keras_arch\.data\S* (function (training|evaluation|hold|ready)|argument (cut|hold))",
    "config": r"keras_arch\.config\S* attribute (cut|keep|figures)",
    "callbacks": r"keras_arch\.callbacks\S* class Folder",
    "hub": r"keras_arch\.hub\S* (function open|argument address)",
    "export": r"keras_arch\.(training|tasks|export|hub)\S* function published",
    "models": r"keras_arch\.(models|tasks)\S* function (joined|main)",
    "command line": r"\S+ option (judge|figures)",
}
OLD_KEYS = {"judge", "figures", "cut", "tiles_per_image", "keep", "stage_decay"}
OLD_VALUES = {("variant", "port"), ("latent", "unit"), ("distribution", "unit")}


def names_in(module: str, tree: ast.AST) -> list[str]:
    """Public names that a module defines."""
    found = [("module", module.rpartition(".")[2])]
    for node in ast.walk(tree):
        match node:
            case ast.ClassDef():
                found.append(("class", node.name))
                for field in node.body:
                    targets = getattr(field, "targets", [getattr(field, "target", None)])
                    found += [("attribute", t.id) for t in targets if isinstance(t, ast.Name)]
            case ast.FunctionDef():
                found.append(("function", node.name))
            case ast.arg():
                found.append(("argument", node.arg))
            case ast.Attribute(value=ast.Name(id="self"), ctx=ast.Store()):
                found.append(("attribute", node.attr))
            case ast.Constant(value=str() as text) if re.fullmatch(r"--[a-z-]+", text):
                found.append(("option", text[2:]))
    return [f"{module} {kind} {name}" for kind, name in found if not re.match("_|self$", name)]


@pytest.fixture(scope="module")
def names():
    """The names of all modules, sorted."""
    return sorted(
        {n for m, path in MODULES.items() for n in names_in(m, ast.parse(path.read_text()))}
    )


@pytest.mark.parametrize("pattern", OLD.values(), ids=OLD)
def test_no_replaced_name_is_left(pattern, names):
    assert [name for name in names if re.fullmatch(pattern, name)] == []


def items(content):
    """Keys and values of a nested mapping."""
    if isinstance(content, dict):
        for key, value in content.items():
            yield key, value
            yield from items(value)
    elif isinstance(content, list):
        for value in content:
            yield from items(value)


@pytest.mark.parametrize("name", presets.names())
def test_no_replaced_key_is_left_in_a_config(name):
    for key, value in items(presets.read(name)):
        assert key not in OLD_KEYS
        assert isinstance(value, dict | list) or (key, value) not in OLD_VALUES


def test_the_check_finds_each_kind_of_name():
    code = (
        "class Kept:\n"
        "    figures: int\n"
        "    def f(self, cut):\n"
        "        self.in_use = option('--figures')\n"
    )
    found = names_in("keras_arch.metrics.judge", ast.parse(code))
    assert found == [
        "keras_arch.metrics.judge module judge",
        "keras_arch.metrics.judge class Kept",
        "keras_arch.metrics.judge attribute figures",
        "keras_arch.metrics.judge function f",
        "keras_arch.metrics.judge argument cut",
        "keras_arch.metrics.judge attribute in_use",
        "keras_arch.metrics.judge option figures",
    ]
