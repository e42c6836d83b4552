"""What every registered architecture must do, from a few lines a family.

A new family's test file gives one `Case` an architecture and inherits all checks:

    CASES = [Case("VGG16", {"input_shape": (32, 32, 3), "classes": 7}, (7,))]

    @pytest.mark.parametrize("case", CASES, ids=str)
    class TestVGG(ModelTester):
        pass
"""

import contextlib
import dataclasses
import itertools
import json

import keras
import numpy as np
import pytest

from keras_arch import models, registry
from keras_arch.errors import ArgumentError


@dataclasses.dataclass(frozen=True)
class Case:
    """One architecture at a small size.

    Attributes:
        name: Its registered name.
        arguments: Arguments that keep it small.
        output: Shape of one output.
        wrong: Arguments that must be refused, with a word that the message must hold.
    """

    name: str
    arguments: dict
    output: tuple
    wrong: tuple = ()

    def __str__(self):
        return f"{self.name}-" + "-".join(f"{k}={v}" for k, v in self.arguments.items())

    def build(self):
        keras.utils.set_random_seed(0)
        return models.create(self.name, **self.arguments)

    def shared(self):
        """One build for all tests that change nothing in it."""
        if str(self) not in _SHARED:
            _SHARED[str(self)] = self.build()
        return _SHARED[str(self)]

    def input(self, model, batch=2):
        """What the model takes: an array, or a list of them where it has several inputs."""
        rng = np.random.default_rng(0)
        arrays = []
        for part in model.inputs:
            shape = (batch, *part.shape[1:])
            if part.dtype == "int32":
                labels = rng.integers(0, self.arguments.get("classes", 10), shape)
                arrays.append(labels.astype("int32"))
            else:
                arrays.append(rng.uniform(-1, 1, shape).astype("float32"))
        return arrays[0] if len(arrays) == 1 else arrays


_SHARED = {}


# What every classifier refuses.
WRONG_CLASSIFIER = (
    ({"classes": 0}, "classes"),
    ({"classes": -1}, "classes"),
    ({"pooling": "avg"}, "include_top"),
    ({"pooling": "max"}, "include_top"),
    ({"weights": "none.weights.h5"}, "none.weights.h5"),
)


@contextlib.contextmanager
def unallocated():
    """Build models whose variables have shapes and no values: of any size, in no time."""
    from keras.src.backend.common import global_state

    with keras.StatelessScope(initialize_variables=False):
        yield
    # Or Keras would draw their values at the end of the next such scope.
    global_state.set_global_attribute("uninitialized_variables", [])


def outline(name, **arguments):
    """A model whose variables have no values."""
    with unallocated():
        return models.create(name, **arguments)


def modules_of(model):
    """The Python modules that opening a saved model asks for."""
    config = json.dumps(keras.saving.serialize_keras_object(model))
    return {part.split('"')[0] for part in config.split('"module": "')[1:]}, config


def layers_of(model, kind):
    """The model's own layers of a class, in their order."""
    return [layer for layer in model.layers if isinstance(layer, kind)]


def forward(model, x):
    """The model's output, which leaves its state, of dropout that stays on too, as it was."""
    with keras.StatelessScope():
        return np.asarray(model(x, training=False))


# What an input may be called: users address serving signatures by these names.
INPUTS = ("image", "target", "coarse", "latent", "noise", "label")


class ModelTester:
    """Inherit, and parametrize the class with `case`."""

    def test_output_shape(self, case):
        model = case.shared()
        assert forward(model, case.input(model)).shape == (2, *case.output)
        assert model.output_shape[1:] == case.output

    def test_names_say_what_the_tensors_are(self, case):
        model = case.shared()
        names = [part.name for part in model.inputs]
        assert set(names) <= set(INPUTS)
        assert len(set(names)) == len(names)
        assert len({layer.name for layer in model.layers}) == len(model.layers)

    def test_two_builds_with_one_seed_are_equal_and_layers_differ(self, case):
        first, second = case.shared(), case.build()
        for a, b in zip(first.get_weights(), second.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)
        kernels = [w for w in first.get_weights() if w.ndim in (2, 4)]
        for a, b in itertools.pairwise(kernels):
            # An initializer shared between layers would draw the same numbers twice.
            assert a.shape != b.shape or not np.array_equal(a, b)

    def test_only_stock_layers(self, case):
        modules, config = modules_of(case.shared())
        assert all(module == "keras" or module.startswith("keras.") for module in modules)
        assert "Lambda" not in config

    def test_weights_file(self, case, tmp_path):
        model = case.shared()
        model.save_weights(tmp_path / "w.weights.h5")
        again = models.create(case.name, **case.arguments, weights=str(tmp_path / "w.weights.h5"))
        x = case.input(model)
        np.testing.assert_array_equal(forward(model, x), forward(again, x))

    def test_mixed_precision_gives_float32_outputs(self, case):
        full = case.shared()
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy("mixed_bfloat16")
        try:
            mixed = case.build()
        finally:
            keras.config.set_dtype_policy(before)
        assert {w.dtype for w in mixed.weights} == {"float32"}
        mixed.set_weights(full.get_weights())
        x = case.input(full)
        out, wanted = forward(mixed, x), forward(full, x)
        assert out.dtype == np.float32
        # bfloat16 keeps 8 bits; over this many layers a few per cent of the range remain.
        scale = max(1.0, float(np.abs(wanted).max()))
        np.testing.assert_allclose(out / scale, wanted / scale, atol=0.1)

    def test_clear_errors(self, case):
        for wrong, word in case.wrong:
            with pytest.raises(ArgumentError) as caught:
                models.create(case.name, **(case.arguments | wrong))
            assert word in str(caught.value)
            assert "\n" not in str(caught.value)

    def test_has_facts(self, case):
        entry = registry.entry(case.name)
        assert entry.url.startswith("https://")
        assert entry.parameters
        assert set(entry.latent.values()) <= set(registry.LATENTS)
        assert bool(entry.latent) == any("latent" in part.name for part in case.shared().inputs)
        assert entry.summary.endswith(".") or entry.summary.endswith(")")
