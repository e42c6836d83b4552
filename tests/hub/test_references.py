from pathlib import Path

import pytest
from huggingface_hub.utils import HFValidationError, validate_repo_id
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_arch import config, presets
from keras_arch.errors import ArgumentError, HubError, RunError
from keras_arch.hub.references import Folder, Repository, parse, parse_uri
from keras_arch.training.references import model_uri, run_config


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hf://user/repo", Repository("user/repo")),
        ("hf://user/repo@v1.0", Repository("user/repo", "v1.0")),
        ("hf://User_1/re-po.x@refs/pr/1", Repository("User_1/re-po.x", "refs/pr/1")),
        ("user/repo", Repository("user/repo")),
        (
            "file:///folder/hub/a%20b/c",
            Folder(Path("/folder/hub/a b/c"), "file:///folder/hub/a%20b/c"),
        ),
    ],
)
def test_uris(text, expected):
    assert parse_uri(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "hf://a/../b",
        "hf://../b",
        "hf://a",
        "hf://a/b/c",
        "hf://",
        "hf:///etc/passwd",
        "hf://a/b.git",
        "hf://a/b--c",
        "hf://a/b..c",
        "hf://-a/b",
        "hf://a/b\n",
        "hf://a/b@",
        "hf://a/b@../../x",
        "hf://a/b@x y",
        "hf://a/b@-x",
        "hf://a/b@x.lock",
        "hf://a/b@/x",
        "hf://a/b@x^1",
        "hf://" + "a" * 60 + "/" + "b" * 60,
        "file://relative/path",
        "file:relative",
        "file:///a/../../etc",
        "file:///a/%2e%2e/etc",
        "file:///",
        "https://example.org/a/b",
        "a" * 300,
        "a/" * 3000,
    ],
)
def test_bad_references_are_refused_in_one_line(text):
    with pytest.raises(ArgumentError) as caught:
        parse(text)
    assert "\n" not in str(caught.value)
    assert repr(text)[1:20] in str(caught.value) or "revision" in str(caught.value)


@settings(deadline=None, max_examples=300)
@given(st.text(st.sampled_from("ab-._/9é \n"), max_size=12))
def test_no_id_passes_that_the_client_refuses(text):
    try:
        place = parse_uri(text)
    except ArgumentError:
        return
    try:
        validate_repo_id(place.id)
    except HFValidationError:
        pytest.fail(f"{place.id!r} is refused by the client")


@settings(deadline=None, max_examples=300)
@given(st.text(st.sampled_from("ab./@{~^: \\-"), max_size=8))
def test_revisions_are_those_that_git_allows(text):
    import subprocess

    try:
        accepted = parse_uri(f"user/repo@{text}").revision == text
    except ArgumentError:
        accepted = False
    if accepted:
        checked = subprocess.run(["git", "check-ref-format", f"refs/heads/{text}"], check=False)
        assert checked.returncode == 0


def test_directories(tmp_path):
    assert parse(tmp_path) == parse(str(tmp_path)) == Folder(tmp_path)


def test_missing_models_get_a_hint(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ArgumentError, match=r"write hf://user/repo$"):
        parse("user/repo")
    with pytest.raises(ArgumentError, match="is a file"):
        parse(__file__)
    with pytest.raises(ArgumentError, match="is a string or a path"):
        parse(None)


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """Two configs of our own in the place of the shipped ones."""
    folder = tmp_path / "hub_configs"
    folder.mkdir()
    (folder / "published.yaml").write_text("repository: hf://user/repo\n")
    (folder / "planned.yaml").write_text("repository:\n")
    monkeypatch.setattr(presets, "_folder", lambda: folder)


@pytest.mark.usefixtures("shipped")
def test_config_name_means_its_repository(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert parse("published") == Repository("user/repo")
    with pytest.raises(HubError, match=r"not published yet; .* with: keras-arch train planned"):
        parse("planned")
    with pytest.raises(ArgumentError, match="did you mean the config published"):
        parse("publishd")
    (tmp_path / "published").mkdir()
    assert parse("published") == Repository("user/repo"), "a folder without a model"
    (tmp_path / "published" / "config.json").write_text("{}")
    assert parse("published") == Folder(Path("published"))


@pytest.mark.usefixtures("shipped")
def test_config_name_means_the_model_that_comes_with_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, folder in (("planned", "zoo"), ("published", "hub_configs/models")):
        (tmp_path / folder / name).mkdir(parents=True)
        (tmp_path / folder / name / "config.json").write_text("{}")
        assert parse(name) == Folder(tmp_path / folder / name)


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """Runs in the folder `runs`: two finished ones and a stopped one."""
    monkeypatch.chdir(tmp_path)
    content = config.dump(config.load("resnet20-digits"))
    for name in ("published", "my run", "planned"):
        run = tmp_path / "runs" / name
        run.mkdir(parents=True)
        (run / "config.yaml").write_text(content)
        if name != "planned":
            (run / "model").mkdir()
            (run / "model" / "keras_arch.json").write_text("{}")


@pytest.mark.usefixtures("runs")
def test_a_run_directory_means_its_model():
    model = Path("runs/my run/model")
    for ref in ("runs/my run", Path("runs/my run"), "runs/my run/model", model):
        assert parse(ref) == Folder(model)
        assert model_uri(ref) == model
    assert run_config("runs/my run").name == "resnet20-digits"
    assert run_config("runs/my run/model") is None
    (Path("runs/my run") / "config.yaml").unlink()
    assert parse("runs/my run") == Folder(model), "a run of which the model was kept"


@pytest.mark.usefixtures("runs")
def test_a_run_that_has_not_finished_names_the_way_to_go_on():
    with pytest.raises(RunError, match=r"train --resume runs/planned$"):
        parse("runs/planned")


@pytest.mark.usefixtures("runs", "shipped")
def test_the_name_of_a_config_means_its_run_first(caplog):
    assert parse("published") == Folder(Path("runs/published/model"))
    # Not published either.
    with pytest.raises(RunError, match="has not finished"):
        parse("planned")
    (Path("runs/published/model") / "keras_arch.json").unlink()
    assert parse("published") == Repository("user/repo")
    assert "runs/published has not finished; taking hf://user/repo" in caplog.text
