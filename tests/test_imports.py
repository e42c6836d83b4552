"""Order of imports: down only, without cycles; and light modules without heavy libraries."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import keras_arch

PACKAGE = Path(keras_arch.__file__).parent
CONTRIBUTING = PACKAGE.parent / "CONTRIBUTING.md"
BACKEND_NEUTRAL = ("models", "layers", "losses", "metrics", "registry", "optimizers", "weights")


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}
del MODULES["keras_arch"]


def part_of(module: str) -> str:
    """The module or subpackage of `keras_arch` that holds a module."""
    return module.split(".")[1]


def ranks() -> dict[str, int]:
    """Rank of each part in the table of CONTRIBUTING.md; imports go to lower ranks."""
    found = {}
    for rank, parts in re.findall(
        r"^\| (\d+) \| ([^|]+) \|", CONTRIBUTING.read_text(), re.MULTILINE
    ):
        found |= dict.fromkeys(re.findall(r"`(\w+)`", parts), int(rank))
    return found


RANKS = ranks()


def imported_names(tree: ast.AST):
    """Names imported at any depth, lazily too, except those for static tools."""
    for node in ast.iter_child_nodes(tree):
        match node:
            case ast.Import():
                yield from (alias.name for alias in node.names)
            case ast.ImportFrom():
                assert node.level == 0, f"relative import in line {node.lineno}"
                # An imported name is a module, or it is defined in one.
                names = {f"{node.module}.{alias.name}" for alias in node.names}
                yield from (name if name in MODULES else node.module for name in names)
            case ast.Call(func=ast.Name(id="lazy_modules")):
                yield from (argument.value for argument in node.args)
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                yield from imported_names(ast.Module(node.orelse, []))
            case _:
                yield from imported_names(node)


def imports(path: Path, package: str = "keras_arch") -> set[str]:
    """Full names that a file imports from a package."""
    names = set(imported_names(ast.parse(path.read_text())))
    return {name for name in names if name.split(".")[0] == package}


GRAPH = {name: imports(path) & MODULES.keys() for name, path in MODULES.items()}


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_down(module):
    part = part_of(module)
    for imported in GRAPH[module]:
        other = part_of(imported)
        allowed = other == part or RANKS[other] < RANKS[part] or RANKS[other] == RANKS[part] == 0
        assert allowed, f"{module} imports {imported}"


def cycles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Groups of modules that import each other, directly or through others."""
    reached = {}
    for start in graph:
        seen, open_ = set(), list(graph[start])
        while open_:
            if (name := open_.pop()) not in seen:
                seen.add(name)
                open_ += graph[name]
        reached[start] = seen
    groups = {
        frozenset(other for other in reached[name] if name in reached[other])
        for name in graph
        if name in reached[name]
    }
    return sorted(map(sorted, groups))


def test_no_modules_import_each_other():
    assert not cycles(GRAPH)


def test_every_part_has_a_rank():
    assert {part_of(module) for module in MODULES} - RANKS.keys() == set()


def test_the_checks_find_what_they_look_for(tmp_path):
    source = tmp_path / "module.py"
    source.write_text(
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    from keras_arch import cli\n"
        "else:\n    cli, data = lazy_modules('keras_arch.cli', 'keras_arch.data')\n"
        "def f():\n    from keras_arch import api\n    import keras_arch.hub.card\n"
        "    from keras_arch.errors import DataError\n"
    )
    assert imports(source) == {
        f"keras_arch.{name}" for name in ("cli", "data", "api", "hub.card", "errors")
    }
    graph = {"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}, "e": {"e"}}
    assert cycles(graph) == [["b", "c"], ["e"]]


@pytest.mark.parametrize("module", [m for m in MODULES if part_of(m) in BACKEND_NEUTRAL])
def test_networks_use_no_backend_directly(module):
    for backend in ("tensorflow", "jax", "torch", "tf_keras"):
        assert not imports(MODULES[module], backend)


def loaded_after(statements: str) -> set[str]:
    """Top-level packages that a fresh Python has loaded after some statements."""
    code = f"{statements}\nimport sys\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parent
    )
    return set(process.stdout.splitlines()[-1].split())


HEAVY = {"keras", "tensorflow", "numpy", "scipy", "sklearn", "matplotlib", "huggingface_hub"}


@pytest.mark.parametrize(
    "arguments",
    ["--help", "train --help", "models", "configs", "weights", "show CIFARResNet"],
)
def test_quick_commands_load_nothing_heavy(arguments):
    statements = f"from keras_arch import cli; assert cli.main({arguments.split()}) == 0"
    assert not loaded_after(statements) & HEAVY


def test_light_modules_load_nothing_heavy():
    assert not loaded_after("from keras_arch import errors, registry, presets, files") & HEAVY
    assert not loaded_after("import keras_arch; dir(keras_arch)") & {*HEAVY, "pydantic", "yaml"}


def test_checking_a_config_loads_no_network_library():
    assert not loaded_after("from keras_arch import config; config.load('resnet20-digits')") & {
        "keras",
        "tensorflow",
    }


def test_commands_import_parts_of_keras_at_their_first_use():
    statements = (
        "from keras_arch import cli; cli.main(['--version']); import sys, keras\n"
        "assert not {'sklearn', 'matplotlib'} & sys.modules.keys()\n"
        "assert callable(keras.visualization.plot_image_gallery)\n"
        "assert issubclass(keras.wrappers.SKLearnClassifier, object)\n"
    )
    assert {"sklearn", "tensorflow"} <= loaded_after(statements)


def test_public_submodules_and_functions_are_attributes():
    public = {path.stem for path in PACKAGE.glob("[!_]*.py")}
    public |= {path.parent.name for path in PACKAGE.glob("[!_]*/__init__.py")}
    own = {"__version__", "register_custom_objects"}
    functions = set(keras_arch.__all__) - public - own
    assert set(keras_arch.__all__) == public | functions | own
    assert dir(keras_arch) == sorted(keras_arch.__all__)
    for name in public:
        assert getattr(keras_arch, name).__name__ == f"keras_arch.{name}"
    for name in functions:
        assert getattr(keras_arch, name) is getattr(keras_arch.api, name)
    with pytest.raises(AttributeError, match="nonsense"):
        _ = keras_arch.nonsense


def test_static_tools_see_the_same_names():
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    block = next(n for n in tree.body if isinstance(n, ast.If))
    seen = {alias.name for node in block.body for alias in node.names}
    assert seen | {"__version__", "registry", "register_custom_objects"} == set(keras_arch.__all__)
