"""Demo of the package in a few minutes: train, publish, load, export and check two models.

It uses the digits of scikit-learn, a Hub in a folder, and TensorFlow's loader in another process in
place of TF Serving.
"""

import contextlib
import io
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_arch import api, config, data, files, hub, trainers, visualization
from keras_arch.errors import ArgumentError, RunError

GENERATOR, CLASSIFIER = "dcgan-digits", "resnet20-digits"
# A part of the generator's whole run, which takes several minutes.
SHORTER = {GENERATOR: ("recipe.epochs=70",)}
COUNT, SEED = 64, 7
_MARK = "demo.json"
_TOLERANCE = 1e-5

# Code of a process without this package, which calls an export as a server does.
_CHECK = """
import sys
sys.modules["keras_arch"] = None
import numpy as np
import tensorflow as tf
import tensorflow as tf

served = tf.saved_model.load(sys.argv[1])
with np.load(sys.argv[2], allow_pickle=False) as record:
    arrays = dict(record)
for name in sorted({key.split("/")[0] for key in arrays}):
    parts = {"in": {}, "out": {}}
    for key, values in arrays.items():
        signature, part, argument = key.split("/")
        if signature == name:
            parts[part][argument] = values
    inputs, expected = {k: tf.constant(v) for k, v in parts["in"].items()}, parts["out"]
    outputs = served.signatures[name](**inputs)
    for key, values in expected.items():
        got = outputs[key].numpy()
        if got.dtype == object:
            same = np.array_equal(got.astype(str), values.astype(str))
        elif got.dtype == np.uint8:
            # Where a value lies between two pixel values, one step is rounding.
            same = np.abs(got.astype(int) - values).max() <= 1
        else:
            same = np.abs(got - values).max() <= float(sys.argv[3])
        if got.shape != values.shape or not same:
            sys.exit(f"{name}: the output {key} differs from the model's")
    print(f"{name}: {', '.join(sorted(expected))} equal")
"""


def run(out: str | Path = "demo", *, overrides: Sequence[str] = ()) -> dict[str, float]:
    """Train, publish, load, export and check a GAN and a classifier of digits.

    Args:
        out: Folder of all results. That of an earlier demo is replaced.
        overrides: Changes to both configs, such as `"recipe.epochs=1"` for a short run.

    Returns:
        Seconds by step.

    Raises:
        ArgumentError: If the folder holds something else.
        RunError: If a loaded model differs from the published one, an export differs from its
            model, or the classifier misses its expected accuracy.

    Example:
        >>> from keras_arch import demo
        >>> demo.run("/")
        Traceback (most recent call last):
        keras_arch.errors.ArgumentError: / is not a demo's folder; choose another --out
    """
    from rich.console import Console

    out = _clear(Path(out))
    console = Console(highlight=False, soft_wrap=True)
    seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def step(title: str) -> Iterator[None]:
        console.print(f"\n{title}", style="bold")
        start = time.perf_counter()
        yield
        seconds[title] = time.perf_counter() - start

    finished, served = {}, {}
    for name in (GENERATOR, CLASSIFIER):
        with step(f"Train {name}"):
            finished[name] = api.train(
                name, out / "runs" / name, overrides=[*SHORTER.get(name, ()), *overrides]
            )
    _check_accuracy(finished[CLASSIFIER], console)
    uris = {name: f"file://{out.resolve()}/hub/keras-arch/{name}" for name in finished}
    with step("Publish to a Hub in a folder, and load"):
        for name, uri in uris.items():
            hub.push(finished[name].model, uri)
            _check_equal(finished[name].model, uri)
            console.print(f"{uri} gives equal outputs")
    with step("Export for TF Serving"):
        for name, uri in uris.items():
            served[name] = api.export_model(uri, out / "serving")
            console.print(f"{served[name]}")
    with step("Check each export in another process"):
        for name, done in finished.items():
            loaded = hub.load_with_card(done.model)
            record = _generator_record if loaded.card.latent else _classifier_record
            for line in _check_export(served[name], record(loaded)):
                console.print(f"{name} {line}")
    console.print("\nPictures", style="bold")
    for title, path in _pictures(out, finished).items():
        console.print(f"{title}: {path}")
    console.print("\nSeconds", style="bold")
    for title, duration in seconds.items():
        console.print(f"{duration:7.1f}  {title}")
    console.print(f"{sum(seconds.values()):7.1f}  total")
    files.atomic_write(out / _MARK, json.dumps({"seconds": seconds}, indent=1) + "\n")
    return seconds


