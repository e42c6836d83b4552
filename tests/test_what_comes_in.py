"""Every kind of source x every kind of model x right and wrong data: no silent cell.

Right data trains. Wrong data gives one line before the first update, whatever brings it.
"""

import dataclasses
import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_arch import data
from keras_arch.callbacks import checkpoint_files
from keras_arch.errors import DataError
from keras_arch.preprocessing import Preprocessing
from tests.trainers import backend_step, games

GAMES = {
    "gan": backend_step.GAN,
    "cgan": games.CONDITIONAL,
    "pix2pix": games.PIX2PIX["l1+cgan"],
    "cyclegan": games.CYCLEGAN,
    "lapgan": games.LAPGAN,
}
# The part that a wrong value is put into: one that a generator must be able to make.
FAULTY = {"pix2pix": "target", "cyclegan": "other"}


class Batches(keras.utils.PyDataset):
    def __init__(self, batches, **options):
        super().__init__(**options)
        self.batches = batches

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, index):
        return self.batches[index]


def cut(arrays):
    """Batches as tuples."""
    starts = range(0, len(next(iter(arrays.values()))), games.BATCH)
    return [tuple(part[s : s + games.BATCH] for part in arrays.values()) for s in starts]


def dataset(arrays):
    return tf.data.Dataset.from_tensor_slices(tuple(arrays.values())).batch(games.BATCH)


SOURCES = {
    "array": lambda arrays: arrays,
    "tf.data": dataset,
    "PyDataset": lambda arrays: Batches(cut(arrays)),
    "PyDataset of threads": lambda arrays: Batches(cut(arrays), workers=2),
    "generator": lambda arrays: (batch for batch in cut(arrays)),
    "generator of dictionaries": lambda arrays: (
        dict(zip(arrays, batch, strict=True)) for batch in cut(arrays)
    ),
}


def sources_of(name):
    """All of them for one game, the kinds for the others."""
    return SOURCES if name == "cgan" else ("array", "tf.data", "PyDataset", "generator")


def data_of(game, steps=2):
    return {name: np.asarray(part) for name, part in game.arrays(steps, with_noise=False).items()}


def with_label(change):
    def changed(arrays, part):
        return arrays | {"label": change(arrays["label"].copy())}

    return changed


def put(index, value):
    def change(values):
        values = values.astype(np.result_type(values, np.float64))
        values[index] = value
        return values

    return change


def in_part(change):
    return lambda arrays, part: arrays | {part: change(arrays[part].copy())}


# What is done to the arrays, and what the line says.
WRONG = {
    "text": (in_part(lambda x: x.astype(str)), "must be numbers"),
    "bytes": (in_part(lambda x: (255 * (x + 1) / 2).astype(np.uint8)), r"values from \d"),
    "half the range": (in_part(lambda x: (x + 1) / 2), "scale it"),
    "rank": (in_part(lambda x: x[..., 0]), "add the axis of channels|batches of shape"),
    "size": (in_part(lambda x: np.concatenate([x, x], axis=1)), "batches of shape"),
    "NaN": (in_part(put((1, 0, 0, 0), np.nan)), "NaN or infinite.*example 1"),
    "infinite": (in_part(put((1, 0, 0, 0), np.inf)), "NaN or infinite"),
    "label beyond": (with_label(put(1, games.CLASSES)), "the label 3 .*0 to 2"),
    "label below": (with_label(put(1, -1)), "the label -1 .*0 to 2"),
    "label 1.7": (with_label(put(2, 1.7)), r"whole numbers, got 1\.7 in example 2"),
    "label NaN": (with_label(put(2, np.nan)), "whole numbers, got nan"),
    "label names": (
        with_label(lambda y: np.array(["ant", "bee", "cat"])[y]),
        "label must be whole numbers, got text.*return_inverse",
    ),
    "label of 4 classes": (with_label(lambda y: np.eye(4)[y]), r"\(batch, 3\); got batches of"),
    "label that is soft": (
        with_label(lambda y: 0.9 * np.eye(3)[y] + 0.1 / 3),
        "one-hot, got the row .* mixed labels",
    ),
    "no label": (lambda arrays, part: {"image": arrays["image"]}, "needs 'label'"),
}


@functools.cache
def built(name):
    trainer = GAMES[name].make(run_eagerly=True)
    return trainer, [np.array(variable) for variable in checkpoint_files.variables_of(trainer)]


def restarted(name):
    """The trainer as it was built, with its optimizers and its seed."""
    trainer, start = built(name)
    for variable, value in zip(checkpoint_files.variables_of(trainer), start, strict=True):
        variable.assign(value)
    return trainer


