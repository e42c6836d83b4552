"""Imports point down only, and the light modules stay light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import keras_arch

PACKAGE = Path(keras_arch.__file__).parent
FLOORS = (
    {"cli"},
    {"demo", "experiments"},
    {"api"},
    {"tasks", "training"},
    {"callbacks"},
    {"config"},
    {"hub", "export"},
    {"distribute"},
    {"convert"},
    {"visualization"},
    {"tiling", "trainers", "data"},
    {"models"},
    {
        "layers",
        "losses",
        "metrics",
        "optimizers",
        "preprocessing",
        "registry",
        "weights",
        "presets",
        "kerascv",
        "files",
        "errors",
        "_tensorflow",
    },
    {"_version"},
)
# On the ground floor modules may use each other; on the others, rooms do not know each other.
GROUND = FLOORS[-2]
BACKEND_NEUTRAL = ("models", "layers", "losses", "metrics", "registry", "optimizers", "weights")


def room_of(module: str) -> str:
    return module.split(".")[1]


def floor_of(room: str) -> int:
    for number, rooms in enumerate(FLOORS):
        if room in rooms:
            return number
    pytest.fail(f"keras_arch.{room} is on no floor; add it to FLOORS and to CONTRIBUTING.md")


def imports(path: Path, package: str = "keras_arch") -> set[str]:
    """Full names of the modules of `package` that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import in line {node.lineno}"
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {name for name in found if name.split(".")[0] == package}


def modules() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def name_of(path: Path) -> str:
    return "keras_arch." + ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_imports_point_down(path):
    room = room_of(name_of(path))
    for imported in imports(path) - {"keras_arch"}:
        other = room_of(imported)
        if other == "__version__":
            other = "_version"
        if other == room or {room, other} <= GROUND:
            continue
        assert floor_of(room) < floor_of(other), f"{name_of(path)} imports {imported}"


def test_every_module_is_on_a_floor():
    for path in modules():
        floor_of(room_of(name_of(path)))


def test_an_import_that_points_up_is_found(tmp_path):
    source = tmp_path / "module.py"
    source.write_text("def f():\n    from keras_arch import api\n    import keras_arch.hub.card\n")
    assert imports(source) == {"keras_arch", "keras_arch.api", "keras_arch.hub.card"}


@pytest.mark.parametrize(
    "path", [p for p in modules() if room_of(name_of(p)) in BACKEND_NEUTRAL], ids=name_of
)
def test_networks_know_no_backend(path):
    for backend in ("tensorflow", "jax", "torch", "tf_keras"):
        assert not imports(path, backend)


def loaded_after(statements: str) -> set[str]:
    """Top-level packages that a fresh Python has loaded after some statements."""
    code = f"{statements}\nimport sys\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parent
    )
    return set(process.stdout.splitlines()[-1].split())


HEAVY = {"keras", "tensorflow", "numpy", "scipy", "sklearn", "matplotlib", "huggingface_hub"}


@pytest.mark.parametrize(
    "statements",
    [
        "import keras_arch",
        "from keras_arch import errors, registry, presets, files",
        "from keras_arch import cli; assert cli.main(['--help']) == 0",
        "from keras_arch import cli; assert cli.main(['train', '--help']) == 0",
        "from keras_arch import cli; assert cli.main(['configs']) == 0",
    ],
)
def test_what_answers_at_once_loads_nothing_heavy(statements):
    assert not loaded_after(statements) & HEAVY


def test_checking_a_config_loads_no_network_library():
    assert not loaded_after("from keras_arch import config; config.load('resnet20-digits')") & {
        "keras",
        "tensorflow",
    }


def test_submodules_load_when_used():
    assert keras_arch.registry.TASKS
    assert set(keras_arch.__all__) <= set(dir(keras_arch))
    with pytest.raises(AttributeError, match="nonsense"):
        _ = keras_arch.nonsense