def _clear(out: Path) -> Path:
    """The output folder, emptied; only a folder of an earlier demo is emptied."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        if not (out / _MARK).is_file():
            raise ArgumentError(f"{out} is not a demo's folder; choose another --out")
        shutil.rmtree(out)
    files.atomic_write(out / _MARK, "{}\n")
    return out


def _check_accuracy(run: api.Run, console: Any) -> None:
    expected = config.load(run.directory / "config.yaml").expected.get("accuracy", 0.0)
    accuracy = run.metrics["accuracy"]
    if accuracy < expected:
        raise RunError(
            f"{CLASSIFIER} reached {accuracy:.2%} on held-out digits, not {expected:.0%}"
        )
    console.print(f"accuracy on held-out digits: {accuracy:.2%}")


def _test_images() -> np.ndarray:
    images = data.load("digits", "test").take(COUNT)
    return np.stack([image for image, _ in images.as_numpy_iterator()])


def _inputs(loaded: "hub.LoadedModel") -> Any:
    if loaded.card.latent:
        size = loaded.card.latent["size"]
        return np.random.default_rng(SEED).standard_normal((COUNT, size)).astype(np.float32)
    return loaded.card.preprocessing(_test_images())


def _outputs(loaded: "hub.LoadedModel") -> np.ndarray:
    return keras.ops.convert_to_numpy(loaded.model(_inputs(loaded), training=False))


def _check_equal(directory: Path, uri: str) -> None:
    """Check that the published model has the outputs of the local one, bit by bit."""
    local, published = (_outputs(hub.load_with_card(where)) for where in (directory, uri))
    if not np.array_equal(local, published):
        raise RunError(f"the model from {uri} differs from the one in {directory}")


def _classifier_record(loaded: "hub.LoadedModel") -> dict[str, np.ndarray]:
    """Requests to both signatures of a classifier, and the outputs of its model."""
    images = _test_images()
    probabilities = _outputs(loaded)
    labels = np.array(loaded.card.labels)[probabilities.argmax(-1)]
    encoded = [tf.io.encode_png(image).numpy() for image in images]
    record = {
        "serving_default/in/image": images.astype(np.float32),
        "serving_bytes/in/image_bytes": np.array(encoded, dtype="S"),
    }
    for signature in ("serving_default", "serving_bytes"):
        record[f"{signature}/out/probabilities"] = probabilities
        record[f"{signature}/out/label"] = labels
    return record


def _generator_record(loaded: "hub.LoadedModel") -> dict[str, np.ndarray]:
    """Requests to both signatures of a generator, and the outputs of its model."""
    generated = _generated(loaded)
    record = {
        "serving_default/in/latent": _inputs(loaded),
        "generate/in/seed": np.int64(SEED),
        "generate/in/count": np.int32(COUNT),
    }
    for signature, images in (("serving_default", _outputs(loaded)), ("generate", generated)):
        record[f"{signature}/out/image_float"] = images
        record[f"{signature}/out/image"] = loaded.card.preprocessing.to_pixels(images)
    return record


def _generated(loaded: "hub.LoadedModel") -> np.ndarray:
    return trainers.sample(loaded.model, COUNT, SEED, loaded.card.latent["distribution"])


def _check_export(saved_model: Path, record: dict[str, np.ndarray]) -> list[str]:
    """Compare the outputs of an export, in another process, with those of the model."""
    content = io.BytesIO()
    np.savez(content, **record)
    path = files.atomic_write(saved_model.parent / "requests.npz", content.getvalue())
    try:
        process = subprocess.run(
            [sys.executable, "-c", _CHECK, str(saved_model), str(path), str(_TOLERANCE)],
            capture_output=True,
            text=True,
        )
    finally:
        path.unlink()
    if process.returncode:
        reason = (process.stderr.strip().splitlines() or ["it was killed"])[-1]
        raise RunError(f"the export {saved_model} failed: {reason}")
    return process.stdout.splitlines()


def _pictures(out: Path, finished: dict[str, api.Run]) -> dict[str, Path]:
    """The pictures of the demo, by their titles."""
    generator, classifier = (finished[name].directory for name in (GENERATOR, CLASSIFIER))
    loaded = hub.load_with_card(finished[GENERATOR].model)
    pixels = loaded.card.preprocessing.to_pixels(_generated(loaded))
    digits = visualization.save_png(visualization.grid(pixels, enlarge=True), out / "digits.png")
    return {
        "digits generated by the GAN": digits,
        "samples during the training": generator / "samples",
        "losses of the GAN": generator / "history.png",
        "curves of the classifier": classifier / "history.png",
        "confusion matrix of the classifier": classifier / "confusion_matrix.png",
    }
