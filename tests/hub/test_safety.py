import json

import keras
import pytest

from keras_arch import hub
from keras_arch.errors import IntegrityError, UnsafeContentError
from keras_arch.files import sha256
from keras_arch.hub.layout import RECORD, Record


def lambda_model():
    image = keras.Input((8, 8, 1))
    return keras.Model(image, keras.layers.Lambda(lambda x: x * 2)(image), name="lambda_model")


@keras.saving.register_keras_serializable(package="tests")
class Doubling(keras.layers.Layer):
    def call(self, x):
        return x * 2


def custom_model():
    image = keras.Input((8, 8, 1))
    return keras.Model(image, Doubling()(image), name="custom_model")


def rewrite_config(folder, change):
    """Change config.json and the record with it, as who wants to be loaded would."""
    config = json.loads((folder / "config.json").read_text())
    change(config)
    (folder / "config.json").write_text(json.dumps(config))
    vouch(folder, "config.json")


def vouch(folder, name):
    record = json.loads((folder / RECORD).read_text())
    record["sha256"][name] = sha256(folder / name)
    (folder / RECORD).write_text(json.dumps(record))


@pytest.mark.parametrize(
    ("make", "named"), [(lambda_model, "Lambda"), (custom_model, "tests>Doubling")]
)
def test_neither_saved_nor_loaded(tmp_path, folder, card, make, named):
    with pytest.raises(UnsafeContentError, match=named):
        hub.save(make(), tmp_path / "new", card)
    assert not (tmp_path / "new").exists()

    keras.saving.save_model(make(), str(tmp_path / "plain"), zipped=False)
    with pytest.raises(UnsafeContentError, match=named):
        hub.load(tmp_path / "plain")

    for name in ("config.json", "model.weights.h5"):
        (folder / name).write_bytes((tmp_path / "plain" / name).read_bytes())
        vouch(folder, name)
    with pytest.raises(UnsafeContentError, match=named) as caught:
        hub.load(folder)
    assert "\n" not in str(caught.value)


def test_refused_even_where_safe_mode_is_off(tmp_path):
    keras.saving.save_model(lambda_model(), str(tmp_path / "plain"), zipped=False)
    keras.config.enable_unsafe_deserialization()
    try:
        with pytest.raises(UnsafeContentError, match="Lambda"):
            hub.load(tmp_path / "plain")
    finally:
        # Keras has a switch for off only; this is what it was before.
        keras.src.saving.serialization_lib.SafeModeScope(None).__enter__()


ASKED = {
    "a function of os": {"class_name": "system", "module": "os", "config": {}},
    "a downloader": {"class_name": "function", "module": "keras.utils", "config": "get_file"},
    "the switch itself": {
        "class_name": "function",
        "module": "keras.config",
        "config": "enable_unsafe_deserialization",
    },
    "a loader": {"class_name": "load_model", "module": "keras.saving", "config": {}},
    "a look-alike": {"class_name": "Dense", "module": "keras_evil.layers", "config": {}},
    "no module": {"class_name": "Dense", "config": {}},
    "a registered name": {
        "class_name": "Dense",
        "module": "keras.layers",
        "config": {},
        "registered_name": "tests>Doubling",
    },
    "a bare lambda": {"class_name": "__lambda__", "config": {"value": "gAAA"}},
    "a type": {"class_name": "__typespec__", "module": "keras.layers", "config": []},
    "a saved model": {
        "class_name": "TFSMLayer",
        "module": "keras.layers",
        "config": {"filepath": "x"},
    },
    "torch": {"class_name": "TorchModuleWrapper", "module": "keras.layers", "config": {}},
    "a pickle": {
        "class_name": "Dense",
        "module": "keras.layers",
        "config": {"vocabulary": "weights.pkl"},
    },
    "an odd class": {"class_name": ["x"], "module": "keras.layers", "config": {}},
}


