"""The generic registry, with entry points of packages on the path."""

import sys
import warnings

import pytest

from keras_arch.errors import ArgumentError, DataError
from keras_arch.registry import Registry


@pytest.fixture
def install(tmp_path, monkeypatch):
    """A function that installs a package of one module with entry points of a group."""
    monkeypatch.syspath_prepend(str(tmp_path))
    modules = set(sys.modules)

    def package(name, code, **entry_points):
        (tmp_path / f"{name}.py").write_text(code)
        info = tmp_path / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        lines = [f"{key} = {value}\n" for key, value in entry_points.items()]
        (info / "entry_points.txt").write_text("[fruits]\n" + "".join(lines))

    yield package
    for name in set(sys.modules) - modules:
        if name.startswith("fruit_"):
            del sys.modules[name]


def test_registered_objects_are_found_by_name():
    fruits = Registry("fruit")

    @fruits.register("apple")
    def apple():
        return 1

    assert fruits.get("apple") is apple
    assert fruits.names() == ("apple",)
    assert "apple" in fruits
    assert dict(fruits.items()) == {"apple": apple}


def test_two_objects_of_one_name_are_refused_and_one_definition_may_run_again():
    fruits = Registry("fruit", builtins={"counter": "collections:Counter"})

    def define():
        @fruits.register("apple")
        class Apple:
            pass

        return Apple

    define()
    again = define()
    assert fruits.get("apple") is again
    for name, taken in (("apple", "Apple"), ("counter", "collections:Counter")):
        with pytest.raises(ArgumentError, match=f"fruit named '{name}' .* already: .*{taken}"):
            fruits.register(name)(int)


def test_builtins_are_imported_when_they_are_asked_for(install):
    install("fruit_lazy", "class Melon: pass")
    fruits = Registry("fruit", builtins={"melon": "fruit_lazy:Melon"})
    assert fruits.names() == ("melon",)
    assert "fruit_lazy" not in sys.modules
    assert fruits.get("melon").__name__ == "Melon"


def test_an_unknown_name_offers_close_ones_or_all():
    fruits = Registry("fruit", builtins={"melon": "m:M", "pear": "m:P"}, error=DataError)
    with pytest.raises(DataError, match=r"no fruit named 'mellon'; did you mean melon\?"):
        fruits.get("mellon")
    with pytest.raises(DataError, match="no fruit named 'xyz'; there are melon, pear"):
        fruits.get("xyz")


def test_entry_points_name_objects_or_modules_that_register(install):
    fruits = Registry("fruit", "fruits", {"melon": "collections:Counter"})
    install("fruit_object", "class Kiwi: pass", kiwi="fruit_object:Kiwi", melon="fruit_object:Kiwi")
    sys.modules["fruit_hook"] = fruits  # Stands for the package whose decorator is used.
    install(
        "fruit_module",
        "import fruit_hook\n@fruit_hook.register('fig')\nclass Fig: pass",
        fig="fruit_module",
    )
    assert fruits.names() == ("fig", "kiwi", "melon")
    assert not {"fruit_object", "fruit_module"} & set(sys.modules)
    assert fruits.get("fig").__name__ == "Fig"
    assert fruits.get("kiwi").__name__ == "Kiwi"
    assert fruits.get("melon").__name__ == "Counter"


def test_an_entry_point_that_fails_gives_one_warning_and_leaves_the_others(install):
    fruits = Registry("fruit", "fruits")
    install("fruit_broken", "raise RuntimeError('no\\nseeds')", plum="fruit_broken:Plum")
    install("fruit_empty", "", date="fruit_empty")
    install("fruit_fine", "class Kiwi: pass", kiwi="fruit_fine:Kiwi")
    assert fruits.get("kiwi").__name__ == "Kiwi"
    with pytest.warns(UserWarning, match="of the package fruit_") as caught:
        assert list(dict(fruits.items())) == ["kiwi"]
    assert [str(warning.message) for warning in caught] == [
        "fruit 'date' of the package fruit_empty is missing: the module fruit_empty does not "
        "register it",
        "fruit 'plum' of the package fruit_broken cannot be imported: RuntimeError: no",
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert list(dict(fruits.items())) == ["kiwi"]
    with pytest.raises(ArgumentError, match="of the package fruit_broken cannot be imported"):
        fruits.get("plum")
