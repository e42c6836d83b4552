"""Seeded damage to model directories, and what comes of loading them.

python tests/hub/damage.py 500 loads so many damaged directories, and prints counts of the outcomes
and every outcome that is wrong: a raw exception, another output than the model's, over 60 s. A
crash ends the process, which names the case first.
"""

import collections
import copy
import json
import os
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

import h5py
import keras
import numpy as np

from keras_arch import hub
from keras_arch.errors import KerasArchError
from keras_arch.files import sha256
from keras_arch.preprocessing import Preprocessing

RECORD = "keras_arch.json"
WEIGHTS = "model.weights.h5"
HUGE = [10**10, 10**18, 10**400, -1, 0, 9, 2**31, 1e308, None, True, "x", [], {}, [[]]]
LONGEST = 60.0


def make(directory):
    """A small classifier with its directory, images and outputs."""
    keras.utils.set_random_seed(1)
    image = keras.Input((8, 8, 1), name="image")
    x = keras.layers.Conv2D(2, 3, padding="same", name="conv")(image)
    x = keras.layers.ReLU()(keras.layers.BatchNormalization(name="norm")(x))
    x = keras.ops.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]])
    x = keras.layers.Dropout(0.5)(keras.layers.GlobalAveragePooling2D()(x))
    model = keras.Model(image, keras.layers.Dense(3, activation="softmax", name="top")(x))
    card = hub.Card(
        "small",
        "Small",
        {"depth": 2},
        "image-classification",
        Preprocessing((8, 8), 1, mean=0.5, std=0.25),
        labels=["a", "b", "c"],
        metrics={"accuracy": 0.5},
        recipe={"epochs": 2},
    )
    hub.save(model, directory, card)
    images = np.random.default_rng(0).uniform(size=(2, 8, 8, 1)).astype("float32")
    return images, np.asarray(model(images))


def places(tree, path=()):
    """Paths of all values of nested dictionaries and lists."""
    inside = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in inside:
        yield (*path, key)
        if isinstance(value, dict | list) and value:
            yield from places(value, (*path, key))


def change(tree, draw):
    """A copy of a tree with one value replaced, removed or doubled."""
    tree = copy.deepcopy(tree)
    if not tree or not isinstance(tree, dict | list):
        return draw.choice(HUGE)
    *path, key = draw.choice(list(places(tree)))
    at = tree
    for step in path:
        at = at[step]
    how = draw.randrange(4)
    if how == 0:
        del at[key]
    elif how == 1 and isinstance(at, list):
        at.append(copy.deepcopy(at[key]))
    else:
        at[key] = draw.choice(HUGE)
    return tree


def forge(folder):
    """Write the hashes of the files as they are into the record, as an attacker would."""
    record = folder / RECORD
    if not record.is_file():
        return
    try:
        content = json.loads(record.read_text())
        hashes = content["sha256"]
        for name in hashes:
            if (folder / name).is_file():
                hashes[name] = sha256(folder / name)
        record.write_text(json.dumps(content))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass


def damage_json(folder, draw, name):
    """Change values of a JSON file."""
    content = json.loads((folder / name).read_text())
    for _ in range(draw.choice([1, 1, 1, 3])):
        content = change(content, draw)
    (folder / name).write_text(json.dumps(content))


def damage_bytes(folder, draw, name):
    """Cut a file, flip bits of it, or put others' bytes in."""
    content = bytearray((folder / name).read_bytes())
    how = draw.randrange(4)
    if how == 0:
        content = content[: draw.randrange(len(content))]
    elif how == 1:
        for _ in range(draw.choice([1, 8, 64])):
            content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    elif how == 2:
        start = draw.randrange(len(content))
        content[start : start + 64] = draw.randbytes(64)
    else:
        content = bytearray(draw.choice([b"", b"null", b"[]", b"{}", b"[" * 100_000, b"\x00" * 99]))
    (folder / name).write_bytes(content)


def damage_kind(folder, draw, name):
    """Make a file another kind of thing."""
    (folder / name).unlink()
    how = draw.randrange(5)
    if how == 0:
        (folder / name).mkdir()
    elif how == 1:
        os.mkfifo(folder / name)
    elif how == 2:
        (folder / name).symlink_to("nowhere")
    elif how == 3:
        (folder / name).symlink_to(name)