@pytest.mark.parametrize("asked", ASKED.values(), ids=ASKED)
@pytest.mark.parametrize("where", ["layer", "compile_config", "deep"])
def test_code_is_found_wherever_it_is_asked_for(folder, asked, where):
    def change(config):
        if where == "layer":
            config["config"]["layers"].append(asked)
        elif where == "compile_config":
            config["compile_config"] = {"loss": asked}
        else:
            config["config"]["layers"][1]["config"]["kernel_initializer"] = {"x": [[asked]]}

    rewrite_config(folder, change)
    with pytest.raises((UnsafeContentError, IntegrityError)):
        hub.load(folder)


@pytest.mark.parametrize(
    "name",
    [
        "../outside.json",
        "a/../../outside",
        "/etc/passwd",
        "a\\..\\b",
        "C:/x",
        "",
        ".",
        "./config.json",
        "a//b",
        ".git/config",
        "line\nbreak",
        "optimizer.pkl",
        "training/optimizer.pickle",
        "training/state.PT",
        "pytorch_model.bin",
        "setup.py",
    ],
)
def test_a_record_lists_only_files_of_its_folder_and_no_pickles(folder, name):
    record = json.loads((folder / RECORD).read_text())
    record["sha256"][name] = "0" * 64
    (folder / RECORD).write_text(json.dumps(record))
    for act in (hub.load, hub.read_card, lambda f: hub.pull(f, f.parent / "pulled")):
        with pytest.raises(UnsafeContentError):
            act(folder)
    assert not (folder.parent / "pulled").exists()


def test_a_readme_elsewhere_is_neither_pushed_nor_pulled(folder, tmp_path):
    """It has no hash: a link to any file would be published under its name."""
    secret = tmp_path / "secret"
    secret.write_text("hf_token")
    (folder / "README.md").unlink()
    (folder / "README.md").symlink_to(secret)
    message = f"README.md of .* is a link out of its folder, to {secret}, and is refused"
    with pytest.raises(UnsafeContentError, match=message):
        hub.push(folder, f"file://{tmp_path}/hub/me/it")
    with pytest.raises(UnsafeContentError, match=message):
        hub.pull(folder, tmp_path / "mine")
    assert not (tmp_path / "hub").exists()
    assert not (tmp_path / "mine").exists()
    (folder / "notes.md").write_text("# Mine")
    (folder / "README.md").unlink()
    (folder / "README.md").symlink_to("notes.md")
    assert (hub.pull(folder, tmp_path / "mine") / "README.md").read_text() == "# Mine"


def test_files_without_a_record_are_not_taken_from_elsewhere(folder, tmp_path):
    (folder / RECORD).unlink()
    (tmp_path / "secret").write_text("hf_token")
    (folder / "metadata.json").unlink()
    (folder / "metadata.json").symlink_to(tmp_path / "secret")
    with pytest.raises(UnsafeContentError, match=r"metadata\.json of .* is a link out"):
        hub.pull(folder, tmp_path / "mine")


def test_pickles_are_not_saved_with_the_training(tmp_path, model, card):
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "optimizer.pkl").write_bytes(b"\x80\x04.")
    with pytest.raises(UnsafeContentError, match=r"training/optimizer\.pkl"):
        hub.save(model, tmp_path / "new", card, training=tmp_path / "state")
    assert [entry.name for entry in tmp_path.iterdir() if "new" in entry.name] == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"schema_version": 1}',
        b'{"schema_version": 1, "sha256": 3, "readme_sha256": {}, "card": {}}',
    ],
)
def test_a_damaged_record_is_said_to_be_one(content):
    with pytest.raises(IntegrityError, match=r"^keras_arch\.json of here ") as caught:
        Record.parse(content, "here")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\xff", b"[" * 100_000])
def test_a_damaged_config_is_said_to_be_one(folder, content):
    (folder / "config.json").write_bytes(content)
    vouch(folder, "config.json")
    with pytest.raises(IntegrityError, match=r"config\.json of .* is not a Keras model"):
        hub.load(folder)