CELLS = [
    (name, fault)
    for name, game in GAMES.items()
    for fault in WRONG
    if game.labels or "label" not in fault
]


@pytest.mark.parametrize(("name", "fault"), CELLS)
def test_wrong_data_is_refused_before_the_first_update(name, fault):
    change, words = WRONG[fault]
    trainer = restarted(name)
    start = trainer.get_weights()
    wrong = change(data_of(GAMES[name]), FAULTY.get(name, "image"))
    right = data_of(GAMES[name], 1)
    for source in sources_of(name):
        for use, arguments in (
            (trainer.fit, {"x": SOURCES[source](wrong)}),
            (trainer.evaluate, {"x": SOURCES[source](wrong)}),
            (trainer.fit, {"x": right, "validation_data": SOURCES[source](wrong)}),
        ):
            with pytest.raises(DataError, match=words) as raised:
                use(**arguments, verbose=0)
            assert "\n" not in str(raised.value), source
    for before, after in zip(start, trainer.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.slow if n != "gan" else ()) for n in GAMES],
)
def test_right_data_trains_alike_from_every_source(name):
    """With validation and evaluation; the noise is that of one seed."""
    ends = {}
    for source in sources_of(name):
        bring = SOURCES[source]
        trainer = restarted(name)
        given, more = data_of(GAMES[name], 2 if name == "cgan" else 1), data_of(GAMES[name], 1)
        history = trainer.fit(
            bring(given),
            batch_size=games.BATCH if source == "array" else None,
            validation_data=bring(more),
            verbose=0,
            shuffle=False,
        ).history
        losses = trainer.evaluate(
            bring(more), batch_size=games.BATCH if source == "array" else None, verbose=0
        )
        ends[source] = [*history.values(), losses, *trainer.get_weights()]
    start = restarted(name).get_weights()
    assert any((a != b).any() for a, b in zip(start, ends["array"][-len(start) :], strict=True))
    for source, end in ends.items():
        for first, other in zip(ends["array"], end, strict=True):
            np.testing.assert_allclose(first, other, rtol=1e-5, atol=1e-6, err_msg=source)


CLASSES = 3
TO_INPUT = Preprocessing((4, 4), 1, scale=1 / 127.5, mean=1.0)


@functools.cache
def plain(name):
    """A plain Keras model, as any other is fitted."""
    keras.utils.set_random_seed(1)
    image = keras.Input((4, 4, 1))
    x = keras.layers.Conv2D(CLASSES, 1)(image)
    if name == "classifier":
        x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(image, x, name=name)
    model.compile(
        "sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), run_eagerly=True
    )
    return model


def examples(name):
    rng = np.random.default_rng(0)
    label = rng.integers(0, CLASSES, (8, 4, 4) if name == "segmenter" else 8)
    return {"image": rng.uniform(-1, 1, (8, 4, 4, 1)).astype("float32"), "label": label}


# To Keras itself a dictionary is several inputs.
OF_TUPLES = [source for source in SOURCES if source != "generator of dictionaries"]


@pytest.mark.parametrize("source", OF_TUPLES)
@pytest.mark.parametrize("name", ["classifier", "segmenter"])
def test_right_data_of_a_plain_model_passes_its_check(name, source):
    model, arrays = plain(name), examples(name)
    if source == "array":
        image, label = arrays.values()
        assert data.check_data(model, image, label, preprocessing=TO_INPUT) is image
        return
    brought = data.check_data(model, SOURCES[source](arrays), preprocessing=TO_INPUT)
    history = model.fit(brought, verbose=0, shuffle=False)
    assert history.epoch == [0]
    assert np.isfinite(history.history["loss"]).all()