def damage_weights(folder, draw):
    """Change values, shapes and links in the file of the weights."""
    with h5py.File(folder / WEIGHTS, "a") as file:
        names = []
        file.visititems(lambda n, item: names.append(n) if isinstance(item, h5py.Dataset) else None)
        name = draw.choice(names)
        value = file[name][()]
        how = draw.randrange(6)
        del file[name]
        if how == 0:
            file[name] = np.full_like(value, draw.choice([np.nan, np.inf]))
        elif how == 1:
            file.create_dataset(name, (10**7, 10**4), "f4", chunks=(1000, 1000))
        elif how == 2:
            file[name] = h5py.ExternalLink("/etc/hostname", "/x")
        elif how == 3:
            file[name] = np.zeros((*value.shape, 2), value.dtype)
        elif how == 4:
            file[name] = h5py.SoftLink("/")


def damage_config(folder, draw):
    """Declare more than the weights hold: units, layers, depth."""
    config = json.loads((folder / "config.json").read_text())
    layers = config["config"]["layers"]
    how = draw.randrange(5)
    by_name = {layer["config"]["name"]: layer["config"] for layer in layers}
    if how == 0:
        by_name["top"]["units"] = draw.choice(HUGE)
    elif how == 1:
        by_name["conv"]["filters"] = draw.choice(HUGE)
    elif how == 2:
        by_name["norm"]["axis"] = draw.choice([*HUGE, 4, 3, -5])
    elif how == 3:
        layers += [copy.deepcopy(layers[-1]) for _ in range(draw.choice([3, 20_000]))]
    else:
        for _ in range(draw.choice([2, 30, 900])):
            config = {"module": "keras", "class_name": "Sequential", "config": {"layers": [config]}}
    try:
        (folder / "config.json").write_text(json.dumps(config))
    except RecursionError:
        text = (folder / "config.json").read_text()
        (folder / "config.json").write_text('{"class_name": "Sequential", "config": ' * 900 + text)


def damaged(whole, folder, seed):
    """Copy a directory and damage the copy; returns how."""
    draw = random.Random(seed)
    shutil.copytree(whole, folder)
    name = draw.choice([RECORD, RECORD, "config.json", "config.json", "metadata.json", WEIGHTS])
    ways = {
        "values": lambda: damage_json(folder, draw, RECORD if name == WEIGHTS else name),
        "bytes": lambda: damage_bytes(folder, draw, name),
        "kind": lambda: damage_kind(folder, draw, name),
        "weights": lambda: damage_weights(folder, draw),
        "config": lambda: damage_config(folder, draw),
    }
    way = draw.choice(list(ways))
    ways[way]()
    forged = draw.random() < 0.7
    if forged:
        forge(folder)
    elif draw.random() < 0.3:
        (folder / RECORD).is_file() and (folder / RECORD).unlink()
    return f"seed {seed}: {way} of {name}{', forged' if forged else ''}"


def outcome(folder, images, expected):
    """`equal`, `refused`, or what is wrong."""
    began = time.monotonic()
    try:
        loaded = hub.load_with_card(folder)
        found = np.asarray(loaded.model(images))
    except KerasArchError as error:
        result = "refused" if "\n" not in str(error) else f"several lines: {error}"
        if len(str(error)) > 2000:
            result = f"a message of {len(str(error))} characters"
    # An outcome that is reported.
    except Exception as error:
        result = f"raw {type(error).__name__}: {str(error)[:200]}"
    else:
        same = found.shape == expected.shape and np.allclose(found, expected, rtol=1e-6)
        result = "equal" if same else "another output"
    seconds = time.monotonic() - began
    return result if seconds < LONGEST else f"{result} after {seconds:.0f} s"


def main():
    """Load so many damaged directories."""
    count, first = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0
    counts = collections.Counter()
    with tempfile.TemporaryDirectory() as scratch:
        whole = Path(scratch) / "whole"
        images, expected = make(whole)
        for seed in range(first, first + count):
            folder = Path(scratch) / str(seed)
            print(damaged(whole, folder, seed), end=": ", flush=True)
            found = outcome(folder, images, expected)
            print(found, flush=True)
            counts[found if found in ("equal", "refused") else "WRONG"] += 1
            shutil.rmtree(folder)
    print(dict(counts))
    return int(counts["WRONG"] > 0)


if __name__ == "__main__":
    sys.exit(main())
