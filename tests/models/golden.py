"""Outputs of other implementations, with weights and inputs that NumPy makes from a rule.

The rule (id `crc32-pcg64-v1`) draws every tensor from a generator that is seeded with the CRC-32
of its name, so that neither the weights nor PyTorch are needed to repeat a golden output.
"""

import json
import math
import zlib
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parents[1] / "golden"


def load(name):
    """The description and the arrays of one golden; an error where a file is missing."""
    path = FOLDER / f"{name}.json"
    return json.loads(path.read_text()), np.load(path.with_suffix(".npz"), allow_pickle=False)


def weights(meta):
    """The state dictionary, checked against the recorded sums."""
    state = {}
    for name, shape in meta["state_dict"]:
        rng = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode())))
        if name.endswith("num_batches_tracked"):
            continue
        if name.endswith("running_var"):
            values = 0.5 + rng.random(shape)
        elif name.endswith("running_mean"):
            values = 0.1 * rng.standard_normal(shape)
        elif len(shape) >= 2:
            gain = meta["weight_rule"]["gain_sq"]
            values = rng.standard_normal(shape) * math.sqrt(gain / math.prod(shape[1:]))
        elif name.endswith(".weight"):
            values = 1 + 0.1 * rng.standard_normal(shape)
        else:
            values = 0.1 * rng.standard_normal(shape)
        state[name] = values.astype(np.float32)
    total = sum(float(v.astype(np.float64).sum()) for v in state.values())
    assert math.isclose(total, meta["weights_check"]["sum_f64"], rel_tol=1e-6)
    return state


def inputs(meta):
    """The input batch, as the peer saw it but with channels last where it is an image."""
    description = meta["input"]
    rng = np.random.Generator(np.random.PCG64(description["seed"]))
    x = rng.standard_normal(description["shape"])
    if description["kind"] != "standard_normal":
        rng = np.random.Generator(np.random.PCG64(description["seed"]))
        x = rng.uniform(-1.0, 1.0, description["shape"])
    x = x.astype(np.float32)
    return np.moveaxis(x, 1, -1) if x.ndim == 4 else x


def convolution(weight):
    """(out, in, h, w) to Keras' (h, w, in, out); of a transposed one to (h, w, out, in)."""
    return np.transpose(weight, (2, 3, 1, 0))


def set_norm(layer, state, prefix):
    """Gain, bias and moving statistics of a batch norm."""
    parts = ("weight", "bias", "running_mean", "running_var")
    layer.set_weights([state[f"{prefix}.{part}"] for part in parts])


def assert_probe(meta, arrays, name, ours):
    """Compare one feature map (channels last) with the stored probe."""
    flat = np.moveaxis(np.asarray(ours), -1, 1).reshape(-1)
    count = min(64, flat.size)
    positions = (np.arange(count) * (flat.size - 1)) // max(count - 1, 1)
    atol = next(f["atol"] for f in meta["features"] if f["name"] == name)
    np.testing.assert_allclose(flat[positions], arrays[f"feat__{name}"], rtol=0, atol=atol)


def assert_statistics(meta, name, ours):
    """Compare a whole feature map with the stored mean, deviation, least and largest value."""
    facts = next(f for f in meta["features"] if f["name"] == name)
    ours = np.asarray(ours, np.float64)
    assert ours.size == math.prod(facts["shape"])
    found = {"mean": ours.mean(), "std": ours.std(), "min": ours.min(), "max": ours.max()}
    for statistic, value in found.items():
        assert abs(value - facts[statistic]) <= facts["atol"], f"{statistic} of {name}"