@pytest.mark.parametrize("fault", [fault for fault in WRONG if fault != "no label"])
@pytest.mark.parametrize("name", ["classifier", "segmenter"])
def test_wrong_data_of_a_plain_model_is_refused(name, fault):
    change, words = WRONG[fault]
    arrays = examples(name)
    if name == "segmenter" and "label" in fault:
        changes = {
            "label beyond": (put((1, 0, 0), CLASSES), "mask|the values 3, .*0 to 2"),
            "label below": (put((1, 0, 0), -1), "the values -1"),
            "label 1.7": (put((1, 0, 0), 1.7), r"a whole number a pixel.*1\.7"),
            "label NaN": (put((1, 0, 0), np.nan), "NaN"),
            "label names": (lambda y: y.astype(str), "must be"),
            "label of 4 classes": (lambda y: np.eye(4)[y], "batches of shape"),
            "label that is soft": (lambda y: 0.5 * np.eye(3)[y], "batches of shape"),
        }
        change_labels, words = changes[fault]
        change = with_label(change_labels)
    if name == "classifier" and fault == "label that is soft":
        # Those whose shares are no shares.
        change = with_label(lambda y: 0.5 * np.eye(3)[y])
    wrong = change(arrays, "image")
    for source in OF_TUPLES:
        x, y = (SOURCES[source](wrong), None) if source != "array" else wrong.values()
        with pytest.raises(DataError, match=words) as raised:
            data.check_data(plain(name), x, y, preprocessing=TO_INPUT)
        assert "\n" not in str(raised.value), source


def test_bytes_for_a_model_of_bytes_and_pixels_of_a_hundredth():
    """A model that takes 0 to 255 gets values to 1, or the other way round."""
    arrays = examples("classifier")
    pixels = np.round(127.5 * (arrays["image"] + 1))
    as_they_are = Preprocessing((4, 4), 1, scale=1.0)
    data.check_data(plain("classifier"), pixels, arrays["label"], preprocessing=as_they_are)
    with pytest.raises(DataError, match=r"\[0, 255\].*scale it"):
        data.check_data(
            plain("classifier"), pixels / 255, arrays["label"], preprocessing=as_they_are
        )


def test_without_its_preprocessing_a_range_is_told(caplog):
    arrays = examples("classifier")
    data.check_data(plain("classifier"), 255 * arrays["image"], arrays["label"])
    assert "networks are initialised for values of the order of 1" in caplog.text


LATER = {
    name: SOURCES[name]
    for name in ("tf.data", "PyDataset", "PyDataset of threads", "generator of dictionaries")
}


@pytest.mark.parametrize("fault", ["NaN", "label beyond", "label 1.7"])
@pytest.mark.parametrize("source", LATER)
def test_a_fault_in_a_later_batch_is_refused(source, fault):
    change, _ = WRONG[fault]
    right = data_of(games.CONDITIONAL, 2)
    wrong = change(right, "image")
    wrong = {name: np.concatenate([right[name], wrong[name]]) for name in right}
    with pytest.raises(DataError, match=r"NaN or infinite|labels? must be") as raised:
        restarted("cgan").fit(LATER[source](wrong), verbose=0, shuffle=False)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("form", "give"),
    [
        pytest.param("int64", lambda y: y.astype(np.int64), marks=pytest.mark.slow),
        ("uint8", lambda y: y.astype(np.uint8)),
        pytest.param("float32", lambda y: y.astype(np.float32), marks=pytest.mark.slow),
        ("a column", lambda y: y[:, None]),
        pytest.param(
            "one-hot", lambda y: np.eye(games.CLASSES, dtype=np.float32)[y], marks=pytest.mark.slow
        ),
        ("one-hot bytes", lambda y: np.eye(games.CLASSES, dtype=np.uint8)[y]),
    ],
)
def test_labels_of_a_plain_meaning_are_taken(form, give):
    ends = []
    for source, changes in {"array": (lambda y: y, give), "tf.data": (give,)}.items():
        for change in changes:
            trainer = restarted("cgan")
            arrays = data_of(games.CONDITIONAL, 1)
            arrays["label"] = change(arrays["label"])
            size = games.BATCH if source == "array" else None
            trainer.fit(SOURCES[source](arrays), batch_size=size, verbose=0, shuffle=False)
            ends.append(trainer.get_weights())
    for end in ends[1:]:
        for first, other in zip(ends[0], end, strict=True):
            np.testing.assert_array_equal(first, other)


def test_arrays_by_position():
    """As `fit(images, labels)`, as one tuple, and images by name with labels beside them."""
    arrays = data_of(games.CONDITIONAL, 1)
    image, label = arrays["image"], arrays["label"]
    for given in ((image, label), ((image, label),), ({"image": image}, label)):
        trainer = restarted("cgan")
        trainer.fit(*given, verbose=0)
        trainer.evaluate(*given, verbose=0)
        trainer.train_on_batch(*given)
        trainer.test_on_batch(*given)
    with pytest.raises(DataError, match=r"whole numbers, got 0\.5"):
        trainer.train_on_batch(image, label + 0.5)
    with pytest.raises(DataError, match=r"whole numbers, got 0\.5"):
        trainer.test_on_batch(image, label + 0.5)


@pytest.mark.parametrize("name", GAMES)
def test_weights_of_examples_are_refused(name):
    trainer = restarted(name)
    arrays = data_of(GAMES[name], 1)
    ones = np.ones(games.BATCH, "float32")
    uses = [
        lambda: trainer.fit(arrays, sample_weight=ones, verbose=0),
        lambda: trainer.fit(arrays, class_weight={0: 2.0}, verbose=0),
        lambda: trainer.evaluate(arrays, sample_weight=ones, verbose=0),
        lambda: trainer.train_on_batch(arrays, sample_weight=ones),
        lambda: trainer.fit(arrays | {"sample_weight": ones}, verbose=0),
        lambda: trainer.fit(tf.data.Dataset.from_tensors((*two(arrays), ones)), verbose=0),
        lambda: trainer.fit(iter_of((*two(arrays), ones)), verbose=0),
        lambda: trainer.fit(arrays, validation_data=(*two(arrays), ones), verbose=0),
    ]
    for use in uses:
        with pytest.raises(DataError, match=r"no weights of examples.*more often"):
            use()


def two(arrays):
    parts = list(arrays.values())
    return parts if len(parts) == 2 else [*parts, np.zeros(games.BATCH)]


def iter_of(batch):
    yield batch


def test_empty_data_is_refused():
    trainer = restarted("gan")
    empty = np.zeros((0, *backend_step.SHAPE), "float32")
    for nothing in (None, empty, Batches([]), (x for x in ()), dataset({"image": empty})):
        with pytest.raises(DataError, match=r"no data|empty|no batches"):
            trainer.fit(nothing, verbose=0)


def test_large_inputs_and_unknown_parts_are_told(caplog):
    """Inputs of a translator have no range of their own, and what is not used is named."""
    trainer = restarted("pix2pix")
    arrays = data_of(GAMES["pix2pix"], 1)
    trainer.fit(arrays | {"image": 255 * arrays["image"], "depth": arrays["image"]}, verbose=0)
    assert "image has values from -25" in caplog.text
    assert "does not use the parts depth" in caplog.text


def test_a_generator_is_not_used_up_by_the_check():
    made = []

    def batches():
        for batch in cut(data_of(games.CONDITIONAL, 3)):
            made.append(len(batch[0]))
            yield batch

    seen = []

    class Count(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append(batch)

    restarted("cgan").fit(batches(), callbacks=[Count()], verbose=0)
    assert len(made) == len(seen) == 3


def test_small_batches_are_read_until_a_range_is_known():
    """One bright image does not say that all are scaled to [0, 1]."""
    game = backend_step.GAN
    images = data_of(game, 1)["image"]
    images[0] = np.abs(images[0])
    images[0, 0, 0, 0] = 0.9
    trainer = restarted("gan")
    trainer.fit(tf.data.Dataset.from_tensor_slices(images).batch(1), verbose=0)
    with pytest.raises(DataError, match="scale it"):
        trainer.fit(tf.data.Dataset.from_tensor_slices(np.abs(images)).batch(1), verbose=0)


def test_a_torch_loader():
    loaders = pytest.importorskip("torch.utils.data")
    torch = pytest.importorskip("torch")
    arrays = data_of(games.CONDITIONAL)
    tensors = [torch.tensor(part) for part in arrays.values()]
    trainer = restarted("cgan")
    loader = loaders.DataLoader(loaders.TensorDataset(*tensors), batch_size=games.BATCH)
    history = trainer.fit(loader, validation_data=loader, epochs=2, verbose=0).history
    assert len(history["val_d_loss"]) == 2
    wrong = loaders.TensorDataset(tensors[0], tensors[1] + 1)
    with pytest.raises(DataError, match="the label 3"):
        trainer.fit(loaders.DataLoader(wrong, batch_size=games.BATCH), verbose=0)
    with pytest.raises(DataError, match="as tuples"):
        trainer.fit(loaders.DataLoader(arrays["image"], batch_size=games.BATCH), verbose=0)


def test_games_have_a_case_each():
    assert {type(built(name)[0]).__name__ for name in GAMES} == {
        "GAN",
        "ConditionalGAN",
        "Pix2Pix",
        "CycleGAN",
        "LAPGAN",
    }
    assert all(dataclasses.is_dataclass(game) for game in GAMES.values())


def test_a_part_of_the_arrays_for_validation():
    arrays = data_of(games.CONDITIONAL)
    history = restarted("cgan").fit(*arrays.values(), validation_split=0.5, batch_size=4, verbose=0)
    assert "val_d_loss" in history.history
